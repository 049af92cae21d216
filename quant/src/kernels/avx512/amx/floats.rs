//! A group of 16 weight rows as a tile of bfloat16: line j has elements 2j and 2j + 1 of each row.
//!
//! ```text
//! for each quad: for each of its four codes:
//!     f = 1 + code / 256           (the code's bits in the mantissa of 1: a shift, one operation for both masks)
//!     w = f * (256 * scale) - (256 * scale + min)
//!     w += half a bf16             (as an integer: to nearest, ties away from zero)
//! lines = upper halves of w[0], w[1] and of w[2], w[3]
//! ```
//! 18 instructions for 64 weights besides the unpacking: integers are not converted to floats, and rounding in integers
//! needs no AVX-512-BF16. The difference of the large products is rounded once (a fused operation), at 2^-16 of the
//! scale: far below bf16's own rounding.
//!
//! Cycles per weight by `llvm-mca` with the ports of Ice Lake servers, next to those that have the unit: Q8_0 0.12,
//! Q4_0 0.13, Q6_K 0.15, Q4_K 0.15, Q5_K 0.16. Without the rounding, a Zen 5 core was measured to take 0.31 to 0.40 ns
//! for 16 weights.
//!
//! Tried: no rounding of each weight, but factors that are larger by what is cut off on the average, which saves a
//! tenth to a fifth of the time; the KL divergence of Q8_0 models was half as much again, and of one mixture of experts ten times. A shift and
//! a mask in place of the one shuffle: LLVM makes `vpermt2w` of them, three steps on Intel's ports.

use super::super::decode::vectors;
use super::super::group::{Around, AroundHalves, Narrow};
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

impl<const M: usize> Floats for Narrow<M> {
    #[inline(always)]
    fn codes(&self) -> &[__m512i; 8] {
        &self.codes
    }

    #[inline(always)]
    unsafe fn scale_min(&self, half: usize) -> (__m512, __m512) {
        (self.scale, self.min[half.min(M - 1)])
    }
}

impl<const CENTER: u8> Floats for Around<CENTER> {
    #[inline(always)]
    fn codes(&self) -> &[__m512i; 8] {
        &self.codes
    }

    #[inline(always)]
    unsafe fn scale_min(&self, _half: usize) -> (__m512, __m512) {
        // SAFETY: register operations of the caller's ISA.
        (self.scale, unsafe { _mm512_mul_ps(self.scale, _mm512_set1_ps(f32::from(CENTER))) })
    }
}

impl<const CENTER: u8> Floats for AroundHalves<CENTER> {
    #[inline(always)]
    fn codes(&self) -> &[__m512i; 8] {
        &self.codes
    }

    #[inline(always)]
    unsafe fn scale_min(&self, half: usize) -> (__m512, __m512) {
        let scale = self.scale[half];
        // SAFETY: register operations of the caller's ISA.
        (scale, unsafe { _mm512_mul_ps(scale, _mm512_set1_ps(f32::from(CENTER))) })
    }
}

/// The weights whose codes are at bits 15 to 22 of `v`, half a bf16 larger.
#[inline(always)]
unsafe fn weights(v: __m512i, scale: __m512, min: __m512) -> __m512i {
    // SAFETY: register operations of the caller's ISA.
    unsafe {
        // (v & mask) | one
        let code = _mm512_ternarylogic_epi32::<0xea>(v, _mm512_set1_epi32(0xff << 15), _mm512_set1_epi32(0x7f << 23));
        let w = _mm512_fmsub_ps(_mm512_castsi512_ps(code), scale, min);
        _mm512_add_epi32(_mm512_castps_si512(w), _mm512_set1_epi32(0x8000))
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
            let scale = _mm512_mul_ps(scale, _mm512_set1_ps(256.0));
            (scale, _mm512_add_ps(scale, min))
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
