//! Rows of generated tokens: a task is a KV head and a range of positions, so that a long past is work for all threads.
//!
//! Ranges have borders fixed by position. A task leaves its rows' sums, largest scores and sums of weights; whoever
//! finishes the last range of a head merges all of them, in order.

use super::{Common, PAGE, QuerySpan, SCRATCH, visible};
use crate::attend::KvType;
use crate::buffer::{Floats, bytes_of};
use crate::kernels::page::{self, GeneratedArgs, QueryRows, Stored};
use crate::threads::SharedMut;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pages of a range: 512 positions are 128 KB of f16 keys and as much of values, for heads of 128.
const RANGE: usize = 8;

/// One KV head of one span.
struct Head<'a> {
    span: QuerySpan<'a>,
    head: usize,
    /// Ranges that are not done yet.
    left: AtomicUsize,
    /// Where its first range's partial results are.
    partials: usize,
}

impl Head<'_> {
    fn rows(&self, c: &Common<'_>) -> usize {
        self.span.len * c.group()
    }

    /// The pages that hold positions which a row sees.
    fn pages(&self) -> &[u32] {
        &self.span.pages[..(self.span.past + self.span.len).div_ceil(PAGE)]
    }
}

/// Tasks of the spans that are generated.
pub(super) struct Tasks<'a> {
    heads: Vec<Head<'a>>,
    /// Head, range.
    list: Vec<(usize, usize)>,
    /// Per range: sums `[rows, width]`, largest scores `[rows]`, sums of weights `[rows]`.
    partials: SharedMut<f32>,
    width: usize,
    threads: usize,
}

impl<'a> Tasks<'a> {
    pub(super) fn new(c: &Common<'_>, spans: &[QuerySpan<'a>], threads: usize, partials: &mut Floats) -> Self {
        let width = if is_direct(c) { c.heads.head_dim } else { c.heads.head_dim.next_multiple_of(64) };
        let (mut heads, mut list, mut room) = (Vec::new(), Vec::new(), 0);
        for &span in spans.iter().filter(|s| s.generated && s.len > 0) {
            let ranges = (span.past + span.len).div_ceil(RANGE * PAGE);
            for head in 0..c.heads.n_kv_heads {
                list.extend((0..ranges).map(|range| (heads.len(), range)));
                heads.push(Head { span, head, left: AtomicUsize::new(ranges), partials: room });
                room += ranges * (span.len * c.group() * (width + 2)).next_multiple_of(16);
            }
        }
        Self { heads, list, partials: SharedMut::new(partials.take(room)), width, threads }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn run(&self, c: &Common<'_>, task: usize) {
        let (head, range) = self.list[task];
        let head = &self.heads[head];
        // SAFETY: each (head, range) has its own part and is one task.
        let partial = unsafe { self.partials.slice(self.place(c, head, range)) };
        SCRATCH.with_borrow_mut(|scratch| self.over_pages(c, task, partial, scratch));
        // Whoever sees the last count sees what the others wrote before they counted.
        if head.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.merge(c, head);
        }
    }

    fn place(&self, c: &Common<'_>, head: &Head<'_>, range: usize) -> std::ops::Range<usize> {
        let len = head.rows(c) * (self.width + 2);
        let at = head.partials + range * len.next_multiple_of(16);
        at..at + len
    }

    /// The page that this thread will probably read after `page` of a task, and its head: the task's next one, or that
    /// with which a later task begins.
    fn after(&self, task: usize, page: usize) -> Option<(u32, usize)> {
        let first = |(head, range): (usize, usize)| (head, range * RANGE);
        let (head, range) = self.list[task];
        let last = (range + 1) * RANGE;
        let in_task = page + 1 < last && page + 1 < self.heads[head].pages().len();
        let (head, page) = if in_task { (head, page + 1) } else { first(*self.list.get(task + self.threads)?) };
        let head = &self.heads[head];
        Some((head.pages()[page], head.head))
    }

    fn over_pages(&self, c: &Common<'_>, task: usize, partial: &mut [f32], scratch: &mut Floats) {
        let (head, range) = self.list[task];
        let head = &self.heads[head];
        let (width, n, span) = (self.width, head.rows(c), &head.span);
        let (acc, rest) = partial.split_at_mut(n * width);
        let (top, sum) = rest.split_at_mut(n);
        acc.fill(0.0);
        top.fill(f32::NEG_INFINITY);
        sum.fill(0.0);
        let (q, wide) = scratch.take((n + 2 * PAGE) * width).split_at_mut(n * width);
        let (wide_keys, wide_values) = wide.split_at_mut(PAGE * width);
        c.scale_queries(span, head.head, (width, q));
        let mut sees = vec![0; n];
        let pages = head.pages();
        for p in range * RANGE..pages.len().min((range + 1) * RANGE) {
            for (i, sees) in sees.iter_mut().enumerate() {
                *sees = visible(span.past + i / c.group(), p);
            }
            let slots = usize::from(visible(span.past + span.len - 1, p));
            let (keys, values) = ((c.keys, &mut *wide_keys), (c.values, &mut *wide_values));
            let [keys, values] = [keys, values].map(|(plane, wide)| {
                let next = self.after(task, p).map_or(&[][..], |(page, head)| c.rows(plane, page, head, PAGE));
                let bytes = c.rows(plane, pages[p], head.head, slots);
                if is_direct(c) {
                    return Stored { bytes, dtype: plane.dtype, next };
                }
                c.widen(plane, bytes, (width, wide));
                Stored { bytes: bytes_of(wide), dtype: KvType::F32, next: &[] }
            });
            let rows = QueryRows { width, q, acc, top, sum, visible: &sees };
            c.kernels.vector.attend_generated(GeneratedArgs { rows, keys, values });
        }
    }

    /// `out = sum of the ranges' sums / sum of their weights`, each times 2^(its largest score - the largest of all).
    fn merge(&self, c: &Common<'_>, head: &Head<'_>) {
        let (width, n) = (self.width, head.rows(c));
        for i in 0..n {
            let position = head.span.past + i / c.group();
            let ranges = (position + 1).div_ceil(RANGE * PAGE);
            let partial = |range: usize| {
                // SAFETY: all tasks of this head are done; nobody writes there now.
                let all = unsafe { &*self.partials.slice(self.place(c, head, range)) };
                (&all[i * width..][..c.heads.head_dim], all[n * width + i], all[n * (width + 1) + i])
            };
            let top = (0..ranges).map(|r| partial(r).1).fold(f32::NEG_INFINITY, |m, t| if t > m { t } else { m });
            let factor = |r: usize| page::exp2(partial(r).1 - top);
            let sum = (0..ranges).fold(0.0, |sum, r| sum + partial(r).2 * factor(r));
            // SAFETY: (token, query head) pairs of different heads and rows differ, so the ranges are disjoint.
            let out = unsafe { c.out.slice(c.at(&head.span, head.head, i)) };
            out.fill(0.0);
            (0..ranges).for_each(|r| c.kernels.vector.add_scaled(out, partial(r).0, factor(r) / sum));
        }
    }
}

/// Whether kernels can read rows as they are stored; otherwise they are widened and filled up with zeroes first.
fn is_direct(c: &Common<'_>) -> bool {
    c.heads.head_dim.is_multiple_of(16)
}
