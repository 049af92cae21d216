//! Q6_K: 256 six-bit codes around 32 in 16 groups of 16, each with a signed byte as scale. The upper bits lie apart.
//!
//! ```text
//! byte   0   ql      [128]     two halves of 64 bytes; with t = 0..4 and l = 0..32, low four bits of code
//!                              128h + 32t + l = low (t < 2) or high (t >= 2) nibble of byte 64h + 32(t%2) + l
//!      128   qh      [64]      two halves of 32 bytes; its upper two bits = bits 2t, 2t+1 of byte 32h + l
//!      192   scales  [i8;16]   one per group
//!      208   d       f16       scale of the scales
//!
//! w = (d * scale) * (code - 32)
//! ```

use super::Block;
use super::float::F16;

/// 256 weights in 210 bytes.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q6_K {
    /// Low four bits, two codes to a byte.
    pub ql: [u8; 128],
    /// Upper two bits, four codes to a byte.
    pub qh: [u8; 64],
    /// Scales of the groups of 16.
    pub scales: [i8; 16],
    /// Scale of the scales.
    pub d: F16,
}

// SAFETY: repr(C) over bytes.
unsafe impl Block<256> for Q6_K {
    fn dequantize(&self, out: &mut [f32; 256]) {
        let d = self.d.to_f32();
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (half, t, odd) = (group / 8, group / 2 % 4, group % 2);
            let ql = &self.ql[64 * half + 32 * (t % 2) + 16 * odd..];
            let qh = &self.qh[32 * half + 16 * odd..];
            let scale = d * f32::from(self.scales[group]);
            for ((w, low), high) in out.iter_mut().zip(ql).zip(qh) {
                let code = (low >> (4 * (t / 2)) & 15) | (high >> (2 * t) & 3) << 4;
                *w = scale * (f32::from(code) - 32.0);
            }
        }
    }
}
