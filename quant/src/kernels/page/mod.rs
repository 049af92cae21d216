//! Attention of query rows to one page, with online softmax; scores are binary logarithms.
//!
//! ```text
//! scores[j] = q . k[j]                    for the slots that the row sees; q has log2(e) / sqrt(head_dim) in it
//! top = max(row.top, scores);  keep = 2^(row.top - top)
//! weights[j] = 2^(scores[j] - top);  row.sum = row.sum * keep + sum of weights
//! row.acc = row.acc * keep + sum_j weights[j] * v[j]
//! ```
//! [`prompt`] is for many rows (`integer` where products of integers are faster), [`generated`] for the few of a token.
//! In both a row's result depends only on the row and the slots that it sees: slots beyond have a weight of exactly
//! zero, whether a neighbour sees them or not.

pub(crate) mod generated;
#[cfg(target_arch = "x86_64")]
pub(crate) mod integer;
pub(crate) mod prompt;

pub(crate) use generated::{GeneratedArgs, Stored};
pub(crate) use prompt::{Prompt, PromptArgs, ROWS};

use super::simd::{self, Plain, Simd};
use crate::attend::PAGE;

/// Rows on their way over the pages.
pub(crate) struct QueryRows<'a> {
    /// Values per row: the head size, with zeroes behind it to a multiple of 16.
    pub width: usize,
    /// `[rows, width]` queries, scaled.
    pub q: &'a [f32],
    /// `[rows, width]` sums of values.
    pub acc: &'a mut [f32],
    /// `[rows]` largest scores.
    pub top: &'a mut [f32],
    /// `[rows]` sums of weights.
    pub sum: &'a mut [f32],
    /// `[rows]` slots of this page that the row sees, at most [`PAGE`].
    pub visible: &'a [u8],
}

impl QueryRows<'_> {
    fn fits(&self) -> bool {
        let n = self.visible.len();
        self.width.is_multiple_of(16)
            && self.q.len() == n * self.width
            && self.acc.len() == self.q.len()
            && (self.top.len(), self.sum.len()) == (n, n)
            && self.most() <= PAGE
    }

    /// The most slots that a row sees.
    fn most(&self) -> usize {
        most(self.visible)
    }
}

/// The most slots of a list, which is of bytes so that this takes next to no time on any instruction set.
#[inline(always)]
fn most(visible: &[u8]) -> usize {
    usize::from(visible.iter().copied().max().unwrap_or(0))
}

/// 2^x for x at most 0, the same on every instruction set.
pub(crate) fn exp2(x: f32) -> f32 {
    // SAFETY: plain Rust needs no instruction set.
    unsafe { simd::exp2::<Plain>([x; 4])[0] }
}

/// Turns a row's scores of one page into weights; gives the factor for what was summed before.
///
/// # Safety
/// The instruction set of S is there.
#[inline(always)]
unsafe fn soften<S: Simd>(scores: &mut [f32; PAGE], visible: usize, top: &mut f32, sum: &mut f32) -> f32 {
    if visible == 0 {
        scores.fill(0.0);
        return 1.0;
    }
    scores[visible..].fill(f32::NEG_INFINITY);
    let at = scores.as_mut_ptr();
    // SAFETY: LANES divides PAGE, so all accesses are inside `scores`; the caller has the instruction set.
    unsafe {
        let mut largest = S::load(at);
        for j in (S::LANES..PAGE).step_by(S::LANES) {
            largest = S::max(largest, S::load(at.add(j)));
        }
        let largest = S::top(largest);
        let mut keep = 1.0;
        if largest > *top {
            let mut lanes = [0f32; 16];
            S::store(simd::exp2::<S>(S::splat(*top - largest)), lanes.as_mut_ptr());
            keep = lanes[0];
            *top = largest;
        }
        let shift = S::splat(*top);
        let mut total = S::splat(0.0);
        for j in (0..PAGE).step_by(S::LANES) {
            let weights = simd::exp2::<S>(S::sub(S::load(at.add(j)), shift));
            S::store(weights, at.add(j));
            total = S::add(total, weights);
        }
        *sum = *sum * keep + S::sum(total);
        keep
    }
}

/// Asks for the cache lines of `bytes[at..at + n]`, as far as there are any.
#[inline(always)]
unsafe fn ask<S: Simd>(bytes: &[u8], at: usize, n: usize) {
    let end = (at + n).min(bytes.len());
    for line in (at..end).step_by(64) {
        // SAFETY: inside `bytes`; the caller has the instruction set.
        unsafe { S::prefetch(bytes.as_ptr().add(line)) };
    }
}
