//! The integer products of AVX-VNNI: one instruction multiplies and adds up in 32 bits.

use crate::kernels::avx2::dot::Dot;
use std::arch::asm;
use std::arch::x86_64::*;

/// AVX-VNNI; nothing overflows, so all eight quads of a group are added up at once.
pub(in crate::kernels) struct Vnni;

impl Dot for Vnni {
    #[inline(always)]
    fn quads(_bits: u32) -> usize {
        8
    }

    #[inline(always)]
    unsafe fn bytes(sum: __m256i, codes: __m256i, acts: __m256i) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_dpbusd_avx_epi32(sum, codes, acts) }
    }

    #[inline(always)]
    unsafe fn finish(sum: __m256i) -> __m256i {
        sum
    }

    #[inline(always)]
    unsafe fn scaled(sum: __m256i, by: __m256i) -> __m256i {
        // Without the upper words of `by`, the product is that of the lower ones.
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_madd_epi16(sum, _mm256_and_si256(by, _mm256_set1_epi32(0xffff))) }
    }

    #[inline(always)]
    unsafe fn words(sum: __m256i, codes: __m256i, acts: __m256i) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe { dpwssd(sum, codes, acts) }
    }
}

/// `sum` plus, per 32-bit lane, both products of the 16-bit halves of `a` and `b`.
///
/// The same as `_mm256_dpwssd_avx_epi32`, which LLVM may take apart into a multiplication and an addition.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn dpwssd(mut sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: a register operation of this function's ISA.
    unsafe {
        asm!("{{vex}} vpdpwssd {}, {}, {}", inout(ymm_reg) sum, in(ymm_reg) a, in(ymm_reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}
