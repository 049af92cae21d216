//! The narrower forms of activation rows in memory, and how a row is brought into them.

use super::{ActKinds, Codes, CodesMut, GROUP};
use crate::kernels::VectorOps;
use crate::threads::SharedMut;
use std::cell::RefCell;

thread_local! {
    /// What a row's 8-bit codes leave over.
    static LEFT: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Codes of one row are followed by a gap, so that rows of 2^n values do not share cache sets.
fn code_stride(k: usize) -> usize {
    k.next_multiple_of(64) + 64
}

/// The rows of one integer form.
pub(super) struct Form<T> {
    codes: Vec<T>,
    scales: Vec<f32>,
    dsums: Vec<f32>,
    halves: Vec<f32>,
    sums: Vec<i32>,
}

impl<T: Copy + Default> Form<T> {
    pub const EMPTY: Self =
        Self { codes: Vec::new(), scales: Vec::new(), dsums: Vec::new(), halves: Vec::new(), sums: Vec::new() };

    pub fn resize(&mut self, n: usize, k: usize) {
        self.codes.resize(n * code_stride(k), T::default());
        self.scales.resize(n * (k / GROUP), 0.0);
        self.dsums.resize(n * (k / GROUP), 0.0);
        self.halves.resize(2 * n * (k / GROUP), 0.0);
        self.sums.resize(2 * n * (k / GROUP), 0);
    }

    pub fn row(&self, i: usize, k: usize) -> Codes<'_, T> {
        let (at, groups) = (i * code_stride(k), k / GROUP);
        let part = i * groups..(i + 1) * groups;
        Codes {
            codes: &self.codes[at..at + k],
            scales: &self.scales[part.clone()],
            dsums: &self.dsums[part],
            halves: &self.halves[2 * i * groups..2 * (i + 1) * groups],
            sums: &self.sums[2 * i * groups..2 * (i + 1) * groups],
        }
    }

    pub fn shared(&mut self) -> SharedForm<T> {
        SharedForm {
            codes: SharedMut::new(&mut self.codes),
            scales: SharedMut::new(&mut self.scales),
            dsums: SharedMut::new(&mut self.dsums),
            halves: SharedMut::new(&mut self.halves),
            sums: SharedMut::new(&mut self.sums),
        }
    }
}

pub(super) struct SharedForm<T> {
    codes: SharedMut<T>,
    scales: SharedMut<f32>,
    dsums: SharedMut<f32>,
    halves: SharedMut<f32>,
    sums: SharedMut<i32>,
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
                sums: self.sums.slice(2 * i * groups..2 * (i + 1) * groups),
            }
        }
    }
}

/// Rows of bf16, each at the start of a cache line.
pub(super) struct Lines(Vec<Line>);

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Lines from one row to the next: one more than a row has, so that rows of 2^n values do not share cache sets.
fn line_stride(k: usize) -> usize {
    k.div_ceil(32) + 1
}

impl Lines {
    pub const EMPTY: Self = Self(Vec::new());

    pub fn resize(&mut self, n: usize, k: usize) {
        self.0.resize(n * line_stride(k), Line([0; 64]));
    }

    pub fn row(&self, i: usize, k: usize) -> &[u8] {
        let lines = &self.0[i * line_stride(k)..(i + 1) * line_stride(k)];
        // SAFETY: a line is 64 plain bytes without padding.
        let bytes = unsafe { std::slice::from_raw_parts(lines.as_ptr().cast::<u8>(), 64 * lines.len()) };
        &bytes[..2 * k]
    }

    pub fn shared(&mut self) -> SharedLines {
        SharedLines(SharedMut::new(&mut self.0))
    }
}

pub(super) struct SharedLines(SharedMut<Line>);

impl SharedLines {
    /// Row `i`.
    ///
    /// # Safety
    /// Each row is taken by one thread at a time.
    #[allow(clippy::mut_from_ref, reason = "as of SharedMut, each row of which has one owner")]
    unsafe fn row(&self, i: usize, k: usize) -> &mut [u8] {
        // SAFETY: rows of different i do not overlap, and the caller takes each once; a line is 64 plain bytes.
        unsafe {
            let lines = self.0.slice(i * line_stride(k)..(i + 1) * line_stride(k));
            &mut std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast::<u8>(), 64 * lines.len())[..2 * k]
        }
    }
}

/// Where the narrower forms of rows go.
pub(super) struct Forms<'a> {
    pub kinds: ActKinds,
    pub vector: &'a VectorOps,
    pub q8: SharedForm<i8>,
    pub q16: SharedForm<i16>,
    pub rest: SharedForm<i8>,
    pub bf16: SharedLines,
    /// Role of each row: whether it is a prompt's.
    pub prompt: &'a [bool],
}

impl Forms<'_> {
    /// Makes row `i`'s of its values.
    ///
    /// # Safety
    /// Each row is made by one thread at a time.
    pub unsafe fn make(&self, i: usize, row: &[f32]) {
        let (k, kinds) = (row.len(), self.kinds);
        if kinds.bf16 && self.prompt[i] {
            // SAFETY: by the caller.
            return self.vector.narrow_bf16(row, unsafe { self.bf16.row(i, k) });
        }
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

pub(super) const NONE8: Codes<'static, i8> = Codes { codes: &[], scales: &[], dsums: &[], halves: &[], sums: &[] };
pub(super) const NONE16: Codes<'static, i16> = Codes { codes: &[], scales: &[], dsums: &[], halves: &[], sums: &[] };
