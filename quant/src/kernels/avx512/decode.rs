//! The formats' halves of the AVX-512 tile: where parts lie in a panel, and how codes and scales come out of it.

use super::tile::{Decode, Group, Narrow, Wide};
use crate::kernels::PANEL;
use crate::kernels::avx2::q4_k_six;
use crate::panel::{HALVES, LINE, Q4_K_RECORD, Q6_K_RECORD, Q8_0_RECORD};
use std::arch::x86_64::*;

/// 16 f16 as f32.
#[inline(always)]
unsafe fn halves(p: *const u8) -> __m512 {
    // SAFETY: 32 bytes are readable at `p`, by the caller.
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
}

/// 16 unsigned bytes as f32.
#[inline(always)]
unsafe fn bytes_to_f32(v: __m128i) -> __m512 {
    // SAFETY: register operations of the caller's ISA.
    unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(v)) }
}

/// Line `i` from `p` on.
#[inline(always)]
unsafe fn line(p: *const u8, i: usize) -> __m512i {
    // SAFETY: the line's 64 bytes are readable, by the caller.
    unsafe { _mm512_loadu_si512(p.add(64 * i).cast()) }
}

/// Low and high nibbles of bytes.
#[inline(always)]
unsafe fn nibbles(v: __m512i) -> [__m512i; 2] {
    // SAFETY: register operations of the caller's ISA.
    unsafe {
        let mask = _mm512_set1_epi8(15);
        [_mm512_and_si512(v, mask), _mm512_and_si512(_mm512_srli_epi16::<4>(v), mask)]
    }
}

/// Q8_0: signed bytes, widened to 16 bits.
pub(super) struct Q8_0 {
    base: *const u8,
}

impl Decode for Q8_0 {
    type Codes = Wide;

    #[inline(always)]
    unsafe fn new(weights: *const u8, _cols: usize) -> Self {
        Self { base: weights }
    }

    #[inline(always)]
    unsafe fn group(&self, g: usize) -> Group<Wide> {
        // SAFETY: group g is inside the panel.
        unsafe {
            let mut codes = [_mm512_setzero_si512(); 16];
            for q in 0..8 {
                let bytes = line(self.base.add(g * Q8_0_RECORD + HALVES), q);
                codes[2 * q] = _mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(bytes));
                codes[2 * q + 1] = _mm512_srai_epi16::<8>(bytes);
            }
            Group { codes, scale: halves(self.base.add(g * Q8_0_RECORD)), min: None }
        }
    }
}

/// Q4_K: unsigned codes below 16 meet the narrow activations as they are.
pub(super) struct Q4K {
    base: *const u8,
}

impl Decode for Q4K {
    type Codes = Narrow;

    #[inline(always)]
    unsafe fn new(weights: *const u8, _cols: usize) -> Self {
        Self { base: weights }
    }

    #[inline(always)]
    unsafe fn group(&self, g: usize) -> Group<Narrow> {
        // SAFETY: group g is inside the panel.
        unsafe {
            let p = self.base.add(g / 8 * Q4_K_RECORD);
            let mut codes = [_mm512_setzero_si512(); 8];
            for i in 0..4 {
                [codes[2 * i], codes[2 * i + 1]] = nibbles(line(p.add(256), g % 8 * 4 + i));
            }
            let scale = _mm512_mul_ps(halves(p), bytes_to_f32(q4_k_six(p, g % 8, 64, 192)));
            let min = _mm512_mul_ps(halves(p.add(32)), bytes_to_f32(q4_k_six(p, g % 8, 128, 224)));
            Group { codes, scale, min: Some(min) }
        }
    }
}

/// Q6_K: codes below 64 around 32, a signed byte as scale for each 16. Code times scale fits 16 bits (32 * 128), and
/// a group's 32 products with the wide activations 31 (32 * 32 * 128 * 8191).
pub(super) struct Q6K {
    base: *const u8,
}

/// 16 signed bytes, one per row, in both 16-bit halves of the row's lane.
#[inline(always)]
unsafe fn scale16(p: *const u8) -> __m512i {
    // SAFETY: 16 bytes are readable at `p`, by the caller.
    unsafe {
        let s = _mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()));
        _mm512_mask_blend_epi16(0xaaaa_aaaa, s, _mm512_slli_epi32::<16>(s))
    }
}

impl Decode for Q6K {
    type Codes = Wide;

    #[inline(always)]
    unsafe fn new(weights: *const u8, _cols: usize) -> Self {
        Self { base: weights }
    }

    #[inline(always)]
    unsafe fn group(&self, g: usize) -> Group<Wide> {
        // SAFETY: group g is inside the panel.
        unsafe {
            let p = self.base.add(g / 8 * Q6_K_RECORD + HALVES);
            let lines = p.add(16 * PANEL + g % 8 * 6 * LINE);
            let (top_bits, byte, center) = (_mm512_set1_epi8(0x30), _mm512_set1_epi16(0xff), _mm512_set1_epi16(32));
            let mut codes = [_mm512_setzero_si512(); 16];
            for i in 0..4 {
                let top = line(lines, i / 2);
                let top = if i % 2 == 0 { top } else { _mm512_srli_epi16::<4>(top) };
                let tops = [_mm512_slli_epi16::<4>(top), _mm512_slli_epi16::<2>(top)];
                let scale = scale16(p.add((2 * (g % 8) + i / 2) * PANEL));
                for (o, low) in nibbles(line(lines, 2 + i)).into_iter().enumerate() {
                    let six = _mm512_or_si512(low, _mm512_and_si512(tops[o], top_bits));
                    let pairs = [_mm512_and_si512(six, byte), _mm512_srli_epi16::<8>(six)];
                    for (j, pair) in pairs.into_iter().enumerate() {
                        codes[4 * i + 2 * o + j] = _mm512_mullo_epi16(_mm512_sub_epi16(pair, center), scale);
                    }
                }
            }
            Group { codes, scale: halves(self.base.add(g / 8 * Q6_K_RECORD)), min: None }
        }
    }
}
