//! Rows of prompts: a task is a KV head and a block of a span's rows, which go over all pages that they see.
//!
//! Each page is widened to f32 once per task, for all query heads of the group and as many tokens as fit.

use super::{Common, KvType, PAGE, QuerySpan, SCRATCH, visible};
use crate::kernels::page::{PromptArgs, QueryRows, ROWS};
use std::cmp::Reverse;

/// Rows of a task (tokens times query heads of the group). With heads of 128 their queries, sums and weights are
/// 370 KB, which stay in L2.
const MOST: usize = 288;
/// Rows of a task when there would be too few for all threads: widening a page costs as much as about ten rows.
const LEAST: usize = 48;
/// Tasks per thread that keep all of them busy to the end.
const PER_THREAD: usize = 4;

/// Tasks of the spans that are prompts.
pub(super) struct Tasks<'a> {
    spans: &'a [QuerySpan<'a>],
    /// Span, first token, KV head.
    list: Vec<(usize, usize, usize)>,
    /// Tokens of a task.
    tokens: usize,
}

impl<'a> Tasks<'a> {
    pub(super) fn new(c: &Common<'_>, spans: &'a [QuerySpan<'a>], threads: usize) -> Self {
        let prompts = || spans.iter().enumerate().filter(|(_, s)| !s.generated);
        let all: usize = prompts().map(|(_, s)| s.len * c.heads.n_heads).sum();
        let rows = (all / (PER_THREAD * threads)).clamp(LEAST, MOST);
        let tokens = (rows / c.group()).max(1);
        let mut list = Vec::new();
        for (i, s) in prompts() {
            for first in (0..s.len).step_by(tokens) {
                list.extend((0..c.heads.n_kv_heads).map(|head| (i, first, head)));
            }
        }
        // Longest first, so that no thread starts a long task when the others are done.
        list.sort_by_key(|&(i, first, _)| Reverse(spans[i].past + first));
        Self { spans, list, tokens }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn run(&self, c: &Common<'_>, task: usize) {
        let (i, first, head) = self.list[task];
        let s = &self.spans[i];
        let span = QuerySpan {
            first: s.first + first,
            len: self.tokens.min(s.len - first),
            past: s.past + first,
            pages: s.pages,
            generated: false,
        };
        SCRATCH.with_borrow_mut(|scratch| over_pages(c, &span, head, scratch));
    }
}

fn over_pages(c: &Common<'_>, span: &QuerySpan<'_>, head: usize, scratch: &mut crate::buffer::Floats) {
    let width = c.heads.head_dim.next_multiple_of(64);
    let group = c.group();
    let used = span.len * group;
    // Rows behind the last one see nothing.
    let n = used.next_multiple_of(ROWS);
    let mut rest = scratch.take(2 * n * width + n * PAGE + 3 * PAGE * width + 4 * n);
    let mut part = |len: usize| rest.split_off_mut(..len).expect("as much as was taken");
    let (q, acc, weights) = (part(n * width), part(n * width), part(n * PAGE));
    let (keys, values, turned) = (part(PAGE * width), part(PAGE * width), part(PAGE * width));
    let (top, sum, keep, factor) = (part(n), part(n), part(n), part(n));
    c.scale_queries(span, head, (width, q));
    // An f32 cache is for those who want no rounding; others lose more in the cache than in integers.
    let exact = c.keys.dtype == KvType::F32 || c.values.dtype == KvType::F32;
    c.kernels.vector.prompt_queries(q, width, exact);
    acc.fill(0.0);
    top.fill(f32::NEG_INFINITY);
    sum.fill(0.0);
    let mut sees = vec![0; n];
    let end = span.past + span.len;
    for (p, &page) in span.pages.iter().enumerate().take(end.div_ceil(PAGE)) {
        let slots = PAGE.min(end - p * PAGE);
        c.widen(c.keys, c.rows(c.keys, page, head, slots), (width, keys));
        c.widen(c.values, c.rows(c.values, page, head, slots), (width, values));
        for (t, sees) in sees[..used].chunks_exact_mut(group).enumerate() {
            sees.fill(visible(span.past + t, p));
        }
        let next = [c.keys, c.values].map(|plane| {
            let page = span.pages[..end.div_ceil(PAGE)].get(p + 1);
            page.map_or(&[][..], |&page| c.rows(plane, page, head, PAGE))
        });
        let rows = QueryRows { width, q, acc, top, sum, visible: &sees };
        c.kernels.vector.attend_prompt(PromptArgs { rows, exact, keys, values, turned, weights, keep, factor, next });
    }
    for i in 0..used {
        let inv = 1.0 / sum[i];
        // SAFETY: (token, query head) pairs of different tasks and rows differ, so the ranges are disjoint.
        let out = unsafe { c.out.slice(c.at(span, head, i)) };
        c.kernels.vector.scaled(&acc[i * width..][..out.len()], inv, out);
    }
}
