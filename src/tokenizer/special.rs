//! Finds added tokens in a text: user-defined ones anywhere, control tokens only where the text is trusted.

use std::ops::Range;

use ahash::AHashMap;
use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};

use super::vocab::TokenKind;
use crate::error::{Error, Result};

/// What a stretch of text becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    /// Ordinary text, to be split and merged.
    Text(&'t str),
    /// One added token.
    Token(u32),
}

/// Searches for added tokens, leftmost first and then longest, as the `tokenizers` crate does.
pub(super) struct Finder {
    all: AhoCorasick,
    user_defined: AhoCorasick,
    ids: AHashMap<String, u32>,
    control: Vec<bool>,
}

impl Finder {
    /// `tokens`: id, kind and text of the vocabulary; only control and user-defined ones are kept.
    pub(super) fn new<'t>(tokens: impl Iterator<Item = (u32, TokenKind, &'t str)>) -> Result<Self> {
        let (mut all, mut user_defined, mut ids, mut control) = (vec![], vec![], AHashMap::new(), vec![]);
        for (id, kind, text) in tokens {
            let is_control = kind == TokenKind::Control;
            if text.is_empty() || !(is_control || kind == TokenKind::UserDefined) {
                continue;
            }
            all.push(text);
            control.push(is_control);
            ids.insert(text.to_string(), id);
            if !is_control {
                user_defined.push(text);
            }
        }
        let build = |patterns: &[&str]| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .start_kind(StartKind::Both)
                .build(patterns)
                .map_err(|e| Error::file(format!("the added tokens of tokenizer.ggml.tokens cannot be indexed: {e}")))
        };
        Ok(Self { all: build(&all)?, user_defined: build(&user_defined)?, ids, control })
    }

    /// Calls `take` with the pieces of `text` in order. A control token is seen only outside of `untrusted`, which
    /// are byte ranges in ascending order.
    pub(super) fn split<'t>(
        &self,
        text: &'t str,
        untrusted: &[Range<usize>],
        mut take: impl FnMut(Piece<'t>) -> Result<()>,
    ) -> Result<()> {
        let (mut done, mut from) = (0, 0);
        while let Some(found) = self.all.find(Input::new(text).range(from..)) {
            let mut span = found.span();
            if self.control[found.pattern().as_usize()] && touches(untrusted, span.start..span.end) {
                let here = Input::new(text).range(span.start..).anchored(Anchored::Yes);
                let Some(shorter) = self.user_defined.find(here) else {
                    from = text.ceil_char_boundary(span.start + 1);
                    continue;
                };
                span = shorter.span();
            }
            if done < span.start {
                take(Piece::Text(&text[done..span.start]))?;
            }
            take(Piece::Token(self.ids[&text[span.start..span.end]]))?;
            (done, from) = (span.end, span.end);
        }
        if done < text.len() { take(Piece::Text(&text[done..])) } else { Ok(()) }
    }
}

/// Whether `span` shares a byte with one of the ascending `ranges`.
fn touches(ranges: &[Range<usize>], span: Range<usize>) -> bool {
    let first = ranges.partition_point(|range| range.end <= span.start);
    ranges.get(first).is_some_and(|range| range.start < span.end)
}
