//! Conversion: a checkpoint as Hugging Face has it, or a GGUF, to a GGUF of the types asked for.
//!
//! [`open`] reads everything about a model but its weights into a [`Source`]; [`Plan::new`] decides types, sizes and
//! files; [`Job::run`] writes them, tensor by tensor from the maps, quantized by all threads.
//!
//! * `hf` with `config`, `checkpoint`, `weights`, `vocab`, `card`, `model_name`: checkpoints; `gguf_input`: GGUFs;
//! * `file_type`, `mix`: what the names of types mean for each tensor;
//! * `header`, `rows`, `sink`, `journal`, `run`, `space`: the writing.
//!
//! Invariants: memory does not grow with the model (a slab of rows and the metadata); the same job writes the same
//! bytes whatever the threads, the instruction set, and how often it was interrupted.

mod card;
mod checkpoint;
mod config;
mod file_type;
mod gguf_input;
mod header;
mod hf;
mod journal;
mod json;
mod mix;
mod model_name;
mod plan;
mod rows;
mod run;
mod sink;
mod source;
mod space;
mod vocab;
mod weights;

pub use file_type::{FileType, parse_dtype};
pub use gguf_input::quantized_formats;
pub use gguf_rs_lib::format::metadata::MetadataValue;
pub use mix::{Choices, ModelFacts, TensorFacts, choose, is_quantized};
pub use plan::{Importance, Plan, Planned, PlannedFile, Settings};
pub use run::{Certify, Job, Outcome, Progress, Report, file_name};
pub use source::{Source, SourceTensor};

use std::path::Path;

use crate::error::Result;

/// Opens the model at `path`: the directory of a checkpoint, or a GGUF.
pub fn open(path: &Path) -> Result<Source> {
    if path.is_dir() { hf::open(path) } else { gguf_input::open(path) }
}
