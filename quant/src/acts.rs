//! Activation rows, the inputs of a matrix product: f32, and int8 with one scale per 32 where a kernel wants it.
//!
//! Rows are produced once per layer input and quantized by the thread that produced them. Prompt rows come first,
//! then generated ones: a kernel may treat the two roles differently, but never looks at how many rows there are.
//!
//! int8 form, per group of 32 values: `scale = max|x| / 127`, `code = round(x / scale)` (half away from zero is not
//! needed: ties go to even), `dsum = scale * sum(codes)`. Sums are exact integers; only the products are rounded.

use crate::kernels::Kernels;
use crate::threads::{SharedMut, Team};

/// Values per scale of the int8 form.
pub const GROUP: usize = 32;

/// Which forms of the rows the consumers need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActKinds {
    /// int8 codes with scales and sums.
    pub q8: bool,
}

impl ActKinds {
    /// What both sides together need.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { q8: self.q8 || other.q8 }
    }
}

/// One activation row, as kernels see it. The int8 part is empty where no consumer asked for it.
#[derive(Clone, Copy)]
pub struct ActRow<'a> {
    /// `[k]` values.
    pub x: &'a [f32],
    /// `[k]` codes.
    pub codes: &'a [i8],
    /// `[k / 32]` scales.
    pub scales: &'a [f32],
    /// `[k / 32]` scale times the sum of the group's codes.
    pub dsums: &'a [f32],
    /// `[k / 16]` sums of 16 codes.
    pub sums16: &'a [i16],
}

/// The int8 destination of one row.
pub struct Q8Mut<'a> {
    /// `[k]`
    pub codes: &'a mut [i8],
    /// `[k / 32]`
    pub scales: &'a mut [f32],
    /// `[k / 32]`
    pub dsums: &'a mut [f32],
    /// `[k / 16]`
    pub sums16: &'a mut [i16],
}

/// `[n, k]` activations in every form that was asked for.
pub struct Acts {
    k: usize,
    n: usize,
    kinds: ActKinds,
    kernels: &'static Kernels,
    x: Vec<f32>,
    codes: Vec<i8>,
    scales: Vec<f32>,
    dsums: Vec<f32>,
    sums16: Vec<i16>,
}

/// Codes of one row are followed by a gap, so that rows of 2^n values do not share cache sets.
fn code_stride(k: usize) -> usize {
    k.next_multiple_of(64) + 64
}

impl Acts {
    /// Room for rows of `k` values; `k` must be a multiple of 32 where int8 is wanted.
    pub fn new(k: usize, kinds: ActKinds, kernels: &'static Kernels) -> Self {
        assert!(!kinds.q8 || k.is_multiple_of(GROUP), "int8 activations come in groups of {GROUP}, not {k}");
        let empty = Vec::new();
        Self {
            k,
            n: 0,
            kinds,
            kernels,
            x: empty,
            codes: Vec::new(),
            scales: Vec::new(),
            dsums: Vec::new(),
            sums16: Vec::new(),
        }
    }

    /// Values per row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Rows held now.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Makes `n` rows: `f(i, row)` writes row i (which holds old values before), and the other forms are made of it.
    pub fn fill(&mut self, team: &Team<'_>, n: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
        self.resize(n);
        let (k, groups, stride, q8) = (self.k, self.k / GROUP, code_stride(self.k), self.kinds.q8);
        let quantize = self.kernels.vector.quantize_q8;
        let x = SharedMut::new(&mut self.x);
        let (codes, scales) = (SharedMut::new(&mut self.codes), SharedMut::new(&mut self.scales));
        let (dsums, sums16) = (SharedMut::new(&mut self.dsums), SharedMut::new(&mut self.sums16));
        team.each(n, |i| {
            // SAFETY: each row index is handed out once, and the ranges of different rows do not overlap.
            let row = unsafe { x.slice(i * k..(i + 1) * k) };
            f(i, row);
            if q8 {
                // SAFETY: as above, for each of the four arrays.
                let out = unsafe {
                    Q8Mut {
                        codes: codes.slice(i * stride..i * stride + k),
                        scales: scales.slice(i * groups..(i + 1) * groups),
                        dsums: dsums.slice(i * groups..(i + 1) * groups),
                        sums16: sums16.slice(2 * i * groups..2 * (i + 1) * groups),
                    }
                };
                quantize.call(row, out);
            }
        });
    }

    fn resize(&mut self, n: usize) {
        self.n = n;
        let groups = self.k / GROUP;
        self.x.resize(n * self.k, 0.0);
        if self.kinds.q8 {
            self.codes.resize(n * code_stride(self.k), 0);
            self.scales.resize(n * groups, 0.0);
            self.dsums.resize(n * groups, 0.0);
            self.sums16.resize(2 * n * groups, 0);
        }
    }

    /// Row `i` in all its forms.
    pub fn row(&self, i: usize) -> ActRow<'_> {
        assert!(i < self.n, "activation row {i} of {}", self.n);
        let groups = self.k / GROUP;
        let x = &self.x[i * self.k..(i + 1) * self.k];
        if !self.kinds.q8 {
            return ActRow { x, codes: &[], scales: &[], dsums: &[], sums16: &[] };
        }
        let code = i * code_stride(self.k);
        ActRow {
            x,
            codes: &self.codes[code..code + self.k],
            scales: &self.scales[i * groups..(i + 1) * groups],
            dsums: &self.dsums[i * groups..(i + 1) * groups],
            sums16: &self.sums16[2 * i * groups..2 * (i + 1) * groups],
        }
    }
}
