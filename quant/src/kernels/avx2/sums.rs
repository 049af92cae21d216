//! The exact integer sums of a group: codes of 16 rows times activation codes, from the panel or from unpacked codes.
//!
//! Both ways give the same integers, so it does not matter which one a result came by.

use super::dot::Dot;
use super::format::{Codes, Factors, Format, GROUPS, Inner, Pair};
use crate::acts::ActRow;
use std::arch::x86_64::*;
use std::marker::PhantomData;

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
    #[inline(always)]
    pub fn new<F: Format>(act: &ActRow<'_>) -> Self {
        match F::CODES {
            Codes::Narrow(_) => {
                let q = &act.q8;
                let (scales, dsums, halves) = (q.scales.as_ptr(), q.dsums.as_ptr(), q.halves.as_ptr());
                Self { codes: q.codes.as_ptr().cast(), scales, dsums, halves }
            }
            Codes::Wide | Codes::Centered => {
                let q = &act.q16;
                let (scales, dsums, halves) = (q.scales.as_ptr(), q.dsums.as_ptr(), q.halves.as_ptr());
                Self { codes: q.codes.as_ptr().cast(), scales, dsums, halves }
            }
        }
    }

    /// What codes that are 32 too large add to the sums of the half groups from group `first` on, negated.
    ///
    /// A sum of 16 codes times a scale, divided by the scale, is that sum within far less than a half. (Where the product
    /// is no number, the row's results are none either.)
    #[inline(always)]
    pub unsafe fn centers(&self, first: usize) -> [i32; 2 * GROUPS] {
        let mut out = [0; 2 * GROUPS];
        // SAFETY: eight groups are inside the row, by the caller; the rest are register operations of its ISA.
        unsafe {
            let scales = _mm256_loadu_ps(self.scales.add(first));
            for part in 0..2 {
                let at =
                    _mm256_add_epi32(_mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3), _mm256_set1_epi32(4 * part as i32));
                let halves = _mm256_loadu_ps(self.halves.add(2 * first + 8 * part));
                let sums = _mm256_cvtps_epi32(_mm256_div_ps(halves, _mm256_permutevar8x32_ps(scales, at)));
                let negated = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32::<5>(sums));
                _mm256_storeu_si256(out.as_mut_ptr().add(8 * part).cast(), negated);
            }
        }
        out
    }

    /// Four bytes of codes in every lane: a quad of the narrow form, a pair of the wide one.
    #[inline(always)]
    unsafe fn four(&self, at: usize) -> __m256i {
        // SAFETY: the bytes are inside the row, by the caller.
        unsafe { _mm256_set1_epi32(self.codes.add(at).cast::<i32>().read_unaligned()) }
    }
}

/// An unpacked group: narrow codes `[quad][row half]`; wide ones `[quad][j][row half]` in 16 bits, where j = 0 has the
/// elements 0 and 2 of the quad and j = 1 the elements 1 and 3, times the inner scales where the format has some. Code
/// times inner scale fits 16 bits (32 * 128), and 32 products with the wide activations fit 31 (32 * 32 * 128 * 8191).
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

/// A format's bytes as 16-bit words: the even ones, then the odd ones.
#[inline(always)]
unsafe fn widen<F: Format>(v: __m256i) -> [__m256i; 2] {
    // SAFETY: register operations of the caller's ISA.
    unsafe {
        match F::CODES {
            Codes::Centered => [_mm256_and_si256(v, _mm256_set1_epi16(0xff)), _mm256_srli_epi16::<8>(v)],
            _ => [_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(v)), _mm256_srai_epi16::<8>(v)],
        }
    }
}

/// Unpacks group `g`.
#[inline(always)]
pub(super) unsafe fn unpack<F: Format>(panel: *const u8, g: usize, factors: &Factors, out: &mut Group) {
    // SAFETY: group g is inside the panel, by the caller; the rest are register operations of its ISA.
    unsafe {
        for i in 0..4 {
            let codes = F::codes(panel, g, i);
            for o in 0..2 {
                let q = 2 * i + o;
                for h in 0..2 {
                    match F::CODES {
                        Codes::Narrow(_) => out.codes[2 * q + h] = codes[o][h],
                        Codes::Wide | Codes::Centered => {
                            for (j, mut words) in widen::<F>(codes[o][h]).into_iter().enumerate() {
                                if let Codes::Centered = F::CODES {
                                    words = _mm256_sub_epi16(words, _mm256_set1_epi16(32));
                                }
                                out.codes[4 * q + 2 * j + h] = if F::INNER == Inner::Halves {
                                    _mm256_mullo_epi16(words, factors.inner[i / 2][h])
                                } else {
                                    words
                                };
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
    centers: &[[i32; 2 * GROUPS]; N],
) -> [Pair<__m256i>; N] {
    // SAFETY: group g is inside the panel, by the caller; the rest are register operations of its ISA.
    unsafe {
        match F::CODES {
            Codes::Narrow(_) => narrow::<F, D, N>(&Live::<F> { panel, g, format: PhantomData }, g, factors, rows),
            Codes::Wide | Codes::Centered => {
                let mut total = [[_mm256_setzero_si256(); 2]; N];
                for half in 0..2 {
                    let mut sums = if F::INNER == Inner::Halves { [[_mm256_setzero_si256(); 2]; N] } else { total };
                    if let Codes::Centered = F::CODES {
                        for n in 0..N {
                            sums[n] = [_mm256_set1_epi32(centers[n][2 * (g % GROUPS) + half]); 2];
                        }
                    }
                    for i in 2 * half..2 * half + 2 {
                        for (o, pair) in F::codes(panel, g, i).into_iter().enumerate() {
                            let words = [widen::<F>(pair[0]), widen::<F>(pair[1])];
                            for j in 0..2 {
                                let at = 2 * (32 * g + 8 * i + 4 * o + 2 * j);
                                add_words::<D, N>(&mut sums, [words[0][j], words[1][j]], rows, at);
                            }
                        }
                    }
                    if F::INNER == Inner::Halves {
                        for n in 0..N {
                            for h in 0..2 {
                                let scaled =
                                    _mm256_mullo_epi32(sums[n][h], _mm256_srai_epi32::<16>(factors.inner[half][h]));
                                total[n][h] = _mm256_add_epi32(total[n][h], scaled);
                            }
                        }
                    } else {
                        total = sums;
                    }
                }
                total
            }
        }
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
            Codes::Wide | Codes::Centered => {
                let mut sums = [[_mm256_setzero_si256(); 2]; N];
                for v in 0..16 {
                    let pair = [group.codes[2 * v], group.codes[2 * v + 1]];
                    add_words::<D, N>(&mut sums, pair, rows, 2 * (32 * g + 2 * v));
                }
                sums
            }
        }
    }
}

/// Adds the products of two words per row to the sums of N activation rows.
#[inline(always)]
unsafe fn add_words<D: Dot, const N: usize>(
    sums: &mut [Pair<__m256i>; N],
    words: Pair<__m256i>,
    rows: &[Row; N],
    at: usize,
) {
    for n in 0..N {
        // SAFETY: passed on to the caller.
        unsafe {
            let acts = rows[n].four(at);
            for h in 0..2 {
                sums[n][h] = D::words(sums[n][h], words[h], acts);
            }
        }
    }
}

/// Where the narrow codes of a group come from.
trait Source {
    /// The quads `2 * i` and `2 * i + 1`.
    unsafe fn codes(&self, i: usize) -> [Pair<__m256i>; 2];
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
}

impl Source for Group {
    #[inline(always)]
    unsafe fn codes(&self, i: usize) -> [Pair<__m256i>; 2] {
        let c = &self.codes[4 * i..4 * i + 4];
        [[c[0], c[1]], [c[2], c[3]]]
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
    let part = if F::INNER == Inner::Halves { 2 } else { D::quads(bits) / 2 };
    // SAFETY: group g is inside the rows, by the caller; the rest are register operations of its ISA.
    unsafe {
        let mut total = [[_mm256_setzero_si256(); 2]; N];
        for first in (0..4).step_by(part) {
            let mut sums = [[_mm256_setzero_si256(); 2]; N];
            for i in first..first + part {
                for (o, pair) in source.codes(i).into_iter().enumerate() {
                    for n in 0..N {
                        let acts = rows[n].four(32 * g + 8 * i + 4 * o);
                        for h in 0..2 {
                            sums[n][h] = D::bytes(sums[n][h], pair[h], acts);
                        }
                    }
                }
            }
            for n in 0..N {
                for h in 0..2 {
                    let sum = match F::INNER {
                        Inner::None => D::finish(sums[n][h]),
                        Inner::Groups => D::scaled(sums[n][h], factors.inner[0][h]),
                        Inner::Halves => D::scaled(sums[n][h], factors.inner[first / 2][h]),
                    };
                    total[n][h] = _mm256_add_epi32(total[n][h], sum);
                }
            }
        }
        total
    }
}
