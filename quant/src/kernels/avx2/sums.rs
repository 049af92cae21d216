//! The exact integer sums of a group: codes of 16 rows times activation codes, from the panel or from unpacked codes.
//!
//! Both ways give the same integers, so it does not matter which one a result came by.

use super::dot::Dot;
use super::format::{Codes, Factors, Format, Inner, Pair};
use crate::acts::ActRow;
use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::ptr::null;

/// Runs a block once for each number, with the number as a constant.
macro_rules! for_each {
    ($i:ident in $($n:literal)*, $body:block) => { $({ const $i: usize = $n; $body })* };
}

/// An activation row in the form that a format reads.
#[derive(Clone, Copy)]
pub(super) struct Row {
    codes: *const u8,
    /// Per group.
    pub scales: *const f32,
    /// Per group.
    pub dsums: *const f32,
    /// Per half group.
    pub halves: *const f32,
}

impl Row {
    /// No row.
    pub const NONE: Self = Self { codes: null(), scales: null(), dsums: null(), halves: null() };

    #[inline(always)]
    pub fn new<F: Format>(act: &ActRow<'_>) -> Self {
        match F::CODES {
            Codes::Narrow(_) => {
                let q = &act.q8;
                let (scales, dsums, halves) = (q.scales.as_ptr(), q.dsums.as_ptr(), q.halves.as_ptr());
                Self { codes: q.codes.as_ptr().cast(), scales, dsums, halves }
            }
            Codes::Wide | Codes::WideUnsigned => {
                let q = &act.q16;
                let (scales, dsums, halves) = (q.scales.as_ptr(), q.dsums.as_ptr(), q.halves.as_ptr());
                Self { codes: q.codes.as_ptr().cast(), scales, dsums, halves }
            }
        }
    }
}

/// An unpacked group: narrow codes `[quad][row half]`; wide ones `[quad][j][row half]` in 16 bits, where j = 0 has the
/// elements 0 and 2 of the quad and j = 1 the elements 1 and 3. 32 of their products fit 31 bits (32 * 255 * 8191).
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Group {
    codes: [__m256i; 32],
}

impl Group {
    #[inline(always)]
    pub unsafe fn zero() -> Self {
        // SAFETY: a register operation of the caller's ISA.
        unsafe { Self { codes: [_mm256_setzero_si256(); 32] } }
    }
}

/// A format's bytes as 16-bit words: the even ones, then the odd ones. Unsigned ones want one shift instead of three.
#[inline(always)]
unsafe fn widen<F: Format>(v: __m256i) -> [__m256i; 2] {
    // SAFETY: register operations of the caller's ISA.
    unsafe {
        match F::CODES {
            Codes::WideUnsigned => [_mm256_and_si256(v, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(v)],
            _ => [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(v)), _mm256_srai_epi16::<8>(v)],
        }
    }
}

/// Unpacks group `g`.
#[inline(always)]
pub(super) unsafe fn unpack<F: Format>(panel: *const u8, g: usize, out: &mut Group) {
    // SAFETY: group g is inside the panel, by the caller; the rest are register operations of its ISA.
    unsafe {
        for i in 0..4 {
            let codes = F::codes(panel, g, i);
            for o in 0..2 {
                let q = 2 * i + o;
                for h in 0..2 {
                    match F::CODES {
                        Codes::Narrow(_) => out.codes[2 * q + h] = codes[o][h],
                        Codes::Wide | Codes::WideUnsigned => {
                            for (j, words) in widen::<F>(codes[o][h]).into_iter().enumerate() {
                                out.codes[4 * q + 2 * j + h] = words;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Sums of group `g` for N activation rows, straight from the panel.
#[inline(always)]
pub(super) unsafe fn live<F: Format, D: Dot, const N: usize>(
    panel: *const u8,
    g: usize,
    factors: &Factors,
    rows: &[Row; N],
) -> [Pair<__m256i>; N] {
    // SAFETY: group g is inside the panel, by the caller; the rest are register operations of its ISA.
    unsafe {
        match F::CODES {
            Codes::Narrow(_) => narrow::<F, D, N>(&Live::<F> { panel, g, format: PhantomData }, g, factors, rows),
            Codes::Wide | Codes::WideUnsigned => {
                let mut sums = [[_mm256_setzero_si256(); 2]; N];
                for_each!(I in 0 1 2 3, {
                    let [a, b] = F::codes(panel, g, I);
                    let ([a, c], [b, d]) = (words::<F>(a), words::<F>(b));
                    add_words::<D, { 16 * I }, N>(&mut sums, a, rows, g, I == 0);
                    add_words::<D, { 16 * I + 4 }, N>(&mut sums, c, rows, g, false);
                    add_words::<D, { 16 * I + 8 }, N>(&mut sums, b, rows, g, false);
                    add_words::<D, { 16 * I + 12 }, N>(&mut sums, d, rows, g, false);
                });
                sums
            }
        }
    }
}

/// Two vectors of bytes as words: the even ones of both, then the odd ones of both.
#[inline(always)]
unsafe fn words<F: Format>(bytes: Pair<__m256i>) -> [Pair<__m256i>; 2] {
    // SAFETY: register operations of the caller's ISA.
    unsafe {
        let ([a, b], [c, d]) = (widen::<F>(bytes[0]), widen::<F>(bytes[1]));
        [[a, c], [b, d]]
    }
}

/// Sums of an unpacked group, the g-th of the rows, for N activation rows.
#[inline(always)]
pub(super) unsafe fn unpacked<F: Format, D: Dot, const N: usize>(
    group: &Group,
    g: usize,
    factors: &Factors,
    rows: &[Row; N],
) -> [Pair<__m256i>; N] {
    // SAFETY: group g is inside the rows, by the caller; the rest are register operations of its ISA.
    unsafe {
        match F::CODES {
            Codes::Narrow(_) => narrow::<F, D, N>(group, g, factors, rows),
            Codes::Wide | Codes::WideUnsigned => {
                let mut sums = [[_mm256_setzero_si256(); 2]; N];
                for_each!(V in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15, {
                    let pair = [group.codes[2 * V], group.codes[2 * V + 1]];
                    add_words::<D, { 4 * V }, N>(&mut sums, pair, rows, g, V == 0);
                });
                sums
            }
        }
    }
}

/// Adds the products of two words per row, the group's words from byte `AT` on, to the sums of N activation rows.
#[inline(always)]
unsafe fn add_words<D: Dot, const AT: usize, const N: usize>(
    sums: &mut [Pair<__m256i>; N],
    words: Pair<__m256i>,
    rows: &[Row; N],
    g: usize,
    first: bool,
) {
    for n in 0..N {
        // SAFETY: group g is inside the rows, by the caller.
        unsafe { sums[n] = D::words::<AT>(sums[n], words, rows[n].codes.add(64 * g), first) };
    }
}

/// Where the narrow codes of a group come from.
trait Source {
    /// The quads `2 * i` and `2 * i + 1`.
    unsafe fn codes(&self, i: usize) -> [Pair<__m256i>; 2];
    /// The second of them, when it is wanted.
    unsafe fn second(&self, i: usize, codes: [Pair<__m256i>; 2]) -> Pair<__m256i>;
}

/// A group of a panel.
struct Live<F> {
    panel: *const u8,
    g: usize,
    format: PhantomData<F>,
}

impl<F: Format> Source for Live<F> {
    #[inline(always)]
    unsafe fn codes(&self, i: usize) -> [Pair<__m256i>; 2] {
        // SAFETY: the group is inside the panel, by the maker.
        unsafe { F::codes(self.panel, self.g, i) }
    }

    #[inline(always)]
    unsafe fn second(&self, _i: usize, codes: [Pair<__m256i>; 2]) -> Pair<__m256i> {
        codes[1]
    }
}

impl Source for Group {
    #[inline(always)]
    unsafe fn codes(&self, i: usize) -> [Pair<__m256i>; 2] {
        let c = &self.codes[4 * i..4 * i + 4];
        [[c[0], c[1]], [c[2], c[3]]]
    }

    /// Read only now: there are registers for one.
    #[inline(always)]
    unsafe fn second(&self, i: usize, _codes: [Pair<__m256i>; 2]) -> Pair<__m256i> {
        [self.codes[4 * i + 2], self.codes[4 * i + 3]]
    }
}

/// Sums over narrow codes.
#[inline(always)]
unsafe fn narrow<F: Format, D: Dot, const N: usize>(
    source: &impl Source,
    g: usize,
    factors: &Factors,
    rows: &[Row; N],
) -> [Pair<__m256i>; N] {
    let Codes::Narrow(bits) = F::CODES else { unreachable!() };
    // Pairs of quads that are added up before they are scaled or become 32 bits.
    let part = (D::quads(bits) / 2).min(if F::INNER == Inner::Halves { 2 } else { 4 });
    // SAFETY: group g is inside the rows, by the caller; the rest are register operations of its ISA.
    unsafe {
        let zero = [[_mm256_setzero_si256(); 2]; N];
        let (mut total, mut sums) = (zero, zero);
        for_each!(I in 0 1 2 3, {
            if I.is_multiple_of(part) {
                sums = zero;
            }
            let codes = source.codes(I);
            let a = codes[0];
            for n in 0..N {
                sums[n] = D::bytes::<{ 8 * I }>(sums[n], a, rows[n].codes.add(32 * g), I.is_multiple_of(part));
            }
            let b = source.second(I, codes);
            for n in 0..N {
                sums[n] = D::bytes::<{ 8 * I + 4 }>(sums[n], b, rows[n].codes.add(32 * g), false);
            }
            if (I + 1).is_multiple_of(part) {
                for n in 0..N {
                    for h in 0..2 {
                        let sum = match F::INNER {
                            Inner::None => D::finish(sums[n][h]),
                            Inner::Groups => D::scaled(bits, sums[n][h], factors.inner[0][h]),
                            Inner::Halves => D::scaled(bits, sums[n][h], factors.inner[I / 2][h]),
                        };
                        total[n][h] = _mm256_add_epi32(total[n][h], sum);
                    }
                }
            }
        });
        total
    }
}
