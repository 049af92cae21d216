//! IQ4_NL: 32 four-bit codes into a table of 16 unevenly spaced values, with one scale.
//!
//! ```text
//! byte 0   d   f16   scale
//!      2   qs  [16]  byte j: low nibble = code j, high nibble = code j + 16
//!
//! w = d * VALUES[code]
//! ```

use super::Block;
use super::float::F16;

/// What the codes of IQ4_NL and IQ4_XS stand for.
pub const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// 32 weights in 18 bytes.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct IQ4_NL {
    /// Scale.
    pub d: F16,
    /// Codes, two to a byte.
    pub qs: [u8; 16],
}

// SAFETY: repr(C) over bytes.
unsafe impl Block<32> for IQ4_NL {
    fn dequantize(&self, out: &mut [f32; 32]) {
        look_up(self.d.to_f32(), &self.qs, out);
    }
}

/// 32 weights of one scale, which IQ4_XS has too.
pub(super) fn look_up(scale: f32, qs: &[u8; 16], out: &mut [f32; 32]) {
    for (j, q) in qs.iter().enumerate() {
        out[j] = scale * f32::from(VALUES[usize::from(q & 15)]);
        out[j + 16] = scale * f32::from(VALUES[usize::from(q >> 4)]);
    }
}
