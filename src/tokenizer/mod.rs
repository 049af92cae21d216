//! Text to token ids and back, from the vocabulary that a GGUF file carries.
//!
//! Encoding is the `tokenizers` crate's (NFC, the split regex of Qwen2, byte-level BPE); decoding is a table of bytes.
//! Invariants: the ids of a text do not depend on how it is cut for encoding; a control token comes only from text that
//! is trusted, because the merges cannot make one and the search for added tokens skips them elsewhere; every byte
//! string can be encoded, and decoding the ids of a text gives its NFC form.

mod bytes;
mod chunk;
mod detok;
mod special;
mod vocab;

use std::fmt;
use std::ops::Range;

use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{PostProcessorWrapper, SplitDelimiterBehavior, TokenizerImpl};

pub use detok::{Detokenizer, Utf8Stream};
pub use vocab::{PRES, TokenKind, Vocab};

use crate::error::{Error, Result};
use special::{Finder, Piece};

/// The split before the merges, as Qwen2 and Qwen3 publish it.
pub const SPLIT: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Texts of tokens that end a turn whatever `eos_token_id` says: Qwen3's generation config lists both.
const END_OF_TURN: [&str; 2] = ["<|im_end|>", "<|endoftext|>"];

type Encoder = TokenizerImpl<BPE, NFC, PreTokenizerWrapper, PostProcessorWrapper, ByteLevel>;

/// Which added tokens a text may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// Control and user-defined tokens: for text of the template, of the program, of who owns the prompt.
    Parse,
    /// User-defined tokens only: `<|im_end|>` stays nine characters of text, `<think>` and `<tool_response>` are the
    /// tokens they are in training data, where they too stand within messages.
    Literal,
}

/// A stretch of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The text.
    pub text: String,
    /// Whether control tokens written in it count. One that lies only partly in trusted text does not.
    pub trusted: bool,
}

/// A vocabulary ready for use. Immutable and `Sync`.
pub struct Tokenizer {
    encoder: Encoder,
    finder: Finder,
    tokens: Vec<String>,
    kinds: Vec<TokenKind>,
    ids: ahash::AHashMap<String, u32>,
    bytes: bytes::ByteTable,
    eog: Vec<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    add_bos: bool,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("vocab_len", &self.tokens.len()).field("eog", &self.eog).finish()
    }
}

/// An error of the `tokenizers` crate, which its checks beforehand should have made impossible.
fn internal(e: impl fmt::Display) -> Error {
    Error::runtime(format!("the tokenizer failed: {e}"))
}

impl Tokenizer {
    /// Checks `vocab` and builds the encoder.
    ///
    /// # Errors
    /// `Unsupported` for another `model` or `pre`, `File` for arrays that contradict each other; both name the key.
    pub fn from_vocab(vocab: Vocab) -> Result<Self> {
        let checked = vocab.check()?;
        let kind_of = |id: u32| checked.kinds[id as usize];
        let model: ahash::AHashMap<String, u32> = (checked.ids.iter())
            .filter(|(_, id)| vocab::is_plain(kind_of(**id)))
            .map(|(text, id)| (text.clone(), *id))
            .collect();
        let encoder = build_encoder(model, checked.merges)?;
        let tokens = vocab.tokens.iter().zip(&checked.kinds).enumerate();
        let finder = Finder::new(tokens.map(|(id, (text, kind))| (id as u32, *kind, text.as_str())))?;
        let turn_ends = END_OF_TURN.iter().filter_map(|text| checked.ids.get(*text).copied());
        let mut eog: Vec<u32> = turn_ends.chain(vocab.eos).chain(vocab.eot).collect();
        eog.sort_unstable();
        eog.dedup();
        Ok(Self {
            encoder,
            finder,
            tokens: vocab.tokens,
            kinds: checked.kinds,
            ids: checked.ids,
            bytes: checked.bytes,
            eog,
            bos: vocab.bos,
            eos: vocab.eos,
            pad: vocab.pad,
            add_bos: vocab.add_bos,
        })
    }

    /// The ids of `text`. Neither `bos` nor anything else is added.
    ///
    /// # Errors
    /// Only if the encoder itself fails.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<u32>> {
        let everywhere = 0..text.len();
        self.encode_except(text, if specials == Specials::Parse { &[] } else { std::slice::from_ref(&everywhere) })
    }

    /// The ids of the joined segments. Their borders do not part words: ids are those of the whole text, but for the
    /// control tokens that do not count because they are not wholly in trusted text.
    ///
    /// # Errors
    /// Only if the encoder itself fails.
    pub fn encode_segments(&self, segments: &[Segment]) -> Result<Vec<u32>> {
        let mut text = String::with_capacity(segments.iter().map(|s| s.text.len()).sum());
        let mut untrusted = vec![];
        for segment in segments {
            let start = text.len();
            text.push_str(&segment.text);
            if !segment.trusted && !segment.text.is_empty() {
                untrusted.push(start..text.len());
            }
        }
        self.encode_except(&text, &untrusted)
    }

    fn encode_except(&self, text: &str, untrusted: &[Range<usize>]) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 1);
        self.finder.split(text, untrusted, |piece| match piece {
            Piece::Token(id) => {
                ids.push(id);
                Ok(())
            }
            Piece::Text(text) => self.encode_chunked(text, chunk::CHUNK, &mut ids),
        })?;
        Ok(ids)
    }

    fn encode_chunked(&self, text: &str, limit: usize, ids: &mut Vec<u32>) -> Result<()> {
        for piece in chunk::pieces(text, limit) {
            let encoding = self.encoder.encode_fast(piece, false).map_err(internal)?;
            ids.extend_from_slice(encoding.get_ids());
        }
        Ok(())
    }

    /// The text of `ids`, control tokens included; bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.bytes(id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// A streaming detokenizer for one answer.
    pub fn stream(&self) -> Detokenizer<'_> {
        Detokenizer::new(self)
    }

    /// The bytes for which `id` stands; empty when there is no such token.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id)
    }

    /// The token as the file writes it (byte-level alphabet); `None` when there is no such token.
    pub fn text(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }

    /// What kind of token `id` is; `None` when there is no such token.
    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    /// Number of tokens, padding included: valid ids are below it.
    pub fn vocab_len(&self) -> usize {
        self.tokens.len()
    }

    /// The id of the token that the file writes as `text`; padding is not found.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    /// Whether `id` ends the generation.
    pub fn is_eog(&self, id: u32) -> bool {
        self.eog.binary_search(&id).is_ok()
    }

    /// All ids that end the generation, ascending.
    pub fn eog(&self) -> &[u32] {
        &self.eog
    }

    /// `eos_token_id`.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// `bos_token_id`.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// `padding_token_id`.
    pub fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// The token that a raw prompt must start with, if the file asks for one (Qwen3 does not).
    pub fn bos_to_add(&self) -> Option<u32> {
        self.bos.filter(|_| self.add_bos)
    }

    /// Texts of all control tokens, by id.
    pub fn control_tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().zip(&self.kinds).filter(|(_, kind)| **kind == TokenKind::Control).map(|(text, _)| &**text)
    }

    /// Ids that no text makes and no sampler may choose: the padding of the vocabulary.
    pub fn unused(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.kinds).filter(|(_, kind)| **kind == TokenKind::Unused).map(|(id, _)| id)
    }
}

fn build_encoder(vocab: ahash::AHashMap<String, u32>, merges: Vec<(String, String)>) -> Result<Encoder> {
    let bpe = BPE::builder().vocab_and_merges(vocab, merges).build().map_err(internal)?;
    let pattern = SplitPattern::Regex(SPLIT.to_string());
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(internal)?;
    let byte_level = ByteLevel::new(false, false, false);
    let pre = PreTokenizerWrapper::Sequence(Sequence::new(vec![split.into(), byte_level.into()]));
    let mut encoder = Encoder::new(bpe);
    encoder.with_normalizer(Some(NFC)).map_err(internal)?;
    encoder.with_pre_tokenizer(Some(pre));
    Ok(encoder)
}

#[cfg(test)]
pub(crate) mod tests;
