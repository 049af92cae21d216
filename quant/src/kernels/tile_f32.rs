//! The tile for weights that stay in the file's rows and meet f32 activations.
//!
//! ```text
//! for each four weight rows:
//!     many activation rows: w[0..4] = f32 of the rows, in a scratch buffer that stays in L2
//!     few, and weights that are floats: w[0..4] = the rows as they are; the next four are fetched ahead
//!     for each activation row i:  out[i][r] = sum over k of w[r][k] * x[i][k], in lanes of k
//! ```
//! Exact up to f32 rounding for every format. It serves the formats that are floats in the file, and any format for
//! which an ISA has no integer tile yet. Four rows share each load of x, two x each load of w; each (row, activation)
//! pair has its own lanes and its own order of additions, so results do not depend on neighbours, nor on whether w went
//! through the buffer.

use crate::kernels::Tile;
use crate::kernels::simd::{Simd, Single, Stored, dots};
use std::cell::RefCell;

const ROWS: usize = 4;
/// Up to so many activation rows, floats are read where they are.
const FEW: usize = 4;

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
            let w: [*const u8; ROWS] = std::array::from_fn(|r| scratch[r * cols..].as_ptr().cast());
            // SAFETY: rows of `cols` f32; the rest is the caller's promise.
            unsafe { products::<S, Single>(tile, first, w, 0) };
        }
    });
}

/// One tile of floats of format W.
///
/// # Safety
/// As of [`run`].
#[inline(always)]
pub(crate) unsafe fn run_floats<S: Simd, W: Stored>(tile: &Tile<'_>, widen: impl Fn(&[u8], &mut [f32])) {
    if tile.acts.len() > FEW {
        // SAFETY: passed on to the caller.
        return unsafe { run::<S>(tile, widen) };
    }
    let row_bytes = tile.cols * W::BYTES;
    assert_eq!(tile.weights.len(), tile.rows * row_bytes);
    for first in (0..tile.rows).step_by(ROWS) {
        // Rows that the tile lacks are computed as its last one, and not stored.
        let w = std::array::from_fn(|r| tile.weights[(first + r).min(tile.rows - 1) * row_bytes..].as_ptr());
        // SAFETY: rows of `cols` values of W; the rest is the caller's promise.
        unsafe { products::<S, W>(tile, first, w, ROWS * row_bytes) };
    }
}

/// Four weight rows at `w`, the first of which is row `first` of the tile, times all activation rows.
#[inline(always)]
unsafe fn products<S: Simd, W: Stored>(tile: &Tile<'_>, first: usize, w: [*const u8; ROWS], ahead: usize) {
    let (rows, cols) = (ROWS.min(tile.rows - first), tile.cols);
    let mut pairs = tile.acts.chunks_exact(2).zip(tile.out.chunks_exact(2));
    for (acts, out) in &mut pairs {
        let x = [acts[0].x.as_ptr(), acts[1].x.as_ptr()];
        // SAFETY: rows of `cols` values; room for `rows` results, by the caller's promise.
        unsafe { store(dots::<S, W, ROWS, 2>(w, x, cols, ahead), rows, first, out) };
    }
    if let (&[.., act], &[.., out]) = (tile.acts, tile.out)
        && tile.acts.len() % 2 == 1
    {
        // SAFETY: as above.
        unsafe { store(dots::<S, W, ROWS, 1>(w, [act.x.as_ptr()], cols, ahead), rows, first, &[out]) };
    }
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
            use crate::formats::dequantize;
            use crate::kernels::simd::{Brain, Half, Single};
            use crate::kernels::{Tile, body, tile_f32};

            tile_f32::f32_tiles!(@one $attrs f32, |t| tile_f32::run_floats::<$simd, Single>(t, body::widen_f32));
            tile_f32::f32_tiles!(@one $attrs f16, |t| tile_f32::run_floats::<$simd, Half>(t, |s, o| $widen(s, o)));
            tile_f32::f32_tiles!(@one $attrs bf16, |t| tile_f32::run_floats::<$simd, Brain>(t, body::widen_bf16));
            tile_f32::f32_tiles!(@one $attrs q8_0, |t| tile_f32::run::<$simd>(t, body::widen_q8_0));
            tile_f32::f32_tiles!(@one $attrs any, |t| tile_f32::run::<$simd>(t, |s, o| dequantize(t.dtype, s, o)));
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
            let (layout, acts) = (crate::panel::Layout::Rows, crate::acts::ActKinds::FLOATS);
            let most_rows = crate::kernels::FEW_ROWS;
            crate::kernels::Cell { layout, acts, prompt_panels: 1, most_rows, prompt: tile, generated: tile }
        }
    };
    (@one [$($attr:tt)*] $name:ident, |$t:ident| $run:expr) => {
        $($attr)*
        pub(super) unsafe fn $name($t: &Tile<'_>) {
            // SAFETY: passed on to the caller.
            unsafe { $run }
        }
    };
}
pub(crate) use f32_tiles;
