//! Block formats, kernels and threads.
pub mod cores;
pub mod formats;
pub use formats::DType;
