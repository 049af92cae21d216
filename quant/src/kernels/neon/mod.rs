//! The tables for 64-bit Arm: `neon` runs on all of them, `neon-dotprod` has the int8 dot product in its integer tiles
//! and inherits everything else.
//!
//! Both sum the same integers exactly and do the rest alike, so they give the same bits.

mod decode;
mod products;
mod simd;
mod tile;

use crate::acts::ActKinds;
use crate::formats::DType;
use crate::kernels::{Cell, Kernels, TileFn};
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
pub(crate) static TABLE: Kernels =
    Kernels { name: "neon", supported: crate::isa::has_neon, cell, rows_cell: cell_f32, vector: vector::OPS, encode };

/// The table with the int8 dot product.
pub(crate) static DOTPROD: Kernels = Kernels {
    name: "neon-dotprod",
    supported: crate::isa::has_neon_dotprod,
    cell: cell_dotprod,
    rows_cell: cell_f32,
    vector: vector::OPS,
    encode,
};

fn cell(dtype: DType) -> Cell {
    match dtype {
        DType::Q8_0 => wide(widening::q8_0),
        DType::Q4_K => narrow(widening::q4_k),
        DType::Q6_K => wide(widening::q6_k),
        _ => cell_f32(dtype),
    }
}

fn cell_dotprod(dtype: DType) -> Cell {
    match dtype {
        DType::Q8_0 => wide(dotprod::q8_0),
        DType::Q4_K => narrow(dotprod::q4_k),
        DType::Q6_K => wide(dotprod::q6_k),
        _ => cell(dtype),
    }
}

/// A cell over panels whose tile reads 8-bit activations.
fn narrow(tile: TileFn) -> Cell {
    let acts = ActKinds { q8: true, ..ActKinds::default() };
    Cell { layout: Layout::R16, acts, prompt_panels: 1, prompt: tile, generated: tile }
}

/// A cell over panels whose tile reads 14-bit activations.
fn wide(tile: TileFn) -> Cell {
    let acts = ActKinds { q16: true, ..ActKinds::default() };
    Cell { layout: Layout::R16, acts, prompt_panels: 1, prompt: tile, generated: tile }
}

/// The integer tiles of one kind of products, as a module.
macro_rules! tiles {
    ($module:ident, enable = $feature:literal, products = $products:ident) => {
        mod $module {
            use super::{decode, products::$products, tile};
            use crate::kernels::Tile;

            super::tiles!(@one $feature, $products, q8_0, Q8_0);
            super::tiles!(@one $feature, $products, q4_k, Q4K);
            super::tiles!(@one $feature, $products, q6_k, Q6K);
        }
    };
    (@one $feature:literal, $products:ident, $name:ident, $format:ident) => {
        #[target_feature(enable = $feature)]
        pub(super) unsafe fn $name(t: &Tile<'_>) {
            // SAFETY: this function needs the same ISA and the same promise about `out`.
            unsafe { tile::run::<decode::$format, $products>(t) }
        }
    };
}
use tiles;

tiles!(widening, enable = "neon", products = Widening);
tiles!(dotprod, enable = "neon,dotprod", products = DotProd);

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
