//! The AVX-512 tile for weights that are floats in the file: rows as they are, times f32 activations.
//!
//! ```text
//! for each block of up to 6 activation rows:            (they and the tile's weights stay in L2)
//!     for each four weight rows:
//!         for each 16 columns:  sums[r][i] += f32 of weights[r] * x[i]       (lanes of columns)
//!     out[i][r] = sum of the lanes of sums[r][i]
//! ```
//! Weights become f32 in registers, each time they are met: two instructions beside six products, and nothing is written
//! to memory. 24 sums hide the latency of products. Tails are loads with a mask, whose other lanes are zero. Generated
//! tokens wait for memory, so rows are asked for in advance, at a row's end those of the next block of four.
//!
//! A (weight row, activation row) pair has its own lanes and its own order of additions, whatever the block.

use crate::acts::ActRow;
use crate::kernels::Tile;
use crate::kernels::avx512::simd::Avx512;
use crate::kernels::simd::Simd;
use std::arch::x86_64::*;

/// Weight rows that meet an activation row at once.
const ROWS: usize = 4;
/// Activation rows of a block.
const SHARE: usize = 6;
/// How far ahead of its use a row is asked for.
const AHEAD: usize = 1024;

/// A float format.
pub(super) trait Float {
    /// Bytes of a number.
    const BYTES: usize;
    /// The numbers from `p` on for which the mask has a bit, as f32; zero in other lanes.
    unsafe fn load(p: *const u8, mask: __mmask16) -> __m512;
}

pub(super) struct F32;

impl Float for F32 {
    const BYTES: usize = 4;

    #[inline(always)]
    unsafe fn load(p: *const u8, mask: __mmask16) -> __m512 {
        // SAFETY: the numbers under the mask are readable, by the caller.
        unsafe { _mm512_maskz_loadu_ps(mask, p.cast()) }
    }
}

pub(super) struct F16;

impl Float for F16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load(p: *const u8, mask: __mmask16) -> __m512 {
        // SAFETY: the numbers under the mask are readable, by the caller.
        unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, p.cast())) }
    }
}

pub(super) struct BF16;

impl Float for BF16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load(p: *const u8, mask: __mmask16) -> __m512 {
        // SAFETY: the numbers under the mask are readable, by the caller.
        unsafe {
            let upper = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, p.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(upper))
        }
    }
}

/// One tile.
///
/// # Safety
/// AVX-512 F, BW and VL; `t.rows` writable values behind each pointer of `t.out`.
#[inline(always)]
pub(super) unsafe fn run<F: Float>(t: &Tile<'_>) {
    for first in (0..t.acts.len()).step_by(SHARE) {
        for row in (0..t.rows).step_by(ROWS) {
            // SAFETY: passed on.
            unsafe {
                match t.acts.len() - first {
                    1 => block::<F, 1>(t, row, first),
                    2 => block::<F, 2>(t, row, first),
                    3 | 4 => block::<F, 4>(t, row, first),
                    _ => block::<F, SHARE>(t, row, first),
                }
            }
        }
    }
}

/// [`ROWS`] weight rows from `row` on times N activation rows from `first` on; where there are fewer, the last one takes
/// the place of those that are missing.
#[inline(always)]
unsafe fn block<F: Float, const N: usize>(t: &Tile<'_>, row: usize, first: usize) {
    // SAFETY: rows of the tile, of `cols` numbers; `rows` results behind each pointer; a prefetch may have any address.
    unsafe {
        let row_bytes = t.cols * F::BYTES;
        let mut weights = [t.weights.as_ptr(); ROWS];
        for (r, w) in weights.iter_mut().enumerate() {
            *w = w.add((row + r).min(t.rows - 1) * row_bytes);
        }
        let mut x = [std::ptr::null::<f32>(); N];
        for (i, x) in x.iter_mut().enumerate() {
            let act: &ActRow<'_> = &t.acts[(first + i).min(t.acts.len() - 1)];
            *x = act.x.as_ptr();
        }
        let mut sums = [[_mm512_setzero_ps(); N]; ROWS];
        for k in (0..t.cols / 16 * 16).step_by(16) {
            if N == 1 && (k * F::BYTES).is_multiple_of(64) {
                let at = k * F::BYTES + AHEAD;
                let at = if at < row_bytes { at } else { at + (ROWS - 1) * row_bytes };
                for w in weights {
                    _mm_prefetch::<_MM_HINT_T0>(w.wrapping_add(at).cast());
                }
            }
            step::<F, N>(weights, x, k, 0xffff, &mut sums);
        }
        if !t.cols.is_multiple_of(16) {
            step::<F, N>(weights, x, t.cols / 16 * 16, (1 << (t.cols % 16)) - 1, &mut sums);
        }
        for (r, sums) in sums.iter().enumerate().take(t.rows - row) {
            for (&sum, &out) in sums.iter().zip(&t.out[first..]) {
                *out.add(row + r) = Avx512::sum(sum);
            }
        }
    }
}

/// Adds the products of the columns from `k` on under the mask.
#[inline(always)]
unsafe fn step<F: Float, const N: usize>(
    weights: [*const u8; ROWS],
    x: [*const f32; N],
    k: usize,
    mask: __mmask16,
    sums: &mut [[__m512; N]; ROWS],
) {
    // SAFETY: the columns are inside the rows, by the caller.
    unsafe {
        let mut values = [_mm512_setzero_ps(); N];
        for i in 0..N {
            values[i] = F32::load(x[i].add(k).cast(), mask);
        }
        for r in 0..ROWS {
            let w = F::load(weights[r].add(k * F::BYTES), mask);
            for i in 0..N {
                sums[r][i] = _mm512_fmadd_ps(w, values[i], sums[r][i]);
            }
        }
    }
}
