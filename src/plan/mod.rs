//! What a model needs and how fast it will be, before it is loaded.
//!
//! * [`shapes`]: the tensors of a model from its hyperparameters, of Qwen3's published sizes too, in any mix of formats;
//! * [`memory`]: what there is, and what weights, cache and buffers take;
//! * [`rates`]: how fast kernels and whole blocks (`sample`) are on this machine, measured and kept; the numbers of
//!   threads that are best;
//! * [`speed`]: tokens per second and time to the first token from both;
//! * [`context`]: the context that fits, and what to do when nothing does; [`table`]: which of the published models fit.
//!
//! Everything here is arithmetic over facts that are given to it; only [`rates::measure`] and [`memory::Memory::read`]
//! look at the machine.

pub mod context;
pub mod memory;
pub mod rates;
mod sample;
pub mod shapes;
pub mod speed;
pub mod table;

pub use memory::{Memory, Needs};
pub use rates::Rates;
pub use shapes::{Shape, Weights};
