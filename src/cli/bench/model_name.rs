//! What llama-bench's `model` column calls a file: architecture, size, kind of quantization; and its two sizes.

use crate::error::Result;
use crate::gguf::{Gguf, Summary};

/// A model as reports name it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelName {
    /// The path that was given.
    pub filename: String,
    /// `qwen3 0.6B Q4_K - Medium`.
    pub kind: String,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Weights in all tensors.
    pub parameters: u64,
}

/// `general.file_type` by llama.cpp's numbers, as llama-bench spells them.
const FILE_TYPES: [(u64, &str); 20] = [
    (0, "all F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K - Medium"),
    (11, "Q3_K - Small"),
    (12, "Q3_K - Medium"),
    (13, "Q3_K - Large"),
    (14, "Q4_K - Small"),
    (15, "Q4_K - Medium"),
    (16, "Q5_K - Small"),
    (17, "Q5_K - Medium"),
    (18, "Q6_K"),
    (21, "Q2_K - Small"),
    (25, "IQ4_NL - 4.5 bpw"),
    (30, "IQ4_XS - 4.25 bpw"),
    (32, "BF16"),
];

/// Published sizes by (blocks, embedding length).
const SIZES: [(u64, u64, &str); 8] = [
    (28, 1024, "0.6B"),
    (28, 2048, "1.7B"),
    (36, 2560, "4B"),
    (36, 4096, "8B"),
    (40, 5120, "14B"),
    (64, 5120, "32B"),
    (48, 2048, "30B.A3B"),
    (94, 4096, "235B.A22B"),
];

impl ModelName {
    /// The name of an open file.
    ///
    /// # Errors
    /// When a key that it is made of has another type than it should.
    pub fn of(gguf: &Gguf) -> Result<Self> {
        let meta = gguf.meta();
        let arch = meta.str("general.architecture")?.unwrap_or("unknown");
        let blocks = meta.uint(&format!("{arch}.block_count"))?.unwrap_or(0);
        let width = meta.uint(&format!("{arch}.embedding_length"))?.unwrap_or(0);
        let published = SIZES.iter().find(|(b, w, _)| (*b, *w) == (blocks, width)).map(|(.., name)| *name);
        let size = match published {
            Some(name) => name.to_owned(),
            None => meta.str("general.size_label")?.unwrap_or("?B").to_owned(),
        };
        let file_type = meta.uint("general.file_type")?;
        let named = FILE_TYPES.iter().find(|(n, _)| Some(*n) == file_type).map(|(_, name)| (*name).to_owned());
        // A file that does not say is called by the type that most of its bytes have.
        let quantization = named.unwrap_or_else(|| {
            let most = Summary::of(gguf).types.first().map_or("unknown", |t| t.type_name);
            format!("mostly {most}")
        });
        Ok(Self {
            filename: gguf.path().display().to_string(),
            kind: format!("{arch} {size} {quantization}"),
            bytes: gguf.tensor_bytes(),
            parameters: gguf.total_parameters(),
        })
    }
}
