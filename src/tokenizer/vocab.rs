//! The vocabulary as it lies in a GGUF file, and the checks that make it safe to use: lengths agree, ids are in
//! range, no token occurs twice, every byte can be written, every merge joins tokens that exist.

use std::fmt;

use ahash::AHashMap;

use super::bytes::{ByteTable, symbol_of};
use crate::error::{Error, Result};

/// What a token is, as `tokenizer.ggml.token_type` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// Type 1: text, written in the byte-level alphabet.
    Normal,
    /// Type 2: stands for what cannot be encoded.
    Unknown,
    /// Type 3: structure of the conversation (`<|im_start|>`); only a trusted text may make it.
    Control,
    /// Type 4: a word with an id of its own (`<think>`); any text may make it.
    UserDefined,
    /// Type 5: padding of the vocabulary; never made, never to be sampled.
    Unused,
    /// Type 6: a single byte.
    Byte,
}

impl TokenKind {
    /// The kind with GGUF number `number`; `None` when there is none.
    pub fn from_number(number: i32) -> Option<Self> {
        use TokenKind::{Byte, Control, Normal, Unknown, Unused, UserDefined};
        [Normal, Unknown, Control, UserDefined, Unused, Byte]
            .get(usize::try_from(number).ok()?.checked_sub(1)?)
            .copied()
    }
}

/// The arrays and keys under `tokenizer.ggml` of one file, unchecked.
#[derive(Clone, Debug, Default)]
pub struct Vocab {
    /// `tokens`: the text of each id; normal tokens in the byte-level alphabet, the rest plain.
    pub tokens: Vec<String>,
    /// `token_type`: one number per token.
    pub types: Vec<i32>,
    /// `merges`: pairs of tokens parted by a space, the most urgent first.
    pub merges: Vec<String>,
    /// `pre`: name of the split that comes before the merges.
    pub pre: String,
    /// `model`: kind of vocabulary; this crate reads `gpt2`.
    pub model: String,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `eot_token_id`.
    pub eot: Option<u32>,
    /// `padding_token_id`.
    pub pad: Option<u32>,
    /// `add_bos_token`: whether a raw text starts with `bos`.
    pub add_bos: bool,
}

/// Names of `tokenizer.ggml.pre` that mean the split of Qwen2 and Qwen3.
pub const PRES: [&str; 2] = ["qwen2", "deepseek-r1-qwen"];

/// A checked vocabulary, taken apart into what the encoder and the byte table need.
pub(super) struct Checked {
    pub kinds: Vec<TokenKind>,
    pub ids: AHashMap<String, u32>,
    pub merges: Vec<(String, String)>,
    pub bytes: ByteTable,
}

fn bad(what: impl fmt::Display) -> Error {
    Error::file(format!("{what}; the file's tokenizer is broken: download it again or convert it anew"))
}

/// A token's text as an error shows it: quoted, and short however long it is.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("{short:?}{dots}")
}

impl Vocab {
    /// Checks everything the encoder relies on.
    ///
    /// # Errors
    /// `Unsupported` for another model or split, `File` for arrays that contradict each other.
    pub(super) fn check(&self) -> Result<Checked> {
        self.check_names()?;
        let kinds = self.check_kinds()?;
        self.check_named_ids()?;
        let ids = self.index(&kinds)?;
        let merges = self.check_merges(&ids, &kinds)?;
        let bytes = ByteTable::new(&self.tokens, &kinds)?;
        Ok(Checked { kinds, ids, merges, bytes })
    }

    fn check_names(&self) -> Result<()> {
        if self.model != "gpt2" {
            return Err(Error::unsupported(format!(
                "tokenizer.ggml.model is {}; this program reads \"gpt2\" (byte-level BPE), which Qwen3 uses",
                shown(&self.model)
            )));
        }
        if !PRES.contains(&self.pre.as_str()) {
            return Err(Error::unsupported(format!(
                "tokenizer.ggml.pre is {}; this program knows {}. If the file is a Qwen2 or Qwen3 all the same, pass \
                 --override-kv tokenizer.ggml.pre=str:qwen2",
                if self.pre.is_empty() { "missing".to_string() } else { shown(&self.pre) },
                PRES.join(", ")
            )));
        }
        Ok(())
    }

    fn check_kinds(&self) -> Result<Vec<TokenKind>> {
        if self.tokens.is_empty() {
            return Err(bad("tokenizer.ggml.tokens is missing or empty"));
        }
        if self.types.len() != self.tokens.len() {
            return Err(bad(format!(
                "tokenizer.ggml.token_type has {} entries, tokenizer.ggml.tokens has {}",
                self.types.len(),
                self.tokens.len()
            )));
        }
        if u32::try_from(self.tokens.len()).is_err() {
            return Err(bad(format!("tokenizer.ggml.tokens has {} entries, more than 32-bit ids", self.tokens.len())));
        }
        let kind = |(id, &number): (usize, &i32)| {
            TokenKind::from_number(number)
                .ok_or_else(|| bad(format!("tokenizer.ggml.token_type[{id}] is {number}; known are 1 to 6")))
        };
        self.types.iter().enumerate().map(kind).collect()
    }

    fn check_named_ids(&self) -> Result<()> {
        let named = [("bos", self.bos), ("eos", self.eos), ("eot", self.eot), ("padding", self.pad)];
        for (name, id) in named {
            if let Some(id) = id.filter(|&id| id as usize >= self.tokens.len()) {
                return Err(bad(format!(
                    "tokenizer.ggml.{name}_token_id is {id}, but there are only {} tokens",
                    self.tokens.len()
                )));
            }
        }
        if self.add_bos && self.bos.is_none() {
            return Err(bad("tokenizer.ggml.add_bos_token is true, but there is no tokenizer.ggml.bos_token_id"));
        }
        Ok(())
    }

    /// Text to id, padding left out.
    fn index(&self, kinds: &[TokenKind]) -> Result<AHashMap<String, u32>> {
        let mut ids = AHashMap::with_capacity(self.tokens.len());
        for (id, (token, kind)) in self.tokens.iter().zip(kinds).enumerate() {
            if *kind == TokenKind::Unused {
                continue;
            }
            if let Some(first) = ids.insert(token.clone(), id as u32) {
                return Err(bad(format!("tokenizer.ggml.tokens has {} twice: ids {first} and {id}", shown(token))));
            }
        }
        for byte in 0..=255 {
            let symbol = symbol_of(byte);
            if !ids.contains_key(symbol.encode_utf8(&mut [0; 4]) as &str) {
                return Err(bad(format!("tokenizer.ggml.tokens lacks {symbol:?}, which stands for byte {byte:#04x}")));
            }
        }
        Ok(ids)
    }

    fn check_merges(&self, ids: &AHashMap<String, u32>, kinds: &[TokenKind]) -> Result<Vec<(String, String)>> {
        let mut joined = String::new();
        let plain = |text: &str| ids.get(text).is_some_and(|&id| is_plain(kinds[id as usize]));
        let mut pairs = Vec::with_capacity(self.merges.len());
        for (i, merge) in self.merges.iter().enumerate() {
            let Some((left, right)) = merge.split_once(' ') else {
                return Err(bad(format!("tokenizer.ggml.merges[{i}] is {}, not two tokens and a space", shown(merge))));
            };
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            for part in [left, right, &joined] {
                if !plain(part) {
                    return Err(bad(format!(
                        "tokenizer.ggml.merges[{i}] is {}, but {} is not an ordinary token",
                        shown(merge),
                        shown(part)
                    )));
                }
            }
            pairs.push((left.to_string(), right.to_string()));
        }
        Ok(pairs)
    }
}

/// Whether the merges may make a token of this kind: never a control token, so that no text can spell one.
pub(super) fn is_plain(kind: TokenKind) -> bool {
    matches!(kind, TokenKind::Normal | TokenKind::UserDefined | TokenKind::Byte)
}
