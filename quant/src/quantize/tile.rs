//! What an encoder gets: 512 weights with their importances, and the same as sixteen groups side by side.

use super::lanes::{LANES, Lanes, Row, Vector};
use crate::formats::float::F16;

/// Weights of a tile: sixteen groups of 32, two super-blocks of 256.
pub(crate) const TILE: usize = 512;

/// Consecutive weights, all finite; zeros after the last.
pub(crate) struct Tile {
    /// The weights.
    pub x: [f32; TILE],
    /// What an error in each counts: positive and finite.
    pub w: [f32; TILE],
}

impl Tile {
    /// Zeros that count 1 each.
    pub fn new() -> Self {
        Self { x: [0.0; TILE], w: [1.0; TILE] }
    }
}

/// A format that weights can be written in.
pub(crate) trait Encode: Sized {
    /// Writes the tile's first blocks, as many as `out` has. Gives the number of blocks whose weights lie beyond what
    /// the format can hold, and were clamped.
    fn encode<L: Lanes>(l: L, tile: &Tile, out: &mut [Self]) -> usize;
}

/// Sixteen groups of N weights, one per lane, in units of a power of two that bring the largest of `share` neighbouring
/// groups to 1..2. So no square overflows, and none that matters vanishes.
pub(crate) struct Groups<const N: usize> {
    /// Weight j of each group.
    pub x: [Row; N],
    /// What an error in it counts.
    pub w: [Row; N],
    /// The unit of each group.
    pub unit: Row,
    /// Neighbouring groups that have the same unit.
    pub share: usize,
}

impl<const N: usize> Groups<N> {
    /// The groups that lie from weight `start` on.
    #[inline(always)]
    pub fn new(tile: &Tile, start: usize, share: usize) -> Self {
        let mut groups = Self { x: [Row([0.0; LANES]); N], w: [Row([0.0; LANES]); N], unit: Row([1.0; LANES]), share };
        let (x, w) = (&tile.x[start..start + LANES * N], &tile.w[start..start + LANES * N]);
        for (s, members) in x.chunks_exact(share * N).enumerate() {
            let (unit, inverse) = unit(top(members));
            for (i, group) in members.as_chunks::<N>().0.iter().enumerate() {
                let lane = s * share + i;
                groups.unit.0[lane] = unit;
                for j in 0..N {
                    groups.x[j].0[lane] = group[j] * inverse;
                }
            }
        }
        for (lane, group) in w.as_chunks::<N>().0.iter().enumerate() {
            for j in 0..N {
                groups.w[j].0[lane] = group[j];
            }
        }
        groups
    }
}

/// The largest magnitude.
#[inline(always)]
fn top(x: &[f32]) -> f32 {
    let mut tops = [0f32; LANES];
    for x in x.as_chunks::<LANES>().0 {
        for l in 0..LANES {
            tops[l] = if x[l].abs() > tops[l] { x[l].abs() } else { tops[l] };
        }
    }
    tops.iter().fold(0.0, |a, &b| if b > a { b } else { a })
}

/// The power of two at or below `top` (one that is normal; 1 for 0), and its inverse. Both are exact.
fn unit(top: f32) -> (f32, f32) {
    if top == 0.0 {
        return (1.0, 1.0);
    }
    let exponent = (top.to_bits() >> 23).max(1);
    // The inverse of 2^127 is subnormal: half the smallest normal number.
    let inverse = if exponent == 254 { 1 << 22 } else { (254 - exponent) << 23 };
    (f32::from_bits(exponent << 23), f32::from_bits(inverse))
}

/// A scale as a format stores it, and what became of it.
#[derive(Clone, Copy)]
pub(crate) struct Stored {
    /// The nearest f16 that is finite.
    pub f16: F16,
    /// Its value, in the group's unit.
    pub value: f32,
    /// Whether there is none near: the scale is beyond 65504.
    pub clamped: bool,
}

/// Stores `scale`, which is in units of `unit`.
pub(crate) fn stored(scale: f32, unit: f32) -> Stored {
    /// Halves from here on round to infinity.
    const BEYOND: f32 = 65520.0;
    let scale = scale * unit;
    let nearest = half::f16::from_f32_const(scale.clamp(-65504.0, 65504.0));
    let f16 = F16(nearest.to_le_bytes());
    Stored { f16, value: f16.to_f32() / unit, clamped: scale.abs() >= BEYOND }
}

/// The scales of all lanes as stored, and their values.
pub(crate) fn stored_all(scales: &Row, units: &Row) -> ([Stored; LANES], Row) {
    let all: [Stored; LANES] = std::array::from_fn(|l| stored(scales.0[l], units.0[l]));
    (all, Row(all.map(|s| s.value)))
}

/// `1 / x`, and 0 for 0.
#[inline(always)]
pub(crate) fn inverse<L: Lanes>(l: L, x: L::V) -> L::V {
    let (zero, inverse) = (l.splat(0.0), l.splat(1.0) / x);
    x.if_less(zero, inverse, zero.if_less(x, inverse, zero))
}

/// The codes of each lane's group, with `shift` added: integers from -128 to 255 as bytes.
#[inline(always)]
pub(crate) fn to_bytes<L: Lanes, const N: usize>(l: L, codes: &[Row; N], shift: f32) -> [[u8; N]; LANES] {
    // Adding 1.5 * 2^23 leaves an integer in the low bits of the float.
    let shift = l.splat(12_582_912.0 + shift);
    let mut bytes = [[0; N]; LANES];
    for j in 0..N {
        let row = (l.load(&codes[j]) + shift).store();
        for lane in 0..LANES {
            bytes[lane][j] = row.0[lane].to_bits() as u8;
        }
    }
    bytes
}
