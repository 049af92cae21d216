//! Attention of query rows over pages of keys and values, with grouped heads.
//!
//! A page holds [`PAGE`] consecutive positions of one sequence; borders between pages are the only places where the
//! running softmax is rescaled, and they are fixed by position. A query row's result therefore depends on nothing but
//! the row, its position and the stored keys and values: not on the chunk it came in, its batch mates or the threads.
//!
//! One task is one KV head and up to 16 tokens of a span; all query heads of the group share each page, which is
//! widened to f32 once per task.

use crate::kernels::{Kernels, PageArgs};
use crate::threads::{SharedMut, Team};
use std::cell::RefCell;

/// Positions per page.
pub const PAGE: usize = 64;
/// Tokens per task.
const TILE: usize = 16;

/// How keys and values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvType {
    /// 32-bit floats.
    F32,
    /// IEEE halves.
    F16,
    /// bfloat16.
    BF16,
    /// Blocks of 32 bytes with an f16 scale.
    Q8_0,
}

impl KvType {
    /// Every type, by the name that `-ctk` and `-ctv` take.
    pub const ALL: [(&'static str, KvType); 4] =
        [("f16", KvType::F16), ("bf16", KvType::BF16), ("f32", KvType::F32), ("q8_0", KvType::Q8_0)];

    /// Bytes of a row of `n` values; for q8_0, n is a multiple of 32.
    pub fn row_bytes(self, n: usize) -> usize {
        match self {
            Self::F32 => 4 * n,
            Self::F16 | Self::BF16 => 2 * n,
            Self::Q8_0 => n / 32 * 34,
        }
    }

    /// Reads a row or several.
    pub fn widen(self, kernels: &Kernels, src: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => kernels.vector.widen_f32(src, out),
            Self::F16 => kernels.vector.widen_f16(src, out),
            Self::BF16 => kernels.vector.widen_bf16(src, out),
            Self::Q8_0 => kernels.vector.widen_q8_0(src, out),
        }
    }

    /// Writes a row or several.
    pub fn narrow(self, kernels: &Kernels, src: &[f32], out: &mut [u8]) {
        match self {
            Self::F32 => out.as_chunks_mut::<4>().0.iter_mut().zip(src).for_each(|(o, s)| *o = s.to_le_bytes()),
            Self::F16 => kernels.vector.narrow_f16(src, out),
            Self::BF16 => kernels.vector.narrow_bf16(src, out),
            Self::Q8_0 => kernels.vector.narrow_q8_0(src, out),
        }
    }
}

/// One layer's keys or values: `[pages, kv_heads, PAGE, head_dim]` rows of a type.
#[derive(Clone, Copy)]
pub struct Plane<'a> {
    /// All pages.
    pub bytes: &'a [u8],
    /// The element type.
    pub dtype: KvType,
}

/// One layer's keys or values, to be written.
pub struct PlaneMut<'a> {
    /// All pages.
    pub bytes: &'a mut [u8],
    /// The element type.
    pub dtype: KvType,
}

/// Shape of the heads.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Values per head.
    pub head_dim: usize,
}

/// Consecutive tokens of one sequence: rows `first..first + len` of the queries at positions `past..past + len`.
#[derive(Clone, Copy)]
pub struct QuerySpan<'a> {
    /// First query row.
    pub first: usize,
    /// Tokens.
    pub len: usize,
    /// Position of the first token; the token at position p sees positions 0..=p.
    pub past: usize,
    /// The sequence's pages in order.
    pub pages: &'a [u32],
}

/// A query row on its way over the pages.
pub(crate) struct RowState<'a> {
    pub q: &'a [f32],
    pub acc: &'a mut [f32],
    pub max: f32,
    pub sum: f32,
    /// Slots of the current page that this row sees.
    pub visible: usize,
}

/// What becomes of projected queries, keys and values before attention.
pub struct Prepare<'a> {
    /// Shape of the heads.
    pub heads: Heads,
    /// RMSNorm of each query head and each key head: weights `[head_dim]`.
    pub norms: (&'a [f32], &'a [f32]),
    /// Epsilon of the norms.
    pub eps: f32,
    /// `[tokens, head_dim / 2]` cosines and sines of each token's position.
    pub rotation: (&'a [f32], &'a [f32]),
    /// Where each token's keys and values go: page * PAGE + offset; no two alike.
    pub slots: &'a [usize],
}

/// Normalizes and rotates queries (in place) and keys, and stores keys and values.
///
/// `q` is `[tokens, n_heads * head_dim]`, `k` and `v` are `[tokens, n_kv_heads * head_dim]`.
///
/// # Panics
/// When shapes do not fit, or two tokens have the same slot.
pub fn prepare(
    team: &Team<'_>,
    kernels: &Kernels,
    args: &Prepare<'_>,
    (q, k, v): (&mut [f32], &mut [f32], &[f32]),
    (keys, values): (PlaneMut<'_>, PlaneMut<'_>),
) {
    let Heads { n_heads, n_kv_heads, head_dim: d } = args.heads;
    let n = args.slots.len();
    assert!(q.len() == n * n_heads * d && k.len() == n * n_kv_heads * d && v.len() == k.len());
    let mut sorted = args.slots.to_vec();
    sorted.sort_unstable();
    assert!(sorted.windows(2).all(|w| w[0] < w[1]), "two tokens share a slot");
    let (kt, vt) = (keys.dtype, values.dtype);
    let (q, k) = (SharedMut::new(q), SharedMut::new(k));
    let (keys, values) = (SharedMut::new(keys.bytes), SharedMut::new(values.bytes));
    team.each(n, |i| {
        let half = d / 2;
        let (cos, sin) = (&args.rotation.0[i * half..(i + 1) * half], &args.rotation.1[i * half..(i + 1) * half]);
        let turn = |head: &mut [f32], weight: &[f32]| {
            kernels.vector.rms_norm_in_place(head, weight, args.eps);
            kernels.vector.rope(head, cos, sin);
        };
        // SAFETY: token i's rows; each i is handed out once.
        let (q, k) = unsafe {
            (q.slice(i * n_heads * d..(i + 1) * n_heads * d), k.slice(i * n_kv_heads * d..(i + 1) * n_kv_heads * d))
        };
        q.chunks_exact_mut(d).for_each(|head| turn(head, args.norms.0));
        let (page, slot) = (args.slots[i] / PAGE, args.slots[i] % PAGE);
        for (h, (k, v)) in k.chunks_exact_mut(d).zip(v[i * n_kv_heads * d..].chunks_exact(d)).enumerate() {
            turn(k, args.norms.1);
            let row = (page * n_kv_heads + h) * PAGE + slot;
            let at = |t: KvType| row * t.row_bytes(d)..(row + 1) * t.row_bytes(d);
            // SAFETY: slots differ (checked above), so the stored rows of different tokens and heads do not overlap.
            let (k_to, v_to) = unsafe { (keys.slice(at(kt)), values.slice(at(vt))) };
            kt.narrow(kernels, k, k_to);
            vt.narrow(kernels, v, v_to);
        }
    });
}

thread_local! {
    static PAGES: RefCell<(Vec<f32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Attention: `q` and `out` are `[tokens, n_heads * head_dim]`; scores are scaled by `1 / sqrt(head_dim)`.
///
/// # Panics
/// When shapes do not fit or a span has too few pages.
pub fn attend(
    team: &Team<'_>,
    kernels: &Kernels,
    heads: Heads,
    (keys, values): (Plane<'_>, Plane<'_>),
    spans: &[QuerySpan<'_>],
    q: &[f32],
    out: &mut [f32],
) {
    let width = heads.n_heads * heads.head_dim;
    assert!(q.len() == out.len() && spans.iter().all(|s| (s.first + s.len) * width <= q.len()));
    assert!(spans.iter().all(|s| s.pages.len() * PAGE >= s.past + s.len));
    let mut tasks: Vec<(usize, usize, usize)> = Vec::new();
    for (i, s) in spans.iter().enumerate() {
        for first in (0..s.len).step_by(TILE) {
            tasks.extend((0..heads.n_kv_heads).map(|h| (i, first, h)));
        }
    }
    // Longest first, so that no thread starts a long task when the others are done.
    tasks.sort_by_key(|&(i, first, _)| std::cmp::Reverse(spans[i].past + first));
    let out = SharedMut::new(out);
    team.each(tasks.len(), |t| {
        let (i, first, head) = tasks[t];
        let span = QuerySpan {
            first: spans[i].first + first,
            len: TILE.min(spans[i].len - first),
            past: spans[i].past + first,
            pages: spans[i].pages,
        };
        let task = Task { kernels, heads, keys, values, span, head };
        PAGES.with_borrow_mut(|(k, v)| task.run(q, &out, k, v));
    });
}

struct Task<'a> {
    kernels: &'a Kernels,
    heads: Heads,
    keys: Plane<'a>,
    values: Plane<'a>,
    span: QuerySpan<'a>,
    head: usize,
}

impl Task<'_> {
    fn run(&self, q: &[f32], out: &SharedMut<f32>, k: &mut Vec<f32>, v: &mut Vec<f32>) {
        let Heads { n_heads, n_kv_heads, head_dim: d } = self.heads;
        let group = n_heads / n_kv_heads;
        let mut rows: Vec<RowState<'_>> = (0..self.span.len * group)
            .map(|i| {
                let at = ((self.span.first + i / group) * n_heads + self.head * group + i % group) * d;
                // SAFETY: (token, query head) pairs of different tasks and rows differ, so the ranges are disjoint.
                let acc = unsafe { out.slice(at..at + d) };
                acc.fill(0.0);
                RowState { q: &q[at..at + d], acc, max: f32::NEG_INFINITY, sum: 0.0, visible: 0 }
            })
            .collect();
        let end = self.span.past + self.span.len;
        for (p, &page) in self.span.pages.iter().enumerate().take(end.div_ceil(PAGE)) {
            let used = PAGE.min(end - p * PAGE);
            self.widen(self.keys, page, used, k);
            self.widen(self.values, page, used, v);
            for (i, row) in rows.iter_mut().enumerate() {
                row.visible = (self.span.past + i / group + 1).saturating_sub(p * PAGE).min(PAGE);
            }
            let scale = 1.0 / (d as f32).sqrt();
            self.kernels.vector.attend_page(PageArgs { head_dim: d, scale, k, v, rows: &mut rows });
        }
        for row in &mut rows {
            let inv = 1.0 / row.sum;
            row.acc.iter_mut().for_each(|a| *a *= inv);
        }
    }

    /// The first `used` rows of this head's part of a page, as f32.
    fn widen(&self, plane: Plane<'_>, page: u32, used: usize, out: &mut Vec<f32>) {
        let row = plane.dtype.row_bytes(self.heads.head_dim);
        let at = (page as usize * self.heads.n_kv_heads + self.head) * PAGE * row;
        out.resize(used * self.heads.head_dim, 0.0);
        plane.dtype.widen(self.kernels, &plane.bytes[at..at + used * row], out);
    }
}

#[cfg(test)]
mod tests;
