//! IQ4_XS: super-blocks of eight groups of 32, scales -32 to 31, codes into the table of IQ4_NL.

use super::codes::Table;
use super::iq4_nl::REACHES;
use super::lanes::{Lanes, Row};
use super::q4_0::nibbles;
use super::symmetric_super::{self, Search, spread};
use super::tile::{Encode, Groups, Tile, to_bytes};
use crate::formats::iq4_xs::IQ4_XS;

/// The largest scale becomes about -32, or about 31.
const SCALE_REACHES: [Row; 2] = [spread(-33.0, 0.4), spread(32.0, -0.4)];
const SEARCH: Search<'static> =
    Search { scales: (-32.0, 31.0), reaches: &REACHES, scale_reaches: &SCALE_REACHES, windows: (3, 1), rounds: 2 };

impl Encode for IQ4_XS {
    #[inline(always)]
    fn encode<L: Lanes>(l: L, tile: &Tile, out: &mut [Self]) -> usize {
        let coded = symmetric_super::encode::<L, Table, 32>(l, &Groups::new(tile, 0, 8), &SEARCH);
        let values = to_bytes(l, &coded.codes, 0.0);
        let mut clamped = 0;
        for (s, out) in out.iter_mut().enumerate() {
            let (mut scales_l, mut scales_h) = ([0; 4], 0u16);
            for g in 0..8 {
                let scale = (coded.scales.0[8 * s + g] + 32.0) as u8;
                scales_l[g / 2] |= (scale & 15) << (4 * (g % 2));
                scales_h |= u16::from(scale >> 4) << (2 * g);
                out.qs.as_chunks_mut::<16>().0[g] = nibbles(&values[8 * s + g].map(Table::code));
            }
            (out.d, out.scales_h, out.scales_l) = (coded.d[8 * s].f16, scales_h.to_le_bytes(), scales_l);
            clamped += usize::from(coded.d[8 * s].clamped);
        }
        clamped
    }
}
