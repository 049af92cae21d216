//! The tile for weights that stay in the file's rows and meet f32 activations.
//!
//! ```text
//! for each four weight rows:  w[0..4] = f32 of the rows (in a scratch buffer that stays in L2)
//!     for each activation row i:  out[i][r] = sum over k of w[r][k] * x[i][k], in lanes of k
//! ```
//! Exact up to f32 rounding for every format. It serves the formats that are floats in the file, and any format for
//! which an ISA has no integer tile yet. Four rows share each load of x, two x each load of w; each (row, activation) pair has its own lanes
//! and its own order of additions, so results do not depend on neighbours.

use crate::kernels::Tile;
use crate::kernels::simd::{Simd, dots};
use std::cell::RefCell;

const ROWS: usize = 4;

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// One tile; `widen` turns a row's bytes into f32.
///
/// # Safety
/// The instruction set of S is there; `rows` values are writable behind each pointer of `tile.out`.
#[inline(always)]
pub(crate) unsafe fn run<S: Simd>(tile: &Tile<'_>, widen: impl Fn(&[u8], &mut [f32])) {
    let (cols, row_bytes) = (tile.cols, tile.weights.len() / tile.rows);
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(ROWS * cols, 0.0);
        for first in (0..tile.rows).step_by(ROWS) {
            let rows = ROWS.min(tile.rows - first);
            for (r, w) in scratch.chunks_exact_mut(cols).enumerate().take(rows) {
                widen(&tile.weights[(first + r) * row_bytes..(first + r + 1) * row_bytes], w);
            }
            let w: [*const f32; ROWS] = std::array::from_fn(|r| scratch[r * cols..].as_ptr());
            let mut pairs = tile.acts.chunks_exact(2).zip(tile.out.chunks_exact(2));
            for (acts, out) in &mut pairs {
                // SAFETY: rows of `cols` values; room for `rows` results, by the caller's promise.
                unsafe {
                    store(dots::<S, ROWS, 2>(w, [acts[0].x.as_ptr(), acts[1].x.as_ptr()], cols), rows, first, out)
                };
            }
            if let (&[.., act], &[.., out]) = (tile.acts, tile.out)
                && tile.acts.len() % 2 == 1
            {
                // SAFETY: as above.
                unsafe { store(dots::<S, ROWS, 1>(w, [act.x.as_ptr()], cols), rows, first, &[out]) };
            }
        }
    });
}

/// Stores `rows` results of each activation row from `first` on.
#[inline(always)]
unsafe fn store<const N: usize>(sums: [[f32; N]; ROWS], rows: usize, first: usize, out: &[*mut f32]) {
    for (r, sums) in sums.iter().enumerate().take(rows) {
        for (&sum, &out) in sums.iter().zip(out) {
            // SAFETY: first + r is below the tile's rows, as many as are writable behind `out`.
            unsafe { *out.add(first + r) = sum };
        }
    }
}

/// A table's f32 tiles for every format, instantiated for one instruction set as a function `cell_f32(DType) -> Cell`.
macro_rules! f32_tiles {
    (enable = $feature:literal, simd = $simd:path, widen_f16 = $widen:path) => {
        crate::kernels::tile_f32::f32_tiles!(@ [#[target_feature(enable = $feature)]], $simd, $widen);
    };
    (simd = $simd:path, widen_f16 = $widen:path) => {
        crate::kernels::tile_f32::f32_tiles!(@ [], $simd, $widen);
    };
    (@ $attrs:tt, $simd:path, $widen:path) => {
        mod rows {
            use crate::kernels::{Tile, body, tile_f32};

            tile_f32::f32_tiles!(@one $attrs f32 $simd, |_t| body::widen_f32);
            tile_f32::f32_tiles!(@one $attrs f16 $simd, |_t| |s: &[u8], o: &mut [f32]| $widen(s, o));
            tile_f32::f32_tiles!(@one $attrs bf16 $simd, |_t| body::widen_bf16);
            tile_f32::f32_tiles!(@one $attrs q8_0 $simd, |_t| body::widen_q8_0);
            tile_f32::f32_tiles!(@one $attrs any $simd, |t| |s, o| crate::formats::dequantize(t.dtype, s, o));
        }

        /// The cell whose tiles read the file's rows through f32.
        pub(crate) fn cell_f32(dtype: crate::DType) -> crate::kernels::Cell {
            let tile: crate::kernels::TileFn = match dtype {
                crate::DType::F32 => rows::f32,
                crate::DType::F16 => rows::f16,
                crate::DType::BF16 => rows::bf16,
                crate::DType::Q8_0 => rows::q8_0,
                _ => rows::any,
            };
            let (layout, acts) = (crate::panel::Layout::Rows, crate::acts::ActKinds::default());
            crate::kernels::Cell { layout, acts, prompt_panels: 1, prompt: tile, generated: tile }
        }
    };
    (@one [$($attr:tt)*] $name:ident $simd:path, |$t:ident| $row:expr) => {
        $($attr)*
        pub(super) unsafe fn $name(tile: &Tile<'_>) {
            let $t = tile;
            // SAFETY: passed on to the caller.
            unsafe { tile_f32::run::<$simd>(tile, $row) }
        }
    };
}
pub(crate) use f32_tiles;
