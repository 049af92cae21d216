//! Q5_1: a scale and an offset, codes 0 to 31.

use super::affine;
use super::lanes::Lanes;
use super::q4_0::nibbles;
use super::q4_1::GRID;
use super::q5_0::fifth_bits;
use super::tile::{Encode, Groups, Tile, to_bytes};
use crate::formats::q5_1::Q5_1;

impl Encode for Q5_1 {
    #[inline(always)]
    fn encode<L: Lanes>(l: L, tile: &Tile, out: &mut [Self]) -> usize {
        let coded = affine::encode::<L, 32>(l, &mut Groups::new(tile, 0, 1), 31.0, GRID);
        let codes = to_bytes(l, &coded.codes, 0.0);
        for (lane, out) in out.iter_mut().enumerate() {
            let (d, m) = (coded.scales[lane].f16, coded.offsets[lane].f16);
            *out = Q5_1 { d, m, qh: fifth_bits(&codes[lane]), qs: nibbles(&codes[lane]) };
        }
        coded.clamped(out.len())
    }
}
