//! Unpacked groups of 32 weights of 16 rows, and how they meet activations: exact integer sums, scaled once per group.
//!
//! ```text
//! Narrow, one minimum:     isum[row] = sum of code * activation       (unsigned bytes by signed bytes, a quad at a time)
//!                          sum[row] += (scale[row] * act.scale) * isum[row];  sum[row] -= min[row] * act.dsum
//! Narrow, two minima:      the same with a minimum for each half
//! Around:                  isum as in Narrow
//!                          sum[row] += scale[row] * (isum[row] * act.scale - CENTER * act.dsum)
//! AroundHalves:            isum of each half as in Narrow, beginning at -CENTER * act.sum
//!                          sum[row] += (scale[row] * act.scale) * isum[row]
//! Wide:                    isum[row] = sum of code * activation       (16 bits by 16 bits, a pair at a time)
//!                          sum[row] += (scale[row] * act.scale) * isum[row]
//! ```
//! On a Zen 5 core VNNI instructions and floating-point multiplications share two pipes, and that is what limits: of 128
//! products a cycle, three multiplications per group leave 93 to Narrow, of which it reaches about nine tenths; without
//! its minima it is 8 % faster, without scales, too, 32 %. Around has two and a half: 5 % more than Narrow. Wide runs at
//! 72 % of its peak (46 of 64).
//!
//! AroundHalves does 286 G products a second for Q6_K and 288 for Q3_K (with the subtraction as in Around 263, with minima
//! 254); formats with one scale are 2 to 3 % slower that way, since the sums of two halves have to be added.
//!
//! Q6_K met Wide activations once, with the scales multiplied into its codes: 172 where Around with two scales had 226,
//! and 4 % of a Q4_K_M prompt's time. Its activations have a scale for each 32, other programs'
//! one for each 256: on the golden Q4_K_M files the KL divergence is .02 to .69 of llama.cpp's, with Wide it was .05 to
//! .80.

use crate::acts::ActRow;
use std::arch::x86_64::*;

/// An unpacked group.
pub(super) trait Fold: Copy {
    /// Adds the products of P groups with group `g` of N activation rows.
    unsafe fn fold<const P: usize, const N: usize>(
        groups: [&Self; P],
        g: usize,
        acts: [&ActRow<'_>; N],
        sums: &mut [[__m512; N]; P],
    );
}

/// Codes of 8 bits, unsigned, for narrow activations: vector q is quad q. M minima: one for the group, or one for each
/// half.
#[derive(Clone, Copy)]
pub(super) struct Narrow<const M: usize> {
    pub codes: [__m512i; 8],
    pub scale: __m512,
    pub min: [__m512; M],
}

/// The same with one scale, and codes that are all CENTER too large: the scale times that of the activation's sum is
/// subtracted on the way, for all rows in one number.
#[derive(Clone, Copy)]
pub(super) struct Around<const CENTER: u8> {
    pub codes: [__m512i; 8],
    pub scale: __m512,
}

/// The same with a scale for each half, and CENTER a power of two: that times the sum of the activations is where the
/// integer sums begin, for all rows in one number.
#[derive(Clone, Copy)]
pub(super) struct AroundHalves<const CENTER: u8> {
    pub codes: [__m512i; 8],
    pub scale: [__m512; 2],
}

/// Codes of 16 bits for wide activations: vector `2 * q` has elements 0 and 2 of quad q, the next one elements 1 and 3.
#[derive(Clone, Copy)]
pub(super) struct Wide {
    pub codes: [__m512i; 16],
    pub scale: __m512,
}

/// Runs a block once for each number, with the number as a constant: loops that the compiler might leave rolled would
/// put registers into memory.
macro_rules! for_each {
    ($i:ident in $($n:literal)*, $body:block) => { $({ const $i: usize = $n; $body })* };
}

/// Adds the sums of an activation row, as floats, times both scales.
#[inline(always)]
unsafe fn scaled(sum: __m512, isum: __m512i, scale: __m512, act: f32) -> __m512 {
    // SAFETY: register operations of the caller's ISA.
    unsafe { _mm512_fmadd_ps(_mm512_mul_ps(scale, _mm512_set1_ps(act)), _mm512_cvtepi32_ps(isum), sum) }
}

/// Adds the products of quad Q of P groups with that of N rows of narrow activations.
macro_rules! quad {
    ($q:ident, $at:ident, $groups:ident, $isums:ident) => {
        for i in 0..N {
            let quad = _mm512_set1_epi32($at[i].add(4 * $q).cast::<i32>().read_unaligned());
            for p in 0..P {
                $isums[p][i] = _mm512_dpbusd_epi32($isums[p][i], $groups[p].codes[$q], quad);
            }
        }
    };
}

impl<const CENTER: u8> Fold for Around<CENTER> {
    #[inline(always)]
    unsafe fn fold<const P: usize, const N: usize>(
        groups: [&Self; P],
        g: usize,
        acts: [&ActRow<'_>; N],
        sums: &mut [[__m512; N]; P],
    ) {
        // SAFETY: the 32 codes from 32 * g on, their scale and their sum are inside the rows.
        unsafe {
            let at: [*const i8; N] = std::array::from_fn(|i| acts[i].q8.codes.as_ptr().add(32 * g));
            let mut isums = [[_mm512_setzero_si512(); N]; P];
            for_each!(Q in 0 1 2 3 4 5 6 7, {
                quad!(Q, at, groups, isums);
            });
            for i in 0..N {
                let q8 = &acts[i].q8;
                let scale = _mm512_set1_ps(*q8.scales.get_unchecked(g));
                let center = _mm512_set1_ps(f32::from(CENTER));
                let less = _mm512_mul_ps(_mm512_set1_ps(*q8.dsums.get_unchecked(g)), center);
                for p in 0..P {
                    let sum = _mm512_fmsub_ps(_mm512_cvtepi32_ps(isums[p][i]), scale, less);
                    sums[p][i] = _mm512_fmadd_ps(groups[p].scale, sum, sums[p][i]);
                }
            }
        }
    }
}

impl<const CENTER: u8> Fold for AroundHalves<CENTER> {
    #[inline(always)]
    unsafe fn fold<const P: usize, const N: usize>(
        groups: [&Self; P],
        g: usize,
        acts: [&ActRow<'_>; N],
        sums: &mut [[__m512; N]; P],
    ) {
        const { assert!(CENTER.is_power_of_two()) };
        // SAFETY: the 32 codes from 32 * g on, their scale and their sums are inside the rows.
        unsafe {
            let at: [*const i8; N] = std::array::from_fn(|i| acts[i].q8.codes.as_ptr().add(32 * g));
            let center = _mm_cvtsi32_si128(CENTER.trailing_zeros() as i32);
            let mut isums = [[_mm512_setzero_si512(); N]; P];
            for_each!(Q in 0 1 2 3 4 5 6 7, {
                if Q.is_multiple_of(4) {
                    for i in 0..N {
                        let sum = _mm512_set1_epi32(*acts[i].q8.sums.get_unchecked(2 * g + Q / 4));
                        let start = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_sll_epi32(sum, center));
                        for p in 0..P {
                            isums[p][i] = start;
                        }
                    }
                }
                quad!(Q, at, groups, isums);
                if Q % 4 == 3 {
                    for i in 0..N {
                        let act = *acts[i].q8.scales.get_unchecked(g);
                        for p in 0..P {
                            sums[p][i] = scaled(sums[p][i], isums[p][i], groups[p].scale[Q / 4], act);
                        }
                    }
                }
            });
        }
    }
}

impl<const M: usize> Fold for Narrow<M> {
    #[inline(always)]
    unsafe fn fold<const P: usize, const N: usize>(
        groups: [&Self; P],
        g: usize,
        acts: [&ActRow<'_>; N],
        sums: &mut [[__m512; N]; P],
    ) {
        // SAFETY: the 32 codes from 32 * g on, their scale and their sums are inside the rows.
        unsafe {
            let at: [*const i8; N] = std::array::from_fn(|i| acts[i].q8.codes.as_ptr().add(32 * g));
            let mut isums = [[_mm512_setzero_si512(); N]; P];
            for_each!(Q in 0 1 2 3 4 5 6 7, {
                quad!(Q, at, groups, isums);
            });
            for i in 0..N {
                let act = *acts[i].q8.scales.get_unchecked(g);
                for p in 0..P {
                    sums[p][i] = scaled(sums[p][i], isums[p][i], groups[p].scale, act);
                }
            }
            for i in 0..N {
                for m in 0..M {
                    let q8 = &acts[i].q8;
                    let dsum = if M == 2 { q8.halves.get_unchecked(2 * g + m) } else { q8.dsums.get_unchecked(g) };
                    for p in 0..P {
                        sums[p][i] = _mm512_fnmadd_ps(groups[p].min[m], _mm512_set1_ps(*dsum), sums[p][i]);
                    }
                }
            }
        }
    }
}

/// `sum` plus, per 32-bit lane, both products of the 16-bit halves of `a` and `b`.
///
/// The same as `_mm512_dpwssd_epi32`, which LLVM, for processors where a chain of it would be slow, takes apart into a
/// multiplication and an addition: twice the instructions in a loop that their number limits.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn dpwssd(mut sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: a register operation of this function's ISA.
    unsafe {
        std::arch::asm!("vpdpwssd {}, {}, {}", inout(zmm_reg) sum, in(zmm_reg) a, in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

impl Fold for Wide {
    #[inline(always)]
    unsafe fn fold<const P: usize, const N: usize>(
        groups: [&Self; P],
        g: usize,
        acts: [&ActRow<'_>; N],
        sums: &mut [[__m512; N]; P],
    ) {
        // SAFETY: the 32 codes from 32 * g on and their scale are inside the rows.
        unsafe {
            let at: [*const i16; N] = std::array::from_fn(|i| acts[i].q16.codes.as_ptr().add(32 * g));
            let mut isums = [[_mm512_setzero_si512(); N]; P];
            for_each!(V in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15, {
                for i in 0..N {
                    let pair = _mm512_set1_epi32(at[i].add(2 * V).cast::<i32>().read_unaligned());
                    for p in 0..P {
                        isums[p][i] = dpwssd(isums[p][i], groups[p].codes[V], pair);
                    }
                }
            });
            for i in 0..N {
                let act = *acts[i].q16.scales.get_unchecked(g);
                for p in 0..P {
                    sums[p][i] = scaled(sums[p][i], isums[p][i], groups[p].scale, act);
                }
            }
        }
    }
}
