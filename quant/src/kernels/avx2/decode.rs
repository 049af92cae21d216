//! The formats' halves of the AVX2 tile: where parts lie in a panel, and the integer products of a group.

use super::tile::{Codes, Decode, Group, Pair, Sums, act8, act16, rolled, sums16};
use crate::acts::ActRow;
use crate::kernels::PANEL;
use crate::panel::{HALVES, LINE, Q4_K_RECORD, Q6_K_RECORD, Q8_0_RECORD};
use std::arch::x86_64::*;

/// 16 f16 as two vectors of f32.
#[inline(always)]
unsafe fn halves(p: *const u8) -> Pair<__m256> {
    // SAFETY: 32 bytes are readable at `p`, by the caller.
    unsafe { [_mm256_cvtph_ps(_mm_loadu_si128(p.cast())), _mm256_cvtph_ps(_mm_loadu_si128(p.add(16).cast()))] }
}

/// 16 unsigned bytes as two vectors of f32.
#[inline(always)]
unsafe fn bytes_to_f32(v: __m128i) -> Pair<__m256> {
    // SAFETY: register operations of the caller's ISA.
    unsafe {
        [_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(v)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128::<8>(v)))]
    }
}

#[inline(always)]
unsafe fn mul(a: Pair<__m256>, b: Pair<__m256>) -> Pair<__m256> {
    // SAFETY: register operations of the caller's ISA.
    unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
}

/// Both halves of a line of 64 bytes.
#[inline(always)]
unsafe fn line(p: *const u8) -> Pair<__m256i> {
    // SAFETY: 64 bytes are readable at `p`, by the caller.
    unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(32).cast())] }
}

/// Low and high nibbles of bytes.
#[inline(always)]
unsafe fn nibbles(v: __m256i) -> [__m256i; 2] {
    // SAFETY: register operations of the caller's ISA.
    unsafe {
        let mask = _mm256_set1_epi8(15);
        [_mm256_and_si256(v, mask), _mm256_and_si256(_mm256_srli_epi16::<4>(v), mask)]
    }
}

/// Q8_0: signed bytes, widened to 16 bits.
pub(super) struct Q8_0 {
    base: *const u8,
}

impl Decode for Q8_0 {
    #[inline(always)]
    unsafe fn new(weights: *const u8, _cols: usize) -> Self {
        Self { base: weights }
    }

    #[inline(always)]
    unsafe fn group(&self, g: usize) -> Group {
        // SAFETY: group g is inside the panel.
        Group { scale: unsafe { halves(self.base.add(g * Q8_0_RECORD)) }, min: None }
    }

    #[inline(always)]
    unsafe fn unpack(&self, g: usize, buf: &mut Codes) {
        for q in 0..8 {
            // SAFETY: group g is inside the panel.
            let pair = unsafe { line(self.base.add(g * Q8_0_RECORD + HALVES + q * LINE)) };
            for h in 0..2 {
                // SAFETY: register operations of the caller's ISA.
                unsafe {
                    buf.0[4 * q + 2 * h] = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(pair[h]));
                    buf.0[4 * q + 2 * h + 1] = _mm256_srai_epi16::<8>(pair[h]);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn act(act: &ActRow<'_>, g: usize) -> (f32, f32) {
        // SAFETY: passed on to the caller.
        unsafe { act16(act, g) }
    }

    #[inline(always)]
    unsafe fn sums<const N: usize>(&self, g: usize, buf: &Codes, acts: &[ActRow<'_>]) -> Sums<N> {
        // SAFETY: group g is inside the rows.
        unsafe { sums16::<N>(32 * g, 8, &buf.0, acts) }
    }
}

/// Q4_K: codes below 16; all eight product pairs of a group fit 16 bits.
pub(super) struct Q4K {
    base: *const u8,
}

/// Six-bit numbers of group `g` (0 to 7) of the Q4_K superblock at `p`, one byte per row: low bits start at `low`, high
/// bits at `high`.
#[inline(always)]
pub(in crate::kernels) unsafe fn q4_k_six(p: *const u8, g: usize, low: usize, high: usize) -> __m128i {
    // SAFETY: the superblock's header is inside the panel.
    unsafe {
        let low = _mm_loadu_si128(p.add(low + g / 2 * 16).cast());
        let low = if g.is_multiple_of(2) { low } else { _mm_srli_epi16::<4>(low) };
        let high = _mm_loadu_si128(p.add(high + g / 4 * 16).cast());
        let high = _mm_srl_epi16(high, _mm_cvtsi32_si128(2 * (g % 4) as i32));
        let high = _mm_slli_epi16::<4>(_mm_and_si128(high, _mm_set1_epi8(3)));
        _mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)), high)
    }
}

impl Decode for Q4K {
    #[inline(always)]
    unsafe fn new(weights: *const u8, _cols: usize) -> Self {
        Self { base: weights }
    }

    #[inline(always)]
    unsafe fn group(&self, g: usize) -> Group {
        // SAFETY: group g is inside the panel.
        unsafe {
            let p = self.base.add(g / 8 * Q4_K_RECORD);
            let scale = mul(halves(p), bytes_to_f32(q4_k_six(p, g % 8, 64, 192)));
            let min = mul(halves(p.add(32)), bytes_to_f32(q4_k_six(p, g % 8, 128, 224)));
            Group { scale, min: Some(min) }
        }
    }

    #[inline(always)]
    unsafe fn unpack(&self, g: usize, buf: &mut Codes) {
        // SAFETY: group g is inside the panel.
        unsafe {
            let p = self.base.add(g / 8 * Q4_K_RECORD + 256 + g % 8 * 256);
            for i in 0..4 {
                let [a, b] = line(p.add(64 * i));
                [buf.0[4 * i], buf.0[4 * i + 2]] = nibbles(a);
                [buf.0[4 * i + 1], buf.0[4 * i + 3]] = nibbles(b);
            }
        }
    }

    #[inline(always)]
    unsafe fn act(act: &ActRow<'_>, g: usize) -> (f32, f32) {
        // SAFETY: passed on to the caller.
        unsafe { act8(act, g) }
    }

    #[inline(always)]
    unsafe fn sums<const N: usize>(&self, g: usize, buf: &Codes, acts: &[ActRow<'_>]) -> Sums<N> {
        // SAFETY: activations have `cols` codes; the rest are register operations.
        unsafe {
            let mut sums = [[_mm256_setzero_si256(); 2]; N];
            let at: [*const i8; N] = std::array::from_fn(|i| acts[i].q8.codes.as_ptr().add(32 * g));
            let codes = buf.0.as_ptr();
            for q in 0..rolled(8) {
                let w = [*codes.add(2 * q), *codes.add(2 * q + 1)];
                for i in 0..N {
                    let a = _mm256_set1_epi32(at[i].add(4 * q).cast::<i32>().read_unaligned());
                    for h in 0..2 {
                        sums[i][h] = _mm256_add_epi16(sums[i][h], _mm256_maddubs_epi16(w[h], a));
                    }
                }
            }
            let ones = _mm256_set1_epi16(1);
            sums.map(|s| s.map(|s| _mm256_madd_epi16(s, ones)))
        }
    }
}

/// Q6_K: codes below 64 around 32, a signed byte as scale for each 16; 16-bit products.
pub(super) struct Q6K {
    base: *const u8,
}

impl Q6K {
    /// The scales of the 16 weights `2 * g + half`, as 32-bit integers per row.
    #[inline(always)]
    unsafe fn scale32(&self, g: usize, half: usize) -> Pair<__m256i> {
        // SAFETY: group g is inside the panel.
        unsafe {
            let p = self.base.add(g / 8 * Q6_K_RECORD + HALVES + (2 * (g % 8) + half) * PANEL);
            let s = _mm_loadu_si128(p.cast());
            [_mm256_cvtepi8_epi32(s), _mm256_cvtepi8_epi32(_mm_srli_si128::<8>(s))]
        }
    }
}

impl Decode for Q6K {
    #[inline(always)]
    unsafe fn new(weights: *const u8, _cols: usize) -> Self {
        Self { base: weights }
    }

    #[inline(always)]
    unsafe fn group(&self, g: usize) -> Group {
        // SAFETY: group g is inside the panel.
        Group { scale: unsafe { halves(self.base.add(g / 8 * Q6_K_RECORD)) }, min: None }
    }

    #[inline(always)]
    unsafe fn unpack(&self, g: usize, buf: &mut Codes) {
        // SAFETY: group g is inside the panel.
        unsafe {
            let high = self.base.add(g / 8 * Q6_K_RECORD + HALVES + 16 * PANEL + g % 8 * 6 * LINE);
            let low = high.add(2 * LINE);
            let (top_bits, byte, center) = (_mm256_set1_epi8(0x30), _mm256_set1_epi16(0xff), _mm256_set1_epi16(32));
            for i in 0..4 {
                let (pair, top) = (line(low.add(64 * i)), line(high.add(64 * (i / 2))));
                for h in 0..2 {
                    let t = if i % 2 == 0 { top[h] } else { _mm256_srli_epi16::<4>(top[h]) };
                    let tops = [_mm256_slli_epi16::<4>(t), _mm256_slli_epi16::<2>(t)];
                    for (o, low) in nibbles(pair[h]).into_iter().enumerate() {
                        let codes = _mm256_or_si256(low, _mm256_and_si256(tops[o], top_bits));
                        let at = 4 * (2 * i + o) + 2 * h;
                        buf.0[at] = _mm256_sub_epi16(_mm256_and_si256(codes, byte), center);
                        buf.0[at + 1] = _mm256_sub_epi16(_mm256_srli_epi16::<8>(codes), center);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn act(act: &ActRow<'_>, g: usize) -> (f32, f32) {
        // SAFETY: passed on to the caller.
        unsafe { act16(act, g) }
    }

    #[inline(always)]
    unsafe fn sums<const N: usize>(&self, g: usize, buf: &Codes, acts: &[ActRow<'_>]) -> Sums<N> {
        // SAFETY: group g is inside the rows; the rest are register operations.
        unsafe {
            let mut total = [[_mm256_setzero_si256(); 2]; N];
            for half in 0..2 {
                let scale = self.scale32(g, half);
                let sums = sums16::<N>(32 * g + 16 * half, 4, &buf.0[16 * half..], acts);
                for i in 0..N {
                    for h in 0..2 {
                        // At most 16 * 32 * 8191 * 128 per half: two of them fit 32 bits.
                        total[i][h] = _mm256_add_epi32(total[i][h], _mm256_mullo_epi32(sums[i][h], scale[h]));
                    }
                }
            }
            total
        }
    }
}
