//! From floats to every format of [`crate::formats`]: the same bytes on every machine, at the lowest error found.
//!
//! The error that is made small is the sum of `importance[column] * (weight - dequantized)^2`, with an importance of 1
//! where none is given: nothing else, so that a search can be judged by its result. (Exceptions: F32, F16, BF16 and
//! Q8_0 are plain roundings, and Q8_0 gives the bytes that llama.cpp gives.)
//!
//! * `tile`: what a format's encoder gets: 512 weights, and the same as 16 lanes of groups;
//! * `lanes`: sixteen f32 at once, on every instruction set with the same bits;
//! * `codes`: what codes stand for; `symmetric`, `affine`: the searches for groups with a scale of their own;
//!   `symmetric_super`, `affine_super`: for groups whose scales share one; then one file per format.
//!
//! Invariants
//! * A format's encoder is plain arithmetic over sixteen lanes, where lane means group, so that sums have a fixed order.
//!   Nothing is fused and every operation is IEEE's; hence no bit depends on the instruction set or on the threads.
//! * Scales are finite. Codes are chosen for the scale as it is stored, after its rounding to f16.
//! * A block does not depend on the blocks around it.

mod affine;
mod affine_super;
mod codes;
mod float;
mod iq4_nl;
mod iq4_xs;
pub(crate) mod lanes;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod symmetric;
mod symmetric_super;
pub(crate) mod tile;

use crate::formats::DType;
use crate::kernels::Kernels;
use crate::threads::{Pool, SharedMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use tile::{TILE, Tile};

/// Weights that a thread takes at once, at least.
const SPAN: usize = 32 * TILE;

/// Floats as they lie in a file: little-endian, at any alignment.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// IEEE singles.
    F32(&'a [u8]),
    /// IEEE halves.
    F16(&'a [u8]),
    /// Upper halves of singles.
    BF16(&'a [u8]),
}

/// What to quantize: whole rows of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The format to write.
    pub dtype: DType,
    /// The values, `[rows, cols]`.
    pub values: Values<'a>,
    /// Values per row: a multiple of the format's block.
    pub cols: usize,
    /// How much an error in each column matters, `[cols]`: mean squares of the activations that meet it (an importance
    /// matrix). Only their ratios within a row count; what is no positive number counts as almost nothing. Formats that
    /// are plain roundings ignore it.
    pub importance: Option<&'a [f32]>,
}

/// What was not as it should be, but could be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Blocks (for F16 and BF16: values) that hold something beyond the format's range, written as the nearest it has:
    /// a scale beyond 65504 in an f16, a value beyond F16 or BF16. A caller should say so.
    pub clamped: usize,
}

/// A value that is no number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BadValue {
    /// Which value of the rows, counted from 0: row `index / cols`, column `index % cols`. The first one there is.
    pub index: usize,
    /// What it is: a NaN or an infinity.
    pub value: f32,
}

impl std::fmt::Display for BadValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "value {} is {}, not a number that can be quantized", self.index, self.value)
    }
}

impl std::error::Error for BadValue {}

impl Values<'_> {
    /// Bytes per value, and the bytes.
    fn bytes(&self) -> (usize, &[u8]) {
        match self {
            Values::F32(bytes) => (4, bytes),
            Values::F16(bytes) => (2, bytes),
            Values::BF16(bytes) => (2, bytes),
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        let (size, bytes) = self.bytes();
        bytes.len() / size
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the values from `start` on.
    fn widen(&self, start: usize, kernels: &Kernels, out: &mut [f32]) {
        let (size, bytes) = self.bytes();
        let bytes = &bytes[size * start..size * (start + out.len())];
        match self {
            Values::F32(_) => kernels.vector.widen_f32(bytes, out),
            Values::F16(_) => kernels.vector.widen_f16(bytes, out),
            Values::BF16(_) => kernels.vector.widen_bf16(bytes, out),
        }
    }
}

/// Quantizes rows, spread over the pool's threads. The bytes do not depend on `kernels` or `pool`.
///
/// # Errors
/// When a value is NaN or infinite; then `out` is partly written and must not be used.
///
/// # Panics
/// If `values` are not whole rows, `cols` is not whole blocks, or `out` or `importance` has the wrong length.
pub fn quantize(rows: &Rows<'_>, kernels: &'static Kernels, pool: &Pool, out: &mut [u8]) -> Result<Outcome, BadValue> {
    let Rows { dtype, values, cols, importance } = *rows;
    let (size, bytes) = values.bytes();
    let count = values.len();
    assert_eq!(bytes.len(), count * size, "values cut off");
    assert!(count == 0 || count.is_multiple_of(cols), "{count} values are not whole rows of {cols}");
    let width = dtype.row_bytes(cols).unwrap_or_else(|| panic!("rows of {cols} are not whole blocks of {dtype:?}"));
    assert_eq!(out.len(), count.checked_div(cols).unwrap_or(0) * width, "room for the blocks");
    let weights = importance.map(|importance| {
        assert_eq!(importance.len(), cols, "an importance for every column");
        even_out(importance)
    });
    let job = Job { dtype, values, count, weights: weights.as_deref(), kernels };
    let (first_bad, clamped) = (AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
    let out = SharedMut::new(out);
    let spans = count.div_ceil(SPAN);
    let span = |i: usize| {
        let from = i * SPAN;
        let to = count.min(from + SPAN);
        let bytes = |at: usize| at / dtype.block_len() * dtype.block_bytes();
        // SAFETY: spans of different i do not overlap, each i is handed out once, and `out` outlives the region.
        let out = unsafe { out.slice(bytes(from)..bytes(to)) };
        match job.span(from, out) {
            Ok(blocks) => clamped.fetch_add(blocks, Ordering::Relaxed),
            Err(index) => first_bad.fetch_min(index, Ordering::Relaxed),
        };
    };
    match spans {
        0 | 1 => (0..spans).for_each(span),
        _ => pool.enter(pool.threads().min(spans), |team| team.each(spans, span)),
    }
    match first_bad.into_inner() {
        usize::MAX => Ok(Outcome { clamped: clamped.into_inner() }),
        index => {
            let mut value = [0.0];
            values.widen(index, kernels, &mut value);
            Err(BadValue { index, value: value[0] })
        }
    }
}

/// Quantizes rows as [`quantize`] does, with the same result, on the calling thread: for a caller that has a team of its
/// own and other work to spread beside.
///
/// # Errors
/// As [`quantize`].
///
/// # Panics
/// As [`quantize`].
pub fn quantize_here(rows: &Rows<'_>, kernels: &'static Kernels, out: &mut [u8]) -> Result<Outcome, BadValue> {
    let Rows { dtype, values, cols, importance } = *rows;
    let count = values.len();
    assert!(count == 0 || count.is_multiple_of(cols), "{count} values are not whole rows of {cols}");
    let width = dtype.row_bytes(cols).unwrap_or_else(|| panic!("rows of {cols} are not whole blocks of {dtype:?}"));
    assert_eq!(out.len(), count.checked_div(cols).unwrap_or(0) * width, "room for the blocks");
    let weights = importance.map(|importance| {
        assert_eq!(importance.len(), cols, "an importance for every column");
        even_out(importance)
    });
    let job = Job { dtype, values, count, weights: weights.as_deref(), kernels };
    match job.span(0, out) {
        Ok(clamped) => Ok(Outcome { clamped }),
        Err(index) => {
            let mut value = [0.0];
            values.widen(index, kernels, &mut value);
            Err(BadValue { index, value: value[0] })
        }
    }
}

/// Importances with a mean of 1, and none of them so small that a column could be given up.
fn even_out(importance: &[f32]) -> Vec<f32> {
    /// What the least important column counts, against the mean.
    const LEAST: f64 = 1e-5;
    let sound = |v: f32| if v.is_finite() && v > 0.0 { f64::from(v) } else { 0.0 };
    let mean = importance.iter().map(|&v| sound(v)).sum::<f64>() / importance.len().max(1) as f64;
    let even = |v: f32| if mean > 0.0 { (sound(v) / mean).max(LEAST) as f32 } else { 1.0 };
    importance.iter().map(|&v| even(v)).collect()
}

/// What all spans have in common.
struct Job<'a> {
    dtype: DType,
    values: Values<'a>,
    count: usize,
    weights: Option<&'a [f32]>,
    kernels: &'static Kernels,
}

impl Job<'_> {
    /// Quantizes the values from `from` on into `out`. Gives the number of clamped blocks, or the index of a bad value.
    fn span(&self, from: usize, out: &mut [u8]) -> Result<usize, usize> {
        let mut tile = Tile::new();
        let mut clamped = 0;
        let tile_bytes = TILE / self.dtype.block_len() * self.dtype.block_bytes();
        for (i, out) in out.chunks_mut(tile_bytes).enumerate() {
            let start = from + i * TILE;
            let n = TILE.min(self.count - start);
            self.values.widen(start, self.kernels, &mut tile.x[..n]);
            tile.x[n..].fill(0.0);
            if !tile.x.iter().fold(true, |sound, x| sound & x.is_finite()) {
                return Err(start + tile.x.iter().position(|x| !x.is_finite()).unwrap_or(0));
            }
            if let Some(weights) = self.weights {
                let mut column = start % weights.len();
                for w in &mut tile.w {
                    *w = weights[column];
                    column = if column + 1 == weights.len() { 0 } else { column + 1 };
                }
            }
            clamped += self.kernels.encode(self.dtype, &tile, out);
        }
        Ok(clamped)
    }
}
