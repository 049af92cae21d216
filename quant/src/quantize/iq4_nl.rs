//! IQ4_NL: one scale, codes into a table.

use super::codes::Table;
use super::lanes::Lanes;
use super::q4_0::nibbles;
use super::symmetric;
use super::tile::{Encode, Groups, Tile, to_bytes};
use crate::formats::iq4_nl::IQ4_NL;

/// The extreme value becomes about -127, or about 113; IQ4_XS has the same.
pub(super) const REACHES: [f32; 18] = [
    -150.0, -142.0, -136.0, -131.0, -127.0, -123.0, -119.0, -114.0, -108.0, -102.0, 100.0, 105.0, 109.0, 113.0, 117.0,
    121.0, 126.0, 133.0,
];

impl Encode for IQ4_NL {
    #[inline(always)]
    fn encode<L: Lanes>(l: L, tile: &Tile, out: &mut [Self]) -> usize {
        let coded = symmetric::encode::<L, Table, 32>(l, &Groups::new(tile, 0, 1), &REACHES);
        let values = to_bytes(l, &coded.codes, 0.0);
        for ((out, d), values) in out.iter_mut().zip(&coded.scales).zip(&values) {
            *out = IQ4_NL { d: d.f16, qs: nibbles(&values.map(Table::code)) };
        }
        coded.scales.iter().take(out.len()).filter(|d| d.clamped).count()
    }
}
