//! The tile skeleton of AVX2 and AVX-VNNI: 16 interleaved weight rows times any number of integer activation rows.
//!
//! ```text
//! for each block of eight groups of 32 weights:          (a record of the K formats)
//!     scales and minima of the groups, per row
//!     up to four activation rows:  codes are unpacked in registers, sums stay in registers
//!     more: codes are unpacked to a buffer in L1 once; six activation rows at a time go over the block
//!         isum[row] = sum over the group of code * activation      (exact integers)
//!         and what is in `fold.rs`
//! ```
//! Tricks:
//!
//! 1. A lane is a row, so nothing is ever summed across lanes; activation quads are broadcast by plain loads.
//! 2. Six activation rows times two vectors of rows are twelve chains of additions; with two vectors of codes and one of
//!    activations they fill the registers.
//! 3. The panel is fetched [`AHEAD`]: the processor's own prefetching does not follow it. One thread of a Zen 5 reads
//!    Q4_K from memory at 11 GB/s without, 21 with 1 KB, 29 with 4 KB, 35 with 8 KB.
//! 4. With AVX2, Q4_K's scale takes the place of the ones that widen 16-bit sums, and costs nothing: 9 %.
//! 5. Vector shifts, like multiplications, have two of a Zen 5's four pipes: codes are unpacked with few of them.
//!
//! What the integer products are is [`Dot`]'s business. What limits a Zen 5 core, per group of six activation rows:
//!
//! | | multiplications, two a cycle | all vector instructions, four a cycle | cycles |
//! |---|---|---|---|
//! | Q4_K, AVX2 | 132 (96 products, scales, to f32, minima) | 228 | 75 |
//! | Q8_0, AVX2 | 216 (192 products, both scales) | 408 | 124 |
//!
//! Q8_0 cannot be faster than 32 products a cycle by AVX2, 16-bit words or not: whether words by words, signs moved to
//! activations, codes cut into nibbles, or two products by one multiplication of sums, 32 products take four vector
//! instructions.
//!
//! What did not pay: four or five activation rows at a time (the same with AVX2, 3 % less with AVX-VNNI). Activations
//! with one scale per 256 values, so that Q4_K's sums stay integers for a record and its minima become integers, too:
//! 1 %; per 128 or 64 values slower. Lines of results asked for before they are written, 64 bytes of rows that are a
//! power of two apart: they take 7 % of Q4_K's time in a model with it and without. What must not be: closures around
//! intrinsics and `array::map` of them, which become functions without the instruction set and are not inlined.
//!
//! A (weight row, activation row) pair sees the same operations in the same order whatever the block it is in.

use super::dot::Dot;
use super::fold::{fold, minima, settle};
use super::format::{Factors, Format, GROUPS, Pair};
use super::sums::{self, Group, Row};
use crate::kernels::{PANEL, Tile};
use std::arch::x86_64::*;

/// Activation rows whose f32 sums are kept in L1 at once.
const BLOCK: usize = 128;
/// Activation rows that share loads of codes.
const SHARE: usize = 6;
/// How many bytes of a panel are fetched ahead.
const AHEAD: usize = 8192;

/// One tile of a format.
///
/// # Safety
/// AVX2, FMA, F16C and what D needs; a whole panel in `t.weights`; `t.rows` writable values behind each pointer of
/// `t.out`.
#[inline(always)]
pub(in crate::kernels) unsafe fn run<F: Format, D: Dot>(t: &Tile<'_>) {
    // SAFETY: all pointers stay inside the panel, the activation rows (whose lengths equal `cols`) and `out`.
    unsafe {
        match t.acts.len() {
            1 => few::<F, D, 1>(t),
            2 => few::<F, D, 2>(t),
            3 => few::<F, D, 3>(t),
            4 => few::<F, D, 4>(t),
            _ => many::<F, D>(t),
        }
    }
}

/// Asks for the bytes of group `g` of what lies [`AHEAD`]; beyond the panel that is the next one.
#[inline(always)]
unsafe fn fetch<F: Format>(t: &Tile<'_>, g: usize) {
    let at = t.weights.as_ptr().wrapping_add(g * F::GROUP_BYTES + AHEAD);
    for line in 0..F::GROUP_BYTES.div_ceil(64) {
        // SAFETY: fetching ahead reads nothing, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(64 * line).cast()) };
    }
}

/// All N activation rows of the tile at once, with no buffer between.
#[inline(always)]
unsafe fn few<F: Format, D: Dot, const N: usize>(t: &Tile<'_>) {
    // SAFETY: passed on from `run`.
    unsafe {
        let panel = t.weights.as_ptr();
        let rows: [Row; N] = std::array::from_fn(|i| Row::new::<F>(&t.acts[i]));
        let mut total = [[_mm256_setzero_ps(); 2]; N];
        let mut factors = [Factors::zero(); GROUPS];
        let groups = t.cols / 32;
        for first in (0..groups).step_by(GROUPS) {
            let count = GROUPS.min(groups - first);
            F::factors(panel, first, &mut factors[..count]);
            let factors = &factors[..count];
            let mut sums = [[_mm256_setzero_ps(); 2]; N];
            for (g, factors) in (first..).zip(factors) {
                fetch::<F>(t, g);
                let isums = sums::live::<F, D, N>(panel, g, factors, &rows);
                fold::<F, N>(factors, g, &rows, isums, &mut sums);
                minima::<F, N>(factors, g, &rows, &mut total);
            }
            settle::<F, N>(&factors[0], &sums, &mut total);
        }
        for (sum, &out) in total.iter().zip(t.out) {
            store(sum, out, t.rows);
        }
    }
}

/// Blocks of activation rows.
#[inline(always)]
unsafe fn many<F: Format, D: Dot>(t: &Tile<'_>) {
    // SAFETY: passed on from `run`.
    unsafe {
        let panel = t.weights.as_ptr();
        let mut unpacked = [Group::zero(); GROUPS];
        let mut factors = [Factors::zero(); GROUPS];
        let groups = t.cols / 32;
        for (acts, out) in t.acts.chunks(BLOCK).zip(t.out.chunks(BLOCK)) {
            let mut rows = [Row::NONE; BLOCK];
            rows.iter_mut().zip(acts).for_each(|(row, act)| *row = Row::new::<F>(act));
            let rows = &rows[..acts.len()];
            let mut total = [[_mm256_setzero_ps(); 2]; BLOCK];
            for first in (0..groups).step_by(GROUPS) {
                let count = GROUPS.min(groups - first);
                F::factors(panel, first, &mut factors[..count]);
                for (g, group) in (first..).zip(&mut unpacked[..count]) {
                    fetch::<F>(t, g);
                    sums::unpack::<F>(panel, g, group);
                }
                let block = Block { first, groups: &unpacked[..count], factors: &factors[..count] };
                let mut i = 0;
                // Four and four rather than six and two.
                while i + SHARE + 2 < rows.len() || i + SHARE == rows.len() {
                    sweep::<F, D, SHARE>(&block, &rows[i..], &mut total[i..]);
                    i += SHARE;
                }
                while i + 4 <= rows.len() {
                    sweep::<F, D, 4>(&block, &rows[i..], &mut total[i..]);
                    i += 4;
                }
                match rows.len() - i {
                    3 => sweep::<F, D, 3>(&block, &rows[i..], &mut total[i..]),
                    2 => sweep::<F, D, 2>(&block, &rows[i..], &mut total[i..]),
                    1 => sweep::<F, D, 1>(&block, &rows[i..], &mut total[i..]),
                    _ => {}
                }
            }
            for (sum, &out) in total.iter().zip(out) {
                store(sum, out, t.rows);
            }
        }
    }
}

/// Up to [`GROUPS`] groups, unpacked.
struct Block<'a> {
    first: usize,
    groups: &'a [Group],
    factors: &'a [Factors],
}

/// Adds a block's products with N activation rows to their sums.
#[inline(always)]
unsafe fn sweep<F: Format, D: Dot, const N: usize>(block: &Block<'_>, rows: &[Row], total: &mut [Pair<__m256>]) {
    let rows: [Row; N] = *rows.first_chunk().expect("N rows");
    // SAFETY: passed on from `run`.
    unsafe {
        let mut sums = [[_mm256_setzero_ps(); 2]; N];
        for (g, (group, factors)) in (block.first..).zip(block.groups.iter().zip(block.factors)) {
            let isums = sums::unpacked::<F, D, N>(group, g, factors, &rows);
            fold::<F, N>(factors, g, &rows, isums, &mut sums);
        }
        let total = total.first_chunk_mut().expect("room for the sums of N rows");
        for (g, factors) in (block.first..).zip(block.factors) {
            minima::<F, N>(factors, g, &rows, total);
        }
        settle::<F, N>(&block.factors[0], &sums, total);
    }
}

#[inline(always)]
unsafe fn store(sum: &Pair<__m256>, out: *mut f32, rows: usize) {
    // SAFETY: `rows` values are writable behind `out`.
    unsafe {
        if rows == PANEL {
            _mm256_storeu_ps(out, sum[0]);
            _mm256_storeu_ps(out.add(8), sum[1]);
        } else {
            let mut all = [0f32; PANEL];
            _mm256_storeu_ps(all.as_mut_ptr(), sum[0]);
            _mm256_storeu_ps(all.as_mut_ptr().add(8), sum[1]);
            std::ptr::copy_nonoverlapping(all.as_ptr(), out, rows);
        }
    }
}
