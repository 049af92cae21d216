//! The table for x86 with AVX-512 F, BW, VL and VNNI: integer tiles over R16 panels, f32 tiles for the rest.
//!
//! The f32 tiles and row operations are the shared bodies compiled for this ISA; conversions of halves are AVX2's.

mod decode;
mod lanes;
mod simd;
mod tile;

use crate::acts::ActKinds;
use crate::formats::DType;
use crate::kernels::{Cell, Kernels, Tile, TileFn};
use crate::panel::Layout;

super::body::vector_ops!(
    enable = "avx512f,avx512bw,avx512vl,avx512vnni",
    fma = true,
    simd = crate::kernels::avx512::simd::Avx512,
    widen_f16 = crate::kernels::avx2::widen_f16,
    narrow_f16 = crate::kernels::avx2::narrow_f16
);
super::tile_f32::f32_tiles!(
    enable = "avx512f,avx512bw,avx512vl,avx512vnni",
    simd = crate::kernels::avx512::simd::Avx512,
    widen_f16 = crate::kernels::avx2::widen_f16
);

crate::quantize::lanes::encoder!(enable = "avx512f,avx512bw,avx512vl,avx512vnni", lanes = lanes::Avx512Lanes);

/// The AVX-512 table.
pub(crate) static TABLE: Kernels = Kernels {
    name: "avx512",
    supported: crate::isa::has_avx512,
    cell,
    rows_cell: cell_f32,
    vector: vector::OPS,
    encode,
};

fn cell(dtype: DType) -> Cell {
    let narrow = ActKinds { q8: true, ..ActKinds::default() };
    let wide = ActKinds { q16: true, ..ActKinds::default() };
    let (acts, tile): (ActKinds, TileFn) = match dtype {
        DType::Q8_0 => (wide, q8_0),
        DType::Q4_K => (narrow, q4_k),
        DType::Q6_K => (wide, q6_k),
        _ => return cell_f32(dtype),
    };
    Cell { layout: Layout::R16, acts, prompt: tile, generated: tile }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn q8_0(t: &Tile<'_>) {
    // SAFETY: this function needs the same ISA and the same promise about `out`.
    unsafe { tile::run::<decode::Q8_0>(t) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn q4_k(t: &Tile<'_>) {
    // SAFETY: as above.
    unsafe { tile::run::<decode::Q4K>(t) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn q6_k(t: &Tile<'_>) {
    // SAFETY: as above.
    unsafe { tile::run::<decode::Q6K>(t) }
}
