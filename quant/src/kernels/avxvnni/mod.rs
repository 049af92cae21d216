//! The table for x86 with AVX-VNNI besides AVX2: laptops since Alder Lake that have no AVX-512.
//!
//! Layouts, unpacking, row operations and encoders are AVX2's; the integer products are its own.

mod dot;

use super::avx2::{self, blocks, k_quants};
use crate::kernels::Kernels;

/// The AVX-VNNI table.
pub(crate) static TABLE: Kernels =
    Kernels { name: "avxvnni", supported: crate::isa::has_avxvnni, cell, ..avx2::AVX2 };

avx2::integer_tiles!(
    enable = "avx2,fma,f16c,avxvnni",
    dot = super::dot::Vnni,
    Q8_0 => blocks::Q8_0,
    Q4_K => k_quants::Q4K,
    Q6_K => k_quants::Q6K,
);
