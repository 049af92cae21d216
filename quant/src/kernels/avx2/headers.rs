//! Headers of records: how the scales and minima of 16 rows come out of them, as f32.
//!
//! A header is decoded whole, for all groups of a record; the K formats' six-bit numbers come out two groups at a time.

use super::format::{Factors, Inner, Min, Pair};
use crate::kernels::PANEL;
use crate::panel::HALVES;
use std::arch::x86_64::*;

/// The front of a record.
pub(in crate::kernels) trait Header {
    /// Its bytes.
    const BYTES: usize;
    /// What the format subtracts.
    const MIN: Min = Min::None;
    /// What its integer scales belong to.
    const INNER: Inner = Inner::None;
    /// Factors of the record's groups, all there are.
    ///
    /// # Safety
    /// The header is readable at `p`; AVX2, FMA, F16C.
    unsafe fn factors(p: *const u8, out: &mut [Factors]);
}

/// 16 f16 as f32.
#[inline(always)]
unsafe fn halves(p: *const u8) -> Pair<__m256> {
    // SAFETY: 32 bytes are readable at `p`, by the caller.
    unsafe { [_mm256_cvtph_ps(_mm_loadu_si128(p.cast())), _mm256_cvtph_ps(_mm_loadu_si128(p.add(16).cast()))] }
}

/// 16 unsigned bytes as 32-bit integers.
#[inline(always)]
unsafe fn unsigned(p: *const u8) -> Pair<__m256i> {
    // SAFETY: 16 bytes are readable at `p`, by the caller.
    unsafe {
        let (a, b) = (_mm_loadl_epi64(p.cast()), _mm_loadl_epi64(p.add(8).cast()));
        [_mm256_cvtepu8_epi32(a), _mm256_cvtepu8_epi32(b)]
    }
}

/// 16 signed bytes as 16-bit numbers, in both halves of 32-bit lanes.
#[inline(always)]
unsafe fn twice(bytes: __m128i) -> Pair<__m256i> {
    // SAFETY: register operations of the caller's ISA.
    unsafe {
        let bytes = _mm256_broadcastsi128_si256(bytes);
        // Each byte becomes the upper one of two words; what the lower ones are does not matter.
        let row = _mm256_setr_epi32(
            0,
            0x0101_0101,
            0x0202_0202,
            0x0303_0303,
            0x0404_0404,
            0x0505_0505,
            0x0606_0606,
            0x0707_0707,
        );
        let rows = [row, _mm256_add_epi8(row, _mm256_set1_epi8(8))];
        let mut out = rows;
        for h in 0..2 {
            out[h] = _mm256_srai_epi16::<8>(_mm256_shuffle_epi8(bytes, rows[h]));
        }
        out
    }
}

/// 16 bytes.
#[inline(always)]
unsafe fn bytes(p: *const u8) -> __m128i {
    // SAFETY: 16 bytes are readable at `p`, by the caller.
    unsafe { _mm_loadu_si128(p.cast()) }
}

/// `a * b` as f32.
#[inline(always)]
unsafe fn times(a: Pair<__m256>, b: Pair<__m256i>) -> Pair<__m256> {
    // SAFETY: register operations of the caller's ISA.
    unsafe { [_mm256_mul_ps(a[0], _mm256_cvtepi32_ps(b[0])), _mm256_mul_ps(a[1], _mm256_cvtepi32_ps(b[1]))] }
}

/// What codes that are `by` too large want subtracted: `d * by` times 16-bit scales.
#[inline(always)]
unsafe fn centers(d: Pair<__m256>, by: f32, [a, b]: Pair<__m256i>) -> Pair<__m256> {
    // SAFETY: register operations of the caller's ISA.
    unsafe {
        let by = _mm256_set1_ps(by);
        let d = [_mm256_mul_ps(d[0], by), _mm256_mul_ps(d[1], by)];
        times(d, [_mm256_srai_epi32::<16>(a), _mm256_srai_epi32::<16>(b)])
    }
}

/// `a - b`
#[inline(always)]
unsafe fn less(a: Pair<__m256i>, b: i32) -> Pair<__m256i> {
    // SAFETY: register operations of the caller's ISA.
    unsafe { [_mm256_sub_epi32(a[0], _mm256_set1_epi32(b)), _mm256_sub_epi32(a[1], _mm256_set1_epi32(b))] }
}

/// Eight six-bit numbers of 16 rows.
#[repr(align(32))]
struct Eight([u8; 8 * PANEL]);

impl Eight {
    /// From four low bytes of each row at `low` and two high ones at `high`.
    #[inline(always)]
    unsafe fn new(low: *const u8, high: *const u8) -> Self {
        let mut out = Self([0; 8 * PANEL]);
        // SAFETY: the bytes are inside the header, by the caller; the rest are register operations of its ISA.
        unsafe {
            let (nibble, top) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
            // The low bits of numbers 0 and 2 (or 1 and 3) lie side by side; their high bits are two fields apart.
            let shift = _mm256_setr_epi32(4, 4, 4, 4, 0, 0, 0, 0);
            for half in 0..2 {
                let low = _mm256_loadu_si256(low.add(2 * half * PANEL).cast());
                let high = _mm256_broadcastsi128_si256(_mm_loadu_si128(high.add(half * PANEL).cast()));
                let tops = [_mm256_sllv_epi32(high, shift), _mm256_sllv_epi32(_mm256_srli_epi16::<2>(high), shift)];
                for (o, low) in [low, _mm256_srli_epi16::<4>(low)].into_iter().enumerate() {
                    let six = _mm256_or_si256(_mm256_and_si256(low, nibble), _mm256_and_si256(tops[o], top));
                    _mm256_store_si256(out.0.as_mut_ptr().add((4 * half + 2 * o) * PANEL).cast(), six);
                }
            }
        }
        out
    }

    /// Number `i` of each row: 16 bytes.
    #[inline(always)]
    fn at(&self, i: usize) -> *const u8 {
        const AT: [usize; 8] = [0, 2, 1, 3, 4, 6, 5, 7];
        self.0[AT[i] * PANEL..][..PANEL].as_ptr()
    }
}

/// d; codes are `OFFSET` too large.
pub(in crate::kernels) struct One<const OFFSET: u8>;

impl<const OFFSET: u8> Header for One<OFFSET> {
    const BYTES: usize = HALVES;
    const MIN: Min = Min::offset(OFFSET);

    #[inline(always)]
    unsafe fn factors(p: *const u8, out: &mut [Factors]) {
        // SAFETY: passed on to the caller.
        out[0].scale = unsafe { halves(p) };
    }
}

/// d and m, which is added.
pub(in crate::kernels) struct Two;

impl Header for Two {
    const BYTES: usize = 2 * HALVES;
    const MIN: Min = Min::Group;

    #[inline(always)]
    unsafe fn factors(p: *const u8, out: &mut [Factors]) {
        // SAFETY: passed on to the caller.
        unsafe {
            out[0].scale = halves(p);
            let (m, sign) = (halves(p.add(HALVES)), _mm256_set1_ps(-0.0));
            out[0].min[0] = [_mm256_xor_ps(m[0], sign), _mm256_xor_ps(m[1], sign)];
        }
    }
}

/// d and dmin, and of each group a six-bit scale and minimum. The scales are integers or not as INNER says.
pub(in crate::kernels) struct Sixes<const INNER: bool>;

impl<const INNER: bool> Header for Sixes<INNER> {
    const BYTES: usize = 2 * HALVES + 12 * PANEL;
    const MIN: Min = Min::Group;
    const INNER: Inner = if INNER { Inner::Groups } else { Inner::None };

    #[inline(always)]
    unsafe fn factors(p: *const u8, out: &mut [Factors]) {
        // SAFETY: passed on to the caller.
        unsafe {
            let (d, dmin, sixes) = (halves(p), halves(p.add(HALVES)), p.add(2 * HALVES));
            let scales = Eight::new(sixes, sixes.add(8 * PANEL));
            let mins = Eight::new(sixes.add(4 * PANEL), sixes.add(10 * PANEL));
            for (g, out) in out.iter_mut().enumerate() {
                if INNER {
                    (out.scale, out.inner[0]) = (d, twice(bytes(scales.at(g))));
                } else {
                    out.scale = times(d, unsigned(scales.at(g)));
                }
                out.min[0] = times(dmin, unsigned(mins.at(g)));
            }
        }
    }
}

/// d, and of each group a six-bit scale around 32; codes are `OFFSET` too large.
pub(in crate::kernels) struct SixesOffset<const OFFSET: u8>;

impl<const OFFSET: u8> Header for SixesOffset<OFFSET> {
    const BYTES: usize = HALVES + 6 * PANEL;
    const MIN: Min = Min::offset(OFFSET);

    #[inline(always)]
    unsafe fn factors(p: *const u8, out: &mut [Factors]) {
        // SAFETY: passed on to the caller.
        unsafe {
            let (d, sixes) = (halves(p), p.add(HALVES));
            let scales = Eight::new(sixes, sixes.add(4 * PANEL));
            for (g, out) in out.iter_mut().enumerate() {
                out.scale = times(d, less(unsigned(scales.at(g)), 32));
            }
        }
    }
}

/// d, and of each half group a six-bit scale around 32; codes are 4 too large.
pub(in crate::kernels) struct SixesCentered;

impl Header for SixesCentered {
    const BYTES: usize = HALVES + 12 * PANEL;
    const MIN: Min = Min::Halves;
    const INNER: Inner = Inner::Halves;

    #[inline(always)]
    unsafe fn factors(p: *const u8, out: &mut [Factors]) {
        // SAFETY: passed on to the caller.
        unsafe {
            let (d, sixes) = (halves(p), p.add(HALVES));
            for part in 0..2 {
                let scales = Eight::new(sixes.add(4 * part * PANEL), sixes.add((8 + 2 * part) * PANEL));
                for (g, out) in out[4 * part..4 * part + 4].iter_mut().enumerate() {
                    out.scale = d;
                    for half in 0..2 {
                        out.inner[half] = twice(_mm_sub_epi8(bytes(scales.at(2 * g + half)), _mm_set1_epi8(32)));
                        out.min[half] = centers(d, 4.0, out.inner[half]);
                    }
                }
            }
        }
    }
}

/// d and dmin, and of each half group a four-bit scale and minimum.
pub(in crate::kernels) struct Nibbles;

impl Header for Nibbles {
    const BYTES: usize = 2 * HALVES + 16 * PANEL;
    const MIN: Min = Min::Halves;
    const INNER: Inner = Inner::Halves;

    #[inline(always)]
    unsafe fn factors(p: *const u8, out: &mut [Factors]) {
        // SAFETY: passed on to the caller.
        unsafe {
            let (d, dmin, both) = (halves(p), halves(p.add(HALVES)), p.add(2 * HALVES));
            for (g, out) in out.iter_mut().enumerate() {
                out.scale = d;
                for half in 0..2 {
                    let both = both.add((2 * g + half) * PANEL);
                    let [a, b] = unsigned(both);
                    out.inner[half] = twice(_mm_and_si128(bytes(both), _mm_set1_epi8(15)));
                    out.min[half] = times(dmin, [_mm256_srli_epi32::<4>(a), _mm256_srli_epi32::<4>(b)]);
                }
            }
        }
    }
}

/// d, and of each half group a signed byte as scale; codes are 32 too large.
pub(in crate::kernels) struct Signed;

impl Header for Signed {
    const BYTES: usize = HALVES + 16 * PANEL;
    const MIN: Min = Min::Halves;
    const INNER: Inner = Inner::Halves;

    #[inline(always)]
    unsafe fn factors(p: *const u8, out: &mut [Factors]) {
        // SAFETY: passed on to the caller.
        unsafe {
            let (d, scales) = (halves(p), p.add(HALVES));
            for (g, out) in out.iter_mut().enumerate() {
                out.scale = d;
                for half in 0..2 {
                    out.inner[half] = twice(bytes(scales.add((2 * g + half) * PANEL)));
                    out.min[half] = centers(d, 32.0, out.inner[half]);
                }
            }
        }
    }
}
