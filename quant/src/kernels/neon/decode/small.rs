//! Formats with blocks of 32 weights: the numbers in front of a record are the group's.

use super::Format;
use super::bits::{add_times, halves, zeros};
use crate::formats::iq4_nl::VALUES;
use crate::kernels::neon::registers::Rows;
use crate::panel::HALVES;
use std::arch::aarch64::*;

/// Signed bytes.
pub(in super::super) struct Q8_0;
/// The same for wide activations.
pub(in super::super) struct Q8Wide;
/// Codes around 8: a minimum of -8 scales.
pub(in super::super) struct Q4_0;
/// Codes from a minimum.
pub(in super::super) struct Q4_1;
/// As signed codes.
pub(in super::super) struct Q5_0;
/// As Q4_1, of signed codes.
pub(in super::super) struct Q5_1;
/// Codes into a table of signed bytes.
#[allow(non_camel_case_types)]
pub(in super::super) struct IQ4_NL;

/// `by` times each.
#[inline(always)]
fn times(v: &Rows<float32x4_t>, by: f32) -> Rows<float32x4_t> {
    // SAFETY: every 64-bit Arm has NEON.
    v.map(|v| unsafe { vmulq_n_f32(v, by) })
}

/// What the table of the IQ4 formats has for the codes.
#[inline(always)]
pub(super) fn look_up(codes: uint8x16_t) -> int8x16_t {
    // SAFETY: VALUES has 16 bytes; every 64-bit Arm has NEON.
    unsafe { vqtbl1q_s8(vld1q_s8(VALUES.as_ptr()), codes) }
}

/// A format whose head is its scale.
macro_rules! scaled {
    ($format:ident, bits = $bits:literal $(, center = $center:literal)? $(, wide = $wide:literal)? $(, code = $code:path)?) => {
        impl Format for $format {
            const NUMBERS: usize = 1;
            const BITS: usize = $bits;
            $(const WIDE: bool = $wide;)?
            type Head = Rows<float32x4_t>;

            #[inline(always)]
            unsafe fn head(record: *const u8) -> Self::Head {
                // SAFETY: d is inside the record.
                unsafe { halves(record) }
            }

            #[inline(always)]
            unsafe fn scale(_record: *const u8, head: &Self::Head, _g: usize) -> Rows<float32x4_t> {
                *head
            }

            $(
                const MINS: usize = 1;

                #[inline(always)]
                unsafe fn mins(_record: *const u8, head: &Self::Head, _g: usize) -> [Rows<float32x4_t>; 2] {
                    [times(head, -$center), zeros()]
                }
            )?
            $(
                #[inline(always)]
                fn code(bits: uint8x16_t) -> int8x16_t {
                    $code(bits)
                }
            )?
        }
    };
}

scaled!(Q8_0, bits = 8);
scaled!(Q8Wide, bits = 8, wide = true);
scaled!(Q4_0, bits = 4, center = 8.0);
scaled!(Q5_0, bits = 5);
scaled!(IQ4_NL, bits = 4, code = look_up);

/// A format whose head is its scale and what it adds.
macro_rules! shifted {
    ($format:ident, bits = $bits:literal, center = $center:literal) => {
        impl Format for $format {
            const NUMBERS: usize = 2;
            const BITS: usize = $bits;
            const MINS: usize = 1;
            type Head = [Rows<float32x4_t>; 2];

            #[inline(always)]
            unsafe fn head(record: *const u8) -> Self::Head {
                // SAFETY: d and m are inside the record.
                let [d, m] = unsafe { [halves(record), halves(record.add(HALVES))] };
                [d, if $center == 0.0 { m } else { add_times(m, d, $center) }]
            }

            #[inline(always)]
            unsafe fn scale(_record: *const u8, head: &Self::Head, _g: usize) -> Rows<float32x4_t> {
                head[0]
            }

            #[inline(always)]
            unsafe fn mins(_record: *const u8, head: &Self::Head, _g: usize) -> [Rows<float32x4_t>; 2] {
                [head[1], zeros()]
            }
        }
    };
}

shifted!(Q4_1, bits = 4, center = 0.0);
shifted!(Q5_1, bits = 5, center = 16.0);
