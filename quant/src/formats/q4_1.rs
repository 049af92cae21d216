//! Q4_1: 32 four-bit codes with a scale and a minimum.
//!
//! ```text
//! byte 0   d   f16   scale
//!      2   m   f16   minimum
//!      4   qs  [16]  byte j: low nibble = code j, high nibble = code j + 16
//!
//! w = d * code + m
//! ```

use super::Block;
use super::float::F16;

/// 32 weights in 20 bytes.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q4_1 {
    /// Scale.
    pub d: F16,
    /// Minimum: the weight of code 0.
    pub m: F16,
    /// Codes, two to a byte.
    pub qs: [u8; 16],
}

// SAFETY: repr(C) over bytes.
unsafe impl Block<32> for Q4_1 {
    fn dequantize(&self, out: &mut [f32; 32]) {
        let (d, m) = (self.d.to_f32(), self.m.to_f32());
        for (j, q) in self.qs.iter().enumerate() {
            out[j] = d * f32::from(q & 15) + m;
            out[j + 16] = d * f32::from(q >> 4) + m;
        }
    }
}
