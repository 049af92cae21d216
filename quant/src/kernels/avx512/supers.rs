//! Unpacking of the formats with blocks of 256 weights: a record has eight groups behind its scales.

use super::decode::{both, bytes, fives, halves, looked_up, nibbles, ones, place, six, twos, vectors};
use super::group::{Around, AroundHalves, Narrow};
use super::tile::Decode;
use crate::kernels::PANEL;
use crate::panel::{HALVES, LINE};
use std::arch::x86_64::*;

#[inline(always)]
unsafe fn times(numbers: __m512, integers: __m512i) -> __m512 {
    // SAFETY: register operations of the caller's ISA.
    unsafe { _mm512_mul_ps(numbers, _mm512_cvtepi32_ps(integers)) }
}

/// Scales and minima of group `g` of a record of Q4_K or Q5_K.
#[inline(always)]
unsafe fn scale_min(record: *const u8, g: usize) -> (__m512, [__m512; 1]) {
    // SAFETY: the record is readable, by the caller.
    unsafe {
        let low = record.add(2 * HALVES);
        let high = low.add(8 * PANEL);
        let scale = times(halves(record), six(low, high, g));
        let min = times(halves(record.add(HALVES)), six(low.add(4 * PANEL), high.add(2 * PANEL), g));
        (scale, [min])
    }
}

/// Codes below 16.
pub(super) struct Q4K;

impl Decode for Q4K {
    type Group = Narrow<1>;
    const BYTES: usize = 144 * PANEL / 8;

    #[inline(always)]
    unsafe fn group(panel: *const u8, g: usize) -> Self::Group {
        // SAFETY: group g is inside the panel.
        unsafe {
            let (record, g) = place::<Self>(panel, g);
            let (scale, min) = scale_min(record, g);
            Narrow { codes: nibbles(record.add(2 * HALVES + 12 * PANEL + g * 4 * LINE)), scale, min }
        }
    }
}

/// Codes below 32.
pub(super) struct Q5K;

impl Decode for Q5K {
    type Group = Narrow<1>;
    const BYTES: usize = 176 * PANEL / 8;

    #[inline(always)]
    unsafe fn group(panel: *const u8, g: usize) -> Self::Group {
        // SAFETY: group g is inside the panel.
        unsafe {
            let (record, g) = place::<Self>(panel, g);
            let (scale, min) = scale_min(record, g);
            Narrow { codes: fives(record.add(2 * HALVES + 12 * PANEL + g * 5 * LINE)), scale, min }
        }
    }
}

/// Values of IQ4_NL's table, scales around 32.
pub(super) struct Iq4Xs;

impl Decode for Iq4Xs {
    type Group = Around<128>;
    const BYTES: usize = 136 * PANEL / 8;

    #[inline(always)]
    unsafe fn group(panel: *const u8, g: usize) -> Self::Group {
        // SAFETY: group g is inside the panel.
        unsafe {
            let (record, g) = place::<Self>(panel, g);
            let low = record.add(HALVES);
            let number = _mm512_sub_epi32(six(low, low.add(4 * PANEL), g), _mm512_set1_epi32(32));
            let scale = times(halves(record), number);
            let codes = looked_up(record.add(HALVES + 6 * PANEL + g * 4 * LINE));
            Around { codes, scale }
        }
    }
}

/// Codes below 4 with a scale and a minimum for each 16. Code times scale fits a byte (3 * 15), so a group has one
/// integer sum: the products come out of a table with four entries for each of a 128-bit lane's four rows.
pub(super) struct Q2K;

impl Decode for Q2K {
    type Group = Narrow<2>;
    const BYTES: usize = 84 * PANEL / 8;

    #[inline(always)]
    unsafe fn group(panel: *const u8, g: usize) -> Self::Group {
        // SAFETY: group g is inside the panel.
        unsafe {
            let (record, g) = place::<Self>(panel, g);
            let (d, dmin, nibble) = (halves(record), halves(record.add(HALVES)), _mm512_set1_epi32(15));
            let parts = vectors!(2, H => bytes(record.add(2 * HALVES + (2 * g + H) * PANEL)));
            let steps = _mm512_set1_epi32(0x0302_0100);
            let tables = vectors!(2, H => _mm512_mullo_epi32(_mm512_and_si512(parts[H], nibble), steps));
            let row = _mm512_set4_epi32(0x0c0c_0c0c, 0x0808_0808, 0x0404_0404, 0);
            let codes = twos(record.add(2 * HALVES + 16 * PANEL + g * 2 * LINE), 0);
            Narrow {
                codes: vectors!(8, Q => _mm512_shuffle_epi8(tables[Q / 4], _mm512_or_si512(codes[Q], row))),
                scale: d,
                min: vectors!(2, H => times(dmin, _mm512_srli_epi32::<4>(parts[H]))),
            }
        }
    }
}

/// Codes below 8 around 4, with a scale around 32 for each 16.
pub(super) struct Q3K;

impl Decode for Q3K {
    type Group = AroundHalves<4>;
    const BYTES: usize = 110 * PANEL / 8;

    #[inline(always)]
    unsafe fn group(panel: *const u8, g: usize) -> Self::Group {
        // SAFETY: group g is inside the panel.
        unsafe {
            let (record, g) = place::<Self>(panel, g);
            let (d, low) = (halves(record), record.add(HALVES));
            let scale = vectors!(2, H => {
                let number = six(low, low.add(8 * PANEL), 2 * g + H);
                times(d, _mm512_sub_epi32(number, _mm512_set1_epi32(32)))
            });
            let lines = record.add(HALVES + 12 * PANEL + g * 3 * LINE);
            AroundHalves { codes: both(ones(lines, 2), twos(lines.add(LINE), 0)), scale }
        }
    }
}

/// Codes below 64 around 32, a signed byte as scale for each 16.
pub(super) struct Q6K;

impl Decode for Q6K {
    type Group = AroundHalves<32>;
    const BYTES: usize = 210 * PANEL / 8;

    #[inline(always)]
    unsafe fn group(panel: *const u8, g: usize) -> Self::Group {
        // SAFETY: group g is inside the panel.
        unsafe {
            let (record, g) = place::<Self>(panel, g);
            let d = halves(record);
            let scale = vectors!(2, H => {
                times(d, _mm512_cvtepi8_epi32(_mm_loadu_si128(record.add(HALVES + (2 * g + H) * PANEL).cast())))
            });
            let lines = record.add(HALVES + 16 * PANEL + g * 6 * LINE);
            AroundHalves { codes: both(twos(lines, 4), nibbles(lines.add(2 * LINE))), scale }
        }
    }
}
