//! Q4_1: a scale and an offset, codes 0 to 15.

use super::affine::{self, Grid, grid};
use super::lanes::Lanes;
use super::q4_0::nibbles;
use super::tile::{Encode, Groups, Tile, to_bytes};
use crate::formats::q4_1::Q4_1;

/// See [`Grid`]; Q5_1 has the same.
pub(super) const GRID: &Grid = grid::<14, 11>((-0.8, 2.8), 0.6).as_flattened();

impl Encode for Q4_1 {
    #[inline(always)]
    fn encode<L: Lanes>(l: L, tile: &Tile, out: &mut [Self]) -> usize {
        let coded = affine::encode::<L, 32>(l, &mut Groups::new(tile, 0, 1), 15.0, GRID);
        let codes = to_bytes(l, &coded.codes, 0.0);
        for (lane, out) in out.iter_mut().enumerate() {
            let (d, m) = (coded.scales[lane].f16, coded.offsets[lane].f16);
            *out = Q4_1 { d, m, qs: nibbles(&codes[lane]) };
        }
        coded.clamped(out.len())
    }
}
