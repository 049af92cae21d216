//! Q8_0: no search. The bytes are those of llama.cpp: the largest magnitude is code 127 or -127, ties round away from
//! zero, and codes are made before the scale is rounded to f16.

use super::lanes::Lanes;
use super::tile::{Encode, Tile, stored};
use crate::formats::q8_0::Q8_0;

impl Encode for Q8_0 {
    #[inline(always)]
    fn encode<L: Lanes>(_: L, tile: &Tile, out: &mut [Self]) -> usize {
        let mut clamped = 0;
        for (out, x) in out.iter_mut().zip(tile.x.as_chunks::<32>().0) {
            let top = x.iter().fold(0f32, |a, b| if b.abs() > a { b.abs() } else { a });
            let scale = top / 127.0;
            let d = stored(scale, 1.0);
            let scale = if d.clamped { d.value } else { scale };
            // The inverse of a scale near the smallest float is beyond the largest: such a block is all zeros.
            let inverse = if scale == 0.0 || (1.0 / scale).is_infinite() { 0.0 } else { 1.0 / scale };
            out.d = d.f16;
            for (q, &x) in out.qs.iter_mut().zip(x) {
                *q = round_half_away(x * inverse) as i8;
            }
            clamped += usize::from(d.clamped);
        }
        clamped
    }
}

/// `x.round()` in a form that becomes vectors; saturates as i8 after it.
#[inline(always)]
fn round_half_away(x: f32) -> i32 {
    let x = x.clamp(-128.0, 127.0);
    let whole = x as i32;
    // Exact: the difference of a float below 2^23 and its integer part is a float.
    let rest = x - whole as f32;
    whole + i32::from(rest >= 0.5) - i32::from(rest <= -0.5)
}
