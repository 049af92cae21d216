//! The table for x86 with AVX-VNNI besides AVX2: laptops since Alder Lake that have no AVX-512.
//!
//! Layouts, unpacking, row operations and encoders are AVX2's; the integer products are its own.

mod dot;

use super::avx2::{self, formats};
use crate::kernels::Kernels;

/// The AVX-VNNI table.
pub(crate) static TABLE: Kernels = Kernels { name: "avxvnni", supported: crate::isa::has_avxvnni, cell, ..avx2::AVX2 };

avx2::integer_tiles!(
    enable = "avx2,fma,f16c,avxvnni",
    dot = super::dot::Vnni,
    Q4_0 => formats::Q4_0,
    Q4_1 => formats::Q4_1,
    Q5_0 => formats::Q5_0,
    Q5_1 => formats::Q5_1,
    Q8_0 => formats::Q8_0,
    Q2_K => formats::Q2K,
    Q3_K => formats::Q3K,
    Q4_K => formats::Q4K,
    Q5_K => formats::Q5K,
    Q6_K => formats::Q6K,
    IQ4_NL => formats::Iq4Nl<128>,
    IQ4_XS => formats::Iq4Xs<128>,
);
