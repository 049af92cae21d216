//! Block formats, kernels and threads.
pub mod formats;
pub use formats::DType;
pub mod pages;
