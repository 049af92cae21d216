//! Lapwing.
#![deny(unsafe_code)]
pub mod chat;
pub mod error;
pub mod tokenizer;
