//! The table that every machine can run: no instruction beyond the target's baseline.
//!
//! Weights stay in the file's rows and meet f32 activations, so its products are exact up to f32 rounding: the yard-
//! stick that the other tables are compared with.

use crate::kernels::Kernels;

super::body::vector_ops!(
    fma = false,
    simd = crate::kernels::simd::Plain,
    widen_f16 = crate::kernels::halves::widen_f16,
    narrow_f16 = crate::kernels::halves::narrow_f16
);
super::tile_f32::f32_tiles!(simd = crate::kernels::simd::Plain, widen_f16 = crate::kernels::halves::widen_f16);
crate::quantize::lanes::encoder!(lanes = crate::quantize::lanes::Plain);

/// The scalar table.
pub(crate) static TABLE: Kernels = Kernels {
    name: "scalar",
    supported: || true,
    cell: cell_f32,
    wide_cell: |_| None,
    rows_cell: cell_f32,
    vector: vector::OPS,
    encode,
};
