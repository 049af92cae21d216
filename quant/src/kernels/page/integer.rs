//! One page for many rows of a prompt, in integers of 13 bits: twice the products per instruction of [`super::prompt`].
//!
//! ```text
//! q[r] = scale_q[r] * codes, once;   k[j] = scale_k[j] * codes;   v[j] = 2^lift[j] * codes   -- each row by itself
//! s[r][j] = scale_q[r] * scale_k[j] * (codes of q[r] . codes of k[j]) + lift[j]
//! top = max_j s[r][j];   w[j] = 2^(s[r][j] - top)                     -- weight times scale of v[j], at most 1
//! page's values = 2^top / LIMIT_W * sum_j round(LIMIT_W * w[j]) * codes of v[j]
//! page's sum of weights = 2^top * sum_j w[j] * 2^-lift[j]
//! ```
//! A lane of products is a key (first product, keys transposed in pairs of columns) or a column (second product, values
//! in pairs of slots). Sums are exact: 128 products of 4095 * 4095, or 64 of 8191 * 4095, are below 2^31. Rounding a
//! row to 4095 steps of its largest value moves it less than bf16 would; since each slot has its own scale, a result
//! does not depend on which other slots are filled. The scale of v goes through the exponent, so it costs an addition.
//!
//! One thread of a Zen 5 with AVX-512 does 168 G products a second at a past of 4096, where its VNNI could do 250: the
//! products themselves run at that speed, the softmax takes a tenth of the time, packing and widening as much. It was
//! 145 with the softmax row by row (its chains of latencies took twice the time) and 192 rows a task. No gain: weights up
//! to 2^13, so that they need not be scaled.

use super::prompt::{PromptArgs, ROWS, ask_share};
use super::{QueryRows, most};
use crate::attend::PAGE;
use crate::kernels::pairs::Pairs;
use crate::kernels::simd::exp2;

/// The largest code of queries, keys and values, for heads of up to 128.
const LIMIT: f32 = 4095.0;
/// The largest code of weights.
const LIMIT_W: f32 = 8191.0;

/// What the slots of a page are multiplied with.
struct Scales {
    key: [f32; PAGE],
    /// Binary logarithm of the scale of values.
    lift: [f32; PAGE],
    /// `2^-lift`
    unlift: [f32; PAGE],
}

/// A tile's rows between pages.
struct State<'a> {
    /// Slots of this page that a row sees.
    visible: &'a [u8],
    /// The largest score so far.
    top: &'a mut [f32],
    /// The sum of weights so far.
    sum: &'a mut [f32],
    /// Out: the factor for what was summed before.
    keep: &'a mut [f32],
    /// Out: the factor for this page's integers.
    factor: &'a mut [f32],
}

/// The largest code with which no sum of `width` products overflows.
fn limit(width: usize) -> f32 {
    LIMIT.min((i32::MAX as f32 / width as f32).sqrt().floor() - 1.0).max(1.0)
}

/// Turns rows of f32 queries into codes, each pair of them in the place of a float, and the scale behind them.
///
/// # Safety
/// The instruction set of S is there; the width is a multiple of 64.
#[inline(always)]
pub(crate) unsafe fn queries<S: Pairs>(q: &mut [f32], width: usize) {
    for row in q.chunks_exact_mut(width) {
        // SAFETY: passed on to the caller; the scale is behind `width` halves of floats.
        unsafe {
            let scale = encode::<S>(row.as_mut_ptr(), width);
            row[width / 2] = scale;
        }
    }
}

/// Replaces a row by codes, two in the place of a float; gives the scale, NaN for a row that is not finite.
#[inline(always)]
unsafe fn encode<S: Pairs>(row: *mut f32, width: usize) -> f32 {
    // SAFETY: LANES divides the width; codes are written behind what was read.
    unsafe {
        let peak = f32::from_bits(peak::<S>(row, width) as u32);
        let limit = limit(width);
        let inv = S::splat(if peak > 1e-30 { limit / peak } else { 0.0 });
        for c in (0..width).step_by(S::LANES) {
            S::store_i16(S::round(S::mul(S::load(row.add(c)), inv)), row.cast::<i16>().add(c));
        }
        peak / limit + peak * 0.0
    }
}

/// The bits of the largest magnitude of a row.
#[inline(always)]
unsafe fn peak<S: Pairs>(row: *const f32, width: usize) -> i32 {
    // SAFETY: LANES divides the width, by the caller, who has the instruction set.
    unsafe {
        let mut peak = S::splat_i32(0);
        for c in (0..width).step_by(S::LANES) {
            peak = S::peak(peak, S::load(row.add(c)));
        }
        S::largest(peak)
    }
}

/// Folds one page into the state of each row, whose queries went through [`queries`].
///
/// # Safety
/// The instruction set of S is there, and the arguments fit.
#[inline(always)]
pub(crate) unsafe fn attend<S: Pairs>(args: PromptArgs<'_>) {
    let PromptArgs { rows, keys, values, turned, weights, keep, factor, next, .. } = args;
    let (width, n) = (rows.width, rows.visible.len());
    let mut scales = Scales { key: [0.0; PAGE], lift: [0.0; PAGE], unlift: [0.0; PAGE] };
    // SAFETY: passed on to the caller; tiles are inside what fits.
    unsafe {
        pack_keys::<S>(keys, turned, (width, rows.most()), &mut scales.key);
        pack_values::<S>(values, (width, rows.most()), &mut scales);
        for first in (0..n).step_by(ROWS) {
            ask_share::<S>(next, first, n);
            if S::REGISTERS == 32 {
                scores::<S, 4>(&rows, first, turned, weights, &scales);
            } else {
                scores::<S, 2>(&rows, first, turned, weights, &scales);
            }
            let part = first..first + ROWS;
            let state = State {
                visible: &rows.visible[part.clone()],
                top: &mut rows.top[part.clone()],
                sum: &mut rows.sum[part.clone()],
                keep: &mut keep[part.clone()],
                factor: &mut factor[part],
            };
            soften::<S>(weights[first * PAGE..][..ROWS * PAGE].as_chunks_mut::<PAGE>().0, &scales.unlift, state);
        }
        for first in (0..n).step_by(ROWS) {
            let most = most(&rows.visible[first..first + ROWS]);
            let w = weights[first * PAGE..].as_ptr().cast();
            let out = &mut rows.acc[first * width..][..ROWS * width];
            let scale = (&keep[first..first + ROWS], &factor[first..first + ROWS]);
            if S::REGISTERS == 32 {
                weigh::<S, 4>(w, values, (width, most.div_ceil(2)), scale, out);
            } else {
                weigh::<S, 2>(w, values, (width, most.div_ceil(2)), scale, out);
            }
        }
    }
}

/// `turned[c / 2][j]` = codes of columns c and c + 1 of key j, for at least the first `n` keys, which become codes.
#[inline(always)]
unsafe fn pack_keys<S: Pairs>(
    keys: &mut [f32],
    turned: &mut [f32],
    (width, n): (usize, usize),
    scales: &mut [f32; PAGE],
) {
    for (row, scale) in keys.chunks_exact_mut(width).zip(scales).take(n) {
        // SAFETY: the row has `width` values; the caller has the instruction set.
        *scale = unsafe { encode::<S>(row.as_mut_ptr(), width) };
    }
    for j in (0..n).step_by(S::LANES) {
        for c in (0..width / 2).step_by(4) {
            // SAFETY: LANES divides PAGE and 8 the width, so keys and columns are inside; the caller has the ISA.
            unsafe {
                let columns = S::columns(keys.as_ptr().add(j * width + c), width);
                for (i, column) in columns.into_iter().enumerate() {
                    S::store(column, turned.as_mut_ptr().add((c + i) * PAGE + j));
                }
            }
        }
    }
}

/// `values[j][c]` = codes of column c of slots j and j + 1, for even j and at least the first `n` slots.
#[inline(always)]
unsafe fn pack_values<S: Pairs>(values: &mut [f32], (width, n): (usize, usize), scales: &mut Scales) {
    let mut broken = [0f32; PAGE];
    for (j, row) in values.chunks_exact(width).enumerate().take(n) {
        // SAFETY: the row has `width` values; the caller has the instruction set.
        let bits = unsafe { peak::<S>(row.as_ptr(), width) };
        // The bits of a float are its logarithm with a straight line within each power of two, at most 0.0861 too low.
        // With 0.09 more, the largest value stays below 2^12 - 1 steps. A row of zeroes has some tiny scale.
        let log = bits as f32 / (1 << 23) as f32 - 127.0;
        scales.lift[j] = (log + 0.09 - 12.0).max(-60.0);
        broken[j] = f32::from_bits(bits as u32) * 0.0;
    }
    // SAFETY: LANES divides PAGE and the width; n is at most PAGE, which is even.
    unsafe {
        for j in (0..PAGE).step_by(S::LANES) {
            let lift = S::load(scales.lift.as_ptr().add(j));
            S::store(exp2::<S>(S::sub(S::splat(0.0), lift)), scales.unlift.as_mut_ptr().add(j));
        }
        // Whoever sees a slot that is not finite gets NaN; the factors stay finite for those who do not see it.
        scales.lift.iter_mut().zip(&broken).for_each(|(lift, broken)| *lift += broken);
        for j in (0..n).step_by(2) {
            let low = values.as_mut_ptr().add(j * width);
            let (by_low, by_high) = (S::splat(scales.unlift[j]), S::splat(scales.unlift[j + 1]));
            for c in (0..width).step_by(S::LANES) {
                let codes = S::round(S::mul(S::load(low.add(c)), by_low));
                let next = S::round(S::mul(S::load(low.add(width + c)), by_high));
                S::store_i32(S::join(codes, next), low.add(c).cast());
            }
        }
    }
}

/// Sums of products of pairs: ROWS rows of `a` (`a_step` apart) with C vectors of columns of `depth` rows of `b`.
#[inline(always)]
unsafe fn product<S: Pairs, const C: usize>(
    (a, a_step): (*const i32, usize),
    (b, b_step): (*const i32, usize),
    depth: usize,
) -> [[S::I; C]; ROWS] {
    // SAFETY: all of this is readable, by the caller, who has the instruction set.
    unsafe {
        let mut sums = [[S::splat_i32(0); C]; ROWS];
        let rows: [*const i32; ROWS] = std::array::from_fn(|r| a.add(r * a_step));
        let mut b = b;
        for k in 0..depth {
            let v: [S::I; C] = std::array::from_fn(|c| S::load_i32(b.add(c * S::LANES)));
            for r in 0..ROWS {
                let a = S::splat_i32(*rows[r].add(k));
                for c in 0..C {
                    sums[r][c] = S::dot(sums[r][c], a, v[c]);
                }
            }
            b = b.add(b_step);
        }
        sums
    }
}

/// Scores of ROWS rows, for all slots that one of them sees.
#[inline(always)]
unsafe fn scores<S: Pairs, const C: usize>(
    rows: &QueryRows<'_>,
    first: usize,
    turned: &[f32],
    out: &mut [f32],
    scales: &Scales,
) {
    let most = most(&rows.visible[first..first + ROWS]);
    let q = &rows.q[first * rows.width..];
    for j in (0..most).step_by(C * S::LANES) {
        // SAFETY: C * LANES divides PAGE, so slots are inside; the caller has the instruction set.
        unsafe {
            let b = turned.as_ptr().add(j).cast();
            let sums = product::<S, C>((q.as_ptr().cast(), rows.width), (b, PAGE), rows.width / 2);
            for r in 0..ROWS {
                let scale = S::splat(q[r * rows.width + rows.width / 2]);
                for c in 0..C {
                    let at = j + c * S::LANES;
                    let by = S::mul(scale, S::load(scales.key.as_ptr().add(at)));
                    let score = S::fma(S::to_f32(sums[r][c]), by, S::load(scales.lift.as_ptr().add(at)));
                    S::store(score, out.as_mut_ptr().add((first + r) * PAGE + at));
                }
            }
        }
    }
}

/// Turns the scores of a tile's rows into codes of weights, two in the place of a float, and changes the rows' state.
///
/// Step by step for all rows, since what waits in one row (reductions across lanes, the exponential of one number) is
/// work of another.
#[inline(always)]
unsafe fn soften<S: Pairs>(scores: &mut [[f32; PAGE]], unlift: &[f32; PAGE], state: State<'_>) {
    let State { visible, top, sum, keep, factor } = state;
    let (mut largest, mut difference) = ([0f32; ROWS], [0f32; 16]);
    // SAFETY: LANES divides PAGE, so all accesses are inside; codes are written behind what was read.
    unsafe {
        for r in 0..ROWS {
            // A row that sees nothing gets a weight of one for each slot, of which nothing is taken.
            let unseen = if visible[r] == 0 { 0.0 } else { f32::NEG_INFINITY };
            scores[r][usize::from(visible[r])..].fill(unseen);
            let at = scores[r].as_ptr();
            let mut most = S::load(at);
            for j in (S::LANES..PAGE).step_by(S::LANES) {
                most = S::max(most, S::load(at.add(j)));
            }
            largest[r] = S::top(most);
            // Below zero: this page's top or the earlier one is the new top.
            let grows = largest[r] > top[r];
            difference[r] = if grows { top[r] - largest[r] } else { largest[r] - top[r] };
        }
        let mut totals = [S::splat(0.0); ROWS];
        for r in 0..ROWS {
            let (at, shift) = (scores[r].as_mut_ptr(), S::splat(largest[r]));
            for j in (0..PAGE).step_by(S::LANES) {
                let w = exp2::<S>(S::sub(S::load(at.add(j)), shift));
                totals[r] = S::fma(w, S::load(unlift.as_ptr().add(j)), totals[r]);
                S::store_i16(S::round(S::mul(w, S::splat(LIMIT_W))), at.cast::<i16>().add(j));
            }
        }
        let mut powers = [0f32; 16];
        for r in (0..ROWS).step_by(S::LANES) {
            S::store(exp2::<S>(S::load(difference.as_ptr().add(r))), powers.as_mut_ptr().add(r));
        }
        for r in 0..ROWS {
            let grows = largest[r] > top[r];
            let here = match (visible[r], grows) {
                (0, _) => 0.0,
                (_, true) => 1.0,
                (_, false) => powers[r],
            };
            keep[r] = if visible[r] > 0 && grows { powers[r] } else { 1.0 };
            factor[r] = here / LIMIT_W;
            top[r] = if visible[r] > 0 && grows { largest[r] } else { top[r] };
            sum[r] = sum[r] * keep[r] + S::sum(totals[r]) * here;
        }
    }
}

/// `out = out * keep + (codes of weights * codes of values) * factor` for ROWS rows.
#[inline(always)]
unsafe fn weigh<S: Pairs, const C: usize>(
    weights: *const i32,
    values: &[f32],
    (width, depth): (usize, usize),
    (keep, factor): (&[f32], &[f32]),
    out: &mut [f32],
) {
    for column in (0..width).step_by(C * S::LANES) {
        // SAFETY: C * LANES divides the width, so columns are inside; the caller has the instruction set.
        unsafe {
            let b = values.as_ptr().add(column).cast();
            let sums = product::<S, C>((weights, PAGE), (b, 2 * width), depth);
            for r in 0..ROWS {
                let (keep, factor) = (S::splat(keep[r]), S::splat(factor[r]));
                for c in 0..C {
                    let at = out.as_mut_ptr().add(r * width + column + c * S::LANES);
                    let here = S::mul(S::to_f32(sums[r][c]), factor);
                    S::store(S::fma(S::load(at), keep, here), at);
                }
            }
        }
    }
}
