//! Q5_K: super-blocks of eight groups of 32, scales and minima 0 to 63, codes 0 to 31.

use super::affine::{Grid, grid};
use super::affine_super::{self, Search};
use super::lanes::Lanes;
use super::q4_k::{SCALE_REACHES, nibble_pairs, packed};
use super::tile::{Encode, Groups, Tile, to_bytes};
use crate::formats::q5_k::Q5_K;

const GRID: &Grid = grid::<6, 3>((-0.3, 2.2), 0.4).as_flattened();
const SEARCH: Search<'static> = Search {
    top: 31.0,
    scale_top: 63.0,
    grid: GRID,
    scale_reaches: &SCALE_REACHES,
    windows: [(4, 2), (2, 1)],
    rounds: 2,
};

impl Encode for Q5_K {
    #[inline(always)]
    fn encode<L: Lanes>(l: L, tile: &Tile, out: &mut [Self]) -> usize {
        let coded = affine_super::encode::<L, 32>(l, &mut Groups::new(tile, 0, 8), &SEARCH);
        let codes = to_bytes(l, &coded.codes, 0.0);
        let mut clamped = 0;
        for (s, out) in out.iter_mut().enumerate() {
            let codes = &codes[8 * s..8 * s + 8];
            out.qh = [0; 32];
            for (g, codes) in codes.iter().enumerate() {
                for j in 0..32 {
                    out.qh[j] |= (codes[j] >> 4) << g;
                }
            }
            out.qs = nibble_pairs(codes.as_flattened());
            out.scales = packed(&coded, 8 * s);
            (out.d, out.dmin) = (coded.d[8 * s].d.f16, coded.d[8 * s].dmin.f16);
            clamped += usize::from(coded.d[8 * s].clamped());
        }
        clamped
    }
}
