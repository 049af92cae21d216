//! What AVX-512 reads of Q4_K.

use std::arch::x86_64::*;

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
