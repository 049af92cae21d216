//! Zero-copy views of tensors in the mapped files.

use std::sync::Arc;

use gguf_rs_lib::format::types::GGUFTensorType;
use lapwing_quant::DType;

use super::{Gguf, Payload, quoted, types};
use crate::error::{Error, Result};

/// Where a tensor lies. Invariant: `start..start + length` is inside the map of `shard`.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) kind: GGUFTensorType,
    pub(super) shard: usize,
    pub(super) start: usize,
    pub(super) length: usize,
}

/// A tensor of a [`Gguf`], borrowed from it.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    pub(super) gguf: &'a Gguf,
    pub(super) entry: &'a Entry,
}

impl<'a> Tensor<'a> {
    /// The name in the file: `blk.0.attn_q.weight`.
    pub fn name(&self) -> &'a str {
        &self.entry.name
    }

    /// Dimensions in ggml's order: the first is contiguous, so a weight of `rows` x `cols` is `[cols, rows]`.
    pub fn shape(&self) -> &'a [usize] {
        &self.entry.shape
    }

    /// Number of weights.
    pub fn elements(&self) -> usize {
        self.entry.shape.iter().product()
    }

    /// The format to compute with; `Unsupported`, naming the type and what reads it, when there is none.
    pub fn dtype(&self) -> Result<DType> {
        types::computable(&self.described(), self.entry.kind)
    }

    /// The type's name, also of types this program cannot compute with.
    pub fn type_name(&self) -> &'static str {
        self.entry.kind.name()
    }

    /// The payload, as in the file. Aligned to no more than the file's `general.alignment`, which may be 8.
    pub fn bytes(&self) -> &'a [u8] {
        &self.gguf.files[self.entry.shard].map.bytes()[self.entry.start..self.entry.start + self.entry.length]
    }

    /// The payload, on its own.
    pub fn payload(&self) -> Payload {
        let map = Arc::clone(&self.gguf.files[self.entry.shard].map);
        Payload::new(map, self.entry.start..self.entry.start + self.entry.length)
    }

    /// Gives back the memory behind a part of the payload; reading it again fetches it from the file.
    pub fn release(&self, part: std::ops::Range<usize>) {
        let end = part.end.min(self.entry.length);
        let start = part.start.min(end);
        self.gguf.files[self.entry.shard].map.release(self.entry.start + start, end - start);
    }

    /// Index of the file it is in, into [`Gguf::files`].
    pub fn shard(&self) -> usize {
        self.entry.shard
    }

    /// Offset of the payload in that file, in bytes.
    pub fn offset(&self) -> usize {
        self.entry.start
    }

    /// `model.gguf: tensor "blk.0.attn_q.weight"`, the start of a message about it.
    pub fn described(&self) -> String {
        format!("{}: tensor {}", self.gguf.files[self.entry.shard].map.path().display(), quoted(&self.entry.name))
    }

    /// Fails unless the shape is `expected` (ggml's order; trailing dimensions of 1 do not count).
    pub fn expect_shape(&self, expected: &[usize]) -> Result<()> {
        let significant = |dims: &[usize]| dims.iter().rposition(|&d| d != 1).map_or(0, |last| last + 1);
        let (found, wanted) = (&self.entry.shape[..significant(&self.entry.shape)], &expected[..significant(expected)]);
        if found == wanted {
            return Ok(());
        }
        Err(Error::unsupported(format!(
            "{} has shape {:?}, expected {expected:?} from the metadata; the file is broken or of another architecture",
            self.described(),
            self.entry.shape
        )))
    }

    /// Fails unless the type is one of `allowed`.
    pub fn expect_dtype(&self, allowed: &[DType]) -> Result<DType> {
        let found = self.dtype()?;
        if allowed.contains(&found) {
            return Ok(found);
        }
        let names: Vec<&str> = allowed.iter().map(|d| d.name()).collect();
        Err(Error::unsupported(format!(
            "{} has type {}, expected {}",
            self.described(),
            found.name(),
            names.join(" or ")
        )))
    }
}
