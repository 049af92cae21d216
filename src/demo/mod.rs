//! The demonstration model: a tiny Qwen3 that is part of the program, so that it works before anything is downloaded.
//!
//! `lapwing-demo.gguf` was trained and quantized by `scripts/demo`, whose README says how and how good it is. It is an
//! ordinary file: nothing here or elsewhere treats its weights, its tokenizer or its answers in another way.

use crate::error::Result;
use crate::gguf::{Gguf, OpenOptions};
use std::sync::Arc;

/// What `-m` calls it.
pub const NAME: &str = "demo";

/// What a user should hear when it answers.
pub const NOTICE: &str = "this is the built-in demonstration model, far too small for real work; a real one: lapwing \
                          pull Qwen/Qwen3-8B-GGUF:Q4_K_M";

/// Tensors are read in place, so the file must start where they are aligned.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!("lapwing-demo.gguf"));

/// The bytes of the GGUF file.
pub fn bytes() -> &'static [u8] {
    &FILE.0
}

/// Opens the model.
///
/// # Errors
/// Only for overrides that do not fit.
pub fn open(options: &OpenOptions) -> Result<Arc<Gguf>> {
    Gguf::open_static(NAME, bytes(), options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_aligned_and_opens() {
        assert_eq!(bytes().as_ptr().align_offset(64), 0);
        let gguf = open(&OpenOptions::default()).unwrap();
        assert!(gguf.warnings().is_empty(), "{:?}", gguf.warnings());
        assert_eq!(gguf.meta().require_str("general.architecture").unwrap(), "qwen3");
        assert!(gguf.file_bytes() <= 6 << 20);
    }
}
