//! The integer products that the tile is written over: bytes and 16-bit words, added up in the lanes of rows.

use std::arch::asm;
use std::arch::x86_64::*;

/// How an instruction set multiplies quads of codes by broadcast quads of activations. A type that implements it stands
/// for an instruction set; its functions are inlined into `target_feature` functions of that set, and nowhere else.
pub(in crate::kernels) trait Dot {
    /// How many quads of codes below `2^bits` may be added up by [`Dot::bytes`] before [`Dot::finish`].
    fn quads(bits: u32) -> usize;
    /// `sum` plus the products of unsigned codes and signed activations, bytes both.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn bytes(sum: __m256i, codes: __m256i, acts: __m256i) -> __m256i;
    /// A sum of [`Dot::bytes`] as 32-bit lanes.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn finish(sum: __m256i) -> __m256i;
    /// A sum of [`Dot::bytes`] times a 16-bit number, which is in both halves of the lanes. Where the sum has 32 bits, it
    /// must be below 2^15 in size.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn scaled(sum: __m256i, by: __m256i) -> __m256i;
    /// `sum` plus, per 32-bit lane, both products of 16-bit words.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn words(sum: __m256i, codes: __m256i, acts: __m256i) -> __m256i;
}

/// AVX2: products of bytes are added up in 16 bits. Two codes of b bits times activations of at most 127 make
/// `2 * 127 * (2^b - 1)`: eight of those fit for four bits, four for five bits.
pub(in crate::kernels) struct Maddubs;

impl Dot for Maddubs {
    #[inline(always)]
    fn quads(bits: u32) -> usize {
        match bits {
            0..=4 => 8,
            5 => 4,
            _ => unreachable!(),
        }
    }

    #[inline(always)]
    unsafe fn bytes(sum: __m256i, codes: __m256i, acts: __m256i) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe { in_order(_mm256_add_epi16(sum, _mm256_maddubs_epi16(codes, acts))) }
    }

    #[inline(always)]
    unsafe fn finish(sum: __m256i) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_madd_epi16(sum, _mm256_set1_epi16(1)) }
    }

    #[inline(always)]
    unsafe fn scaled(sum: __m256i, by: __m256i) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_madd_epi16(sum, by) }
    }

    #[inline(always)]
    unsafe fn words(sum: __m256i, codes: __m256i, acts: __m256i) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe { in_order(_mm256_add_epi32(sum, _mm256_madd_epi16(codes, acts))) }
    }
}

/// The same value, hidden from the optimizer: it would regroup a chain of integer additions into a tree, whose parts
/// do not fit the registers. No instruction comes of it.
#[inline]
#[target_feature(enable = "avx2")]
fn in_order(mut v: __m256i) -> __m256i {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {} */", inout(ymm_reg) v, options(pure, nomem, nostack, preserves_flags)) };
    v
}
