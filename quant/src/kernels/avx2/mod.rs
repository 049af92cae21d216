//! The table for x86 with AVX2, FMA and f16 conversion: integer tiles over R16 panels, f32 tiles for the rest.

mod decode;
mod lanes;
mod simd;
mod tile;

pub(super) use simd::Avx2;

use crate::acts::ActKinds;
use crate::formats::DType;
use crate::kernels::{Cell, Kernels, Tile, TileFn};
use crate::panel::Layout;
use std::arch::x86_64::{
    __m128i, _MM_FROUND_TO_NEAREST_INT, _mm_loadu_si128, _mm_storeu_si128, _mm256_cvtph_ps, _mm256_cvtps_ph,
    _mm256_loadu_ps, _mm256_storeu_ps,
};

super::body::vector_ops!(
    enable = "avx2,fma,f16c",
    fma = true,
    simd = crate::kernels::avx2::simd::Avx2,
    widen_f16 = crate::kernels::avx2::widen_f16,
    narrow_f16 = crate::kernels::avx2::narrow_f16
);
super::tile_f32::f32_tiles!(
    enable = "avx2,fma,f16c",
    simd = crate::kernels::avx2::simd::Avx2,
    widen_f16 = crate::kernels::avx2::widen_f16
);

crate::quantize::lanes::encoder!(enable = "avx2,fma,f16c", lanes = lanes::Avx2Lanes);

/// The AVX2 table.
pub(crate) static TABLE: Kernels =
    Kernels { name: "avx2", supported: crate::isa::has_avx2, cell, rows_cell: cell_f32, vector: vector::OPS, encode };

fn cell(dtype: DType) -> Cell {
    let narrow = ActKinds { q8: true, ..ActKinds::default() };
    let wide = ActKinds { q16: true, ..ActKinds::default() };
    let (acts, tile): (ActKinds, TileFn) = match dtype {
        DType::Q8_0 => (wide, q8_0),
        DType::Q4_K => (narrow, q4_k),
        DType::Q6_K => (wide, q6_k),
        _ => return cell_f32(dtype),
    };
    Cell { layout: Layout::R16, acts, prompt_panels: 1, prompt: tile, generated: tile }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q8_0(t: &Tile<'_>) {
    // SAFETY: this function needs the same ISA and the same promise about `out`.
    unsafe { tile::run::<decode::Q8_0>(t) }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q4_k(t: &Tile<'_>) {
    // SAFETY: as above.
    unsafe { tile::run::<decode::Q4K>(t) }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q6_k(t: &Tile<'_>) {
    // SAFETY: as above.
    unsafe { tile::run::<decode::Q6K>(t) }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn widen_f16(src: &[u8], out: &mut [f32]) {
    let (s, o) = (src.chunks_exact(16), out.chunks_exact_mut(8));
    let tail = s.remainder();
    let mut done = 0;
    for (s, o) in s.zip(o) {
        // SAFETY: `s` has 16 bytes and `o` eight floats.
        unsafe { _mm256_storeu_ps(o.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(s.as_ptr().cast()))) };
        done += 8;
    }
    crate::kernels::halves::widen_f16(tail, &mut out[done..]);
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn narrow_f16(src: &[f32], out: &mut [u8]) {
    let s = src.chunks_exact(8);
    let tail = s.remainder();
    let mut done = 0;
    for (s, o) in s.zip(out.chunks_exact_mut(16)) {
        // SAFETY: `s` has eight floats and `o` 16 bytes.
        unsafe {
            let h: __m128i = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(s.as_ptr()));
            _mm_storeu_si128(o.as_mut_ptr().cast(), h);
        }
        done += 16;
    }
    crate::kernels::halves::narrow_f16(tail, &mut out[done..]);
}
