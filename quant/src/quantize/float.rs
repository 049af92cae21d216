//! F32, F16, BF16: rounding to the nearest, to even in a tie; a finite value stays finite.

use super::lanes::Lanes;
use super::tile::{Encode, Tile};
use crate::formats::float::{BF16, F16, F32};

impl Encode for F32 {
    fn encode<L: Lanes>(_: L, tile: &Tile, out: &mut [Self]) -> usize {
        for (out, x) in out.iter_mut().zip(&tile.x) {
            *out = F32(x.to_le_bytes());
        }
        0
    }
}

impl Encode for F16 {
    #[inline(always)]
    fn encode<L: Lanes>(_: L, tile: &Tile, out: &mut [Self]) -> usize {
        /// From here on the nearest half would be infinity.
        const BEYOND: f32 = 65520.0;
        let mut clamped = 0;
        for (out, &x) in out.iter_mut().zip(&tile.x) {
            clamped += usize::from(x.abs() >= BEYOND);
            *out = F16(half::f16::from_f32_const(x.clamp(-65504.0, 65504.0)).to_le_bytes());
        }
        clamped
    }
}

impl Encode for BF16 {
    #[inline(always)]
    fn encode<L: Lanes>(_: L, tile: &Tile, out: &mut [Self]) -> usize {
        /// Bits of the first magnitude whose nearest bf16 would be infinity.
        const BEYOND: u32 = 0x7f7f_8000;
        let mut clamped = 0;
        for (out, x) in out.iter_mut().zip(&tile.x) {
            let (sign, magnitude) = (x.to_bits() & 0x8000_0000, x.to_bits() & 0x7fff_ffff);
            clamped += usize::from(magnitude >= BEYOND);
            let magnitude = magnitude.min(BEYOND - 1);
            let rounded = magnitude + 0x7fff + (magnitude >> 16 & 1);
            *out = BF16((((sign | rounded) >> 16) as u16).to_le_bytes());
        }
        clamped
    }
}
