//! Finds endless repetition in text as it is generated.
//!
//! Three signs, from the surest to the broadest:
//! 1. **The same tokens over and over** (`exact.rs`), with any period up to [`exact::MAX_PERIOD`].
//! 2. **Prose that says nothing new** (`phrases.rs`): in a long stretch of sentences nearly every run of four words has
//!    come at least three times before, whatever numbers change between them.
//! 3. **A list that only counts on** (`phrases.rs`): a very long stretch where nothing changes but numbers, and those only
//!    repeat or go up by one.
//!
//! What ordinary text repeats is let through by what each sign leaves out: tables, code and drawings are no prose, and
//! need far more repeats; refrains and the like bring new words in between; a count that goes down ends by itself;
//! figures that are computed neither repeat nor go up by one. The tests state the bounds and hold them against
//! ordinary texts. Invariant: the same tokens and texts give the same findings; no clock, no randomness.

pub mod exact;
mod lexer;
pub mod phrases;

use exact::Exact;
use phrases::Phrases;
use std::fmt;

/// How text repeats itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// The same tokens.
    Exact {
        /// How many.
        period: usize,
        /// How often.
        times: usize,
    },
    /// So many words of prose with nothing new in them.
    Phrases {
        /// Words.
        words: usize,
    },
    /// So many words, numbers and marks in which nothing changes but a count.
    Counting {
        /// Words, numbers and marks.
        lexemes: usize,
    },
}

impl Repetition {
    /// About how many tokens must be looked at to see what repeats.
    pub fn span(self) -> usize {
        match self {
            Self::Exact { period, .. } => period,
            Self::Phrases { .. } | Self::Counting { .. } => 256,
        }
    }
}

impl fmt::Display for Repetition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact { period: 1, times } => write!(f, "the same token {times} times"),
            Self::Exact { period, times } => write!(f, "the same {period} tokens {times} times"),
            Self::Phrases { words } => write!(f, "nothing new in {words} words"),
            Self::Counting { lexemes } => write!(f, "nothing but a count changes in {lexemes} words and marks"),
        }
    }
}

/// Looks at one phase of a text, thinking or answer.
#[derive(Clone, Debug)]
pub struct Detector {
    exact: Exact,
    phrases: Phrases,
}

impl Detector {
    /// For thinking, which has less reason to repeat itself, or for an answer.
    pub fn new(thinking: bool) -> Self {
        Self { exact: Exact::new(thinking), phrases: Phrases::new(thinking) }
    }

    /// Takes a token and the text that became certain with it; says how the text repeats itself, if it does.
    pub fn push(&mut self, token: u32, text: &str) -> Option<Repetition> {
        let exact = self.exact.push(token, text);
        let phrases = self.phrases.push(text);
        exact.or(phrases)
    }

    /// Something was done about it: from here on a shorter stretch is enough to find that the repetition goes on.
    pub fn look_again(&mut self) {
        self.exact.look_again();
        self.phrases.look_again();
    }
}
