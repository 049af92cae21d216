//! Planes of codes: how the codes of a group come out of its lines. Each type's name is the bits of its codes.

use super::format::{Codes, Pair};
use crate::formats::iq4_nl::VALUES;
use crate::panel::LINE;
use std::arch::x86_64::*;

/// The lines of a group.
pub(in crate::kernels) trait Planes {
    /// How the codes meet activations.
    const CODES: Codes;
    /// Lines of a group.
    const LINES: usize;
    /// The quads `2 * i` and `2 * i + 1` of the group at `p`, as [`super::format::Format::codes`] gives them.
    ///
    /// # Safety
    /// The group's lines are readable at `p`; AVX2.
    unsafe fn pair(p: *const u8, i: usize) -> [Pair<__m256i>; 2];
}

/// A line of 64 bytes.
#[inline(always)]
unsafe fn line(p: *const u8) -> Pair<__m256i> {
    // SAFETY: 64 bytes are readable at `p`, by the caller.
    unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(32).cast())] }
}

/// Low and high nibbles of a line: two quads of 16 rows.
#[inline(always)]
unsafe fn nibbles(p: *const u8) -> [Pair<__m256i>; 2] {
    // SAFETY: 64 bytes are readable at `p`, by the caller; the rest are register operations of its ISA.
    unsafe {
        let mask = _mm256_set1_epi8(15);
        let [a, b] = line(p);
        let high = [_mm256_srli_epi16::<4>(a), _mm256_srli_epi16::<4>(b)];
        let low = [_mm256_and_si256(a, mask), _mm256_and_si256(b, mask)];
        [low, [_mm256_and_si256(high[0], mask), _mm256_and_si256(high[1], mask)]]
    }
}

/// The bits of `mask` in every byte of `v`, after all bits were moved from bit `from` to bit `to`.
#[inline(always)]
unsafe fn moved(v: __m256i, from: usize, to: usize, mask: i8) -> __m256i {
    // SAFETY: register operations of the caller's ISA; shifts by known numbers become immediate ones.
    unsafe {
        let v = if to >= from {
            _mm256_sll_epi16(v, _mm_cvtsi32_si128((to - from) as i32))
        } else {
            _mm256_srl_epi16(v, _mm_cvtsi32_si128((from - to) as i32))
        };
        _mm256_and_si256(v, _mm256_set1_epi8(mask))
    }
}

/// Adds the bits of a plane at `p` to codes: quads `2 * i` and `2 * i + 1`, `bits` each, from bit `to` up.
#[inline(always)]
unsafe fn add_plane(codes: &mut [Pair<__m256i>; 2], p: *const u8, i: usize, bits: usize, to: usize) {
    let per_line = 8 / bits;
    // SAFETY: the plane's lines are readable at `p`, by the caller; the rest are register operations of its ISA.
    unsafe {
        let plane = line(p.add(2 * i / per_line * LINE));
        for (o, codes) in codes.iter_mut().enumerate() {
            for (codes, plane) in codes.iter_mut().zip(plane) {
                let from = (2 * i + o) % per_line * bits;
                *codes = _mm256_or_si256(*codes, moved(plane, from, to, (((1 << bits) - 1) << to) as i8));
            }
        }
    }
}

pub(in crate::kernels) struct Twos;

impl Planes for Twos {
    const CODES: Codes = Codes::Narrow(2);
    const LINES: usize = 2;

    #[inline(always)]
    unsafe fn pair(p: *const u8, i: usize) -> [Pair<__m256i>; 2] {
        // SAFETY: passed on to the caller.
        unsafe {
            let mut codes = [[_mm256_setzero_si256(); 2]; 2];
            add_plane(&mut codes, p, i, 2, 0);
            codes
        }
    }
}

pub(in crate::kernels) struct Three;

impl Planes for Three {
    const CODES: Codes = Codes::Narrow(3);
    const LINES: usize = 3;

    #[inline(always)]
    unsafe fn pair(p: *const u8, i: usize) -> [Pair<__m256i>; 2] {
        // SAFETY: passed on to the caller.
        unsafe {
            let mut codes = Twos::pair(p.add(LINE), i);
            add_plane(&mut codes, p, i, 1, 2);
            codes
        }
    }
}

pub(in crate::kernels) struct Four;

impl Planes for Four {
    const CODES: Codes = Codes::Narrow(4);
    const LINES: usize = 4;

    #[inline(always)]
    unsafe fn pair(p: *const u8, i: usize) -> [Pair<__m256i>; 2] {
        // SAFETY: passed on to the caller.
        unsafe { nibbles(p.add(i * LINE)) }
    }
}

pub(in crate::kernels) struct Five;

impl Planes for Five {
    const CODES: Codes = Codes::Narrow(5);
    const LINES: usize = 5;

    #[inline(always)]
    unsafe fn pair(p: *const u8, i: usize) -> [Pair<__m256i>; 2] {
        // SAFETY: passed on to the caller.
        unsafe {
            let mut codes = nibbles(p.add((1 + i) * LINE));
            add_plane(&mut codes, p, i, 1, 4);
            codes
        }
    }
}

pub(in crate::kernels) struct Six;

impl Planes for Six {
    const CODES: Codes = Codes::Narrow(6);
    const LINES: usize = 6;

    #[inline(always)]
    unsafe fn pair(p: *const u8, i: usize) -> [Pair<__m256i>; 2] {
        // SAFETY: passed on to the caller.
        unsafe {
            let mut codes = nibbles(p.add((2 + i) * LINE));
            add_plane(&mut codes, p, i, 2, 4);
            codes
        }
    }
}

/// Signed bytes; for 128 unsigned ones that are so much larger.
pub(in crate::kernels) struct Eight<const PLUS: u8>;

impl<const PLUS: u8> Planes for Eight<PLUS> {
    const CODES: Codes = if PLUS == 0 { Codes::Wide } else { Codes::Narrow(8) };
    const LINES: usize = 8;

    #[inline(always)]
    unsafe fn pair(p: *const u8, i: usize) -> [Pair<__m256i>; 2] {
        // SAFETY: passed on to the caller.
        unsafe {
            let mut codes = [line(p.add(2 * i * LINE)), line(p.add((2 * i + 1) * LINE))];
            if PLUS != 0 {
                for codes in codes.as_flattened_mut() {
                    *codes = _mm256_xor_si256(*codes, _mm256_set1_epi8(PLUS as i8));
                }
            }
            codes
        }
    }
}

/// Four bits that stand for [`VALUES`], which are signed: 128 more. They meet the wide activations or the narrow ones.
/// (Wide, unsigned ones save two shifts in three: one activation row 12 % faster, many 4 % slower.)
pub(in crate::kernels) struct Table<const WIDE: bool>;

impl<const WIDE: bool> Planes for Table<WIDE> {
    const CODES: Codes = if WIDE { Codes::WideUnsigned } else { Codes::Narrow(8) };
    const LINES: usize = 4;

    #[inline(always)]
    unsafe fn pair(p: *const u8, i: usize) -> [Pair<__m256i>; 2] {
        // SAFETY: passed on to the caller; the table has 16 bytes.
        unsafe {
            let values = _mm256_broadcastsi128_si256(_mm_loadu_si128(VALUES.as_ptr().cast()));
            let values = _mm256_xor_si256(values, _mm256_set1_epi8(i8::MIN));
            let mut codes = nibbles(p.add(i * LINE));
            for codes in codes.as_flattened_mut() {
                *codes = _mm256_shuffle_epi8(values, *codes);
            }
            codes
        }
    }
}
