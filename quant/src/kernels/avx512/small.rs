//! Unpacking of the formats with blocks of 32 weights: a record is a group.

use super::decode::{fives, halves, line, looked_up, nibbles, vectors, widened};
use super::group::{Around, Narrow, Wide};
use super::tile::Decode;
use crate::kernels::PANEL;
use crate::panel::HALVES;
use std::arch::x86_64::*;

/// A format of narrow codes: `codes` from the record's lines on, `min` from scale and record.
macro_rules! narrow {
    ($($(#[$doc:meta])* $name:ident: $block:literal bytes, $codes:ident at $at:expr, |$scale:ident, $record:ident| $min:expr;)*) => { $(
        $(#[$doc])*
        pub(super) struct $name;

        impl Decode for $name {
            type Group = Narrow<1>;
            const BYTES: usize = $block * PANEL;

            #[inline(always)]
            unsafe fn group(panel: *const u8, g: usize) -> Narrow<1> {
                // SAFETY: group g is inside the panel.
                unsafe {
                    let $record = panel.add(g * Self::BYTES);
                    let $scale = halves($record);
                    Narrow { codes: $codes($record.add($at)), scale: $scale, min: [$min] }
                }
            }
        }
    )* };
}

/// Minus the f16 numbers after the scales: what is added in these formats.
#[inline(always)]
unsafe fn minus_m(record: *const u8) -> __m512 {
    // SAFETY: the record is readable, by the caller.
    unsafe { _mm512_sub_ps(_mm512_setzero_ps(), halves(record.add(HALVES))) }
}

/// A format of narrow codes around a number, from the record's numbers on.
macro_rules! around {
    ($($(#[$doc:meta])* $name:ident: $block:literal bytes, $codes:ident around $center:literal;)*) => { $(
        $(#[$doc])*
        pub(super) struct $name;

        impl Decode for $name {
            type Group = Around<$center>;
            const BYTES: usize = $block * PANEL;

            #[inline(always)]
            unsafe fn group(panel: *const u8, g: usize) -> Self::Group {
                // SAFETY: group g is inside the panel.
                unsafe {
                    let record = panel.add(g * Self::BYTES);
                    Around { codes: $codes(record.add(HALVES)), scale: halves(record) }
                }
            }
        }
    )* };
}

around! {
    Q4_0: 18 bytes, nibbles around 8;
    Q5_0: 22 bytes, fives around 16;
    /// Values of a table.
    Iq4Nl: 18 bytes, looked_up around 128;
    /// Signed bytes, made unsigned.
    Q8_0: 34 bytes, bytes_around around 128;
}

/// Signed bytes plus 128.
#[inline(always)]
unsafe fn bytes_around(p: *const u8) -> [__m512i; 8] {
    // SAFETY: eight lines are readable at `p`, by the caller.
    unsafe { vectors!(8, Q => _mm512_xor_si512(line(p, Q), _mm512_set1_epi8(-128))) }
}

narrow! {
    /// Codes from a minimum on.
    Q4_1: 20 bytes, nibbles at 2 * HALVES, |scale, record| minus_m(record);
    /// Codes from a minimum on.
    Q5_1: 24 bytes, fives at 2 * HALVES, |scale, record| minus_m(record);
}

/// Q8_0 for wide activations: signed bytes, widened to 16 bits.
pub(super) struct Q8Wide;

impl Decode for Q8Wide {
    type Group = Wide;
    const BYTES: usize = 34 * PANEL;

    #[inline(always)]
    unsafe fn group(panel: *const u8, g: usize) -> Wide {
        // SAFETY: group g is inside the panel.
        unsafe {
            let record = panel.add(g * Self::BYTES);
            let quads = vectors!(8, Q => line(record.add(HALVES), Q));
            Wide { codes: widened(quads), scale: halves(record) }
        }
    }
}
