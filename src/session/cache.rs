//! What of a conversation the engine's cache holds, and the reading of the rest.
//!
//! Each turn renders the whole conversation anew. [`Cache::plan`] finds how much of the beginning is in the cache
//! already; [`Cache::read`] forgets what comes after it and reads on from there. The template takes thoughts out of
//! earlier turns, so after an answer the cache is good up to that turn's generation prompt, and of the answer only its
//! text is read again. Invariant: a position is kept only while all tokens up to it are the same.

use crate::engine::{Engine, Sequence, UBATCH};
use crate::error::Result;
use std::time::{Duration, Instant};

/// Fewest tokens read at once.
const LEAST: usize = 32;
/// How long reading shall go on before it looks whether it is still wanted.
const PATIENCE: Duration = Duration::from_millis(700);

/// How much of a prompt must be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Tokens of the whole prompt.
    pub total: usize,
    /// Of these, how many at the beginning are in the cache.
    pub cached: usize,
}

impl Plan {
    /// Tokens to read.
    pub fn new_tokens(&self) -> usize {
        self.total - self.cached
    }
}

/// What reading gave.
pub enum Reading {
    /// Logits after the last token, `[vocab]`.
    Done(Vec<f32>),
    /// It was stopped after so many of the new tokens; these stay in the cache.
    Stopped(usize),
}

/// The positions of one conversation.
#[derive(Default)]
pub struct Cache {
    seq: Sequence,
    /// Tokens per second of the last prompt worth measuring.
    rate: Option<f64>,
}

impl Cache {
    /// A cache that holds a sequence already.
    pub fn of(seq: Sequence) -> Self {
        Self { seq, rate: None }
    }

    /// The tokens it holds.
    pub fn tokens(&self) -> &[u32] {
        self.seq.tokens()
    }

    /// The sequence itself, to generate on.
    pub fn sequence(&mut self) -> &mut Sequence {
        &mut self.seq
    }

    /// The sequence, to be kept.
    pub fn kept(&self) -> &Sequence {
        &self.seq
    }

    /// How fast prompts are read, once known: tokens per second.
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// How much of a prompt the cache holds. Of a prompt that it holds wholly the last token counts as new, because its
    /// logits are wanted.
    pub fn plan(&self, prompt: &[u32]) -> Plan {
        let same = self.seq.tokens().iter().zip(prompt).take_while(|(a, b)| a == b).count();
        Plan { total: prompt.len(), cached: same.min(prompt.len().saturating_sub(1)) }
    }

    /// Forgets everything from position `len` on.
    pub fn truncate(&mut self, engine: &mut Engine, len: usize) {
        if len < self.seq.len() {
            self.seq.truncate(&mut engine.kv_mut().pages, len);
        }
    }

    /// Reads what the cache does not hold of `prompt`, after forgetting what does not belong to it. `more` hears how
    /// many of the new tokens were read, about every second, and says whether to go on.
    ///
    /// # Errors
    /// When the prompt does not fit the context; nothing changes then.
    pub fn read(
        &mut self,
        engine: &mut Engine,
        prompt: &[u32],
        more: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Reading> {
        let plan = self.plan(prompt);
        engine.check_fits(prompt.len())?;
        self.truncate(engine, plan.cached);
        let new = &prompt[plan.cached..];
        let started = Instant::now();
        let (mut done, mut piece) = (0, piece_of(self.rate));
        while done < new.len() {
            let end = (done + piece).min(new.len());
            let last = end == new.len();
            let began = Instant::now();
            let logits = engine.read(&mut self.seq, &new[done..end], usize::from(last), &mut |_| true)?;
            let read = end - done;
            done = end;
            let rate = |n: usize, since: Instant| n as f64 / since.elapsed().as_secs_f64().max(1e-6);
            piece = piece_of(Some(rate(read, began)));
            if done >= LEAST {
                self.rate = Some(rate(done, started));
            }
            if last {
                return Ok(Reading::Done(logits));
            }
            if !more(done) {
                break;
            }
        }
        Ok(Reading::Stopped(done))
    }
}

/// How many tokens to read at once, so that a wish to stop is heard soon. Where the borders fall changes no result.
fn piece_of(rate: Option<f64>) -> usize {
    match rate {
        Some(rate) => ((rate * PATIENCE.as_secs_f64()) as usize).clamp(LEAST, UBATCH).next_power_of_two(),
        None => UBATCH / 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_the_rate() {
        assert_eq!(piece_of(None), 128);
        assert_eq!(piece_of(Some(0.1)), 32);
        assert_eq!(piece_of(Some(f64::INFINITY)), 512);
        assert_eq!(piece_of(Some(100.0)), 128);
    }

    #[test]
    fn an_empty_cache_holds_nothing() {
        let cache = Cache::default();
        assert_eq!(cache.plan(&[1, 2, 3]), Plan { total: 3, cached: 0 });
        assert_eq!(cache.plan(&[]), Plan { total: 0, cached: 0 });
    }
}
