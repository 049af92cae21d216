//! Q5_1: 32 five-bit codes with a scale and a minimum; the fifth bits lie apart.
//!
//! ```text
//! byte 0   d   f16   scale
//!      2   m   f16   minimum
//!      4   qh  u32   bit j = fifth bit of code j
//!      8   qs  [16]  byte j: low nibble = low bits of code j, high nibble = of code j + 16
//!
//! w = d * code + m
//! ```

use super::Block;
use super::float::F16;
use super::q5_0::codes;

/// 32 weights in 24 bytes.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q5_1 {
    /// Scale.
    pub d: F16,
    /// Minimum: the weight of code 0.
    pub m: F16,
    /// Fifth bits, little-endian.
    pub qh: [u8; 4],
    /// Low four bits, two codes to a byte.
    pub qs: [u8; 16],
}

// SAFETY: repr(C) over bytes.
unsafe impl Block<32> for Q5_1 {
    fn dequantize(&self, out: &mut [f32; 32]) {
        let (d, m) = (self.d.to_f32(), self.m.to_f32());
        for (w, code) in out.iter_mut().zip(codes(self.qh, &self.qs)) {
            *w = d * f32::from(code) + m;
        }
    }
}
