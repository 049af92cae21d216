//! The flags of the guards and of structured output, for every command that answers.

use super::read_text;
use crate::error::Result;
use crate::grammar::Source;
use crate::guard::{Control, Guards, OVERFLOWS, Overflow};
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::path::Path;
use std::sync::Arc;

/// What keeps an answer from going wrong, and what form it must have.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Guards and form")]
pub struct GuardArgs {
    /// Most tokens of thinking; -1 for no limit, 0 for no thinking.
    ///
    /// Thinking ends at the last border of a sentence that fits, with the sentence that Qwen3 knows for it. Whatever
    /// the budget, a quarter of the tokens that -n or the context allows is kept for the answer.
    #[arg(long, value_name = "N", default_value = "-1", allow_negative_numbers = true, value_parser = budget)]
    pub reasoning_budget: Budget,
    /// Let the answer repeat itself without end.
    ///
    /// Without this flag endless repetition gets a presence penalty of 1.5; if it goes on, thinking is ended, or the
    /// answer stopped. Raw text and text under a grammar are never touched.
    #[arg(long)]
    pub no_loop_guard: bool,
    /// What to do when the context is full.
    ///
    /// stop: end the answer and say so. error: refuse beforehand what may not fit. shift: forget the oldest half of
    /// what comes after the prompt and go on. drop-oldest: leave out the oldest messages of the conversation.
    #[arg(long, value_name = "POLICY", default_value = "stop",
        value_parser = PossibleValuesParser::new(OVERFLOWS.map(|(name, _)| name)))]
    pub overflow: String,
    /// Answer with JSON that this schema allows; @FILE reads the schema from a file.
    #[arg(long, value_name = "SCHEMA|@FILE", conflicts_with_all = ["grammar", "json"])]
    pub json_schema: Option<String>,
    /// Answer with text of this grammar, Lark or GBNF; @FILE reads it from a file.
    #[arg(long, value_name = "TEXT|@FILE", conflicts_with = "json")]
    pub grammar: Option<String>,
    /// Answer with a JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Most tokens of thinking; `None` for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(pub Option<usize>);

/// Reads a budget, as `--reasoning-budget` has it.
///
/// # Errors
/// A sentence, when it is not a whole number of at least -1.
pub fn budget(text: &str) -> std::result::Result<Budget, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(Budget(None)),
        Ok(n @ 0..) => Ok(Budget(usize::try_from(n).ok())),
        _ => Err("expected a whole number from 0, or -1 for no limit".to_owned()),
    }
}

impl GuardArgs {
    /// The policy for a full context.
    pub fn overflow(&self) -> Overflow {
        OVERFLOWS.iter().find(|(name, _)| *name == self.overflow).map_or_else(Overflow::default, |(_, o)| *o)
    }

    /// The guards, with the first `keep` tokens never forgotten.
    pub fn guards(&self, keep: usize) -> Guards {
        let control = Arc::new(Control::new(self.reasoning_budget.0));
        Guards { control, loop_guard: !self.no_loop_guard, overflow: self.overflow(), keep }
    }

    /// The form that the answer must have, if one was asked for.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn form(&self) -> Result<Option<Source>> {
        if self.json {
            return Ok(Some(Source::json_object()));
        }
        if let Some(schema) = &self.json_schema {
            return Ok(Some(Source::json_schema(&text_or_file(schema)?)?));
        }
        self.grammar.as_ref().map(|grammar| Source::grammar(&text_or_file(grammar)?)).transpose()
    }
}

/// The text itself, or what is in the file of `@FILE`.
fn text_or_file(given: &str) -> Result<String> {
    given.strip_prefix('@').map_or_else(|| Ok(given.to_owned()), |path| read_text(Path::new(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets() {
        assert_eq!(budget("-1"), Ok(Budget(None)));
        assert_eq!(budget("0"), Ok(Budget(Some(0))));
        assert_eq!(budget("512"), Ok(Budget(Some(512))));
        for bad in ["-2", "x", "", "1.5"] {
            assert!(budget(bad).is_err(), "{bad}");
        }
    }
}
