//! Counts and times of answers, and the lines that show them.

use crate::chat::Mode;
pub use crate::cli::term::thousands as count;
use crate::session::Plan;
use std::time::Duration;

/// One answer in figures.
#[derive(Clone, Copy, Debug)]
pub struct TurnStats {
    /// The prompt, and what of it was cached.
    pub plan: Plan,
    /// How long reading took.
    pub read: Duration,
    /// From the question to the first token.
    pub first_token: Option<Duration>,
    /// Tokens generated, thinking included.
    pub generated: usize,
    /// Of these, tokens of thinking.
    pub thinking: usize,
    /// How long generating took, the first token aside.
    pub generating: Duration,
    /// Tokens in the cache at the end.
    pub context: usize,
    /// Whether the model was to think.
    pub mode: Mode,
    /// Where its random numbers started.
    pub seed: u64,
}

fn rate(n: usize, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if n > 0 && seconds > 0.0 { format!("{:.2} tokens/s", n as f64 / seconds) } else { "- tokens/s".to_owned() }
}

fn percent(part: usize, whole: usize) -> String {
    if whole == 0 { "0 %".to_owned() } else { format!("{:.0} %", part as f64 * 100.0 / whole as f64) }
}

impl TurnStats {
    /// Lines for the user.
    pub fn lines(&self, n_ctx: usize) -> String {
        let Plan { total, cached } = self.plan;
        let new = self.plan.new_tokens();
        let first = self.first_token.map_or("-".to_owned(), |t| format!("{:.2} s", t.as_secs_f64()));
        let mode = if self.mode == Mode::Thinking { "thinking" } else { "non-thinking" };
        format!(
            "prompt: {} tokens, {} cached ({}), {} read in {:.2} s, {}\n\
             answer: {} tokens ({} of thinking), {}; first token after {first}\n\
             context: {} of {} tokens ({}); mode {mode}, seed {}",
            count(total),
            count(cached),
            percent(cached, total),
            count(new),
            self.read.as_secs_f64(),
            rate(new, self.read),
            count(self.generated),
            count(self.thinking),
            rate(self.generated.saturating_sub(1), self.generating),
            count(self.context),
            count(n_ctx),
            percent(self.context, n_ctx),
            self.seed
        )
    }
}

/// Sums over a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    answers: usize,
    prompt: usize,
    cached: usize,
    generated: usize,
    read: Duration,
    generating: Duration,
}

impl Totals {
    /// One more answer.
    pub fn add(&mut self, turn: &TurnStats) {
        self.answers += 1;
        self.prompt += turn.plan.total;
        self.cached += turn.plan.cached;
        self.generated += turn.generated;
        self.read += turn.read;
        self.generating += turn.generating;
    }

    /// A line for the user.
    pub fn line(&self) -> String {
        let new = self.prompt - self.cached;
        format!(
            "session: {} answers; prompts {} tokens, {} cached ({}), {} read, {}; {} generated, {}",
            count(self.answers),
            count(self.prompt),
            count(self.cached),
            percent(self.cached, self.prompt),
            count(new),
            rate(new, self.read),
            count(self.generated),
            rate(self.generated, self.generating)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_plainly() {
        let turn = TurnStats {
            plan: Plan { total: 8214, cached: 6100 },
            read: Duration::from_secs(50),
            first_token: Some(Duration::from_millis(50_100)),
            generated: 101,
            thinking: 60,
            generating: Duration::from_secs(10),
            context: 8314,
            mode: Mode::Thinking,
            seed: 7,
        };
        let lines = turn.lines(40960);
        assert_eq!(
            lines,
            "prompt: 8,214 tokens, 6,100 cached (74 %), 2,114 read in 50.00 s, 42.28 tokens/s\n\
             answer: 101 tokens (60 of thinking), 10.00 tokens/s; first token after 50.10 s\n\
             context: 8,314 of 40,960 tokens (20 %); mode thinking, seed 7"
        );
        let mut sum = Totals::default();
        assert!(sum.line().contains("0 answers") && sum.line().contains("0 cached (0 %)"));
        sum.add(&turn);
        sum.add(&turn);
        assert!(sum.line().starts_with("session: 2 answers; prompts 16,428 tokens, 12,200 cached (74 %), 4,228 read"));
    }
}
