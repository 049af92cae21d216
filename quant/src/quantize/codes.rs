//! What codes stand for: integers of a range, or the values of IQ4_NL's table.

use super::lanes::{Lanes, Vector};
use crate::formats::iq4_nl::VALUES;

/// A set of values.
pub(crate) trait Codes {
    /// The value nearest to `v`, ties either way; the lowest for NaN.
    fn nearest<L: Lanes>(l: L, v: L::V) -> L::V;
}

/// The nearest integers; to even in a tie. For magnitudes below 2^22, and monotonous beyond.
#[inline(always)]
pub(crate) fn round<L: Lanes>(l: L, v: L::V) -> L::V {
    let magic = l.splat(12_582_912.0); // 1.5 * 2^23: there the distance between floats is 1
    (v + magic) - magic
}

/// The nearest integers from `low` to `high`; `low` for NaN.
#[inline(always)]
pub(crate) fn round_within<L: Lanes>(l: L, v: L::V, low: f32, high: f32) -> L::V {
    round(l, v.max(l.splat(low)).min(l.splat(high)))
}

/// All integers from LOW to HIGH.
pub(crate) struct Integers<const LOW: i32, const HIGH: i32>;

impl<const LOW: i32, const HIGH: i32> Codes for Integers<LOW, HIGH> {
    #[inline(always)]
    fn nearest<L: Lanes>(l: L, v: L::V) -> L::V {
        round_within(l, v, LOW as f32, HIGH as f32)
    }
}

/// The sixteen values of IQ4_NL.
pub(crate) struct Table;

impl Codes for Table {
    #[inline(always)]
    fn nearest<L: Lanes>(l: L, v: L::V) -> L::V {
        let mut nearest = l.splat(f32::from(VALUES[0]));
        let zero = l.splat(0.0);
        for pair in VALUES.array_windows::<2>() {
            let [low, high] = pair.map(f32::from);
            nearest = nearest + l.splat((low + high) / 2.0).if_less(v, l.splat(high - low), zero);
        }
        nearest
    }
}

impl Table {
    /// The code of a value of the table, given as a byte.
    pub fn code(value: u8) -> u8 {
        const CODES: [u8; 256] = {
            let (mut codes, mut code) = ([0; 256], 0);
            while code < VALUES.len() {
                codes[VALUES[code] as u8 as usize] = code as u8;
                code += 1;
            }
            codes
        };
        CODES[usize::from(value)]
    }
}
