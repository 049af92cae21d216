//! Q4_0: one scale, codes -8 to 7.

use super::codes::Integers;
use super::lanes::Lanes;
use super::symmetric::{self, reaches};
use super::tile::{Encode, Groups, Tile, to_bytes};
use crate::formats::q4_0::Q4_0;

/// The extreme value becomes about -8, or about 7.
const REACHES: [f32; 42] = reaches::<24, 42>((-10.0, -6.0), (5.5, 9.0));

impl Encode for Q4_0 {
    #[inline(always)]
    fn encode<L: Lanes>(l: L, tile: &Tile, out: &mut [Self]) -> usize {
        let coded = symmetric::encode::<L, Integers<-8, 7>, 32>(l, &Groups::new(tile, 0, 1), &REACHES);
        let codes = to_bytes(l, &coded.codes, 8.0);
        for ((out, d), codes) in out.iter_mut().zip(&coded.scales).zip(&codes) {
            *out = Q4_0 { d: d.f16, qs: nibbles(codes) };
        }
        coded.scales.iter().take(out.len()).filter(|d| d.clamped).count()
    }
}

/// Byte j: the low four bits of code j, and of code j + 16 above them.
#[inline(always)]
pub(super) fn nibbles(codes: &[u8; 32]) -> [u8; 16] {
    let mut bytes = [0; 16];
    for j in 0..16 {
        bytes[j] = codes[j] & 15 | codes[j + 16] << 4;
    }
    bytes
}
