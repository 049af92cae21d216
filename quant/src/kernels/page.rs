//! Attention of query rows to one page, with online softmax.
//!
//! ```text
//! scores[j] = q . k[j] * scale            for the slots that the row sees
//! top = max(row.max, scores);  keep = e^(row.max - top)
//! weights[j] = e^(scores[j] - top);  row.sum = row.sum * keep + sum of weights
//! row.acc = row.acc * keep + sum_j weights[j] * v[j]
//! ```
//! Two neighbouring rows that see the same slots (heads of a group) share each load of keys and values, and four keys
//! share each load of a query; every (row, key) pair has its own lanes, so a row's result is the same either way.

use crate::attend::{PAGE, RowState};
use crate::kernels::simd::{Simd, dots};
use crate::kernels::{PageArgs, body};

/// Keys that share loads of a query.
const KEYS: usize = 4;
/// Vectors of columns whose sums stay in registers.
const COLUMNS: usize = 4;

/// Folds one page into the state of each row.
///
/// # Safety
/// The instruction set of S is there; `k` and `v` have `visible` rows of `head_dim` for every row, whose query and
/// sums are `head_dim` long.
#[inline(always)]
pub(crate) unsafe fn attend<S: Simd, const FMA: bool>(args: PageArgs<'_, '_>) {
    let PageArgs { head_dim: d, scale, k, v, mut rows } = args;
    while !rows.is_empty() {
        let pair = rows.len() > 1 && rows[0].visible == rows[1].visible;
        let (now, later) = std::mem::take(&mut rows).split_at_mut(if pair { 2 } else { 1 });
        // SAFETY: passed on to the caller; `now` has as many rows as the parameter says.
        unsafe {
            if pair {
                some_rows::<S, FMA, 2>(d, scale, (k, v), now);
            } else {
                some_rows::<S, FMA, 1>(d, scale, (k, v), now);
            }
        }
        rows = later;
    }
}

#[inline(always)]
unsafe fn some_rows<S: Simd, const FMA: bool, const R: usize>(
    d: usize,
    scale: f32,
    (k, v): (&[f32], &[f32]),
    rows: &mut [RowState<'_>],
) {
    let n = rows[0].visible;
    if n == 0 {
        return;
    }
    let mut weights = [[0f32; PAGE]; R];
    let q: [*const f32; R] = std::array::from_fn(|r| rows[r].q.as_ptr());
    // SAFETY: n rows of k and v are there, by the caller.
    unsafe { scores::<S, R>(d, q, k.as_ptr(), n, &mut weights) };
    let mut keep = [0f32; R];
    for ((row, weights), keep) in rows.iter_mut().zip(&mut weights).zip(&mut keep) {
        let scores = &mut weights[..n];
        scores.iter_mut().for_each(|s| *s *= scale);
        let top = body::max(scores);
        let top = if top > row.max { top } else { row.max };
        *keep = if row.max == f32::NEG_INFINITY { 0.0 } else { body::exp::<FMA>(row.max - top) };
        row.max = top;
        row.sum = row.sum * *keep + body::exp_sum::<FMA>(scores, top);
    }
    let acc: [*mut f32; R] = std::array::from_fn(|r| rows[r].acc.as_mut_ptr());
    // SAFETY: as above; the sums are d long.
    unsafe { weigh_values::<S, R>(d, &weights, (v.as_ptr(), n), keep, acc) };
}

#[inline(always)]
unsafe fn scores<S: Simd, const R: usize>(
    d: usize,
    q: [*const f32; R],
    k: *const f32,
    n: usize,
    out: &mut [[f32; PAGE]; R],
) {
    let mut j = 0;
    while j < n {
        // Past the last key the last one is repeated; its results are not stored.
        // SAFETY: row numbers are below n.
        let sums = unsafe { dots::<S, R, KEYS>(q, std::array::from_fn(|i| k.add((j + i).min(n - 1) * d)), d) };
        for r in 0..R {
            for i in 0..KEYS.min(n - j) {
                out[r][j + i] = sums[r][i];
            }
        }
        j += KEYS;
    }
}

#[inline(always)]
unsafe fn weigh_values<S: Simd, const R: usize>(
    d: usize,
    weights: &[[f32; PAGE]; R],
    (v, n): (*const f32, usize),
    keep: [f32; R],
    acc: [*mut f32; R],
) {
    let width = COLUMNS * S::LANES;
    let full = d / width * width;
    // SAFETY: columns are below d, rows below n.
    unsafe {
        for at in (0..full).step_by(width) {
            let mut sum = [[S::splat(0.0); COLUMNS]; R];
            for r in 0..R {
                for c in 0..COLUMNS {
                    sum[r][c] = S::mul(S::load(acc[r].add(at + c * S::LANES)), S::splat(keep[r]));
                }
            }
            for j in 0..n {
                let row = v.add(j * d + at);
                let v: [S::V; COLUMNS] = std::array::from_fn(|c| S::load(row.add(c * S::LANES)));
                for r in 0..R {
                    let w = S::splat(weights[r][j]);
                    for c in 0..COLUMNS {
                        sum[r][c] = S::fma(w, v[c], sum[r][c]);
                    }
                }
            }
            for r in 0..R {
                for c in 0..COLUMNS {
                    S::store(sum[r][c], acc[r].add(at + c * S::LANES));
                }
            }
        }
        for r in 0..R {
            for c in full..d {
                let start = *acc[r].add(c) * keep[r];
                *acc[r].add(c) = (0..n).fold(start, |s, j| S::fma1(weights[r][j], *v.add(j * d + c), s));
            }
        }
    }
}
