//! What keeps a generation from going wrong: a budget for thinking, room kept for the answer, endless repetition
//! noticed, a full context dealt with as the user chose.
//!
//! Here are the settings, what the caller is told ([`Notice`]), and the parts that judge text: [`loops`] finds endless
//! repetition, [`phase`] knows whether the text is thinking, [`closing`] decides when and how thinking ends. The
//! generation itself is in the engine, which asks them at every token. Invariants: nothing here looks at a clock or at
//! randomness, so the same tokens give the same decisions; nothing is done without a [`Notice`].

pub mod closing;
pub mod loops;
pub mod phase;

use crate::error::{Error, Result};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

pub use loops::Repetition;
pub use phase::Start;

/// What is to happen when the context is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Refuse beforehand a request that may not fit: the prompt and as many tokens as were asked for.
    Error,
    /// Generate until the context is full, and say so.
    #[default]
    Stop,
    /// When it is full, forget the oldest half of what comes after the kept beginning and go on.
    Shift,
    /// Leave out the oldest messages of the conversation, thoughts first (for whoever has the messages); within an
    /// answer as [`Overflow::Stop`].
    DropOldest,
}

/// The policies by the names they have on the command line.
pub const OVERFLOWS: [(&str, Overflow); 4] = [
    ("error", Overflow::Error),
    ("stop", Overflow::Stop),
    ("shift", Overflow::Shift),
    ("drop-oldest", Overflow::DropOldest),
];

impl Overflow {
    /// Refuses beforehand, under [`Overflow::Error`], what may not fit: a prompt and `limit` tokens after it.
    ///
    /// # Errors
    /// `Limit`, with all numbers.
    pub fn refuse(self, prompt: usize, limit: Option<usize>, n_ctx: usize) -> Result<()> {
        // The last token is not read, so it needs no place.
        let needed = prompt.saturating_add(limit.unwrap_or(1)).saturating_sub(1);
        if self != Self::Error || needed <= n_ctx {
            return Ok(());
        }
        Err(Error::limit(format!(
            "the prompt has {prompt} tokens and {} more were asked for, but the context has {n_ctx} \
             (--overflow error); use -c {needed}, or fewer tokens",
            limit.unwrap_or(1)
        )))
    }
}

/// The guards of one generation.
#[derive(Clone, Debug, Default)]
pub struct Guards {
    /// Budget and requests that may change while it runs.
    pub control: Arc<Control>,
    /// Whether endless repetition is looked for.
    pub loop_guard: bool,
    /// What is to happen when the context is full.
    pub overflow: Overflow,
    /// Tokens at the beginning of the sequence that [`Overflow::Shift`] never drops.
    pub keep: usize,
}

/// What others may say while a generation runs: from another thread, or from a key that is pressed.
#[derive(Debug)]
pub struct Control {
    /// Most tokens of thinking; -1 for no limit.
    budget: AtomicI64,
    end_thinking: AtomicBool,
}

impl Default for Control {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Control {
    /// With a budget of that many tokens of thinking; `None` for no limit.
    pub fn new(budget: Option<usize>) -> Self {
        let control = Self { budget: AtomicI64::new(-1), end_thinking: AtomicBool::new(false) };
        control.set_budget(budget);
        control
    }

    /// Changes the budget, from the next token on.
    pub fn set_budget(&self, budget: Option<usize>) {
        let number = budget.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX));
        self.budget.store(number, Ordering::Relaxed);
    }

    /// The budget now.
    pub fn budget(&self) -> Option<usize> {
        usize::try_from(self.budget.load(Ordering::Relaxed)).ok()
    }

    /// Asks that thinking ends at the next border of a sentence. Without effect when the text is not thinking.
    pub fn end_thinking(&self) {
        self.end_thinking.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked and not yet done.
    pub fn asked_to_end(&self) -> bool {
        self.end_thinking.load(Ordering::Relaxed)
    }

    /// It was done, or there is nothing to do.
    pub fn clear_end(&self) {
        self.end_thinking.store(false, Ordering::Relaxed);
    }
}

/// Why thinking was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its budget was used up.
    Budget,
    /// The rest of the limit (of tokens, or of the context) is kept for the answer.
    Reserve {
        /// Tokens that the whole generation may have.
        limit: usize,
    },
    /// Someone asked for it.
    Asked,
    /// It repeated itself.
    Loop,
    /// The model ended its turn without having answered.
    NoAnswer,
}

/// Something that was done to a generation, for the caller to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Thinking was ended after so many tokens.
    ThinkingEnded {
        /// Tokens of thinking.
        tokens: usize,
        /// Why.
        why: Why,
    },
    /// The limit is too small to think and to answer, so nothing could be kept for the answer.
    NoReserve {
        /// Tokens that the whole generation may have.
        limit: usize,
    },
    /// The text repeats itself: the presence penalty was raised.
    Penalized(Repetition),
    /// The text still repeated itself: the generation was stopped.
    LoopStopped(Repetition),
    /// The context was full: the oldest tokens were forgotten.
    Shifted {
        /// How many were forgotten.
        dropped: usize,
        /// How many at the beginning were kept.
        kept: usize,
    },
    /// The context is full, and the kept beginning leaves too little room to forget anything.
    CannotShift,
    /// The limit came before the output was all that its grammar or schema asks for.
    Incomplete,
}

/// The presence penalty that a repeating text gets: what Qwen3's card advises at most against endless repetition.
pub const PRESENCE: f32 = 1.5;

impl Notice {
    /// Whether the result is not what was asked for, so that it should be said as a warning.
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::NoReserve { .. } | Self::LoopStopped(_) | Self::CannotShift | Self::Incomplete)
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThinkingEnded { tokens, why } => {
                write!(f, "thinking was ended after {tokens} tokens: ")?;
                match why {
                    Why::Budget => write!(f, "its budget is used up (--reasoning-budget)"),
                    Why::Reserve { limit } => write!(f, "the rest of the {limit} tokens is kept for the answer"),
                    Why::Asked => write!(f, "as asked"),
                    Why::Loop => write!(f, "it repeated itself (--no-loop-guard lets it)"),
                    Why::NoAnswer => write!(f, "the model was about to stop without an answer"),
                }
            }
            Self::NoReserve { limit } => {
                write!(f, "{limit} tokens are too few to think and to answer; thinking may use all of them")
            }
            Self::Penalized(what) => {
                write!(f, "the text repeats itself ({what}): the presence penalty is {PRESENCE} for now")
            }
            Self::LoopStopped(what) => {
                write!(f, "stopped: the text repeats itself without end ({what}); --no-loop-guard lets it")
            }
            Self::Shifted { dropped, kept } => write!(
                f,
                "the context was full: {dropped} tokens after the first {kept} were forgotten (--overflow shift)"
            ),
            Self::CannotShift => write!(
                f,
                "the context is full, and what must be kept fills too much of it to forget anything; use a larger -c"
            ),
            Self::Incomplete => {
                write!(f, "the output was cut off: it is not complete by its grammar or schema; allow more tokens")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_error_refuses_beforehand() {
        assert!(Overflow::Error.refuse(10, Some(91), 100).is_ok(), "the last token is not read");
        let e = Overflow::Error.refuse(10, Some(92), 100).unwrap_err().to_string();
        assert!(e.contains("10 tokens and 92") && e.contains("-c 101"), "{e}");
        assert!(Overflow::Error.refuse(100, None, 100).is_ok());
        assert!(Overflow::Error.refuse(101, None, 100).is_err());
        for policy in [Overflow::Stop, Overflow::Shift, Overflow::DropOldest] {
            assert!(policy.refuse(10, Some(1000), 100).is_ok());
        }
    }

    #[test]
    fn the_budget_can_change_and_requests_are_kept() {
        let control = Control::new(Some(7));
        assert_eq!(control.budget(), Some(7));
        control.set_budget(None);
        assert_eq!(control.budget(), None);
        control.set_budget(Some(0));
        assert_eq!(control.budget(), Some(0));
        assert!(!control.asked_to_end());
        control.end_thinking();
        assert!(control.asked_to_end());
        control.clear_end();
        assert!(!control.asked_to_end());
    }
}
