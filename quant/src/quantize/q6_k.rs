//! Q6_K: super-blocks of sixteen groups of 16, scales -128 to 127, codes -32 to 31.

use super::codes::Integers;
use super::lanes::{Lanes, Row};
use super::symmetric::reaches;
use super::symmetric_super::{self, Search, spread};
use super::tile::{Encode, Groups, Tile, to_bytes};
use crate::formats::q6_k::Q6_K;

/// A group's extreme value becomes about -32, or about 31.
const REACHES: [f32; 50] = reaches::<30, 50>((-33.5, -26.0), (26.0, 32.5));
/// The largest scale becomes about -128, or about 127.
const SCALE_REACHES: [Row; 2] = [spread(-130.0, 1.5), spread(129.0, -1.5)];
const SEARCH: Search<'static> =
    Search { scales: (-128.0, 127.0), reaches: &REACHES, scale_reaches: &SCALE_REACHES, windows: (3, 1), rounds: 1 };

impl Encode for Q6_K {
    #[inline(always)]
    fn encode<L: Lanes>(l: L, tile: &Tile, out: &mut [Self]) -> usize {
        let mut clamped = 0;
        for (s, out) in out.iter_mut().enumerate() {
            let coded =
                symmetric_super::encode::<L, Integers<-32, 31>, 16>(l, &Groups::new(tile, 256 * s, 16), &SEARCH);
            let codes = to_bytes(l, &coded.codes, 32.0);
            let codes = codes.as_flattened();
            for h in 0..2 {
                let codes = &codes[128 * h..128 * h + 128];
                for l in 0..32 {
                    let q: [u8; 4] = [codes[l], codes[l + 32], codes[l + 64], codes[l + 96]];
                    out.ql[64 * h + l] = q[0] & 15 | q[2] << 4;
                    out.ql[64 * h + 32 + l] = q[1] & 15 | q[3] << 4;
                    out.qh[32 * h + l] = q[0] >> 4 | (q[1] >> 4) << 2 | (q[2] >> 4) << 4 | (q[3] >> 4) << 6;
                }
            }
            out.scales = coded.scales.0.map(|scale| scale as i8);
            out.d = coded.d[0].f16;
            clamped += usize::from(coded.d[0].clamped);
        }
        clamped
    }
}
