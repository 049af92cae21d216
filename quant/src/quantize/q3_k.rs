//! Q3_K: super-blocks of sixteen groups of 16, scales -32 to 31, codes -4 to 3.

use super::codes::Integers;
use super::lanes::{Lanes, Row};
use super::q2_k::planes;
use super::symmetric::reaches;
use super::symmetric_super::{self, Search, spread};
use super::tile::{Encode, Groups, Tile, to_bytes};
use crate::formats::q3_k::Q3_K;

/// A group's extreme value becomes about -4, or about 3.
const REACHES: [f32; 32] = reaches::<18, 32>((-5.4, -2.8), (2.4, 4.4));
/// The largest scale becomes about -32, or about 31.
const SCALE_REACHES: [Row; 2] = [spread(-33.0, 0.4), spread(32.0, -0.4)];
const SEARCH: Search<'static> =
    Search { scales: (-32.0, 31.0), reaches: &REACHES, scale_reaches: &SCALE_REACHES, windows: (6, 2), rounds: 2 };

impl Encode for Q3_K {
    #[inline(always)]
    fn encode<L: Lanes>(l: L, tile: &Tile, out: &mut [Self]) -> usize {
        let mut clamped = 0;
        for (s, out) in out.iter_mut().enumerate() {
            let coded = symmetric_super::encode::<L, Integers<-4, 3>, 16>(l, &Groups::new(tile, 256 * s, 16), &SEARCH);
            let codes = to_bytes(l, &coded.codes, 4.0);
            let codes = codes.as_flattened();
            out.hmask = [0; 32];
            for (k, codes) in codes.as_chunks::<32>().0.iter().enumerate() {
                for l in 0..32 {
                    out.hmask[l] |= (codes[l] >> 2) << k;
                }
            }
            out.qs = planes(codes);
            out.scales = [0; 12];
            for (g, &scale) in coded.scales.0.iter().enumerate() {
                let scale = (scale + 32.0) as u8;
                out.scales[g % 8] |= (scale & 15) << (4 * (g / 8));
                out.scales[8 + g % 4] |= (scale >> 4) << (2 * (g / 4));
            }
            out.d = coded.d[0].f16;
            clamped += usize::from(coded.d[0].clamped);
        }
        clamped
    }
}
