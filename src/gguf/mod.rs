//! Model files: opens a GGUF (all its shards), checks it, and gives typed metadata and zero-copy tensors.
//!
//! A file is hostile until checked. [`Gguf::open`] returns an error naming file, key or tensor and offset for
//! anything that is not a sound GGUF; after it, every tensor of the table lies inside its map, no two of a file
//! overlap, and names are unique. What the tensors must be (present, shaped, finite) is the model's to say, through
//! [`Gguf::require`] and [`Tensor::expect_shape`].
//!
//! The parsing is gguf-rs-lib's, over the mapped file (`shard`). Around it: `magic` and `scan` say what is wrong
//! and where, and what the library must not be shown (`view`); `split` finds the other shards; `meta` reads
//! values by the type wanted, with `--override-kv` on top; `pages` brings the payload into memory.
//! Memory for the worst file is bounded by the limits in `scan`; payload is only ever mapped.

mod brief;
mod magic;
mod map;
mod meta;
mod overrides;
mod pages;
pub mod quality;
mod scan;
mod shard;
mod split;
mod summary;

mod tensor;
mod types;
mod view;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

pub use brief::Brief;
pub use map::{Map, Payload};
pub use meta::{Item, Metadata, Value};
pub use overrides::Override;
pub use pages::PageIn;
pub use quality::Certificate;
pub use summary::{MetadataRow, Summary, TensorRow, TypeRow};

pub use tensor::Tensor;

use crate::error::{Error, Result};
use lapwing_quant::buffer::Aligned;
use shard::OpenFile;
use tensor::Entry;

/// How to open a model.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Metadata given in place of the file's; of two for one key, the last counts.
    pub overrides: Vec<Override>,
}

/// An open model: its maps, metadata and tensor table. Immutable.
#[derive(Debug)]
pub struct Gguf {
    files: Vec<OpenFile>,
    meta: Metadata,
    tensors: Vec<Entry>,
    index: HashMap<String, usize>,
    warnings: Vec<String>,
}

impl Gguf {
    /// Opens the model at `path`. Of a split model any shard may be named; the others are found beside it.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Arc<Gguf>> {
        Gguf::of(split::open_all(path)?, options)
    }

    /// Opens a whole model that is part of the program. `bytes` must start at a multiple of 64, so that tensors are
    /// aligned as in a map; `name` stands for the path in messages.
    pub fn open_static(name: &str, bytes: &'static [u8], options: &OpenOptions) -> Result<Arc<Gguf>> {
        let shard = shard::Shard::built_in(name, bytes)?;
        Gguf::of(split::Model { files: vec![shard.file], tensors: shard.tensors, source: shard.source }, options)
    }

    /// Opens a whole model that is in memory only.
    pub fn open_own(name: &str, bytes: Aligned) -> Result<Arc<Gguf>> {
        let shard = shard::Shard::own(name, bytes)?;
        let model = split::Model { files: vec![shard.file], tensors: shard.tensors, source: shard.source };
        Gguf::of(model, &OpenOptions::default())
    }

    fn of(model: split::Model, options: &OpenOptions) -> Result<Arc<Gguf>> {
        let split::Model { files, tensors, source } = model;
        let mut index = HashMap::with_capacity(tensors.len());
        for (at, entry) in tensors.iter().enumerate() {
            if let Some(first) = index.insert(entry.name.clone(), at) {
                return Err(twice(&files, &tensors[first], entry));
            }
        }
        let (meta, warnings) = Metadata::new(files[0].map.path(), source, &options.overrides);
        Ok(Arc::new(Gguf { files, meta, tensors, index, warnings }))
    }

    /// The metadata of the model: of the first shard, with the overrides applied.
    pub fn meta(&self) -> &Metadata {
        &self.meta
    }

    /// The path to show in messages: of the file, or of the first shard.
    pub fn path(&self) -> &Path {
        self.meta.path()
    }

    /// Paths of all shards, in order; one for a model that is not split.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(|f| f.map.path())
    }

    /// GGUF version of the (first) file: 2 or 3.
    pub fn version(&self) -> u32 {
        self.files[0].version
    }

    /// `general.alignment` of the (first) file, in bytes: a power of two, at least 8.
    pub fn alignment(&self) -> u64 {
        self.files[0].alignment
    }

    /// What the user should hear about though it is no error; the caller prints it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        self.index.get(name).map(|&at| Tensor { gguf: self, entry: &self.tensors[at] })
    }

    /// The tensor of this name, with this shape (ggml's order) and a type that can be computed with.
    pub fn require(&self, name: &str, shape: &[usize]) -> Result<Tensor<'_>> {
        let tensor = self.tensor(name).ok_or_else(|| {
            Error::unsupported(format!(
                "{}: tensor {} is missing (expected shape {shape:?}); the file is incomplete or of another architecture",
                self.path().display(),
                quoted(name)
            ))
        })?;
        tensor.expect_shape(shape)?;
        tensor.dtype()?;
        Ok(tensor)
    }

    /// All tensors, in file order, shard after shard.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Tensor<'_>> {
        self.tensors.iter().map(|entry| Tensor { gguf: self, entry })
    }

    /// Number of weights in all tensors.
    pub fn total_parameters(&self) -> u64 {
        self.tensors().fold(0, |n, t| n.saturating_add(t.elements() as u64))
    }

    /// Bytes of all tensors.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.iter().map(|e| e.length as u64).sum()
    }

    /// Bytes of all files.
    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|f| f.map.bytes().len() as u64).sum()
    }

    /// Mean bits per weight over all tensors; 0 when there are none.
    pub fn bits_per_weight(&self) -> f64 {
        match self.total_parameters() {
            0 => 0.0,
            n => self.tensor_bytes() as f64 * 8.0 / n as f64,
        }
    }
}

fn twice(files: &[OpenFile], first: &Entry, second: &Entry) -> Error {
    let path = |entry: &Entry| files[entry.shard].map.path().display().to_string();
    let (a, b) = (path(first), path(second));
    Error::file(format!("{b}: tensor {} is also in {a}: these shards are not of one model", quoted(&second.name)))
}

/// A key or name for a message: quoted, control characters escaped, cut when long.
fn quoted(text: &str) -> String {
    format!("\"{}\"", cut(&escaped(text), 100))
}

/// `text` without control characters or other unprintable ones, which are shown as Rust writes them.
fn escaped(text: &str) -> String {
    text.escape_debug().to_string().replace("\\'", "'")
}

/// At most `limit` characters of `text`, with "..." when some are left out.
fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}...", &text[..at]),
    }
}
