//! The table for x86 with AVX-512 F, BW, VL and VNNI: integer tiles over R16 panels, float tiles over rows.
//!
//! Tiles for quantized rows that are not in panels, and row operations, are the shared bodies compiled for this ISA;
//! conversions of halves are AVX2's. To add a format: its `Decode` in `small` or `supers`, and a line in the list.

mod acts;
pub(super) mod amx;
mod decode;
mod float;
mod group;
mod lanes;
mod simd;
mod small;
mod supers;
mod tile;

use crate::acts::ActKinds;
use crate::formats::DType;
use crate::kernels::{Cell, Kernels, MOST_ROWS, Tile, TileFn, VectorOps};
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
    wide_cell,
    rows_cell,
    vector: VectorOps { quantize_q8: acts::quantize_q8, quantize_q16: acts::quantize_q16, ..vector::OPS },
    encode,
};

/// Tiles of formats in panels, and a function that gives the cell of those.
macro_rules! integers {
    (fn $name:ident; $($acts:ident: $($dtype:ident $tile:ident $decode:path,)*;)*) => {
        fn $name(dtype: DType) -> Option<Cell> {
            let (acts, tile): (ActKinds, TileFn) = match dtype {
                $($(DType::$dtype => (ActKinds { $acts: true, ..ActKinds::default() }, $tile),)*)*
                _ => return None,
            };
            Some(Cell { layout: Layout::R16, acts, prompt_panels: 2, most_rows: MOST_ROWS, prompt: tile, generated: tile })
        }

        $($(#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        unsafe fn $tile(t: &Tile<'_>) {
            // SAFETY: this function needs the same ISA and the same promise about `out`.
            unsafe { tile::run::<$decode>(t) }
        })*)*
    };
}
integers! {
    fn panels;
    q8:
        Q4_0 q4_0 small::Q4_0,
        Q4_1 q4_1 small::Q4_1,
        Q5_0 q5_0 small::Q5_0,
        Q5_1 q5_1 small::Q5_1,
        IQ4_NL iq4_nl small::Iq4Nl,
        Q8_0 q8_0 small::Q8_0,
        Q2_K q2_k supers::Q2K,
        Q3_K q3_k supers::Q3K,
        Q4_K q4_k supers::Q4K,
        Q5_K q5_k supers::Q5K,
        Q6_K q6_k supers::Q6K,
        IQ4_XS iq4_xs supers::Iq4Xs,;
}
integers! {
    fn wide_cell;
    q16:
        Q8_0 q8_0_wide small::Q8Wide,;
}

/// Tiles of the floats in rows, and `fn floats(DType) -> Option<tile>`.
macro_rules! floats {
    ($($dtype:ident $tile:ident,)*) => {
        fn floats(dtype: DType) -> Option<TileFn> {
            match dtype {
                $(DType::$dtype => Some($tile),)*
                _ => None,
            }
        }

        $(#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        unsafe fn $tile(t: &Tile<'_>) {
            // SAFETY: as above.
            unsafe { float::run::<float::$dtype>(t) }
        })*
    };
}
floats! { F32 f32, F16 f16, BF16 bf16, }

fn rows_cell(dtype: DType) -> Cell {
    let shared = cell_f32(dtype);
    floats(dtype).map_or(shared, |tile| Cell { prompt: tile, generated: tile, ..shared })
}

fn cell(dtype: DType) -> Cell {
    panels(dtype).unwrap_or_else(|| rows_cell(dtype))
}
