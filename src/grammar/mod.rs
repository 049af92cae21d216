//! Output of a given form: a JSON schema or a grammar, kept to by masking what may not come next.
//!
//! [`Source`] is what the user gave, [`Compiler`] knows the vocabulary, [`Constraint`] follows one output. The parser
//! is llguidance's; GBNF is first written as Lark (`gbnf.rs`). Invariants: a token that the mask lets through can always
//! be accepted; a token that ends generation is let through only where the output is complete; control tokens and the
//! tokens of thinking and tool calls never come within an output.

mod gbnf;
mod source;

pub use source::Source;

use crate::error::{Error, Result};
use crate::tokenizer::{TokenKind, Tokenizer};
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use std::sync::Arc;

/// Most symbols that a grammar may have once it is compiled.
const MAX_GRAMMAR: usize = 200_000;
/// Most states of its lexer, each 1 to 2 KB.
const MAX_LEXER_STATES: usize = 100_000;

/// Makes constraints over one vocabulary. Building it takes up to a second and 100 MB on Qwen3's vocabulary, so it is
/// to be made when a form is first asked for.
pub struct Compiler {
    factory: ParserFactory,
}

impl Compiler {
    /// A compiler for a tokenizer's vocabulary.
    ///
    /// # Errors
    /// When no token ends generation, so that nothing could ever be complete.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let Some(&eos) = tokenizer.eog().first() else {
            return Err(Error::unsupported(
                "the model's tokenizer has no token that ends an answer, which structured output needs",
            ));
        };
        let words: Vec<Vec<u8>> = (0..tokenizer.vocab_len() as u32).map(|id| word(tokenizer, id)).collect();
        let info = TokRxInfo::new(words.len() as u32, eos);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(tokenizer.eog());
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory = ParserFactory::new_simple(&env).map_err(|e| Error::runtime(format!("{e:#}")))?;
        factory.quiet();
        let limits = factory.limits_mut();
        limits.max_grammar_size = MAX_GRAMMAR;
        limits.max_lexer_states = MAX_LEXER_STATES;
        limits.verbose_errors = false;
        Ok(Self { factory })
    }

    /// A constraint at the beginning of an output.
    ///
    /// # Errors
    /// When the schema or grammar is not one, or uses what is not supported; the message says where.
    pub fn compile(&self, source: &Source) -> Result<Constraint> {
        let wrong = |e: String| Error::usage(format!("{}: {}", source.name(), plain(&e)));
        let parser = self.factory.create_parser(source.grammar_for_parser()).map_err(|e| wrong(format!("{e:#}")))?;
        let mut matcher = Matcher::new(Ok(parser));
        if let Some(e) = matcher.get_error() {
            return Err(wrong(e));
        }
        let warnings = matcher.grammar_warnings();
        // A grammar that allows nothing at all is found here and not after the prompt was read.
        matcher.compute_mask_or_eos().map_err(|e| wrong(format!("nothing can match it: {e:#}")))?;
        Ok(Constraint { matcher, name: source.name(), warnings })
    }
}

/// The bytes for which the parser takes a token; none for padding, a mark of its own for all that is no text.
fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let bytes = tokenizer.bytes(id);
    match tokenizer.kind(id) {
        Some(TokenKind::Normal | TokenKind::Byte) => bytes.to_vec(),
        Some(TokenKind::Control | TokenKind::UserDefined) => [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat(),
        Some(TokenKind::Unused | TokenKind::Unknown) | None => Vec::new(),
    }
}

/// A message of the parser's without its debugging parts.
fn plain(message: &str) -> String {
    let end = ["\n<state>", "\n<non-verbose/>", "\n<backtrace>"].iter().filter_map(|mark| message.find(mark)).min();
    message[..end.unwrap_or(message.len())].trim_end().to_owned()
}

/// One output that is kept to a form.
pub struct Constraint {
    matcher: Matcher,
    name: &'static str,
    warnings: Vec<String>,
}

impl Constraint {
    /// What the compiler has to say about the form: keywords that are followed in part only.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Sets the logits of all tokens that may not come next to -inf; `also` is let through whatever the form says.
    ///
    /// # Errors
    /// When the form has become too complex to follow.
    pub fn mask(&mut self, logits: &mut [f32], also: Option<u32>) -> Result<()> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|e| self.failed(&e.to_string()))?;
        let words = mask.as_slice();
        let kept = also.and_then(|id| logits.get(id as usize).copied());
        for (block, &word) in logits.chunks_mut(32).zip(words.iter().chain(std::iter::repeat(&0))) {
            if word == u32::MAX {
                continue;
            }
            for (bit, logit) in block.iter_mut().enumerate() {
                if word >> bit & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        if let (Some(id), Some(logit)) = (also, kept) {
            logits[id as usize] = logit;
        }
        Ok(())
    }

    /// Takes the token that came.
    ///
    /// # Errors
    /// When the mask would not have let it through, or the form has become too complex to follow.
    pub fn accept(&mut self, token: u32) -> Result<()> {
        self.matcher.consume_token(token).map_err(|e| self.failed(&e.to_string()))
    }

    /// Whether nothing more can come but the end.
    pub fn is_finished(&self) -> bool {
        self.matcher.is_stopped()
    }

    /// Whether the output so far is whole.
    pub fn is_complete(&mut self) -> bool {
        self.is_finished() && !self.matcher.is_error() || self.matcher.is_accepting().unwrap_or(false)
    }

    fn failed(&self, message: &str) -> Error {
        Error::runtime(format!("the {} cannot be followed any further: {}", self.name, plain(message)))
    }
}
