//! From integer sums to f32: a block of groups is added to the sums of activation rows.
//!
//! ```text
//! for each group:  total -= min * a.dsum             (or at the end of the block: the order is the same)
//! for each group:  sum += scale * (a.scale * isum)   or, where the block has one f32 scale,  a.scale * isum
//! total += sum                                       or                                      scale * sum
//! ```

use super::format::{Factors, Format, Inner, Min, Pair};
use super::sums::Row;
use std::arch::x86_64::*;

/// Adds the integer sums of group `g` to the sums of its block.
#[inline(always)]
pub(super) unsafe fn fold<F: Format, const N: usize>(
    factors: &Factors,
    g: usize,
    rows: &[Row; N],
    isums: [Pair<__m256i>; N],
    sums: &mut [Pair<__m256>; N],
) {
    // SAFETY: group g is inside the rows, by the caller; the rest are register operations of its ISA.
    unsafe {
        for n in 0..N {
            let scale = _mm256_broadcast_ss(&*rows[n].scales.add(g));
            let less = match F::MIN {
                Min::Offset(by) => _mm256_mul_ps(_mm256_broadcast_ss(&*rows[n].dsums.add(g)), _mm256_set1_ps(by)),
                _ => scale,
            };
            for h in 0..2 {
                let isum = _mm256_cvtepi32_ps(isums[n][h]);
                if F::INNER != Inner::None {
                    sums[n][h] = _mm256_fmadd_ps(isum, scale, sums[n][h]);
                    continue;
                }
                let sum = match F::MIN {
                    Min::Offset(_) => _mm256_fmsub_ps(isum, scale, less),
                    _ => _mm256_mul_ps(isum, scale),
                };
                sums[n][h] = _mm256_fmadd_ps(factors.scale[h], sum, sums[n][h]);
            }
        }
    }
}

/// Subtracts the minima of group `g`.
#[inline(always)]
pub(super) unsafe fn minima<F: Format, const N: usize>(
    factors: &Factors,
    g: usize,
    rows: &[Row; N],
    total: &mut [Pair<__m256>; N],
) {
    for n in 0..N {
        // SAFETY: group g is inside the rows, by the caller.
        unsafe {
            match F::MIN {
                Min::Group => less(&mut total[n], factors.min[0], rows[n].dsums.add(g)),
                Min::Halves => {
                    less(&mut total[n], factors.min[0], rows[n].halves.add(2 * g));
                    less(&mut total[n], factors.min[1], rows[n].halves.add(2 * g + 1));
                }
                Min::None | Min::Offset(_) => {}
            }
        }
    }
}

/// Adds the sums of a block to the totals.
#[inline(always)]
pub(super) unsafe fn settle<F: Format, const N: usize>(
    factors: &Factors,
    sums: &[Pair<__m256>; N],
    total: &mut [Pair<__m256>; N],
) {
    for n in 0..N {
        for h in 0..2 {
            // SAFETY: register operations of the caller's ISA.
            unsafe {
                total[n][h] = match F::INNER {
                    Inner::None => _mm256_add_ps(sums[n][h], total[n][h]),
                    _ => _mm256_fmadd_ps(factors.scale[h], sums[n][h], total[n][h]),
                };
            }
        }
    }
}

/// `sum -= min * by`
#[inline(always)]
unsafe fn less(sum: &mut Pair<__m256>, min: Pair<__m256>, by: *const f32) {
    // SAFETY: `by` is readable, by the caller; the rest are register operations of its ISA.
    unsafe {
        let by = _mm256_broadcast_ss(&*by);
        for h in 0..2 {
            sum[h] = _mm256_fnmadd_ps(min[h], by, sum[h]);
        }
    }
}
