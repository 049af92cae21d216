//! Attention of query rows over pages of keys and values, with grouped heads.
//!
//! A page holds [`PAGE`] consecutive positions of one sequence; borders between pages are the only places where the
//! running softmax is rescaled, and they are fixed by position. A query row's result therefore depends on nothing but
//! the row, its position, its role and the stored keys and values: not on the chunk it came in, its batch mates or the
//! threads.
//!
//! Rows of prompts and of generated tokens go different ways, in the same parallel region: `prompt` widens a page
//! once for many rows; `generated` reads a page as it is stored, and splits long pasts among threads.

use crate::buffer::Floats;
use crate::kernels::Kernels;
use crate::threads::{SharedMut, Team};
use std::cell::RefCell;
use std::ops::Range;

/// Positions per page.
pub const PAGE: usize = 64;

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

/// One layer's keys or values: `[kv_heads, PAGE, head_dim]` rows of a type for each page.
#[derive(Clone, Copy)]
pub struct Plane<'a> {
    /// All pages, perhaps of other layers, too.
    pub bytes: &'a [u8],
    /// The element type.
    pub dtype: KvType,
    /// Where this layer's are.
    pub places: Places,
}

/// One layer's keys or values, to be written.
pub struct PlaneMut<'a> {
    /// All pages, perhaps of other layers, too.
    pub bytes: &'a mut [u8],
    /// The element type.
    pub dtype: KvType,
    /// Where this layer's are.
    pub places: Places,
}

/// Page p begins at byte `first + p * step`.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Where page 0 begins.
    pub first: usize,
    /// Bytes from one page to the next.
    pub step: usize,
}

impl Places {
    /// Where the rows of a KV head are in a page.
    pub fn head(self, heads: Heads, dtype: KvType, page: u32, head: usize) -> usize {
        self.first + page as usize * self.step + head * PAGE * dtype.row_bytes(heads.head_dim)
    }
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

impl Heads {
    /// Bytes of one layer's part of a page, keys or values.
    pub fn page_bytes(&self, dtype: KvType) -> usize {
        self.n_kv_heads * PAGE * dtype.row_bytes(self.head_dim)
    }
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
    /// Whether the tokens were generated (or drafted), rather than given.
    pub generated: bool,
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
/// When shapes do not fit, two tokens have the same slot, or pages overlap.
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
    let (kp, vp) = (keys.places, values.places);
    assert!(kp.step >= args.heads.page_bytes(kt) && vp.step >= args.heads.page_bytes(vt), "pages overlap");
    let (q, k) = (SharedMut::new(q), SharedMut::new(k));
    let (keys, values) = (SharedMut::new(keys.bytes), SharedMut::new(values.bytes));
    team.parts(n, |i| {
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
        let (page, slot) = ((args.slots[i] / PAGE) as u32, args.slots[i] % PAGE);
        for (h, (k, v)) in k.chunks_exact_mut(d).zip(v[i * n_kv_heads * d..].chunks_exact(d)).enumerate() {
            turn(k, args.norms.1);
            let at = |places: Places, t: KvType| {
                let at = places.head(args.heads, t, page, h) + slot * t.row_bytes(d);
                at..at + t.row_bytes(d)
            };
            // SAFETY: slots differ and pages do not overlap (checked above), so the stored rows of different tokens and
            // heads do not overlap either.
            let (k_to, v_to) = unsafe { (keys.slice(at(kp, kt)), values.slice(at(vp, vt))) };
            kt.narrow(kernels, k, k_to);
            vt.narrow(kernels, v, v_to);
        }
    });
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
    let row = heads.n_heads * heads.head_dim;
    assert!(q.len() == out.len() && spans.iter().all(|s| (s.first + s.len) * row <= q.len()));
    assert!(spans.iter().all(|s| s.pages.len() * PAGE >= s.past + s.len));
    let mut rows: Vec<(usize, usize)> = spans.iter().map(|s| (s.first, s.len)).collect();
    rows.sort_unstable();
    assert!(rows.windows(2).all(|w| w[0].0 + w[0].1 <= w[1].0), "two spans share a row");
    let c = Common { kernels, heads, keys, values, q, out: &SharedMut::new(out) };
    let prompt = prompt::Tasks::new(&c, spans, team.threads());
    PARTIALS.with_borrow_mut(|partials| {
        let generated = generated::Tasks::new(&c, spans, team.threads(), partials);
        team.each(prompt.len() + generated.len(), |t| match t.checked_sub(prompt.len()) {
            None => prompt.run(&c, t),
            Some(t) => generated.run(&c, t),
        });
    });
}

/// What all tasks of a call read, and where they write.
struct Common<'a> {
    kernels: &'a Kernels,
    heads: Heads,
    keys: Plane<'a>,
    values: Plane<'a>,
    q: &'a [f32],
    out: &'a SharedMut<f32>,
}

impl Common<'_> {
    /// Query heads per key and value head.
    fn group(&self) -> usize {
        self.heads.n_heads / self.heads.n_kv_heads
    }

    /// Where row `i` of a span's rows (tokens times the group of KV head `head`) is in `q` and `out`.
    fn at(&self, span: &QuerySpan<'_>, head: usize, i: usize) -> Range<usize> {
        let (group, d) = (self.group(), self.heads.head_dim);
        let at = ((span.first + i / group) * self.heads.n_heads + head * group + i % group) * d;
        at..at + d
    }

    /// The queries of a span's rows, scaled, to `out` of `[rows, width]` or more; zeroes behind them.
    fn scale_queries(&self, span: &QuerySpan<'_>, head: usize, (width, out): (usize, &mut [f32])) {
        let d = self.heads.head_dim;
        let scale = std::f32::consts::LOG2_E / (d as f32).sqrt();
        let (rows, behind) = out.split_at_mut(span.len * self.group() * width);
        for (i, out) in rows.chunks_exact_mut(width).enumerate() {
            let q = &self.q[self.at(span, head, i)];
            self.kernels.vector.scaled(q, scale, &mut out[..d]);
            out[d..].fill(0.0);
        }
        behind.fill(0.0);
    }

    /// The first `n` rows of a head's part of a page.
    fn rows<'p>(&self, plane: Plane<'p>, page: u32, head: usize, n: usize) -> &'p [u8] {
        let at = plane.places.head(self.heads, plane.dtype, page, head);
        &plane.bytes[at..at + n * plane.dtype.row_bytes(self.heads.head_dim)]
    }

    /// Those rows as f32 of `width` values, zeroes behind.
    fn widen(&self, plane: Plane<'_>, bytes: &[u8], (width, out): (usize, &mut [f32])) {
        let d = self.heads.head_dim;
        let row = plane.dtype.row_bytes(d);
        if d == width {
            return plane.dtype.widen(self.kernels, bytes, &mut out[..bytes.len() / row * d]);
        }
        for (bytes, out) in bytes.chunks_exact(row).zip(out.chunks_exact_mut(width)) {
            plane.dtype.widen(self.kernels, bytes, &mut out[..d]);
            out[d..].fill(0.0);
        }
    }
}

/// Slots of page number `page` that the token at `position` sees.
fn visible(position: usize, page: usize) -> u8 {
    (position + 1).saturating_sub(page * PAGE).min(PAGE) as u8
}

thread_local! {
    /// The calling thread's room for [`generated::Tasks`].
    static PARTIALS: RefCell<Floats> = RefCell::default();
    /// Each thread's scratch.
    static SCRATCH: RefCell<Floats> = RefCell::default();
}

mod generated;
mod prompt;
#[cfg(test)]
mod tests;
