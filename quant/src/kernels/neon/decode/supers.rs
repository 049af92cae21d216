//! Formats with blocks of 256 weights: scales of groups, or of halves of groups, inside of the block's.

use super::Format;
use super::bits::{add_times, bytes_to_f32, bytes_to_s32, halves, mul, nibbles, zeros};
use super::small::look_up;
use crate::kernels::PANEL;
use crate::kernels::neon::registers::Rows;
use crate::panel::HALVES;
use std::arch::aarch64::*;

/// Two bits; integer scales and minima of halves.
#[allow(non_camel_case_types)]
pub(in super::super) struct Q2_K;
/// Three bits; integer scales of halves.
#[allow(non_camel_case_types)]
pub(in super::super) struct Q3_K;
/// Four bits; scales and minima of groups.
#[allow(non_camel_case_types)]
pub(in super::super) struct Q4_K;
/// Five bits; as Q4_K.
#[allow(non_camel_case_types)]
pub(in super::super) struct Q5_K;
/// Six bits; integer scales of halves.
#[allow(non_camel_case_types)]
pub(in super::super) struct Q6_K;
/// Codes into a table; scales of groups.
#[allow(non_camel_case_types)]
pub(in super::super) struct IQ4_XS;

/// Number `i` of the sixes whose low bytes start at `low` and high bytes at `high`.
///
/// # Safety
/// The bytes of number `i` are readable.
#[inline(always)]
unsafe fn six(low: *const u8, high: *const u8, i: usize) -> uint8x16_t {
    // SAFETY: by the caller; every 64-bit Arm has NEON.
    unsafe {
        let (low, high) = (vld1q_u8(low.add(i / 2 * PANEL)), vld1q_u8(high.add(i / 4 * PANEL)));
        // A shift to the left by a negative number is one to the right.
        let low = vandq_u8(vshlq_u8(low, vdupq_n_s8(-4 * (i % 2) as i8)), vdupq_n_u8(15));
        let high = vandq_u8(vshlq_u8(high, vdupq_n_s8(4 - 2 * (i % 4) as i8)), vdupq_n_u8(0x30));
        vorrq_u8(low, high)
    }
}

/// Number `i` of the sixes, around 32.
///
/// # Safety
/// As [`six`].
#[inline(always)]
unsafe fn signed_six(low: *const u8, high: *const u8, i: usize) -> Rows<int32x4_t> {
    // SAFETY: by the caller; every 64-bit Arm has NEON.
    unsafe { bytes_to_s32(vsubq_s8(vreinterpretq_s8_u8(six(low, high, i)), vdupq_n_s8(32))) }
}

/// d, and dmin with the sign that sums want: the file subtracts it.
///
/// # Safety
/// Both are readable at the start of a record.
#[inline(always)]
unsafe fn d_dmin(record: *const u8) -> [Rows<float32x4_t>; 2] {
    // SAFETY: by the caller; every 64-bit Arm has NEON.
    unsafe { [halves(record), halves(record.add(HALVES)).map(|v| vnegq_f32(v))] }
}

/// Q4_K and Q5_K: 4 low bytes of scales and of minima, 2 high bytes of each.
macro_rules! six_bit_scales_and_minima {
    ($format:ident, bits = $bits:literal, center = $center:literal) => {
        impl Format for $format {
            const NUMBERS: usize = 2;
            const SCALES: usize = 12;
            const BITS: usize = $bits;
            const GROUPS: usize = 8;
            const MINS: usize = 1;
            type Head = [Rows<float32x4_t>; 2];

            #[inline(always)]
            unsafe fn head(record: *const u8) -> Self::Head {
                // SAFETY: d and dmin are inside the record.
                unsafe { d_dmin(record) }
            }

            #[inline(always)]
            unsafe fn scale(record: *const u8, head: &Self::Head, g: usize) -> Rows<float32x4_t> {
                // SAFETY: the scales are inside the record.
                unsafe {
                    let p = record.add(2 * HALVES);
                    mul(head[0], bytes_to_f32(six(p, p.add(8 * PANEL), g)))
                }
            }

            #[inline(always)]
            unsafe fn mins(record: *const u8, head: &Self::Head, g: usize) -> [Rows<float32x4_t>; 2] {
                // SAFETY: the minima are inside the record.
                unsafe {
                    let p = record.add(2 * HALVES);
                    let mins = mul(head[1], bytes_to_f32(six(p.add(4 * PANEL), p.add(10 * PANEL), g)));
                    let mins =
                        if $center == 0.0 { mins } else { add_times(mins, Self::scale(record, head, g), $center) };
                    [mins, zeros()]
                }
            }
        }
    };
}

six_bit_scales_and_minima!(Q4_K, bits = 4, center = 0.0);
six_bit_scales_and_minima!(Q5_K, bits = 5, center = 16.0);

impl Format for IQ4_XS {
    const NUMBERS: usize = 1;
    const SCALES: usize = 6;
    const BITS: usize = 4;
    const GROUPS: usize = 8;
    type Head = Rows<float32x4_t>;

    #[inline(always)]
    unsafe fn head(record: *const u8) -> Self::Head {
        // SAFETY: d is inside the record.
        unsafe { halves(record) }
    }

    #[inline(always)]
    unsafe fn scale(record: *const u8, head: &Self::Head, g: usize) -> Rows<float32x4_t> {
        // SAFETY: the scales are inside the record; every 64-bit Arm has NEON.
        unsafe {
            let p = record.add(HALVES);
            mul(*head, signed_six(p, p.add(4 * PANEL), g).map(|s| vcvtq_f32_s32(s)))
        }
    }

    #[inline(always)]
    fn code(bits: uint8x16_t) -> int8x16_t {
        look_up(bits)
    }
}

/// Codes are four times as large as they are; so the scale is a quarter of it. A group's sum is at most
/// 2 * 16 * 128 * 127 * 128 = 2^26.
impl Format for Q6_K {
    const NUMBERS: usize = 1;
    const SCALES: usize = 16;
    const BITS: usize = 6;
    const GROUPS: usize = 8;
    const INNER: bool = true;
    type Head = Rows<float32x4_t>;

    #[inline(always)]
    unsafe fn head(record: *const u8) -> Self::Head {
        // SAFETY: d is inside the record; every 64-bit Arm has NEON.
        unsafe { halves(record).map(|d| vmulq_n_f32(d, 0.25)) }
    }

    #[inline(always)]
    unsafe fn scale(_record: *const u8, head: &Self::Head, _g: usize) -> Rows<float32x4_t> {
        *head
    }

    #[inline(always)]
    unsafe fn inner(record: *const u8, g: usize, half: usize) -> Rows<int32x4_t> {
        // SAFETY: the scales are inside the record; every 64-bit Arm has NEON.
        unsafe { bytes_to_s32(vld1q_s8(record.add(HALVES + (2 * g + half) * PANEL).cast())) }
    }
}

impl Format for Q3_K {
    const NUMBERS: usize = 1;
    const SCALES: usize = 12;
    const BITS: usize = 3;
    const GROUPS: usize = 8;
    const INNER: bool = true;
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

    #[inline(always)]
    unsafe fn inner(record: *const u8, g: usize, half: usize) -> Rows<int32x4_t> {
        // SAFETY: the scales are inside the record.
        unsafe {
            let p = record.add(HALVES);
            signed_six(p, p.add(8 * PANEL), 2 * g + half)
        }
    }
}

impl Q2_K {
    /// Scales (low nibbles) and minima (high ones) of a half.
    #[inline(always)]
    unsafe fn bytes(record: *const u8, g: usize, half: usize) -> [uint8x16_t; 2] {
        // SAFETY: the scales are inside the record; every 64-bit Arm has NEON.
        unsafe { nibbles(vld1q_u8(record.add(2 * HALVES + (2 * g + half) * PANEL))) }
    }
}

impl Format for Q2_K {
    const NUMBERS: usize = 2;
    const SCALES: usize = 16;
    const BITS: usize = 2;
    const GROUPS: usize = 8;
    const INNER: bool = true;
    const MINS: usize = 2;
    type Head = [Rows<float32x4_t>; 2];

    #[inline(always)]
    unsafe fn head(record: *const u8) -> Self::Head {
        // SAFETY: d and dmin are inside the record.
        unsafe { d_dmin(record) }
    }

    #[inline(always)]
    unsafe fn scale(_record: *const u8, head: &Self::Head, _g: usize) -> Rows<float32x4_t> {
        head[0]
    }

    #[inline(always)]
    unsafe fn mins(record: *const u8, head: &Self::Head, g: usize) -> [Rows<float32x4_t>; 2] {
        // SAFETY: passed on to the caller.
        unsafe { [0, 1].map(|half| mul(head[1], bytes_to_f32(Self::bytes(record, g, half)[1]))) }
    }

    #[inline(always)]
    unsafe fn inner(record: *const u8, g: usize, half: usize) -> Rows<int32x4_t> {
        // SAFETY: passed on to the caller; every 64-bit Arm has NEON.
        unsafe { bytes_to_s32(vreinterpretq_s8_u8(Self::bytes(record, g, half)[0])) }
    }
}
