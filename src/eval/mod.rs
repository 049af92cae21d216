//! Measuring models over a text: perplexity, the difference between two models, the importance of columns.
//!
//! A text is cut as llama-perplexity cuts it, so that figures compare ([`chunks`]); [`reader`] reads a chunk in passes
//! whose logits stay small and are scored at once ([`score`]), so nothing of the size of a chunk's logits is ever held.
//! [`compare`] sets two models' figures beside each other; [`collect`] gathers an importance matrix; [`moments`] has
//! means and their standard errors; [`hash`] names files by content.
//!
//! Invariants: a figure depends on the text, the model, the instruction set and the chunk length, never on threads or
//! the size of passes; sums run in the order of the text; a model compared with itself differs by exactly zero.

pub mod chunks;
pub mod collect;
pub mod compare;
pub mod hash;
pub mod moments;
pub mod reader;
pub mod score;

pub use chunks::Chunks;
pub use collect::Collector;
pub use compare::Comparison;
pub use moments::{Estimate, Moments};
pub use reader::{PassSizes, Reader};
