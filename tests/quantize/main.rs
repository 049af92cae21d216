//! `lapwing quantize` from outside: what it writes, that the same job writes the same bytes, that an interrupted one
//! leaves nothing half done under a final name and goes on, and what it says to files that are not as they should be.

#[path = "../common/checkpoint.rs"]
mod checkpoint;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod files;
mod golden;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use lapwing::gguf::{Gguf, OpenOptions};

/// The program with these arguments.
pub fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    command.env_remove("LAPWING_ISA").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What it said on stderr.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Quantizes, and must succeed; gives what was said.
pub fn quantize(args: &[&str]) -> String {
    let done = program(&[&["quantize"], args].concat()).output().unwrap();
    assert!(done.status.success(), "{args:?}: {}", said(&done));
    said(&done)
}

/// Quantizes, and must fail with this code and these words, leaving no file that was not there.
pub fn refused(args: &[&str], code: i32, words: &[&str]) {
    let done = program(&[&["quantize"], args].concat()).output().unwrap();
    let text = said(&done);
    assert_eq!(done.status.code(), Some(code), "{args:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    words.iter().for_each(|w| assert!(text.contains(w), "{w:?} is not in: {text}"));
}

/// As an argument.
pub fn path(p: &Path) -> &str {
    p.to_str().unwrap()
}

/// Opens a file that must be sound.
pub fn open(file: &Path) -> Arc<Gguf> {
    Gguf::open(file, &OpenOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Names, shapes and types, sorted.
pub fn table(gguf: &Gguf) -> Vec<(String, Vec<usize>, &'static str)> {
    let mut rows: Vec<_> = gguf.tensors().map(|t| (t.name().to_owned(), t.shape().to_vec(), t.type_name())).collect();
    rows.sort();
    rows
}
