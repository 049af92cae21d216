//! Lapwing.
#![deny(unsafe_code)]
pub mod batch;
pub mod chat;
pub mod engine;
pub mod error;
pub mod gguf;
pub mod kv;
pub mod model;
pub mod tokenizer;
