//! IQ4_XS: 8 groups of 32 codes of IQ4_NL, each with a six-bit scale around 32.
//!
//! ```text
//! byte 0   d         f16    scale of the scales
//!      2   scales_h  u16    bits 2g, 2g+1 = upper two bits of the scale of group g
//!      4   scales_l  [4]    low four bits: low nibble (g even) or high nibble (g odd) of byte g / 2
//!      8   qs        [128]  16 bytes a group, byte j: low nibble = code j, high nibble = code j + 16
//!
//! w = (d * (scale - 32)) * VALUES[code]
//! ```

use super::Block;
use super::float::F16;
use super::iq4_nl::look_up;

/// 256 weights in 136 bytes.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct IQ4_XS {
    /// Scale of the scales.
    pub d: F16,
    /// Upper two bits of the scales, little-endian.
    pub scales_h: [u8; 2],
    /// Low four bits of the scales, two to a byte.
    pub scales_l: [u8; 4],
    /// Codes, two to a byte.
    pub qs: [u8; 128],
}

impl IQ4_XS {
    /// The scales of the 8 groups: -32..=31.
    pub fn unpacked_scales(&self) -> [i8; 8] {
        let high = u16::from_le_bytes(self.scales_h);
        std::array::from_fn(|g| {
            let low = self.scales_l[g / 2] >> (4 * (g % 2)) & 15;
            (low | ((high >> (2 * g) & 3) << 4) as u8) as i8 - 32
        })
    }
}

// SAFETY: repr(C) over bytes.
unsafe impl Block<256> for IQ4_XS {
    fn dequantize(&self, out: &mut [f32; 256]) {
        let d = self.d.to_f32();
        let groups = self.qs.as_chunks().0.iter().zip(out.as_chunks_mut().0);
        for (scale, (qs, out)) in self.unpacked_scales().into_iter().zip(groups) {
            look_up(d * f32::from(scale), qs, out);
        }
    }
}
