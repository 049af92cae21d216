//! A group of 16 weight rows as a tile of bfloat16: line j has elements 2j and 2j + 1 of each row.
//!
//! ```text
//! for each quad: for each of its four codes:
//!     f = 1 + code / 256               (the code's bits in the mantissa of 1: a shift, and one operation for both masks)
//!     w = f * (256 * scale) - (256 * scale + min)
//! lines = upper halves of w[0], w[1] and of w[2], w[3]
//! ```
//! 14 instructions for 64 weights besides the unpacking: integers are not converted to floats, and nothing is rounded.
//! Instead of adding half a step of bf16 to each weight before the lower half is cut off, both factors are [`GROWN`] by
//! what this is on the average: numbers that bf16 has stay as they are, others are off by at most 0.69 steps instead of
//! 0.5, and no sum of products grows or shrinks. That is a fifth of the time for 15 % more of the weights' part of the
//! error. The difference of the large products is rounded once (a fused operation), at 2^-15 of the scale.
//!
//! Measured on a Zen 5 core: 0.31 to 0.40 ns for 16 weights (a product of integers takes that core 0.06 ns per weight). By
//! `llvm-mca` with the ports of Ice Lake servers, next to those that have the unit, cycles per weight: Q8_0 0.10, Q4_0
//! 0.10, Q6_K 0.13, Q4_K 0.14, Q5_K 0.14.
//!
//! Tried: rounding in integers, 18 instructions, and `vcvtne2ps2bf16` with its permutation, no fewer on those ports; a
//! shift and a mask, which LLVM makes `vpermt2w` of (three steps there), in place of the one shuffle.

use super::super::decode::vectors;
use super::super::group::{Around, Narrow};
use super::unit::Line;
use std::arch::x86_64::*;

/// An unpacked group whose weights are `code * scale - min`.
pub(super) trait Floats {
    /// Unsigned codes, in bytes: vector q is quad q.
    fn codes(&self) -> &[__m512i; 8];
    /// Scale and minimum of a half of the group.
    ///
    /// # Safety
    /// AVX-512 F.
    unsafe fn scale_min(&self, half: usize) -> (__m512, __m512);
}

impl<const S: usize, const M: usize> Floats for Narrow<S, M> {
    #[inline(always)]
    fn codes(&self) -> &[__m512i; 8] {
        &self.codes
    }

    #[inline(always)]
    unsafe fn scale_min(&self, half: usize) -> (__m512, __m512) {
        (self.scale[half.min(S - 1)], self.min[half.min(M - 1)])
    }
}

impl<const CENTER: u8, const S: usize> Floats for Around<CENTER, S> {
    #[inline(always)]
    fn codes(&self) -> &[__m512i; 8] {
        &self.codes
    }

    #[inline(always)]
    unsafe fn scale_min(&self, half: usize) -> (__m512, __m512) {
        let scale = self.scale[half.min(S - 1)];
        // SAFETY: register operations of the caller's ISA.
        (scale, unsafe { _mm512_mul_ps(scale, _mm512_set1_ps(f32::from(CENTER))) })
    }
}

/// Steps of bf16 are 2^-8 to 2^-7 of a number; two thirds of half the largest make truncating as good as rounding. With
/// few enough bits that its product with a scale is exact.
const GROWN: f32 = 1.0 + 11.0 / 4096.0;

/// The weights whose codes are at bits 15 to 22 of `v`.
#[inline(always)]
unsafe fn weights(v: __m512i, scale: __m512, min: __m512) -> __m512i {
    // SAFETY: register operations of the caller's ISA.
    unsafe {
        // (v & mask) | one
        let code = _mm512_ternarylogic_epi32::<0xea>(v, _mm512_set1_epi32(0xff << 15), _mm512_set1_epi32(0x7f << 23));
        _mm512_castps_si512(_mm512_fmsub_ps(_mm512_castsi512_ps(code), scale, min))
    }
}

/// Pairs of the upper halves of both: one instruction, for which LLVM would take one of three steps.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn pairs(even: __m512i, mut odd: __m512i) -> __m512i {
    let upper = _mm512_set4_epi32(0x0f0e_0f0e, 0x0b0a_0b0a, 0x0706_0706, 0x0302_0302);
    // SAFETY: a register operation of this function's ISA.
    unsafe {
        std::arch::asm!("vpshufb {odd}{{{low}}}, {even}, {upper}", odd = inout(zmm_reg) odd, even = in(zmm_reg) even,
            upper = in(zmm_reg) upper, low = in(kreg) 0x3333_3333_3333_3333_u64,
            options(pure, nomem, nostack, preserves_flags));
    }
    odd
}

/// Writes the group as a tile.
///
/// # Safety
/// AVX-512 F and BW; 16 lines are writable.
#[inline(always)]
pub(super) unsafe fn write<G: Floats>(group: &G, tile: *mut Line) {
    // SAFETY: register operations of the caller's ISA; lines 0 to 15 are written.
    unsafe {
        let halves = vectors!(2, H => {
            let (scale, min) = group.scale_min(H);
            let scale = _mm512_mul_ps(scale, _mm512_set1_ps(256.0 * GROWN));
            (scale, _mm512_fmadd_ps(min, _mm512_set1_ps(GROWN), scale))
        });
        vectors!(8, Q => {
            let (v, (scale, min)) = (group.codes()[Q], halves[Q / 4]);
            let first = weights(_mm512_slli_epi32::<15>(v), scale, min);
            let second = weights(_mm512_slli_epi32::<7>(v), scale, min);
            let third = weights(_mm512_srli_epi32::<1>(v), scale, min);
            let fourth = weights(_mm512_srli_epi32::<9>(v), scale, min);
            _mm512_store_si512(tile.add(2 * Q).cast(), pairs(first, second));
            _mm512_store_si512(tile.add(2 * Q + 1).cast(), pairs(third, fourth));
        });
    }
}
