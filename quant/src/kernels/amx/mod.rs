//! The table for x86 with the matrix unit (AMX, bfloat16): prompt rows go through it, all else is AVX-512's.
//!
//! The unit is used through `asm!`, its intrinsics being unstable. A process must ask Linux for its registers once:
//! [`crate::isa::has_amx`] does. Other systems are not asked, and have the AVX-512 table.

mod tile;

use crate::acts::ActKinds;
use crate::formats::DType;
use crate::kernels::avx512::{self, small, supers};
use crate::kernels::{Cell, Kernels, Tile, TileFn};

/// The AMX table.
pub(crate) static TABLE: Kernels = Kernels { name: "amx", supported: crate::isa::has_amx, cell, ..avx512::AVX512 };

/// Tiles of the formats in panels.
macro_rules! matrices {
    ($($dtype:ident $tile:ident $decode:path,)*) => {
        fn matrix(dtype: DType) -> Option<TileFn> {
            match dtype {
                $(DType::$dtype => Some($tile),)*
                _ => None,
            }
        }

        $(#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512bf16")]
        unsafe fn $tile(t: &Tile<'_>) {
            // SAFETY: this function needs the same ISA and the same promise about `out`.
            unsafe { tile::run::<$decode>(t) }
        })*
    };
}
matrices! {
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
    IQ4_XS iq4_xs supers::Iq4Xs,
}

fn cell(dtype: DType) -> Cell {
    let base = (avx512::AVX512.cell)(dtype);
    matrix(dtype).map_or(base, |prompt| {
        let acts = ActKinds { bf16: true, ..base.acts };
        Cell { acts, prompt, prompt_panels: 2, ..base }
    })
}
