//! Q2_K: super-blocks of sixteen groups of 16, scales and minima 0 to 15, codes 0 to 3.

use super::affine::{Grid, grid};
use super::affine_super::{self, Search};
use super::lanes::{Lanes, Row};
use super::symmetric_super::spread;
use super::tile::{Encode, Groups, Tile, to_bytes};
use crate::formats::q2_k::Q2_K;

const GRID: &Grid = grid::<7, 5>((-0.3, 2.4), 0.6).as_flattened();
/// The largest scale, and the largest minimum, becomes about 15.
const SCALE_REACHES: [Row; 2] = [spread(18.0, -0.25), spread(14.0, -0.4)];
const SEARCH: Search<'static> = Search {
    top: 3.0,
    scale_top: 15.0,
    grid: GRID,
    scale_reaches: &SCALE_REACHES,
    windows: [(3, 2), (2, 1)],
    rounds: 3,
};

impl Encode for Q2_K {
    #[inline(always)]
    fn encode<L: Lanes>(l: L, tile: &Tile, out: &mut [Self]) -> usize {
        let mut clamped = 0;
        for (s, out) in out.iter_mut().enumerate() {
            let coded = affine_super::encode::<L, 16>(l, &mut Groups::new(tile, 256 * s, 16), &SEARCH);
            let codes = to_bytes(l, &coded.codes, 0.0);
            out.qs = planes(codes.as_flattened());
            for g in 0..16 {
                out.scales[g] = coded.scales.0[g] as u8 | (coded.mins.0[g] as u8) << 4;
            }
            (out.d, out.dmin) = (coded.d[0].d.f16, coded.d[0].dmin.f16);
            clamped += usize::from(coded.d[0].clamped());
        }
        clamped
    }
}

/// The low two bits of 256 codes, as they lie in Q2_K and Q3_K: four planes in each of two halves.
#[inline(always)]
pub(super) fn planes(codes: &[u8]) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (bytes, codes) in bytes.as_chunks_mut::<32>().0.iter_mut().zip(codes.as_chunks::<128>().0) {
        for l in 0..32 {
            for p in 0..4 {
                bytes[l] |= (codes[32 * p + l] & 3) << (2 * p);
            }
        }
    }
    bytes
}
