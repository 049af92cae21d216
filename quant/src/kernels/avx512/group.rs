//! Unpacked groups of 32 weights of 16 rows, and how they meet activations: exact integer sums, scaled once per group.
//!
//! ```text
//! Narrow, one scale:       isum[row] = sum of code * activation       (unsigned bytes by signed bytes, a quad at a time)
//!                          sum[row] += (scale[row] * act.scale) * isum[row];  sum[row] -= min[row] * act.dsum
//! Narrow, two scales:      the same with one integer sum for each half of the group
//! Narrow, two minima:      one integer sum; a minimum for each half
//! Around:                  isum as in Narrow
//!                          sum[row] += scale[row] * (isum[row] * act.scale - CENTER * act.dsum)
//! Wide:                    isum[row] = sum of code * activation       (16 bits by 16 bits, a pair at a time)
//!                          sum[row] += (scale[row] * act.scale) * isum[row]
//! ```
//! Q3_K, whose codes are around 4, has `4 * scale` as the minimum of each half: codes stay unsigned bytes.
//!
//! On a Zen 5 core VNNI instructions and floating-point multiplications share two pipes, and that is what limits: of 128
//! products a cycle, three multiplications per group leave 93 to Narrow, of which it reaches about nine tenths; without
//! its minima it is 8 % faster, without scales, too, 32 %. Around has two and a half: 5 % more than Narrow. Wide runs at
//! 72 % of its peak (46 of 64).
//!
//! Q6_K as Around with two scales does 226 G products a second where Wide, with the scales multiplied into its codes,
//! had 172, and a prompt of a Q4_K_M model takes 4 % less time. Its activations have a scale for each 32, other programs'
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

/// Codes of 8 bits, unsigned, for narrow activations: vector q is quad q. S scales and M minima: none, one for the
/// group, or one for each half.
#[derive(Clone, Copy)]
pub(super) struct Narrow<const S: usize, const M: usize> {
    pub codes: [__m512i; 8],
    pub scale: [__m512; S],
    pub min: [__m512; M],
}

/// The same with one scale, and codes that are all CENTER too large: the scale times that of the activation's sum is
/// subtracted on the way, for all rows in one number.
#[derive(Clone, Copy)]
pub(super) struct Around<const CENTER: u8, const S: usize> {
    pub codes: [__m512i; 8],
    pub scale: [__m512; S],
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

impl<const CENTER: u8, const S: usize> Fold for Around<CENTER, S> {
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
                if (S == 2 && Q == 3) || Q == 7 {
                    let half = if S == 2 { Q / 4 } else { 0 };
                    for i in 0..N {
                        let q8 = &acts[i].q8;
                        let scale = _mm512_set1_ps(*q8.scales.get_unchecked(g));
                        let dsum = if S == 2 { q8.halves.get_unchecked(2 * g + half) } else { q8.dsums.get_unchecked(g) };
                        let less = _mm512_mul_ps(_mm512_set1_ps(*dsum), _mm512_set1_ps(f32::from(CENTER)));
                        for p in 0..P {
                            let sum = _mm512_fmsub_ps(_mm512_cvtepi32_ps(isums[p][i]), scale, less);
                            sums[p][i] = _mm512_fmadd_ps(groups[p].scale[half], sum, sums[p][i]);
                            isums[p][i] = _mm512_setzero_si512();
                        }
                    }
                }
            });
        }
    }
}

impl<const S: usize, const M: usize> Fold for Narrow<S, M> {
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
                if (S == 2 && Q == 3) || Q == 7 {
                    for i in 0..N {
                        let act = *acts[i].q8.scales.get_unchecked(g);
                        for p in 0..P {
                            sums[p][i] = scaled(sums[p][i], isums[p][i], groups[p].scale[if S == 2 { Q / 4 } else { 0 }], act);
                            isums[p][i] = _mm512_setzero_si512();
                        }
                    }
                }
            });
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
