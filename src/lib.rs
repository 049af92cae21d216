//! Lapwing: runs Qwen3 from GGUF files on a laptop's CPU.
//!
//! Layers, each knowing only those below it:
//!
//! * `lapwing_quant`: formats, kernels, threads: all SIMD and (but for one mmap) all `unsafe`;
//! * [`gguf`]: mapped model files, checked; [`tokenizer`], [`chat`], [`sample`]: text, templates, choices;
//! * [`kv`], [`batch`]: the cache of keys and values, and the rows of a forward pass;
//! * [`model`]: immutable weights and the forward pass; [`engine`]: a model with its threads, cache and scratch;
//! * [`imatrix`]: importance matrices in files; [`eval`]: perplexity, comparing models, gathering importance;
//! * [`cli`]: the program; the only place that prints.
//!
//! Invariants: a model never changes after loading, all state is in the cache and in scratch; the same prompt, seed and
//! instruction set give the same bits whatever the threads, batch mates, chunk borders or sharing.
#![deny(unsafe_code)]
pub mod batch;
pub mod chat;
pub mod cli;
pub mod engine;
pub mod error;
pub mod eval;
pub mod gguf;
pub mod imatrix;
pub mod kv;
pub mod model;
pub mod sample;
pub mod tokenizer;
