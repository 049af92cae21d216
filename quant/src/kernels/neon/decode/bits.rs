//! Bits of codes and bytes of scales, taken apart in registers.

use crate::kernels::neon::registers::Rows;
use std::arch::aarch64::*;
use std::arch::asm;

#[inline(always)]
pub(super) fn zeros() -> Rows<float32x4_t> {
    // SAFETY: every 64-bit Arm has NEON.
    [unsafe { vdupq_n_f32(0.0) }; 4]
}

/// Low and high nibbles of bytes.
#[inline(always)]
pub(super) fn nibbles(v: uint8x16_t) -> [uint8x16_t; 2] {
    // SAFETY: every 64-bit Arm has NEON.
    unsafe { [vandq_u8(v, vdupq_n_u8(15)), vshrq_n_u8::<4>(v)] }
}

/// The two-bit fields of quads 2 * I and 2 * I + 1, of the line that has them.
#[inline(always)]
pub(super) fn twos<const I: usize>(v: uint8x16_t) -> [uint8x16_t; 2] {
    // SAFETY: every 64-bit Arm has NEON.
    unsafe {
        let three = vdupq_n_u8(3);
        if I.is_multiple_of(2) {
            [vandq_u8(v, three), vandq_u8(vshrq_n_u8::<2>(v), three)]
        } else {
            [vandq_u8(vshrq_n_u8::<4>(v), three), vshrq_n_u8::<6>(v)]
        }
    }
}

/// Four times the six-bit codes around 32 of quads 2 * I and 2 * I + 1: a code is put together at the upper end of its
/// byte, where its highest bit, turned around, is a sign.
#[inline(always)]
pub(super) fn sixes<const I: usize>(high: uint8x16_t, low: uint8x16_t) -> [uint8x16_t; 2] {
    // SAFETY: every 64-bit Arm has NEON.
    unsafe {
        let high = veorq_u8(high, vdupq_n_u8(0xaa));
        let tops = if I.is_multiple_of(2) {
            [vshlq_n_u8::<6>(high), vshlq_n_u8::<4>(high)]
        } else {
            [vshlq_n_u8::<2>(high), high]
        };
        [below_two(tops[0], vshlq_n_u8::<4>(low)), vandq_u8(below_two(tops[1], low), vdupq_n_u8(0xfc))]
    }
}

/// The upper two bits of `top`, and below them the upper six of `v`. LLVM makes four instructions of the intrinsic.
#[inline(always)]
pub(super) fn below_two(mut top: uint8x16_t, v: uint8x16_t) -> uint8x16_t {
    // SAFETY: reads and writes registers only; every 64-bit Arm has the instruction.
    unsafe {
        asm!("sri {top:v}.16b, {v:v}.16b, #2", top = inout(vreg) top, v = in(vreg) v,
            options(pure, nomem, nostack, preserves_flags));
    }
    top
}

/// The lower LOW bits of `low` as a number, less 2^LOW where bit `bit` of `high` is not set: codes of LOW + 1 bits around
/// 2^LOW. LLVM takes the intrinsics of both instructions apart.
#[inline(always)]
pub(super) fn signed<const LOW: u32>(mut low: uint8x16_t, high: uint8x16_t, bit: usize) -> uint8x16_t {
    // SAFETY: reads and writes registers only; every 64-bit Arm has the instructions.
    unsafe {
        asm!(
            "cmtst {all:v}.16b, {missing:v}.16b, {bit:v}.16b",
            "sli {low:v}.16b, {all:v}.16b, #{n}",
            low = inout(vreg) low,
            missing = in(vreg) vmvnq_u8(high),
            bit = in(vreg) vdupq_n_u8(1 << bit),
            all = out(vreg) _,
            n = const LOW,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    low
}

/// 16 f16 as f32.
///
/// # Safety
/// 32 bytes are readable at `p`.
#[inline(always)]
pub(super) unsafe fn halves(p: *const u8) -> Rows<float32x4_t> {
    // SAFETY: by the caller; the load needs no alignment; every 64-bit Arm has NEON.
    unsafe { [0, 1, 2, 3].map(|v| vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p.add(8 * v).cast())))) }
}

/// 16 unsigned bytes as f32.
#[inline(always)]
pub(super) fn bytes_to_f32(v: uint8x16_t) -> Rows<float32x4_t> {
    // SAFETY: every 64-bit Arm has NEON.
    unsafe {
        let (low, high) = (vmovl_u8(vget_low_u8(v)), vmovl_high_u8(v));
        [vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low), vmovl_u16(vget_low_u16(high)), vmovl_high_u16(high)]
            .map(|v| vcvtq_f32_u32(v))
    }
}

/// 16 signed bytes as 32-bit integers.
#[inline(always)]
pub(super) fn bytes_to_s32(v: int8x16_t) -> Rows<int32x4_t> {
    // SAFETY: every 64-bit Arm has NEON.
    unsafe {
        let (low, high) = (vmovl_s8(vget_low_s8(v)), vmovl_high_s8(v));
        [vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)]
    }
}

#[inline(always)]
pub(super) fn mul(a: Rows<float32x4_t>, b: Rows<float32x4_t>) -> Rows<float32x4_t> {
    // SAFETY: every 64-bit Arm has NEON.
    unsafe { [vmulq_f32(a[0], b[0]), vmulq_f32(a[1], b[1]), vmulq_f32(a[2], b[2]), vmulq_f32(a[3], b[3])] }
}

/// `a + b * by`.
#[inline(always)]
pub(super) fn add_times(a: Rows<float32x4_t>, b: Rows<float32x4_t>, by: f32) -> Rows<float32x4_t> {
    // SAFETY: every 64-bit Arm has NEON.
    unsafe { [0, 1, 2, 3].map(|v| vfmaq_n_f32(a[v], b[v], by)) }
}
