//! When thinking is ended for the model, and with which words.
//!
//! Three limits apply: the budget, what is kept for the answer, and a request from outside. The first two are never
//! overrun: in the last part before them the end of a sentence is waited for, and at the limit thinking is cut. A
//! quarter of all tokens that the generation may have is kept for the answer. Where a quarter is too short for the
//! sentence that Qwen3 knows ("Considering the limited time by the user..."), thinking is closed without it; where
//! there is no room for that either, nothing is kept and [`Due::NoReserve`] says so.

use super::Why;

/// The sentence with which Qwen3's documentation ends thinking early.
pub const EARLY_STOP: &str = "Considering the limited time by the user, I have to give the solution based on the \
                              thinking directly now.\n";
/// What closes thinking, as the template writes it.
pub const CLOSE: &str = "</think>\n\n";

/// The part of all tokens that is kept for the answer: one in so many.
pub const ANSWER_SHARE: usize = 4;
/// Most tokens before a limit in which the end of a sentence is waited for.
const MOST_GRACE: usize = 64;
/// The same as a part of the limit: one in so many.
const GRACE_SHARE: usize = 8;
/// How long the end of a sentence is waited for after a request.
const ASKED_GRACE: usize = 24;

/// How many tokens the two ways to close thinking take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// With the sentence.
    pub sentence: usize,
    /// Without.
    pub bare: usize,
}

/// What bounds thinking now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Most tokens of thinking.
    pub budget: Option<usize>,
    /// Tokens that the whole generation may have.
    pub total: Option<usize>,
    /// Whether it was asked for to end.
    pub asked: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Go on.
    No,
    /// Go on, although nothing can be kept for the answer.
    NoReserve,
    /// Close thinking.
    Close {
        /// Why.
        why: Why,
        /// Whether with the sentence.
        sentence: bool,
    },
}

/// Thinking as it goes on.
#[derive(Clone, Debug, Default)]
pub struct Thinking {
    /// Tokens of it so far.
    tokens: usize,
    /// Tokens of the generation before it.
    before: usize,
    /// Since how many tokens its end is asked for.
    asked: Option<usize>,
    /// The end of its text.
    tail: String,
}

impl Thinking {
    /// Thinking that the prompt opened, with a line break.
    pub fn of_prompt() -> Self {
        Self { tail: "\n".to_owned(), ..Self::default() }
    }

    /// Thinking that the model opened, after so many tokens of the generation.
    pub fn of_model(before: usize) -> Self {
        Self { before, ..Self::default() }
    }

    /// Tokens of it so far.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Takes one more token of it.
    pub fn push(&mut self, text: &str) {
        self.tokens += 1;
        self.tail.push_str(text);
        if self.tail.len() > 64 {
            let cut = (self.tail.len() - 32..).find(|&i| self.tail.is_char_boundary(i)).unwrap_or(0);
            self.tail.drain(..cut);
        }
    }

    /// What is to be done before the next token.
    pub fn due(&mut self, limits: Limits, lengths: Lengths) -> Due {
        let asked = limits.asked.then(|| *self.asked.get_or_insert(self.tokens));
        let border = self.tokens == 0 || ends_sentence(&self.tail);
        if let Some(since) = asked
            && (border || self.tokens >= since + ASKED_GRACE)
        {
            return Due::Close { why: Why::Asked, sentence: true };
        }
        let reached = |most: usize| {
            let grace = (most / GRACE_SHARE).min(MOST_GRACE);
            self.tokens >= most || border && self.tokens + grace >= most
        };
        if limits.budget.is_some_and(reached) {
            return Due::Close { why: Why::Budget, sentence: limits.budget != Some(0) };
        }
        let Some(total) = limits.total else { return Due::No };
        let Some((most, sentence)) = self.room(total, lengths) else { return Due::NoReserve };
        if reached(most) { Due::Close { why: Why::Reserve { limit: total }, sentence } } else { Due::No }
    }

    /// Most tokens of thinking that leave room to close it and for the answer, and whether the sentence fits too.
    fn room(&self, total: usize, lengths: Lengths) -> Option<(usize, bool)> {
        let reserve = total.div_ceil(ANSWER_SHARE);
        let sentence = lengths.sentence <= reserve;
        let close = if sentence { lengths.sentence } else { lengths.bare };
        let most = total.checked_sub(self.before + reserve + close)?;
        (most > 0).then_some((most, sentence))
    }

    /// The words that close it here.
    pub fn words(&self, sentence: bool) -> String {
        let trimmed = self.tail.trim_end_matches('\n');
        let breaks = self.tail.len() - trimmed.len();
        // Nothing thought: an empty block, as the template writes it.
        let wanted = if sentence || self.tokens == 0 { 2 } else { 1 };
        let lead = "\n".repeat(usize::saturating_sub(wanted, breaks));
        format!("{lead}{}{CLOSE}", if sentence { EARLY_STOP } else { "" })
    }
}

/// Whether a sentence, a paragraph or a line ends with the text. A full stop after a digit may be a decimal point or
/// the number of a list, so it ends nothing.
fn ends_sentence(text: &str) -> bool {
    let text = text.trim_end_matches(' ');
    let open = text.trim_end_matches(['"', '\'', ')', '*', '”', '’', '」']);
    let mut last = open.chars().rev();
    match last.next() {
        None => false,
        Some('\n' | '!' | '?' | '…' | '。' | '！' | '？') => true,
        Some('.') => !last.next().is_some_and(|c| c.is_ascii_digit()),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTHS: Lengths = Lengths { sentence: 25, bare: 3 };

    /// At which token of thinking, of a text of `border`-long sentences, an end is due, and how.
    fn ends(limits: Limits, border: usize) -> (usize, Due) {
        let mut thinking = Thinking::of_model(0);
        for i in 1..10_000 {
            match thinking.due(limits, LENGTHS) {
                Due::Close { why, sentence } => return (thinking.tokens(), Due::Close { why, sentence }),
                Due::NoReserve => return (thinking.tokens(), Due::NoReserve),
                Due::No => thinking.push(if i % border == 0 { " end." } else { " word" }),
            }
        }
        (thinking.tokens(), Due::No)
    }

    #[test]
    fn a_budget_is_never_overrun_and_ends_at_a_border_when_one_is_near() {
        let budget = |n| Limits { budget: Some(n), ..Limits::default() };
        let due = |sentence| Due::Close { why: Why::Budget, sentence };
        assert_eq!(ends(budget(100), 10), (90, due(true)));
        assert_eq!(ends(budget(100), 1000), (100, due(true)), "no border is near");
        assert_eq!(ends(budget(100), 93), (93, due(true)));
        assert_eq!(ends(budget(0), 10), (0, due(false)));
        assert_eq!(ends(budget(1), 10), (1, due(true)));
        assert_eq!(ends(Limits::default(), 10).1, Due::No);
    }

    #[test]
    fn a_quarter_is_kept_for_the_answer() {
        let total = |n| Limits { total: Some(n), ..Limits::default() };
        let (at, due) = ends(total(400), 1000);
        assert_eq!((at, due), (400 - 100 - 25, Due::Close { why: Why::Reserve { limit: 400 }, sentence: true }));
        let (at, due) = ends(total(40), 1000);
        assert_eq!((at, due), (40 - 10 - 3, Due::Close { why: Why::Reserve { limit: 40 }, sentence: false }));
        assert_eq!(ends(total(4), 10), (0, Due::NoReserve));
        let both = Limits { budget: Some(50), total: Some(400), asked: false };
        assert_eq!(ends(both, 1000).0, 50, "the smaller one counts");
    }

    #[test]
    fn a_request_waits_for_the_border_but_not_long() {
        let asked = Limits { asked: true, ..Limits::default() };
        let mut thinking = Thinking::of_model(0);
        thinking.push("Well");
        let mut waited = 0;
        while thinking.due(asked, LENGTHS) == Due::No {
            thinking.push(" so");
            waited += 1;
        }
        assert_eq!(waited, ASKED_GRACE);
        let mut near = Thinking::of_model(0);
        near.push("Well");
        assert_eq!(near.due(asked, LENGTHS), Due::No);
        near.push(" done.");
        assert_eq!(near.due(asked, LENGTHS), Due::Close { why: Why::Asked, sentence: true });
    }

    #[test]
    fn borders() {
        for text in ["a.", "a. ", "a?\"", "x\n", "是的。", "ok.)", "no!", "**Done.**"] {
            assert!(ends_sentence(text), "{text:?}");
        }
        for text in ["", "a", "3.", "a,", "1) ", "(", "\""] {
            assert!(!ends_sentence(text), "{text:?}");
        }
    }

    #[test]
    fn the_closing_words_stand_on_their_own_lines() {
        let after = |text: &str, sentence| {
            let mut thinking = Thinking::of_model(0);
            thinking.push(text);
            thinking.words(sentence)
        };
        let stop = format!("{EARLY_STOP}{CLOSE}");
        assert_eq!(after("So.", true), format!("\n\n{stop}"));
        assert_eq!(after("So.\n", true), format!("\n{stop}"));
        assert_eq!(after("So.\n\n", true), stop);
        assert_eq!(after("So.", false), format!("\n{CLOSE}"));
        assert_eq!(Thinking::of_model(0).words(false), format!("\n\n{CLOSE}"));
        assert_eq!(
            Thinking::of_prompt().words(false),
            format!("\n{CLOSE}"),
            "an empty block, as the template writes it"
        );
    }
}
