//! Block formats, kernels and threads: all of Lapwing's SIMD, threads and (but for one mmap) `unsafe`.
//!
//! * [`formats`]: the list of tensor formats and what each one's bytes mean;
//! * [`kernels`]: one table of kernels per instruction set; [`panel`]: the layout that integer tiles read;
//! * [`weight`]: a matrix with its table, products of several matrices in one region; [`acts`]: activation rows;
//! * [`attend`]: attention over pages of keys and values;
//! * [`quantize`]: from floats to blocks;
//! * [`threads`]: the only user of rayon; [`cores`]: which cores there are; [`buffer`]: memory; [`probe`]: its speed.
//!
//! This crate knows nothing of files, models or tokens, reads no environment variables and prints nothing.
//!
//! To add a format, see [`formats`]. To add an instruction set: a directory under `kernels/` with a `TABLE`, its
//! detection in [`isa`], a row in the list of `kernels/mod.rs`; tests and benches find it by themselves.

pub mod acts;
pub mod attend;
pub mod buffer;
pub mod cores;
pub mod formats;
pub mod isa;
pub mod kernels;
pub mod pages;
pub mod panel;
pub mod probe;
pub mod quantize;
pub mod threads;
pub mod weight;

pub use formats::DType;
