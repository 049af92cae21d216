//! The flags of the commands that measure over a text: which text, in what chunks.

use super::model_args::ContextArgs;
use super::{output, read_text};
use crate::engine::Config;
use crate::error::Result;
use crate::eval::{Chunks, PassSizes, hash};
use crate::tokenizer::{Specials, Tokenizer};
use clap::Args;
use std::path::{Path, PathBuf};

/// Tokens per chunk when `-c` is not given: llama-perplexity's default.
pub const DEFAULT_CHUNK: usize = 512;
/// The words for `-c` in these commands.
pub const CHUNK_HELP: &str = "Tokens per chunk; 0 for all the model allows [default: 512]";

/// How the text is read.
#[derive(Args, Clone, Debug)]
pub struct ChunkArgs {
    /// Stop after this many chunks [default: all].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = chunks)]
    pub chunks: Option<Most>,
    /// Most tokens of one forward pass; changes no figure.
    #[arg(short, long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_size: u32,
}

/// How many chunks at most; none for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most(pub Option<usize>);

fn chunks(text: &str) -> std::result::Result<Most, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(Most(None)),
        Ok(n @ 1..) => Ok(Most(usize::try_from(n).ok())),
        _ => Err("expected a whole number from 1, or -1 for all".to_owned()),
    }
}

impl ChunkArgs {
    /// The sizes of passes over a model with `vocab` logits.
    pub fn sizes(&self, vocab: usize) -> PassSizes {
        PassSizes::new(self.batch_size as usize, vocab)
    }

    /// Cuts the text; `skip` chunks at its start are left out.
    ///
    /// # Errors
    /// When too little is left.
    pub fn cut(&self, text: &Text, tokenizer: &Tokenizer, n_ctx: usize, skip: usize) -> Result<Chunks> {
        let bos = tokenizer.bos_to_add();
        let mut tokens: Vec<u32> = bos.into_iter().collect();
        // Control tokens written in the text are text, as llama-perplexity has it.
        tokens.extend(tokenizer.encode(&text.text, Specials::Literal)?);
        tokens.drain(..skip.saturating_mul(n_ctx).min(tokens.len()));
        Chunks::new(tokens, n_ctx, self.chunks.and_then(|m| m.0), bos)
    }
}

/// Tokens per chunk, as `-c` says; said aloud where the model was not made for so many.
pub fn chunk_length(context: &ContextArgs, config: &Config) -> usize {
    let most = config.max_context();
    match context.ctx_size {
        None => DEFAULT_CHUNK.min(most),
        Some(0) => most,
        Some(n) => {
            if n > most {
                output::warn(&format!("chunks of {n} tokens are beyond the {most} that this model's positions allow"));
            }
            n
        }
    }
}

/// A text and its name.
pub struct Text {
    /// The path, as it was given.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl Text {
    /// Reads a file, or standard input for `-`.
    ///
    /// # Errors
    /// When it cannot be read or is no UTF-8.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self { name: path.display().to_string(), text: read_text(path)? })
    }

    /// The text's SHA-256.
    pub fn sha256(&self) -> String {
        hash::of_bytes(self.text.as_bytes())
    }
}

/// The text of the commands that must have one.
#[derive(Args, Clone, Debug)]
pub struct TextArgs {
    /// The text to measure over; - for standard input.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_chunks() {
        assert_eq!((chunks("-1"), chunks("3")), (Ok(Most(None)), Ok(Most(Some(3)))));
        for bad in ["0", "-2", "x", ""] {
            assert!(chunks(bad).is_err(), "{bad}");
        }
    }
}
