//! Parts of panels as vectors: lines of codes, halves, six-bit numbers.

use super::tile::Pair;
use std::arch::x86_64::*;

/// 16 f16 as f32.
#[inline(always)]
pub(super) unsafe fn halves(p: *const u8) -> Pair<__m256> {
    // SAFETY: 32 bytes are readable at `p`, by the caller.
    unsafe { [_mm256_cvtph_ps(_mm_loadu_si128(p.cast())), _mm256_cvtph_ps(_mm_loadu_si128(p.add(16).cast()))] }
}

/// 16 unsigned bytes as f32.
#[inline(always)]
pub(super) unsafe fn unsigned(p: *const u8) -> Pair<__m256> {
    // SAFETY: 16 bytes are readable at `p`, by the caller.
    unsafe {
        let (a, b) = (_mm_loadl_epi64(p.cast()), _mm_loadl_epi64(p.add(8).cast()));
        [_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(a)), _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(b))]
    }
}

/// 16 signed bytes as 32-bit integers.
#[inline(always)]
pub(super) unsafe fn signed(p: *const u8) -> Pair<__m256i> {
    // SAFETY: 16 bytes are readable at `p`, by the caller.
    unsafe {
        let (a, b) = (_mm_loadl_epi64(p.cast()), _mm_loadl_epi64(p.add(8).cast()));
        [_mm256_cvtepi8_epi32(a), _mm256_cvtepi8_epi32(b)]
    }
}

#[inline(always)]
pub(super) unsafe fn mul(a: Pair<__m256>, b: Pair<__m256>) -> Pair<__m256> {
    // SAFETY: register operations of the caller's ISA.
    unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
}

/// A line of 64 bytes.
#[inline(always)]
pub(super) unsafe fn line(p: *const u8) -> Pair<__m256i> {
    // SAFETY: 64 bytes are readable at `p`, by the caller.
    unsafe { [_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(32).cast())] }
}

/// Low and high nibbles of bytes.
#[inline(always)]
pub(super) unsafe fn nibbles(v: __m256i) -> [__m256i; 2] {
    // SAFETY: register operations of the caller's ISA.
    unsafe {
        let mask = _mm256_set1_epi8(15);
        [_mm256_and_si256(v, mask), _mm256_and_si256(_mm256_srli_epi16::<4>(v), mask)]
    }
}

/// Low and high nibbles of a line: two quads of 16 rows.
#[inline(always)]
pub(super) unsafe fn nibble_line(p: *const u8) -> [Pair<__m256i>; 2] {
    // SAFETY: 64 bytes are readable at `p`, by the caller.
    unsafe {
        let [a, b] = line(p);
        let (a, b) = (nibbles(a), nibbles(b));
        [[a[0], b[0]], [a[1], b[1]]]
    }
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

/// Six-bit numbers of eight groups of 16 rows.
#[repr(align(32))]
pub(super) struct Sixes([u8; 128]);

impl Sixes {
    /// From Q4_K's header: `[4][16]` bytes at `low`, `[2][16]` at `high`; see [`crate::panel`].
    #[inline(always)]
    pub unsafe fn new(low: *const u8, high: *const u8) -> Self {
        let mut out = Self([0; 128]);
        // SAFETY: the bytes are inside the header, by the caller; the rest are register operations of its ISA.
        unsafe {
            let (nibble, top) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
            // The low bits of groups 0 and 2 (or 1 and 3) lie side by side; their high bits are two fields apart.
            let shift = _mm256_setr_epi32(4, 4, 4, 4, 0, 0, 0, 0);
            for half in 0..2 {
                let low = _mm256_loadu_si256(low.add(32 * half).cast());
                let high = _mm256_broadcastsi128_si256(_mm_loadu_si128(high.add(16 * half).cast()));
                let tops = [_mm256_sllv_epi32(high, shift), _mm256_sllv_epi32(_mm256_srli_epi16::<2>(high), shift)];
                for (o, low) in [low, _mm256_srli_epi16::<4>(low)].into_iter().enumerate() {
                    let six = _mm256_or_si256(_mm256_and_si256(low, nibble), _mm256_and_si256(tops[o], top));
                    _mm256_store_si256(out.0.as_mut_ptr().add(64 * half + 32 * o).cast(), six);
                }
            }
        }
        out
    }

    /// Group `g`'s as f32.
    #[inline(always)]
    pub unsafe fn group(&self, g: usize) -> Pair<__m256> {
        const AT: [usize; 8] = [0, 32, 16, 48, 64, 96, 80, 112];
        // SAFETY: 16 bytes of the array; the caller's ISA.
        unsafe { unsigned(self.0.as_ptr().add(AT[g])) }
    }
}
