//! Activation rows, the inputs of a matrix product: f32, and the narrower forms that kernels want.
//!
//! Rows are produced once per layer input and brought into their forms by the thread that produced them. Each row is
//! a prompt's or a generated one: a kernel may treat the two roles differently, but never looks at how many there are.
//!
//! Integer forms, per group of 32 values: `scale = max|x| / top`, `code = round(x / scale)`, `dsum = scale * sum(codes)`,
//! and the same sum for each half of the group, for formats with a minimum per 16 weights.
//! The narrow form has codes of 8 bits (top 127): it meets weights whose own rounding is much coarser. The wide form
//! has 14 bits (top 8191): with weights of six or eight bits, 8-bit activations would be the larger error by far.
//! Products with a group's weights are summed exactly in 32-bit integers; 14 bits leave room for Q6_K's inner scales.
//! The four codes of a quad are stored in the order 0, 2, 1, 3 in the wide form, as tiles take bytes apart.
//!
//! Formats of four and five bits in blocks of 32 are met with 8-bit codes, too; but for the weights of a model through
//! which most of the error comes, these have a second row of codes for what the first ones leave over.

use crate::kernels::{Kernels, VectorOps};
use crate::threads::{SharedMut, Team};
use std::cell::RefCell;

/// Values per scale of the int8 form.
pub const GROUP: usize = 32;

/// Which forms of the rows the consumers need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActKinds {
    /// The values as they are.
    pub x: bool,
    /// 8-bit codes with scales and sums.
    pub q8: bool,
    /// 14-bit codes with scales and sums.
    pub q16: bool,
    /// 8-bit codes of what the 8-bit codes leave over, for weights that need more than 8 bits of their inputs.
    pub rest: bool,
}

impl ActKinds {
    /// The values and nothing else.
    pub const FLOATS: Self = Self { x: true, q8: false, q16: false, rest: false };

    /// What both sides together need.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            x: self.x || other.x,
            q8: self.q8 || other.q8,
            q16: self.q16 || other.q16,
            rest: self.rest || other.rest,
        }
    }
}

/// Largest code of the narrow form.
pub const TOP8: f32 = 127.0;
/// Largest code of the wide form.
pub const TOP16: f32 = 8191.0;

/// One activation row, as kernels see it. Forms that no consumer asked for are empty.
#[derive(Clone, Copy)]
pub struct ActRow<'a> {
    /// `[k]` values.
    pub x: &'a [f32],
    /// The narrow form.
    pub q8: Codes<'a, i8>,
    /// The wide form.
    pub q16: Codes<'a, i16>,
    /// The narrow form of `x` less the narrow form: with it, a row has 16 bits in two rows of 8.
    pub rest: Codes<'a, i8>,
}

impl ActRow<'_> {
    /// Whether it has `k` values in every form that is asked for.
    pub(crate) fn serves(&self, kinds: ActKinds, k: usize) -> bool {
        let has = |want: bool, len: usize| !want || len == k;
        has(kinds.x, self.x.len())
            && has(kinds.q8, self.q8.codes.len())
            && has(kinds.q16, self.q16.codes.len())
            && has(kinds.rest, self.rest.codes.len())
    }
}

/// A row in integers.
#[derive(Clone, Copy)]
pub struct Codes<'a, T> {
    /// `[k]` codes.
    pub codes: &'a [T],
    /// `[k / 32]` scales.
    pub scales: &'a [f32],
    /// `[k / 32]` scale times the sum of the group's codes.
    pub dsums: &'a [f32],
    /// `[k / 16]` scale times the sum of the codes of half a group.
    pub halves: &'a [f32],
}

/// Where a row's integers go; see [`Codes`].
pub struct CodesMut<'a, T> {
    /// `[k]`
    pub codes: &'a mut [T],
    /// `[k / 32]`
    pub scales: &'a mut [f32],
    /// `[k / 32]`
    pub dsums: &'a mut [f32],
    /// `[k / 16]`
    pub halves: &'a mut [f32],
}

impl<T> CodesMut<'_, T> {
    /// Whether this is room for `k` values.
    pub(crate) fn fits(&self, k: usize) -> bool {
        let n = self.scales.len();
        k == n * GROUP && self.codes.len() == k && self.dsums.len() == n && self.halves.len() == 2 * n
    }
}

/// The rows of one integer form.
struct Form<T> {
    codes: Vec<T>,
    scales: Vec<f32>,
    dsums: Vec<f32>,
    halves: Vec<f32>,
}

impl<T: Copy + Default> Form<T> {
    const EMPTY: Self = Self { codes: Vec::new(), scales: Vec::new(), dsums: Vec::new(), halves: Vec::new() };

    fn resize(&mut self, n: usize, k: usize) {
        self.codes.resize(n * code_stride(k), T::default());
        self.scales.resize(n * (k / GROUP), 0.0);
        self.dsums.resize(n * (k / GROUP), 0.0);
        self.halves.resize(2 * n * (k / GROUP), 0.0);
    }

    fn row(&self, i: usize, k: usize) -> Codes<'_, T> {
        let (at, groups) = (i * code_stride(k), k / GROUP);
        let part = i * groups..(i + 1) * groups;
        Codes {
            codes: &self.codes[at..at + k],
            scales: &self.scales[part.clone()],
            dsums: &self.dsums[part],
            halves: &self.halves[2 * i * groups..2 * (i + 1) * groups],
        }
    }

    fn shared(&mut self) -> SharedForm<T> {
        SharedForm {
            codes: SharedMut::new(&mut self.codes),
            scales: SharedMut::new(&mut self.scales),
            dsums: SharedMut::new(&mut self.dsums),
            halves: SharedMut::new(&mut self.halves),
        }
    }
}

struct SharedForm<T> {
    codes: SharedMut<T>,
    scales: SharedMut<f32>,
    dsums: SharedMut<f32>,
    halves: SharedMut<f32>,
}

impl<T> SharedForm<T> {
    /// Row `i`.
    ///
    /// # Safety
    /// Each row is taken by one thread at a time.
    unsafe fn row(&self, i: usize, k: usize) -> CodesMut<'_, T> {
        let (at, groups) = (i * code_stride(k), k / GROUP);
        let part = i * groups..(i + 1) * groups;
        // SAFETY: rows of different i do not overlap, and the caller takes each once.
        unsafe {
            CodesMut {
                codes: self.codes.slice(at..at + k),
                scales: self.scales.slice(part.clone()),
                dsums: self.dsums.slice(part),
                halves: self.halves.slice(2 * i * groups..2 * (i + 1) * groups),
            }
        }
    }
}

/// Where the integer forms of rows go.
struct Forms<'a> {
    kinds: ActKinds,
    vector: &'a VectorOps,
    q8: SharedForm<i8>,
    q16: SharedForm<i16>,
    rest: SharedForm<i8>,
}

impl Forms<'_> {
    /// Makes row `i`'s of its values.
    ///
    /// # Safety
    /// Each row is made by one thread at a time.
    unsafe fn make(&self, i: usize, row: &[f32]) {
        let (k, kinds) = (row.len(), self.kinds);
        if kinds.q8 {
            // SAFETY: by the caller.
            self.vector.quantize_q8(row, unsafe { self.q8.row(i, k) });
        }
        if kinds.rest {
            // SAFETY: by the caller.
            let (q8, rest) = unsafe { (self.q8.row(i, k), self.rest.row(i, k)) };
            LEFT.with_borrow_mut(|left| {
                left.clear();
                let groups = row.chunks_exact(GROUP).zip(q8.codes.chunks_exact(GROUP)).zip(&*q8.scales);
                left.extend(groups.flat_map(|((x, codes), &scale)| {
                    x.iter().zip(codes).map(move |(&x, &code)| x - f32::from(code) * scale)
                }));
                self.vector.quantize_q8(left, rest);
            });
        }
        if kinds.q16 {
            // SAFETY: by the caller.
            self.vector.quantize_q16(row, unsafe { self.q16.row(i, k) });
        }
    }
}

const NONE8: Codes<'static, i8> = Codes { codes: &[], scales: &[], dsums: &[], halves: &[] };
const NONE16: Codes<'static, i16> = Codes { codes: &[], scales: &[], dsums: &[], halves: &[] };

/// `[n, k]` activations in every form that was asked for.
pub struct Acts {
    k: usize,
    n: usize,
    kinds: ActKinds,
    kernels: &'static Kernels,
    x: Vec<f32>,
    q8: Form<i8>,
    q16: Form<i16>,
    rest: Form<i8>,
    /// Role of each row: whether it is a prompt's.
    prompt: Vec<bool>,
}

thread_local! {
    /// A row that is not kept as it is.
    static ROW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    /// What a row's 8-bit codes leave over.
    static LEFT: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Codes of one row are followed by a gap, so that rows of 2^n values do not share cache sets.
fn code_stride(k: usize) -> usize {
    k.next_multiple_of(64) + 64
}

impl Acts {
    /// Room for rows of `k` values; `k` must be a multiple of 32 where an integer form is wanted.
    pub fn new(k: usize, kinds: ActKinds, kernels: &'static Kernels) -> Self {
        let mut acts = Self {
            k,
            n: 0,
            kinds: ActKinds::default(),
            kernels,
            x: Vec::new(),
            q8: Form::EMPTY,
            q16: Form::EMPTY,
            rest: Form::EMPTY,
            prompt: Vec::new(),
        };
        acts.want(kinds);
        acts
    }

    /// The forms that are made from now on; there are no rows until the next are made.
    pub fn want(&mut self, kinds: ActKinds) {
        let (k, integers) = (self.k, kinds.q8 || kinds.q16 || kinds.rest);
        assert!(!integers || k.is_multiple_of(GROUP), "integer activations come in groups of {GROUP}, not {k}");
        (self.n, self.kinds) = (0, kinds);
    }

    /// Values per row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Rows held now.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Whether row `i` is a prompt's.
    pub fn is_prompt(&self, i: usize) -> bool {
        self.prompt[i]
    }

    /// Makes `n` rows: `f(i, row)` writes all of row i, and the forms that are wanted are made of it. `is_prompt(i)` is
    /// the row's role.
    pub fn fill(
        &mut self,
        team: &Team<'_>,
        n: usize,
        is_prompt: impl Fn(usize) -> bool,
        f: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        self.fill_beside(team, n, is_prompt, &mut [], |i, _, row| f(i, row));
    }

    /// As [`Acts::fill`]; `f(i, own, row)` may also change row i of `beside`, which has `n` rows of any width.
    pub fn fill_beside(
        &mut self,
        team: &Team<'_>,
        n: usize,
        is_prompt: impl Fn(usize) -> bool,
        beside: &mut [f32],
        f: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
    ) {
        let width = beside.len().checked_div(n).unwrap_or(0);
        self.n = n;
        self.prompt.clear();
        self.prompt.extend((0..n).map(is_prompt));
        if self.kinds.x {
            self.x.resize(n * self.k, 0.0);
        }
        if self.kinds.q8 {
            self.q8.resize(n, self.k);
        }
        if self.kinds.q16 {
            self.q16.resize(n, self.k);
        }
        if self.kinds.rest {
            self.rest.resize(n, self.k);
        }
        let (k, kinds) = (self.k, self.kinds);
        let (x, beside) = (SharedMut::new(&mut self.x), SharedMut::new(beside));
        let forms = Forms {
            kinds,
            vector: &self.kernels.vector,
            q8: self.q8.shared(),
            q16: self.q16.shared(),
            rest: self.rest.shared(),
        };
        team.each(n, |i| {
            // SAFETY: each row index is handed out once, and rows do not overlap.
            let own = unsafe { beside.slice(i * width..(i + 1) * width) };
            let mut make = |row: &mut [f32]| {
                f(i, own, row);
                // SAFETY: each row index is handed out once.
                unsafe { forms.make(i, row) };
            };
            if kinds.x {
                // SAFETY: as above.
                make(unsafe { x.slice(i * k..(i + 1) * k) });
            } else {
                ROW.with_borrow_mut(|row| {
                    row.resize(k, 0.0);
                    make(row);
                });
            }
        });
    }

    /// Row `i` in all its forms.
    pub fn row(&self, i: usize) -> ActRow<'_> {
        assert!(i < self.n, "activation row {i} of {}", self.n);
        ActRow {
            x: if self.kinds.x { &self.x[i * self.k..(i + 1) * self.k] } else { &[] },
            q8: if self.kinds.q8 { self.q8.row(i, self.k) } else { NONE8 },
            q16: if self.kinds.q16 { self.q16.row(i, self.k) } else { NONE16 },
            rest: if self.kinds.rest { self.rest.row(i, self.k) } else { NONE8 },
        }
    }
}
