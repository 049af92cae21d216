//! Q5_0: one scale, codes -16 to 15.

use super::codes::Integers;
use super::lanes::Lanes;
use super::q4_0::nibbles;
use super::symmetric::{self, reaches};
use super::tile::{Encode, Groups, Tile, to_bytes};
use crate::formats::q5_0::Q5_0;

/// The extreme value becomes about -16, or about 15.
const REACHES: [f32; 50] = reaches::<28, 50>((-18.0, -13.0), (12.5, 17.0));

impl Encode for Q5_0 {
    #[inline(always)]
    fn encode<L: Lanes>(l: L, tile: &Tile, out: &mut [Self]) -> usize {
        let coded = symmetric::encode::<L, Integers<-16, 15>, 32>(l, &Groups::new(tile, 0, 1), &REACHES);
        let codes = to_bytes(l, &coded.codes, 16.0);
        for ((out, d), codes) in out.iter_mut().zip(&coded.scales).zip(&codes) {
            *out = Q5_0 { d: d.f16, qh: fifth_bits(codes), qs: nibbles(codes) };
        }
        coded.scales.iter().take(out.len()).filter(|d| d.clamped).count()
    }
}

/// Bit j: the fifth bit of code j.
#[inline(always)]
pub(super) fn fifth_bits(codes: &[u8; 32]) -> [u8; 4] {
    let mut bits = 0u32;
    for j in 0..32 {
        bits |= u32::from(codes[j] >> 4 & 1) << j;
    }
    bits.to_le_bytes()
}
