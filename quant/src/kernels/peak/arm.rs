//! The loops of 64-bit Arm. The sums of f32 stay at one, those of integers may wrap: only their time counts.

use crate::kernels::peak::chains;
use std::arch::aarch64::*;
use std::arch::asm;

// The product is with the sum itself, since one of constants would be taken out of the loop.
chains!(neon_int8, [target_feature(enable = "neon")], macs = 8, start = vdupq_n_s16(1), |s, by| vmlal_s8(
    s,
    vget_low_s8(vreinterpretq_s8_s16(s)),
    vget_low_s8(vreinterpretq_s8_s16(by))
));
chains!(dotprod_int8, [target_feature(enable = "neon,dotprod")], macs = 16, start = vdupq_n_s32(1), |s, by| sdot(
    s, by
));
chains!(i8mm_int8, [target_feature(enable = "neon,i8mm")], macs = 32, start = vdupq_n_s32(1), |s, by| smmla(s, by));
chains!(neon_f32, [target_feature(enable = "neon")], macs = 4, start = vdupq_n_f32(0.5), |s, by| vfmaq_f32(by, s, by));

/// Four sums of four products each. The intrinsic is not stable (Rust issue 117224).
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sum: int32x4_t, by: int32x4_t) -> int32x4_t {
    // SAFETY: reads and writes registers only; the features above have the instruction.
    unsafe {
        asm!("sdot {s:v}.4s, {a:v}.16b, {a:v}.16b", s = inout(vreg) sum, a = in(vreg) by,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// Two rows times two columns of eight products each. The intrinsic is not stable (Rust issue 117223).
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(mut sum: int32x4_t, by: int32x4_t) -> int32x4_t {
    // SAFETY: as above.
    unsafe {
        asm!("smmla {s:v}.4s, {a:v}.16b, {a:v}.16b", s = inout(vreg) sum, a = in(vreg) by,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}
