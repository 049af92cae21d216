//! The cutting of a text into chunks, as llama-perplexity does it.
//!
//! Chunk `i` is the tokens from `i * n_ctx`, `n_ctx` of them; what is left at the end is not read. Each chunk is read
//! on its own. Its first half only gives context; of the second half, every token that the chunk itself follows with
//! another is asked to predict that one: positions `n_ctx / 2` to `n_ctx - 2`. Where the model wants a first token
//! (BOS), it replaces the first token of each chunk.

use crate::error::{Error, Result};
use std::ops::Range;

/// A text in chunks.
#[derive(Clone, Debug)]
pub struct Chunks {
    tokens: Vec<u32>,
    n_ctx: usize,
    count: usize,
    bos: Option<u32>,
}

impl Chunks {
    /// The shortest chunk that has a token to score.
    pub const SHORTEST: usize = 4;

    /// Cuts `tokens` (begun with `bos`, where there is one) into chunks of `n_ctx`, at most `most` of them.
    ///
    /// # Errors
    /// When the text has less than two chunks, which is llama-perplexity's rule too; when `n_ctx` is too small.
    pub fn new(tokens: Vec<u32>, n_ctx: usize, most: Option<usize>, bos: Option<u32>) -> Result<Self> {
        if n_ctx < Self::SHORTEST {
            return Err(Error::usage(format!(
                "chunks of {n_ctx} tokens are too short, use -c {} or more",
                Self::SHORTEST
            )));
        }
        if tokens.len() / 2 < n_ctx {
            let n = tokens.len();
            let shorter = if n / 2 < Self::SHORTEST { String::new() } else { format!(", or -c {} or less", n / 2) };
            return Err(Error::usage(format!(
                "the text has {n} tokens, but two chunks of {n_ctx} are the least; use a longer text{shorter}"
            )));
        }
        let count = (tokens.len() / n_ctx).min(most.unwrap_or(usize::MAX));
        Ok(Self { tokens, n_ctx, count, bos })
    }

    /// How many chunks there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Tokens per chunk.
    pub fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    /// Tokens of the text, those left over included.
    pub fn text_tokens(&self) -> usize {
        self.tokens.len()
    }

    /// What is read of chunk `i`, `n_ctx` tokens.
    pub fn read(&self, i: usize) -> Vec<u32> {
        let mut tokens = self.tokens[i * self.n_ctx..(i + 1) * self.n_ctx].to_vec();
        if let Some(bos) = self.bos {
            tokens[0] = bos;
        }
        tokens
    }

    /// Positions in a chunk whose predictions are scored.
    pub fn scored(&self) -> Range<usize> {
        self.n_ctx / 2..self.n_ctx - 1
    }

    /// The token that position `at` of chunk `i` is to predict.
    pub fn target(&self, i: usize, at: usize) -> u32 {
        self.tokens[i * self.n_ctx + at + 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_half_is_scored() {
        let chunks = Chunks::new((0..27).collect(), 8, None, Some(99)).unwrap();
        assert_eq!((chunks.count(), chunks.scored()), (3, 4..7));
        assert_eq!(chunks.read(1), [99, 9, 10, 11, 12, 13, 14, 15]);
        assert_eq!((chunks.target(1, 4), chunks.target(1, 6)), (13, 15));
        assert_eq!(Chunks::new((0..27).collect(), 8, Some(2), None).unwrap().count(), 2);
        assert_eq!(Chunks::new((0..14).collect(), 7, None, None).unwrap().scored(), 3..6);
    }

    #[test]
    fn too_little_text_is_refused() {
        assert!(Chunks::new((0..16).collect(), 8, None, None).is_ok());
        let e = Chunks::new((0..15).collect(), 8, None, None).unwrap_err().to_string();
        assert!(e.contains("15 tokens") && e.contains("-c 7"), "{e}");
        assert!(Chunks::new((0..15).collect(), 3, None, None).is_err());
    }
}
