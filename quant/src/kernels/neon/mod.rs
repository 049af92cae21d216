//! The tables for 64-bit Arm: `neon` runs on all of them, `neon-dotprod` has the int8 dot product in its integer tiles,
//! `neon-i8mm` the int8 matrix product where two activation rows or more share it; they inherit everything else.
//!
//! All sum the same integers exactly and do the rest alike, so they give the same bits.
//!
//! To add a format: its numbers in [`decode`], and a line in the list of `integer_tiles!`.

mod act_rows;
mod decode;
mod dotprod;
mod floats;
mod i8mm;
mod products;
mod registers;
mod simd;
mod tile;

use crate::acts::ActKinds;
use crate::formats::DType;
use crate::kernels::{Cell, FEW_ROWS, Kernels, Tile, TileFn};
use crate::panel::Layout;
use std::arch::aarch64::{
    vcvt_f16_f32, vcvt_f32_f16, vld1_u16, vld1q_f32, vreinterpret_f16_u16, vreinterpret_u16_f16, vst1_u16, vst1q_f32,
};

super::body::vector_ops!(
    enable = "neon",
    fma = true,
    simd = crate::kernels::neon::simd::Neon,
    widen_f16 = crate::kernels::neon::widen_f16,
    narrow_f16 = crate::kernels::neon::narrow_f16
);
super::tile_f32::f32_tiles!(
    enable = "neon",
    simd = crate::kernels::neon::simd::Neon,
    widen_f16 = crate::kernels::neon::widen_f16
);
// Plain lanes, which the compiler makes NEON's.
crate::quantize::lanes::encoder!(enable = "neon", lanes = crate::quantize::lanes::Plain);

/// The table of every 64-bit Arm.
pub(crate) static TABLE: Kernels = Kernels {
    name: "neon",
    supported: crate::isa::has_neon,
    cell: plain::cell,
    wide_cell: plain::wide_cell,
    rows_cell,
    vector: vector::OPS,
    encode,
};

/// The table with the int8 dot product.
pub(crate) static DOTPROD: Kernels = Kernels {
    name: "neon-dotprod",
    supported: crate::isa::has_neon_dotprod,
    cell: dot::cell,
    wide_cell: dot::wide_cell,
    rows_cell,
    vector: vector::OPS,
    encode,
};

/// The table with the int8 matrix product.
pub(crate) static I8MM: Kernels = Kernels {
    name: "neon-i8mm",
    supported: crate::isa::has_neon_i8mm,
    cell: matmul::cell,
    wide_cell: matmul::wide_cell,
    rows_cell,
    vector: vector::OPS,
    encode,
};

/// The cell whose tiles read the file's rows; generated rows do not put halves through a buffer of f32.
fn rows_cell(dtype: DType) -> Cell {
    let cell = cell_f32(dtype);
    match dtype {
        DType::F16 => Cell { generated: generated_f16, ..cell },
        DType::BF16 => Cell { generated: generated_bf16, ..cell },
        _ => cell,
    }
}

#[target_feature(enable = "neon")]
unsafe fn generated_f16(t: &Tile<'_>) {
    // SAFETY: this function needs the same promise about `out`.
    unsafe { floats::run::<floats::F16>(t) }
}

#[target_feature(enable = "neon")]
unsafe fn generated_bf16(t: &Tile<'_>) {
    // SAFETY: as above.
    unsafe { floats::run::<floats::BF16>(t) }
}

/// A cell over panels; its tile reads wide or narrow activations.
fn panels(wide: bool, tile: TileFn) -> Cell {
    let acts = ActKinds { q8: !wide, q16: wide, ..ActKinds::default() };
    Cell { layout: Layout::R16, acts, prompt_panels: 1, most_rows: FEW_ROWS, prompt: tile, generated: tile }
}

/// The integer tiles of one instruction set, as a module with its `cell(DType) -> Cell`; `large` are the products for
/// formats whose codes may be larger than 31.
macro_rules! integer_tiles {
    ($module:ident, enable = $feature:literal, products = $products:path, large = $large:path) => {
        integer_tiles!(@list $module, $feature, $products, [
            q8_0 Q8_0 $large, q4_0 Q4_0 $products, q4_1 Q4_1 $products, q5_0 Q5_0 $products, q5_1 Q5_1 $products,
            iq4_nl IQ4_NL $large, iq4_xs IQ4_XS $large, q2_k Q2_K $products, q3_k Q3_K $products,
            q4_k Q4_K $products, q5_k Q5_K $products, q6_k Q6_K $large
        ]);
    };
    (@list $module:ident, $feature:literal, $wide:path, [$($name:ident $format:ident $products:path),*]) => {
        mod $module {
            use super::{decode, tile};
            use crate::formats::DType;
            use crate::kernels::{Cell, Tile};

            pub(super) fn cell(dtype: DType) -> Cell {
                match dtype {
                    $(DType::$format => super::panels(<decode::$format as decode::Format>::WIDE, $name),)*
                    DType::F32 | DType::F16 | DType::BF16 => super::rows_cell(dtype),
                }
            }

            pub(super) fn wide_cell(dtype: DType) -> Option<Cell> {
                (dtype == DType::Q8_0).then(|| super::panels(true, q8_0_wide))
            }

            #[target_feature(enable = $feature)]
            unsafe fn q8_0_wide(t: &Tile<'_>) {
                // SAFETY: as below.
                unsafe { tile::run::<decode::Q8Wide, $wide>(t) }
            }

            $(
                #[target_feature(enable = $feature)]
                unsafe fn $name(t: &Tile<'_>) {
                    // SAFETY: this function needs the same ISA and the same promise about `out`.
                    unsafe { tile::run::<decode::$format, $products>(t) }
                }
            )*
        }
    };
}
integer_tiles!(plain, enable = "neon", products = super::products::Widening, large = super::products::WideningLarge);
integer_tiles!(dot, enable = "neon,dotprod", products = super::dotprod::DotProd, large = super::dotprod::DotProd);
integer_tiles!(matmul, enable = "neon,dotprod,i8mm", products = super::i8mm::MatMul, large = super::i8mm::MatMul);

#[target_feature(enable = "neon")]
fn widen_f16(src: &[u8], out: &mut [f32]) {
    let (s, o) = (src.as_chunks::<8>(), out.as_chunks_mut::<4>());
    for (s, o) in s.0.iter().zip(o.0) {
        // SAFETY: `s` has four halves and `o` four floats; neither load nor store needs alignment.
        unsafe { vst1q_f32(o.as_mut_ptr(), vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(s.as_ptr().cast())))) };
    }
    crate::kernels::halves::widen_f16(s.1, o.1);
}

#[target_feature(enable = "neon")]
fn narrow_f16(src: &[f32], out: &mut [u8]) {
    let (s, o) = (src.as_chunks::<4>(), out.as_chunks_mut::<8>());
    for (s, o) in s.0.iter().zip(o.0) {
        // SAFETY: `s` has four floats and `o` room for four halves; neither load nor store needs alignment.
        unsafe { vst1_u16(o.as_mut_ptr().cast(), vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(s.as_ptr())))) };
    }
    crate::kernels::halves::narrow_f16(s.1, o.1);
}

#[cfg(test)]
mod tests;
