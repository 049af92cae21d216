//! Activation rows, the inputs of a matrix product: f32, and the narrower forms that kernels want.
//!
//! Rows are produced once per layer input and brought into their forms by the thread that produced them. Each row is
//! a prompt's or a generated one: a kernel may treat the two roles differently, but never looks at how many there are.
//!
//! Integer forms, per group of 32 values: `scale = max|x| / top`, `code = round(x / scale)`, `dsum = scale * sum(codes)`,
//! and the same sum for each half of the group, for formats with a minimum per 16 weights, also without the scale.
//! The narrow form has codes of 8 bits (top 127), the wide form 14 bits (top 8191) for weights where 8-bit activations
//! would be the larger error by far.
//! Products with a group's weights are summed exactly in 32-bit integers. The four codes of a quad are stored in
//! the order 0, 2, 1, 3 in the wide form, as tiles take bytes apart.
//!
//! For the weights of a model through which most of the error comes, formats in blocks of 32 want more than 8 bits: Q8_0
//! the wide form, the others a second row of 8-bit codes for what the first ones leave over.
//!
//! A matrix unit reads prompt rows as bf16. Where that form is wanted, prompt rows have it in place of the integers, and
//! generated rows have the integers only.

mod forms;

use crate::kernels::Kernels;
use crate::threads::{SharedMut, Team};
use forms::{Form, Forms, Lines, NONE8, NONE16};
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
    /// bfloat16 for prompt rows, in place of the integers.
    pub bf16: bool,
}

impl ActKinds {
    /// The values and nothing else.
    pub const FLOATS: Self = Self { x: true, q8: false, q16: false, rest: false, bf16: false };

    /// What both sides together need.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            x: self.x || other.x,
            q8: self.q8 || other.q8,
            q16: self.q16 || other.q16,
            rest: self.rest || other.rest,
            bf16: self.bf16 || other.bf16,
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
    /// `[k]` bfloat16, 2 bytes each, at a multiple of 64 bytes; the rows of one [`Acts`] lie at one distance.
    pub bf16: &'a [u8],
}

impl ActRow<'_> {
    /// Whether it has `k` values in every form that a row of its role must have.
    pub(crate) fn serves(&self, kinds: ActKinds, k: usize, prompt: bool) -> bool {
        let has = |want: bool, len: usize| !want || len == k;
        let (bf16, integers) = (kinds.bf16 && prompt, !(kinds.bf16 && prompt));
        has(kinds.x, self.x.len())
            && has(bf16, self.bf16.len() / 2)
            && has(integers && kinds.q8, self.q8.codes.len())
            && has(integers && kinds.q16, self.q16.codes.len())
            && has(integers && kinds.rest, self.rest.codes.len())
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
    /// `[k / 16]` sum of the codes of half a group.
    pub sums: &'a [i32],
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
    /// `[k / 16]`
    pub sums: &'a mut [i32],
}

impl<T> CodesMut<'_, T> {
    /// Whether this is room for `k` values.
    pub(crate) fn fits(&self, k: usize) -> bool {
        let n = self.scales.len();
        k == n * GROUP
            && self.codes.len() == k
            && self.dsums.len() == n
            && [self.halves.len(), self.sums.len()] == [2 * n; 2]
    }
}

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
    bf16: Lines,
    /// Role of each row: whether it is a prompt's.
    prompt: Vec<bool>,
}

thread_local! {
    /// A row that is not kept as it is.
    static ROW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Acts {
    /// Room for rows of `k` values; `k` must be a multiple of 32 where another form than the values is wanted.
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
            bf16: Lines::EMPTY,
            prompt: Vec::new(),
        };
        acts.want(kinds);
        acts
    }

    /// The forms that are made from now on; there are no rows until the next are made.
    pub fn want(&mut self, kinds: ActKinds) {
        let (k, groups) = (self.k, kinds.q8 || kinds.q16 || kinds.rest || kinds.bf16);
        assert!(!groups || k.is_multiple_of(GROUP), "activations come in groups of {GROUP}, not {k}");
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
        assert_eq!(beside.len(), n * width, "rows beside activations are whole");
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
        if self.kinds.bf16 {
            self.bf16.resize(n, self.k);
        }
        let (k, kinds) = (self.k, self.kinds);
        let (x, beside) = (SharedMut::new(&mut self.x), SharedMut::new(beside));
        let forms = Forms {
            kinds,
            vector: &self.kernels.vector,
            q8: self.q8.shared(),
            q16: self.q16.shared(),
            rest: self.rest.shared(),
            bf16: self.bf16.shared(),
            prompt: &self.prompt,
        };
        team.parts(n, |i| {
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
        let x: &[f32] = if self.kinds.x { &self.x[i * self.k..(i + 1) * self.k] } else { &[] };
        if self.kinds.bf16 && self.prompt[i] {
            return ActRow { x, q8: NONE8, q16: NONE16, rest: NONE8, bf16: self.bf16.row(i, self.k) };
        }
        ActRow {
            x,
            q8: if self.kinds.q8 { self.q8.row(i, self.k) } else { NONE8 },
            q16: if self.kinds.q16 { self.q16.row(i, self.k) } else { NONE16 },
            rest: if self.kinds.rest { self.rest.row(i, self.k) } else { NONE8 },
            bf16: &[],
        }
    }
}
