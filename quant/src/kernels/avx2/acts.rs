//! Activations in integers, 32 values in four registers. The same bits as the shared body gives.

use crate::acts::{CodesMut, GROUP, TOP8, TOP16};
use std::arch::x86_64::*;

/// Largest of eight values.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn largest(v: __m256) -> f32 {
    let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
    _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
}

/// Four vectors of a group as integers of at most `limit`, and the scale.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn group(x: &[f32; GROUP], limit: f32) -> ([__m256i; 4], f32) {
    // SAFETY: a group has 32 values.
    let v: [__m256; 4] = std::array::from_fn(|i| unsafe { _mm256_loadu_ps(x.as_ptr().add(8 * i)) });
    let size = v.map(|v| _mm256_andnot_ps(_mm256_set1_ps(-0.0), v));
    let top = largest(_mm256_max_ps(_mm256_max_ps(size[0], size[1]), _mm256_max_ps(size[2], size[3])));
    let finite = size.map(|v| _mm256_cmp_ps::<_CMP_LT_OQ>(v, _mm256_set1_ps(f32::INFINITY)));
    let finite = _mm256_and_ps(_mm256_and_ps(finite[0], finite[1]), _mm256_and_ps(finite[2], finite[3]));
    let inv = _mm256_set1_ps(if top > 0.0 { limit / top } else { 0.0 });
    // An infinite or NaN value must be seen in every result.
    let scale = if _mm256_movemask_ps(finite) == 0xff { top / limit } else { f32::NAN };
    (v.map(|v| _mm256_cvtps_epi32(_mm256_mul_ps(v, inv))), scale)
}

/// Sums of both halves of a group.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sums(q: [__m256i; 4]) -> [i32; 2] {
    let s = _mm256_hadd_epi32(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3]));
    let s = _mm256_hadd_epi32(s, s);
    let s = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256::<1>(s));
    [_mm_cvtsi128_si32(s), _mm_extract_epi32::<1>(s)]
}

/// One row; `put` stores a group's codes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn quantize<T>(x: &[f32], out: CodesMut<'_, T>, limit: f32, put: impl Fn([__m256i; 4], &mut [T; GROUP])) {
    for (g, (x, codes)) in x.as_chunks::<GROUP>().0.iter().zip(out.codes.as_chunks_mut().0).enumerate() {
        let (q, scale) = group(x, limit);
        put(q, codes);
        let sums = sums(q);
        out.scales[g] = scale;
        out.dsums[g] = scale * sums[0].wrapping_add(sums[1]) as f32;
        out.halves[2 * g] = scale * sums[0] as f32;
        out.halves[2 * g + 1] = scale * sums[1] as f32;
        out.sums[2 * g..][..2].copy_from_slice(&sums);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn quantize_q8(x: &[f32], out: CodesMut<'_, i8>) {
    quantize(x, out, TOP8, |q, codes| {
        let packed = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
        let packed = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        // SAFETY: 32 codes of one byte.
        unsafe { _mm256_storeu_si256(codes.as_mut_ptr().cast(), packed) };
    });
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(crate) fn quantize_q16(x: &[f32], out: CodesMut<'_, i16>) {
    quantize(x, out, TOP16, |q, codes| {
        // Quads are stored in the order 0, 2, 1, 3.
        let q = q.map(|q| _mm256_shuffle_epi32::<0b11_01_10_00>(q));
        for (h, pair) in q.as_chunks::<2>().0.iter().enumerate() {
            let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(pair[0], pair[1]));
            // SAFETY: 16 of 32 codes of two bytes.
            unsafe { _mm256_storeu_si256(codes.as_mut_ptr().add(16 * h).cast(), packed) };
        }
    });
}
