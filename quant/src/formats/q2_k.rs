//! Q2_K: 256 two-bit codes in 16 groups of 16, each with a four-bit scale and a four-bit minimum.
//!
//! ```text
//! byte  0   scales  [16]  group g: low nibble = scale, high nibble = minimum
//!      16   qs      [64]  two halves of 32 bytes, four planes of 2 bits each:
//!                         code 128h + 32p + l = bits 2p, 2p+1 of byte 32h + l
//!      80   d       f16   scale of the scales
//!      82   dmin    f16   scale of the minima
//!
//! w = (d * scale) * code - (dmin * minimum)
//! ```

use super::Block;
use super::float::F16;

/// 256 weights in 84 bytes.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q2_K {
    /// Scale (low nibble) and minimum (high nibble) of each group of 16.
    pub scales: [u8; 16],
    /// Codes, four to a byte.
    pub qs: [u8; 64],
    /// Scale of the scales.
    pub d: F16,
    /// Scale of the minima.
    pub dmin: F16,
}

// SAFETY: repr(C) over bytes.
unsafe impl Block<256> for Q2_K {
    fn dequantize(&self, out: &mut [f32; 256]) {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let scale = d * f32::from(self.scales[group] & 15);
            let min = dmin * f32::from(self.scales[group] >> 4);
            let (qs, shift) = plane(&self.qs, group);
            for (w, q) in out.iter_mut().zip(qs) {
                *w = scale * f32::from(q >> shift & 3) - min;
            }
        }
    }
}

/// Where the two-bit codes of a group of 16 lie in Q2_K and Q3_K: the bytes and the shift.
pub(super) fn plane(qs: &[u8; 64], group: usize) -> (&[u8], usize) {
    let (half, plane, odd) = (group / 8, group / 2 % 4, group % 2);
    let start = 32 * half + 16 * odd;
    (&qs[start..start + 16], 2 * plane)
}
