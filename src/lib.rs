//! Lapwing: runs Qwen3 from GGUF files on a laptop's CPU.
//!
//! Layers, each knowing only those below it:
//!
//! * `lapwing_quant`: formats, kernels, threads: all SIMD and (but for one mmap) all `unsafe`;
//! * [`gguf`]: mapped model files, checked; [`tokenizer`], [`chat`], [`sample`]: text, templates, choices;
//! * [`convert`]: checkpoints and models to GGUF, quantized;
//! * [`kv`], [`batch`]: the cache of keys and values, and the rows of a forward pass;
//! * [`guard`], [`grammar`]: what keeps a generation from going wrong, and the form that its output must have;
//! * [`model`]: immutable weights and the forward pass; [`engine`]: a model with its threads, cache and scratch;
//! * [`demo`]: the tiny model that is part of the program;
//! * [`session`]: conversations: what was said, what of it is in the cache, the file that keeps both;
//! * [`hub`]: downloads from the Hugging Face hub, and models that are on this computer already;
//! * [`imatrix`]: importance matrices in files; [`eval`]: perplexity, comparing models, gathering importance;
//! * [`plan`]: what a model needs and how fast it will be; [`doctor`]: what is wrong with machine, model and settings;
//! * [`cli`]: the program; the only place that prints.
//!
//! Invariants: a model never changes after loading, all state is in the cache and in scratch; the same prompt, seed and
//! instruction set give the same bits whatever the threads, batch mates, chunk borders or sharing.
#![deny(unsafe_code)]
pub mod batch;
pub mod chat;
pub mod cli;
pub mod convert;
pub mod demo;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod eval;
pub mod gguf;
pub mod grammar;
pub mod guard;
pub mod hub;
pub mod imatrix;
pub mod kv;
pub mod model;
pub mod plan;
pub mod sample;
pub mod session;
pub mod tokenizer;
