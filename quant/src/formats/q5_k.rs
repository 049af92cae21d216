//! Q5_K: Q4_K with a fifth bit for every code, which lies apart.
//!
//! ```text
//! byte  0   d       f16    scale of the scales
//!       2   dmin    f16    scale of the minima
//!       4   scales  [12]   eight scales and minima of six bits, packed as in Q4_K
//!      16   qh      [32]   bit g of byte l = fifth bit of code 32g + l
//!      48   qs      [128]  byte 32p + l: low nibble = code 64p + l, high nibble = code 64p + 32 + l
//!
//! w = (d * scale) * code - (dmin * minimum)
//! ```

use super::Block;
use super::float::F16;
use super::q4_k::ScalesMins;

/// 256 weights in 176 bytes.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q5_K {
    /// Scale of the scales.
    pub d: F16,
    /// Scale of the minima.
    pub dmin: F16,
    /// Scales and minima of the eight groups.
    pub scales: ScalesMins,
    /// Fifth bits, eight to a byte.
    pub qh: [u8; 32],
    /// Low four bits, two codes to a byte.
    pub qs: [u8; 128],
}

// SAFETY: repr(C) over bytes and over `ScalesMins`, which is transparent over bytes.
unsafe impl Block<256> for Q5_K {
    fn dequantize(&self, out: &mut [f32; 256]) {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        let (scales, mins) = self.scales.unpacked();
        for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let scale = d * f32::from(scales[group]);
            let min = dmin * f32::from(mins[group]);
            let (qs, shift) = (&self.qs[32 * (group / 2)..], 4 * (group % 2));
            for ((w, q), h) in out.iter_mut().zip(qs).zip(&self.qh) {
                let code = (q >> shift & 15) | (h >> group & 1) << 4;
                *w = scale * f32::from(code) - min;
            }
        }
    }
}
