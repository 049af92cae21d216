//! The table for x86 with AVX2, FMA and f16 conversion: integer tiles over R16 panels, f32 tiles for the rest.
//!
//! [`tile`] is the skeleton, [`sums`] the integer products of a group over the steps of [`dot`]; a format is an
//! entry in [`records`], put together from [`headers`] and [`planes`]. AVX-VNNI's table shares all but the steps.

mod acts;
pub(super) mod dot;
mod fold;
pub(super) mod format;
mod headers;
mod lanes;
mod planes;
pub(super) mod records;
mod simd;
mod sums;
pub(super) mod tile;

pub(super) use simd::Avx2;

use crate::kernels::{Kernels, VectorOps};
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
pub(crate) static TABLE: Kernels = AVX2;

/// The same, for tables that improve on it.
pub(super) const AVX2: Kernels = Kernels {
    name: "avx2",
    supported: crate::isa::has_avx2,
    cell: |dtype| integers(dtype).unwrap_or_else(|| cell_f32(dtype)),
    // Its products of signed bytes are those of the wide activations.
    wide_cell: |_| None,
    rows_cell: cell_f32,
    vector: VectorOps { quantize_q8: acts::quantize_q8, quantize_q16: acts::quantize_q16, ..vector::OPS },
    encode,
};

/// Integer tiles, instantiated for one instruction set in a module, and a function that gives their cells.
macro_rules! integer_tiles {
    (fn $name:ident in $module:ident, enable = $feature:literal, dot = $dot:ty, $($dtype:ident => $format:ty,)*) => {
        #[allow(non_snake_case, reason = "a tile has the name of its format")]
        mod $module {
            use super::*;

            $(#[target_feature(enable = $feature)]
            pub(super) unsafe fn $dtype(t: &crate::kernels::Tile<'_>) {
                // SAFETY: this function needs the same ISA and the same promise about `out`.
                unsafe { crate::kernels::avx2::tile::run::<$format, $dot>(t) }
            })*
        }

        fn $name(dtype: crate::DType) -> Option<crate::kernels::Cell> {
            use crate::kernels::avx2::format::acts;
            let (acts, tile): (crate::acts::ActKinds, crate::kernels::TileFn) = match dtype {
                $(crate::DType::$dtype => (acts::<$format>(), $module::$dtype),)*
                _ => return None,
            };
            let layout = crate::panel::Layout::R16;
            let most_rows = crate::kernels::FEW_ROWS;
            Some(crate::kernels::Cell { layout, acts, prompt_panels: 1, most_rows, prompt: tile, generated: tile })
        }
    };
}
pub(super) use integer_tiles;

integer_tiles!(
    fn integers in tiles,
    enable = "avx2,fma,f16c",
    dot = dot::Maddubs,
    Q4_0 => records::Q4_0,
    Q4_1 => records::Q4_1,
    Q5_0 => records::Q5_0,
    Q5_1 => records::Q5_1,
    Q8_0 => records::Q8_0<0>,
    Q2_K => records::Q2K,
    Q3_K => records::Q3K,
    Q4_K => records::Q4K<true>,
    Q5_K => records::Q5K<true>,
    Q6_K => records::Q6K,
    IQ4_NL => records::Iq4Nl<true>,
    IQ4_XS => records::Iq4Xs<true>,
);

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
