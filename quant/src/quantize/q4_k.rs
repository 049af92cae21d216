//! Q4_K: super-blocks of eight groups of 32, scales and minima 0 to 63, codes 0 to 15.

use super::affine::{Grid, grid};
use super::affine_super::{self, Coded, Search};
use super::lanes::{Lanes, Row};
use super::symmetric_super::spread;
use super::tile::{Encode, Groups, Tile, to_bytes};
use crate::formats::q4_k::{Q4_K, ScalesMins};

const GRID: &Grid = grid::<7, 5>((-0.3, 2.6), 0.5).as_flattened();
/// The largest scale, and the largest minimum, becomes about 63; Q5_K has the same.
pub(super) const SCALE_REACHES: [Row; 2] = [spread(64.0, -0.25), spread(60.0, -0.5)];
const SEARCH: Search<'static> = Search {
    top: 15.0,
    scale_top: 63.0,
    grid: GRID,
    scale_reaches: &SCALE_REACHES,
    windows: [(4, 1), (2, 1)],
    rounds: 1,
};

impl Encode for Q4_K {
    #[inline(always)]
    fn encode<L: Lanes>(l: L, tile: &Tile, out: &mut [Self]) -> usize {
        let coded = affine_super::encode::<L, 32>(l, &mut Groups::new(tile, 0, 8), &SEARCH);
        let codes = to_bytes(l, &coded.codes, 0.0);
        let mut clamped = 0;
        for (s, out) in out.iter_mut().enumerate() {
            out.qs = nibble_pairs(codes[8 * s..8 * s + 8].as_flattened());
            out.scales = packed(&coded, 8 * s);
            (out.d, out.dmin) = (coded.d[8 * s].d.f16, coded.d[8 * s].dmin.f16);
            clamped += usize::from(coded.d[8 * s].clamped());
        }
        clamped
    }
}

/// Byte 32p + j: the low four bits of code 64p + j, and of code 64p + 32 + j above them.
#[inline(always)]
pub(super) fn nibble_pairs(codes: &[u8]) -> [u8; 128] {
    let mut bytes = [0; 128];
    for (bytes, codes) in bytes.as_chunks_mut::<32>().0.iter_mut().zip(codes.as_chunks::<64>().0) {
        for j in 0..32 {
            bytes[j] = codes[j] & 15 | codes[j + 32] << 4;
        }
    }
    bytes
}

/// Scales and minima of the eight groups from lane `first` on.
pub(super) fn packed<const N: usize>(coded: &Coded<N>, first: usize) -> ScalesMins {
    let mut bytes = [0u8; 12];
    for g in 0..4 {
        let of = |row: &Row, group: usize| row.0[first + group] as u8;
        let (scale, min) = (of(&coded.scales, g), of(&coded.mins, g));
        let (scale4, min4) = (of(&coded.scales, g + 4), of(&coded.mins, g + 4));
        bytes[g] = scale | scale4 >> 4 << 6;
        bytes[g + 4] = min | min4 >> 4 << 6;
        bytes[g + 8] = scale4 & 15 | min4 << 4;
    }
    ScalesMins(bytes)
}
