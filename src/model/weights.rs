//! Loading matrices and norms by their names in the file, each checked for presence, shape and type.

use crate::error::{Error, Result};
use crate::gguf::{Gguf, Tensor};
use lapwing_quant::buffer::{Bytes, Owner};
use lapwing_quant::formats;
use lapwing_quant::kernels::Kernels;
use lapwing_quant::threads::Pool;
use lapwing_quant::weight::Weight;
use std::sync::Arc;

/// A tensor's bytes together with the file that they are mapped from.
struct Held(Arc<Gguf>, String);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        self.0.tensor(&self.1).map_or(&[], |t| t.bytes())
    }
}

/// Where weights come from.
pub struct Source<'a> {
    /// The file.
    pub gguf: &'a Arc<Gguf>,
    /// The kernels they are for.
    pub kernels: &'static Kernels,
    /// Threads to look through the weights with.
    pub pool: &'a Pool,
}

impl Source<'_> {
    /// The matrix `name` of `rows` x `cols`.
    pub fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<Weight> {
        let tensor = self.gguf.require(name, &[cols, rows])?;
        self.check(tensor, rows, cols)?;
        self.weight(tensor, rows, cols, 0)
    }

    /// The matrices of all experts in `name`, `[cols, rows, experts]` in the file.
    pub fn experts(&self, name: &str, rows: usize, cols: usize, experts: usize) -> Result<Vec<Weight>> {
        let tensor = self.gguf.require(name, &[cols, rows, experts])?;
        self.check(tensor, rows * experts, cols)?;
        (0..experts).map(|e| self.weight(tensor, rows, cols, e)).collect()
    }

    /// Fails when a weight of the tensor is no finite number.
    fn check(&self, tensor: Tensor<'_>, rows: usize, cols: usize) -> Result<()> {
        let whole = self.weight(tensor, rows, cols, 0)?;
        match self.pool.enter(self.pool.threads(), |team| whole.broken_row(team)) {
            Some(row) => Err(Error::file(format!(
                "{}: row {row} of {rows} has a weight that is infinite or not a number; the file is damaged, download it again",
                tensor.described()
            ))),
            None => Ok(()),
        }
    }

    /// The `part`-th matrix of a tensor.
    fn weight(&self, tensor: Tensor<'_>, rows: usize, cols: usize, part: usize) -> Result<Weight> {
        let dtype = tensor.dtype()?;
        let whole_rows = || {
            let blocks = format!("rows of {cols} weights are no whole blocks of {}", dtype.block_len());
            Error::file(format!("{}: {blocks}", tensor.described()))
        };
        let bytes = dtype.row_bytes(cols).ok_or_else(whole_rows)? * rows;
        let owner: Owner = Arc::new(Held(self.gguf.clone(), tensor.name().to_owned()));
        let view = Bytes::mapped(owner, part * bytes..(part + 1) * bytes).ok_or_else(whole_rows)?;
        Weight::new(dtype, rows, cols, view, self.kernels)
            .map_err(|e| Error::file(format!("{}: {e}", tensor.described())))
    }

    /// The vector `name` of `n` values, as f32; values must be finite.
    pub fn vector(&self, name: &str, n: usize) -> Result<Vec<f32>> {
        let tensor = self.gguf.require(name, &[n])?;
        let dtype = tensor.dtype()?;
        if dtype.row_bytes(n) != Some(tensor.bytes().len()) {
            return Err(Error::file(format!("{}: {n} values are no whole blocks", tensor.described())));
        }
        let mut out = vec![0.0; n];
        formats::dequantize(dtype, tensor.bytes(), &mut out);
        match out.iter().position(|v| !v.is_finite()) {
            Some(i) => {
                Err(Error::file(format!("{}: value {i} is {}, expected a finite number", tensor.described(), out[i])))
            }
            None => Ok(out),
        }
    }
}
