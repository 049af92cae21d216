//! From logits to a token. Pure: no model, no files, no clock; the same settings, seed, logits and history give the
//! same token on every platform.
//!
//! The chain, in llama.cpp's default order:
//! 1. **Logit bias** is added. Banned tokens (padding rows of the vocabulary; those that end generation, under
//!    `ignore_eos`) get -inf, whatever their logit or bias.
//! 2. **Penalties** over the last `repeat_last_n` *generated* tokens (never the prompt's): the repeat penalty, then
//!    `count * frequency_penalty + presence_penalty` is taken away.
//! 3. **Top-k**, 4. **top-p**, 5. **min-p**, all at temperature 1, among what the step before left.
//! 6. **Temperature**, then one random number decides among what is left, in order of id. Greedy (temperature 0 or
//!    less) takes the best after step 2 and uses no random number.
//!
//! Equal logits are ordered by id, lower first. Probabilities are whole numbers (`weight.rs`), the search does not
//! sort the vocabulary (`candidates.rs`), and the result is exactly that of the plain form in `oracle.rs`.
//!
//! [`preset`] decides which settings are in force; [`stop`] finds stop strings in the text that comes out.

mod candidates;
#[cfg(test)]
mod oracle;
mod params;
pub mod preset;
mod probs;
mod rng;
pub mod stop;
mod vocab;
mod weight;

use std::collections::BTreeMap;
use std::sync::Arc;

use candidates::Candidates;
pub use params::{Effective, LogitBias, Origin, Params, Settings, Values};
pub use probs::LogProbs;
pub use rng::{Rng, fresh_seed};
pub use vocab::Vocab;
use weight::{LOWEST, floor_f32};

use crate::error::{Error, Result};

/// Draws the tokens of one sequence.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: Params,
    vocab: Arc<Vocab>,
    rng: Rng,
    /// All tokens accepted so far.
    generated: Vec<u32>,
    /// How often each token is in the window that the penalties look at.
    counts: BTreeMap<u32, u32>,
    candidates: Candidates,
}

/// What a [`Sampler`] needs to go on as if nothing had happened.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct State {
    /// State of the random numbers.
    pub rng: u64,
    /// All tokens generated so far.
    pub generated: Vec<u32>,
}

impl Sampler {
    /// A sampler at the start of a sequence. Refuses settings out of range and biases on tokens that do not exist.
    pub fn new(params: Params, vocab: Arc<Vocab>) -> Result<Self> {
        params.chain.check()?;
        for b in &params.logit_bias {
            let (token, rows) = (b.token, vocab.rows());
            if token as usize >= rows {
                return Err(Error::usage(format!("logit bias for token {token}, but the model has {rows} tokens")));
            }
            if vocab.is_banned(token) {
                return Err(Error::usage(format!(
                    "logit bias for token {token}, which is a padding row of the vocabulary and is never generated"
                )));
            }
            if !b.is_sound() {
                return Err(Error::usage(format!("logit bias {} for token {token} is out of range", b.bias)));
            }
        }
        let rng = Rng::new(params.seed);
        let (generated, counts, candidates) = Default::default();
        Ok(Self { params, vocab, rng, generated, counts, candidates })
    }

    /// The settings in force.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Chooses the next token from `logits` (one per row of the vocabulary), changing those that biases, bans and
    /// penalties concern. Does not record it: call [`Self::accept`] with the token that is really appended.
    ///
    /// Errors: wrong number of logits; a logit that is NaN or +inf; no token left to choose from.
    pub fn sample(&mut self, logits: &mut [f32]) -> Result<u32> {
        let (found, rows) = (logits.len(), self.vocab.rows());
        if found != rows {
            return Err(Error::runtime(format!("the sampler got {found} logits for a vocabulary of {rows} rows")));
        }
        self.patch(logits);
        let top = self.candidates.scan(logits).map_err(|token| {
            Error::runtime(format!(
                "the logit of token {token} is {}: the model's arithmetic broke down (damaged weights?)",
                logits[token]
            ))
        })?;
        if top == f32::NEG_INFINITY {
            return Err(Error::runtime("no token can be chosen: every token is banned or has a logit of -inf"));
        }
        if self.params.is_greedy() {
            return Ok(self.candidates.first_of(logits, top));
        }
        self.narrow(logits, top);
        Ok(self.draw(top))
    }

    /// Records a token that was appended to the sequence, drawn or forced; penalties count it from now on.
    pub fn accept(&mut self, token: u32) {
        self.generated.push(token);
        self.count(token);
    }

    /// Changes the presence penalty and how many of the last tokens the penalties look at, from the next token on.
    pub fn set_presence(&mut self, presence_penalty: f32, repeat_last_n: i32) {
        let chain = &mut self.params.chain;
        (chain.presence_penalty, chain.repeat_last_n) = (presence_penalty, repeat_last_n);
        self.counts.clear();
        let (len, window) = (self.generated.len(), usize::try_from(repeat_last_n).unwrap_or(usize::MAX));
        for &token in &self.generated[len.saturating_sub(window)..] {
            *self.counts.entry(token).or_insert(0) += 1;
        }
    }

    /// Tokens accepted so far.
    pub fn generated(&self) -> &[u32] {
        &self.generated
    }

    /// What is needed to go on from here later.
    pub fn state(&self) -> State {
        State { rng: self.rng.state, generated: self.generated.clone() }
    }

    /// Goes back (or on) to a state.
    pub fn restore(&mut self, state: &State) {
        self.rng.state = state.rng;
        self.counts.clear();
        self.generated.clear();
        for &token in &state.generated {
            self.accept(token);
        }
    }

    /// Counts the last accepted token in, and the one that falls out of the window out.
    fn count(&mut self, token: u32) {
        let window = self.params.chain.repeat_last_n;
        if window == 0 {
            return;
        }
        *self.counts.entry(token).or_insert(0) += 1;
        let (Ok(window), len) = (usize::try_from(window), self.generated.len()) else { return };
        if len > window {
            let gone = self.generated[len - 1 - window];
            if let Some(n) = self.counts.get_mut(&gone) {
                *n -= 1;
                if *n == 0 {
                    self.counts.remove(&gone);
                }
            }
        }
    }

    /// Steps 1 and 2 of the chain, in place.
    fn patch(&self, logits: &mut [f32]) {
        for b in &self.params.logit_bias {
            logits[b.token as usize] += b.bias;
        }
        self.vocab.ban(logits, self.params.ignore_eos);
        let chain = &self.params.chain;
        if chain.presence_penalty == 0.0 && chain.frequency_penalty == 0.0 && chain.repeat_penalty == 1.0 {
            return;
        }
        for (&token, &count) in &self.counts {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = penalized(*logit, count, chain);
            }
        }
    }

    /// Steps 3 to 5: leaves the tokens that may be drawn in `self.candidates.found`, in any order.
    fn narrow(&mut self, logits: &[f32], top: f32) {
        let Settings { temperature, top_k, top_p, min_p, .. } = self.params.chain;
        let candidates = &mut self.candidates;
        let k = usize::try_from(top_k).unwrap_or(0);
        if k > 0 {
            candidates.top_k(logits, k);
            if top_p < 1.0 {
                candidates.cut_to_p(top, top_p);
            }
        } else if top_p < 1.0 {
            candidates.top_p(logits, top, top_p);
        } else {
            // Without top-k and top-p: nothing that min-p would drop, nor anything of weight 0. A margin covers the
            // rounding of the logarithm; `cut_to_min_p` is exact.
            let by_min_p = f64::from(min_p).ln() - 1e-3;
            let by_weight = LOWEST * f64::from(temperature);
            candidates.at_least(logits, floor_f32(f64::from(top) + by_min_p.max(by_weight)));
        }
        if min_p > 0.0 {
            candidates.cut_to_min_p(top, min_p);
        }
    }

    /// Step 6.
    fn draw(&mut self, top: f32) -> u32 {
        let temperature = f64::from(self.params.chain.temperature);
        let candidates = &mut self.candidates;
        candidates.found.sort_unstable_by_key(|c| c.id);
        candidates.weigh(top, temperature);
        let mut point = self.rng.below(candidates.weights.iter().sum());
        for (c, &w) in candidates.found.iter().zip(&candidates.weights) {
            if point < w {
                return c.id;
            }
            point -= w;
        }
        unreachable!("the point is below the sum of the weights, which is at least that of the best token")
    }
}

/// A logit after the penalties, for a token generated `count` times in the window.
fn penalized(logit: f32, count: u32, chain: &Settings) -> f32 {
    let repeat = chain.repeat_penalty;
    let logit = if logit <= 0.0 { logit * repeat } else { logit / repeat };
    logit - (count as f32 * chain.frequency_penalty + chain.presence_penalty)
}

#[cfg(test)]
mod tests;
