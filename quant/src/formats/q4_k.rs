//! Q4_K: 256 four-bit codes in 8 groups of 32, each with a six-bit scale and a six-bit minimum.
//!
//! ```text
//! byte  0   d       f16    scale of the scales
//!       2   dmin    f16    scale of the minima
//!       4   scales  [12]   see `ScalesMins`
//!      16   qs      [128]  byte 32p + l: low nibble = code 64p + l, high nibble = code 64p + 32 + l
//!
//! w = (d * scale) * code - (dmin * minimum)
//! ```

use super::Block;
use super::float::F16;

/// 256 weights in 144 bytes.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q4_K {
    /// Scale of the scales.
    pub d: F16,
    /// Scale of the minima.
    pub dmin: F16,
    /// Scales and minima of the eight groups.
    pub scales: ScalesMins,
    /// Codes, two to a byte.
    pub qs: [u8; 128],
}

/// Eight scales and eight minima of six bits in 12 bytes; Q5_K has them too.
///
/// ```text
/// byte 0..4    scale 0..4 in bits 0-5, upper bits of scale 4..8 in bits 6-7
///      4..8    min   0..4 in bits 0-5, upper bits of min   4..8 in bits 6-7
///      8..12   lower four bits of scale 4..8 (low nibble) and of min 4..8 (high nibble)
/// ```
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct ScalesMins(pub [u8; 12]);

impl ScalesMins {
    /// The scales and the minima of the eight groups: 0..=63.
    pub fn unpacked(&self) -> ([u8; 8], [u8; 8]) {
        let b = &self.0;
        let scales = std::array::from_fn(|g| if g < 4 { b[g] & 63 } else { (b[g + 4] & 15) | (b[g - 4] >> 6) << 4 });
        let mins = std::array::from_fn(|g| if g < 4 { b[g + 4] & 63 } else { (b[g + 4] >> 4) | (b[g] >> 6) << 4 });
        (scales, mins)
    }
}

// SAFETY: repr(C) over bytes and over `ScalesMins`, which is transparent over bytes.
unsafe impl Block<256> for Q4_K {
    fn dequantize(&self, out: &mut [f32; 256]) {
        let (d, dmin) = (self.d.to_f32(), self.dmin.to_f32());
        let (scales, mins) = self.scales.unpacked();
        for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let scale = d * f32::from(scales[group]);
            let min = dmin * f32::from(mins[group]);
            let (qs, shift) = (&self.qs[32 * (group / 2)..], 4 * (group % 2));
            for (w, q) in out.iter_mut().zip(qs) {
                *w = scale * f32::from(q >> shift & 15) - min;
            }
        }
    }
}
