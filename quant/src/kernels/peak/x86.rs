//! The loops of x86. The sums of f32 stay at one, those of integers may wrap: only their time counts.

use crate::kernels::peak::chains;
use std::arch::x86_64::*;

chains!(
    avx512_int8,
    [target_feature(enable = "avx512f,avx512vnni")],
    macs = 64,
    start = _mm512_set1_epi8(1),
    |s, by| _mm512_dpbusd_epi32(s, by, by)
);
chains!(avx512_f32, [target_feature(enable = "avx512f")], macs = 16, start = _mm512_set1_ps(0.5), |s, by| {
    _mm512_fmadd_ps(s, by, by)
});
chains!(avxvnni_int8, [target_feature(enable = "avx2,avxvnni")], macs = 32, start = _mm256_set1_epi8(1), |s, by| {
    _mm256_dpbusd_avx_epi32(s, by, by)
});
// Products of bytes are summed in words, as many as fit: the tiles' widening to 32 bits comes now and then. The product
// is with the sum itself, since one of constants would be taken out of the loop.
chains!(
    avx2_int8,
    [target_feature(enable = "avx2")],
    macs = 32,
    start = _mm256_set1_epi8(1),
    |s, by| _mm256_add_epi16(s, _mm256_maddubs_epi16(by, s))
);
chains!(avx2_f32, [target_feature(enable = "avx2,fma")], macs = 8, start = _mm256_set1_ps(0.5), |s, by| {
    _mm256_fmadd_ps(s, by, by)
});

/// The matrix unit's products of bf16 tiles, four sums side by side.
pub(super) unsafe fn amx_bf16(rounds: u64) -> u64 {
    // SAFETY: the caller holds the table of the matrix unit.
    unsafe { crate::kernels::avx512::amx::multiply_only(rounds) };
    rounds * 4 * 16 * 16 * 32
}
