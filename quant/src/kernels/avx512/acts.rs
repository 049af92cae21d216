//! Activations in integers, 32 values in two registers. The same bits as the shared body gives.

use crate::acts::{CodesMut, GROUP, TOP8, TOP16};
use std::arch::x86_64::*;

/// Two vectors of a group as integers of at most `limit`, and the scale.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn group(x: &[f32; GROUP], limit: f32) -> ([__m512i; 2], f32) {
    // SAFETY: a group has 32 values.
    let v = unsafe { [_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(16))] };
    let size = v.map(|v| _mm512_abs_ps(v));
    let finite = |v| _mm512_cmp_ps_mask::<_CMP_LT_OQ>(v, _mm512_set1_ps(f32::INFINITY));
    let top = _mm512_reduce_max_ps(_mm512_max_ps(size[0], size[1]));
    let inv = _mm512_set1_ps(if top > 0.0 { limit / top } else { 0.0 });
    // An infinite or NaN value must be seen in every result.
    let scale = if finite(size[0]) & finite(size[1]) == 0xffff { top / limit } else { f32::NAN };
    (v.map(|v| _mm512_cvtps_epi32(_mm512_mul_ps(v, inv))), scale)
}

/// One row; `put` stores a group's codes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn quantize<T>(x: &[f32], out: CodesMut<'_, T>, limit: f32, put: impl Fn([__m512i; 2], &mut [T; GROUP])) {
    for (g, (x, codes)) in x.as_chunks::<GROUP>().0.iter().zip(out.codes.as_chunks_mut().0).enumerate() {
        let (q, scale) = group(x, limit);
        put(q, codes);
        let sums = q.map(|q| _mm512_reduce_add_epi32(q));
        out.scales[g] = scale;
        out.dsums[g] = scale * sums[0].wrapping_add(sums[1]) as f32;
        out.halves[2 * g] = scale * sums[0] as f32;
        out.halves[2 * g + 1] = scale * sums[1] as f32;
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn quantize_q8(x: &[f32], out: CodesMut<'_, i8>) {
    quantize(x, out, TOP8, |q, codes| {
        // SAFETY: 32 codes of one byte.
        unsafe {
            _mm_storeu_si128(codes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(q[0]));
            _mm_storeu_si128(codes.as_mut_ptr().add(16).cast(), _mm512_cvtepi32_epi8(q[1]));
        }
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn quantize_q16(x: &[f32], out: CodesMut<'_, i16>) {
    quantize(x, out, TOP16, |q, codes| {
        // SAFETY: 32 codes of two bytes; quads are stored in the order 0, 2, 1, 3.
        unsafe {
            let halves = q.map(|q| _mm512_cvtepi32_epi16(_mm512_shuffle_epi32::<0b11_01_10_00>(q)));
            _mm256_storeu_si256(codes.as_mut_ptr().cast(), halves[0]);
            _mm256_storeu_si256(codes.as_mut_ptr().add(16).cast(), halves[1]);
        }
    });
}
