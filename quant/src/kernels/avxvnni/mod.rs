//! The table for x86 with AVX-VNNI besides AVX2: laptops since Alder Lake that have no AVX-512.
//!
//! Layouts, unpacking, row operations and encoders are AVX2's; the integer products are its own.

mod dot;

use super::avx2::{self, records};
use crate::kernels::Kernels;

/// The AVX-VNNI table.
pub(crate) static TABLE: Kernels = Kernels {
    name: "avxvnni",
    supported: crate::isa::has_avxvnni,
    cell: |dtype| integers(dtype).unwrap_or_else(|| avx2::cell_f32(dtype)),
    wide_cell: wide,
    ..avx2::AVX2
};

avx2::integer_tiles!(
    fn integers in tiles,
    enable = "avx2,fma,f16c,avxvnni",
    dot = super::dot::Vnni,
    Q4_0 => records::Q4_0,
    Q4_1 => records::Q4_1,
    Q5_0 => records::Q5_0,
    Q5_1 => records::Q5_1,
    Q8_0 => records::Q8_0<128>,
    Q2_K => records::Q2K,
    Q3_K => records::Q3K,
    Q4_K => records::Q4K<false>,
    Q5_K => records::Q5K<false>,
    Q6_K => records::Q6K,
    IQ4_NL => records::Iq4Nl<false>,
    IQ4_XS => records::Iq4Xs<false>,
);
avx2::integer_tiles!(
    fn wide in wide_tiles,
    enable = "avx2,fma,f16c,avxvnni",
    dot = super::dot::Vnni,
    Q8_0 => records::Q8_0<0>,
);
