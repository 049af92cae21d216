//! Lapwing.
#![deny(unsafe_code)]
pub mod error;
pub mod sample;
