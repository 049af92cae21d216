//! Q3_K: 256 three-bit codes around 4 in 16 groups of 16, each with a six-bit scale around 32. The third bits lie apart.
//!
//! ```text
//! byte   0   hmask   [32]  bit k of byte l = third bit of code 32k + l
//!       32   qs      [64]  low two bits, as in Q2_K: code 128h + 32p + l = bits 2p, 2p+1 of byte 32h + l
//!       96   scales  [12]  group g: low four bits = low (g < 8) or high (g >= 8) nibble of byte g % 8,
//!                          high two bits = bits 2(g/4), 2(g/4)+1 of byte 8 + g % 4
//!      108   d       f16   scale of the scales
//!
//! w = (d * (scale - 32)) * (code - 4)
//! ```

use super::Block;
use super::float::F16;
use super::q2_k::plane;

/// 256 weights in 110 bytes.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q3_K {
    /// Third bits, eight to a byte.
    pub hmask: [u8; 32],
    /// Low two bits, four to a byte.
    pub qs: [u8; 64],
    /// Sixteen scales of six bits.
    pub scales: [u8; 12],
    /// Scale of the scales.
    pub d: F16,
}

impl Q3_K {
    /// The scales of the 16 groups: -32..=31.
    pub fn unpacked_scales(&self) -> [i8; 16] {
        std::array::from_fn(|g| {
            let low = self.scales[g % 8] >> (4 * (g / 8)) & 15;
            let high = self.scales[8 + g % 4] >> (2 * (g / 4)) & 3;
            (low | high << 4) as i8 - 32
        })
    }
}

// SAFETY: repr(C) over bytes.
unsafe impl Block<256> for Q3_K {
    fn dequantize(&self, out: &mut [f32; 256]) {
        let d = self.d.to_f32();
        let scales = self.unpacked_scales();
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let scale = d * f32::from(scales[group]);
            let (qs, shift) = plane(&self.qs, group);
            let hmask = &self.hmask[16 * (group % 2)..];
            for ((w, q), h) in out.iter_mut().zip(qs).zip(hmask) {
                let code = (q >> shift & 3) | (h >> (group / 2) & 1) << 2;
                *w = scale * (f32::from(code) - 4.0);
            }
        }
    }
}
