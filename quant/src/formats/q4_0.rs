//! Q4_0: 32 four-bit codes around 8 with one scale.
//!
//! ```text
//! byte 0   d   f16   scale
//!      2   qs  [16]  byte j: low nibble = code j, high nibble = code j + 16
//!
//! w = d * (code - 8)
//! ```

use super::Block;
use super::float::F16;

/// 32 weights in 18 bytes.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q4_0 {
    /// Scale.
    pub d: F16,
    /// Codes, two to a byte.
    pub qs: [u8; 16],
}

// SAFETY: repr(C) over bytes.
unsafe impl Block<32> for Q4_0 {
    fn dequantize(&self, out: &mut [f32; 32]) {
        let d = self.d.to_f32();
        for (j, q) in self.qs.iter().enumerate() {
            out[j] = d * (f32::from(q & 15) - 8.0);
            out[j + 16] = d * (f32::from(q >> 4) - 8.0);
        }
    }
}
