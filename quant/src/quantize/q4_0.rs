//! Q4_0: one scale, codes -8 to 7.

use super::codes::Integers;
use super::lanes::Lanes;
use super::symmetric;
use super::tile::{Encode, Groups, Tile, to_bytes};
use crate::formats::q4_0::Q4_0;

/// The extreme value becomes about -8, or about 7.
const REACHES: [f32; 20] = [
    -9.5, -9.0, -8.7, -8.4, -8.2, -8.0, -7.8, -7.6, -7.3, -7.0, -6.5, 6.0, 6.4, 6.7, 7.0, 7.2, 7.5, 7.8, 8.2, 8.7,
];

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
