//! What is converted: metadata and tensors, wherever they come from.
//!
//! Invariant: the pieces of a tensor together have exactly the bytes of its shape and format, and each has the same
//! number of whole rows.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gguf_rs_lib::format::metadata::{MetadataArray, MetadataValue};
use gguf_rs_lib::format::types::GGUFValueType;
use lapwing_quant::DType;

use crate::error::{Error, Result};
use crate::gguf::Payload;

/// A model that is to be written as GGUF.
#[derive(Debug)]
pub struct Source {
    /// Its path, for messages.
    pub path: PathBuf,
    /// `qwen3` or `qwen3moe`.
    pub architecture: String,
    /// Metadata by key, but for what depends on the output (file type, split).
    pub meta: BTreeMap<String, MetadataValue>,
    /// Tensors, in the order of the source.
    pub tensors: Vec<SourceTensor>,
    /// Files that are read: path and length, for telling whether a job is the same as before.
    pub files: Vec<(PathBuf, u64)>,
    /// Number of files that hold tensors; more than one for a split GGUF.
    pub shards: usize,
    /// What the user should hear.
    pub notes: Vec<String>,
}

/// A tensor of a source.
#[derive(Clone, Debug)]
pub struct SourceTensor {
    /// Name in the GGUF.
    pub name: String,
    /// Name in the source, for messages.
    pub described: String,
    /// Shape, the contiguous dimension first.
    pub shape: Vec<usize>,
    /// Format of the pieces.
    pub dtype: DType,
    /// Format it has in a file that is not quantized: norms and routers are always F32 there.
    pub unquantized: DType,
    /// Which file of a split source it is in.
    pub shard: usize,
    /// Rows `i * n .. (i + 1) * n` are piece i.
    pub pieces: Vec<Payload>,
}

impl SourceTensor {
    /// Weights of a row.
    pub fn cols(&self) -> usize {
        self.shape[0]
    }

    /// Number of rows, over all matrices.
    pub fn rows(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// Rows of one matrix: of an expert, where there are several.
    pub fn rows_per_matrix(&self) -> usize {
        self.shape.get(1).copied().unwrap_or(1)
    }

    /// Number of weights.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes in the source.
    pub fn bytes(&self) -> usize {
        self.pieces.iter().map(Payload::len).sum()
    }

    /// The bytes of rows, which must all be in one piece.
    pub fn payload(&self, rows: std::ops::Range<usize>) -> Payload {
        let per_piece = self.rows() / self.pieces.len();
        let piece = rows.start / per_piece;
        let width = self.pieces[piece].len() / per_piece;
        let first = rows.start - piece * per_piece;
        self.pieces[piece].part(first * width..(first + rows.len()) * width)
    }

    /// Rows that lie in one piece and in one matrix.
    pub fn rows_together(&self) -> usize {
        (self.rows() / self.pieces.len()).min(self.rows_per_matrix())
    }
}

/// An array value.
pub fn array(element: GGUFValueType, values: Vec<MetadataValue>) -> Result<MetadataValue> {
    let made = MetadataArray::new(element, values).map_err(|e| Error::runtime(format!("metadata array: {e}")))?;
    Ok(MetadataValue::Array(Box::new(made)))
}

/// An array of strings.
pub fn strings(values: impl IntoIterator<Item = String>) -> Result<MetadataValue> {
    array(GGUFValueType::String, values.into_iter().map(MetadataValue::String).collect())
}
