//! Q5_0: 32 five-bit codes around 16 with one scale; the fifth bits lie apart.
//!
//! ```text
//! byte 0   d   f16   scale
//!      2   qh  u32   bit j = fifth bit of code j
//!      6   qs  [16]  byte j: low nibble = low bits of code j, high nibble = of code j + 16
//!
//! w = d * (code - 16)
//! ```

use super::Block;
use super::float::F16;

/// 32 weights in 22 bytes.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q5_0 {
    /// Scale.
    pub d: F16,
    /// Fifth bits, little-endian.
    pub qh: [u8; 4],
    /// Low four bits, two codes to a byte.
    pub qs: [u8; 16],
}

// SAFETY: repr(C) over bytes.
unsafe impl Block<32> for Q5_0 {
    fn dequantize(&self, out: &mut [f32; 32]) {
        let d = self.d.to_f32();
        for (w, code) in out.iter_mut().zip(codes(self.qh, &self.qs)) {
            *w = d * (f32::from(code) - 16.0);
        }
    }
}

/// The 32 codes of Q5_0 and Q5_1, in order.
pub(super) fn codes(qh: [u8; 4], qs: &[u8; 16]) -> [u8; 32] {
    let qh = u32::from_le_bytes(qh);
    std::array::from_fn(|j| {
        let low = if j < 16 { qs[j] & 15 } else { qs[j - 16] >> 4 };
        low | ((qh >> j & 1) << 4) as u8
    })
}
