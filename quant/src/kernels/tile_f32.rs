//! The tile for weights that stay in the file's rows and meet f32 activations.
//!
//! ```text
//! for each four weight rows:  w[0..4] = f32 of the rows (in a scratch buffer that stays in L2)
//!     for each activation row i:  out[i][r] = sum over k of w[r][k] * x[i][k], in 8 lanes per row
//! ```
//! Exact up to f32 rounding for every format. It serves the formats that are floats in the file, and any format for
//! which an ISA has no integer tile yet. Four rows share each load of x; each (row, activation) pair has its own lanes
//! and its own order of additions, so results do not depend on neighbours.

use crate::kernels::{Tile, body};
use std::cell::RefCell;

const ROWS: usize = 4;
const LANES: usize = 8;

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// One tile; `widen` turns a row's bytes into f32.
///
/// # Safety
/// `rows` writable values behind each pointer of `tile.out`.
#[inline(always)]
pub(crate) unsafe fn run<const FMA: bool>(tile: &Tile<'_>, widen: impl Fn(&[u8], &mut [f32])) {
    let (cols, row_bytes) = (tile.cols, tile.weights.len() / tile.rows);
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(ROWS * cols, 0.0);
        for first in (0..tile.rows).step_by(ROWS) {
            let rows = ROWS.min(tile.rows - first);
            for (r, w) in scratch.chunks_exact_mut(cols).enumerate() {
                if r < rows {
                    widen(&tile.weights[(first + r) * row_bytes..(first + r + 1) * row_bytes], w);
                }
            }
            for (act, &out) in tile.acts.iter().zip(tile.out) {
                let sums = dots::<FMA>(scratch, act.x, cols);
                for (r, &sum) in sums.iter().enumerate().take(rows) {
                    // SAFETY: first + r < tile.rows values are writable behind `out`, by the caller's promise.
                    unsafe { *out.add(first + r) = sum };
                }
            }
        }
    });
}

#[inline(always)]
fn dots<const FMA: bool>(w: &[f32], x: &[f32], cols: usize) -> [f32; ROWS] {
    let (w0, w) = w.split_at(cols);
    let (w1, w) = w.split_at(cols);
    let (w2, w3) = w.split_at(cols);
    let mut acc = [[0f32; LANES]; ROWS];
    let full = cols / LANES * LANES;
    for k in (0..full).step_by(LANES) {
        let x: &[f32; LANES] = x[k..k + LANES].try_into().unwrap_or(&[0.0; LANES]);
        for (acc, w) in acc.iter_mut().zip([w0, w1, w2, w3]) {
            let w: &[f32; LANES] = w[k..k + LANES].try_into().unwrap_or(&[0.0; LANES]);
            for l in 0..LANES {
                acc[l] = body::fma::<FMA>(w[l], x[l], acc[l]);
            }
        }
    }
    let mut sums = acc.map(body::fold);
    for (s, w) in sums.iter_mut().zip([w0, w1, w2, w3]) {
        *s = (full..cols).fold(*s, |s, k| body::fma::<FMA>(w[k], x[k], s));
    }
    sums
}

/// A table's f32 tiles for every format, instantiated for one instruction set as a function `cell_f32(DType) -> Cell`.
macro_rules! f32_tiles {
    (enable = $feature:literal, fma = $fma:literal, widen_f16 = $widen:path) => {
        crate::kernels::tile_f32::f32_tiles!(@ [#[target_feature(enable = $feature)]], $fma, $widen);
    };
    (fma = $fma:literal, widen_f16 = $widen:path) => {
        crate::kernels::tile_f32::f32_tiles!(@ [], $fma, $widen);
    };
    (@ $attrs:tt, $fma:literal, $widen:path) => {
        mod rows {
            use crate::kernels::{Tile, body, tile_f32};

            tile_f32::f32_tiles!(@one $attrs f32 $fma |_t| body::widen_f32);
            tile_f32::f32_tiles!(@one $attrs f16 $fma |_t| |s: &[u8], o: &mut [f32]| $widen(s, o));
            tile_f32::f32_tiles!(@one $attrs bf16 $fma |_t| body::widen_bf16);
            tile_f32::f32_tiles!(@one $attrs q8_0 $fma |_t| body::widen_q8_0);
            tile_f32::f32_tiles!(@one $attrs any $fma |t| |s, o| crate::formats::dequantize(t.dtype, s, o));
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
            crate::kernels::Cell { layout, acts, prompt: tile, generated: tile }
        }
    };
    (@one [$($attr:tt)*] $name:ident $fma:literal |$t:ident| $row:expr) => {
        $($attr)*
        pub(super) unsafe fn $name(tile: &Tile<'_>) {
            let $t = tile;
            // SAFETY: passed on to the caller.
            unsafe { tile_f32::run::<$fma>(tile, $row) }
        }
    };
}
pub(crate) use f32_tiles;
