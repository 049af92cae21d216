//! The engine: a model with its threads, cache and scratch, reading tokens for any number of sequences.
//!
//! It knows no request, no text and no sampling; callers hold the [`Sequence`]s. A prompt is read in chunks of at most
//! [`UBATCH`] tokens; where the borders fall never changes a result.

pub mod generate;
mod options;

pub use crate::batch::Role;
pub use crate::kv::Sequence;
pub use crate::model::Config;
pub use crate::model::observe::{Input, Observe};
pub use crate::model::rope::{RopeFlags, Scaling};
pub use options::EngineOptions;

use crate::batch::{Batch, Span};
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::kv::{Kv, store};
use crate::model::{Compute, LoadOptions, Qwen3, Scratch};
use lapwing_quant::attend::{KvType, PAGE};
use lapwing_quant::kernels::Kernels;
use lapwing_quant::threads::Pool;
use std::ops::Range;
use std::sync::Arc;

/// Most tokens read in one forward pass.
pub const UBATCH: usize = 512;

/// Tokens to read for one sequence.
pub struct Part<'a> {
    /// The sequence, which grows by the tokens.
    pub seq: &'a mut Sequence,
    /// What to read.
    pub tokens: &'a [u32],
    /// Given or generated.
    pub role: Role,
    /// How many of the last tokens' logits are wanted.
    pub wanted: usize,
}

/// Logits of one forward pass.
pub struct Logits<'a> {
    values: &'a [f32],
    vocab: usize,
    of_part: Vec<Range<usize>>,
}

impl Logits<'_> {
    /// `[wanted, vocab]` of a part.
    pub fn part(&self, part: usize) -> &[f32] {
        let rows = &self.of_part[part];
        &self.values[rows.start * self.vocab..rows.end * self.vocab]
    }
}

/// A loaded model, ready to read.
pub struct Engine {
    model: Qwen3,
    kernels: &'static Kernels,
    pool: Pool,
    kv: Kv,
    scratch: Scratch,
    threads: usize,
    threads_batch: usize,
    n_ctx: usize,
}

impl Engine {
    /// Loads the model and reserves the cache. `progress` hears bytes of weights done, of all.
    ///
    /// # Errors
    /// When the file is not a sound model of a known architecture, or memory or threads are not to be had.
    pub fn load(gguf: &Arc<Gguf>, o: EngineOptions, progress: &mut dyn FnMut(u64, u64)) -> Result<Self> {
        let threads = o.threads.max(o.threads_batch);
        let pool = Pool::new(threads, &o.cpus).map_err(Error::runtime)?;
        let load = LoadOptions { kernels: o.kernels, rope: o.rope, repack: o.repack };
        let model = Qwen3::load(gguf, load, &pool, progress)?;
        let config = model.config();
        let n_ctx = if o.n_ctx == 0 { config.max_context() } else { o.n_ctx };
        let shape = store::Shape { heads: config.heads, keys: o.keys, values: o.values };
        let pages = n_ctx.div_ceil(PAGE).checked_mul(o.sequences.max(1)).filter(|&p| p < u32::MAX as usize);
        let pages = pages.ok_or_else(|| Error::limit(format!("a context of {n_ctx} tokens is too large")))?;
        let kv = Kv::new(pages, config.n_layers, shape)?;
        let scratch = model.scratch();
        let (threads, threads_batch) = (o.threads.max(1), o.threads_batch.max(1));
        Ok(Self { model, kernels: o.kernels, pool, kv, scratch, threads, threads_batch, n_ctx })
    }

    /// The model's hyperparameters.
    pub fn config(&self) -> &Config {
        self.model.config()
    }

    /// The model.
    pub fn model(&self) -> &Qwen3 {
        &self.model
    }

    /// Most tokens per sequence.
    pub fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    /// The kernels in use.
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// Threads for single tokens, and for batches.
    pub fn threads(&self) -> (usize, usize) {
        (self.threads, self.threads_batch)
    }

    /// The threads themselves.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The cache.
    pub fn kv(&self) -> &Kv {
        &self.kv
    }

    /// Names of the types of cached keys and values, as `-ctk` and `-ctv` take them.
    pub fn kv_type_names(&self) -> (&'static str, &'static str) {
        let shape = self.kv.store.shape();
        let name = |of: KvType| KvType::ALL.iter().find(|(_, t)| *t == of).map_or("", |(name, _)| *name);
        (name(shape.keys), name(shape.values))
    }

    /// The cache's bookkeeping.
    pub fn kv_mut(&mut self) -> &mut Kv {
        &mut self.kv
    }

    /// Whether a prompt of `tokens` tokens fits the context.
    ///
    /// # Errors
    /// When it does not; names both numbers.
    pub fn check_fits(&self, tokens: usize) -> Result<()> {
        if tokens <= self.n_ctx {
            return Ok(());
        }
        Err(Error::limit(format!(
            "the prompt has {tokens} tokens, the context {}; shorten the prompt, or use -c {} or more",
            self.n_ctx,
            tokens + 1
        )))
    }

    /// One forward pass over all parts.
    ///
    /// # Errors
    /// When a sequence would outgrow the context or the cache is full, or a token is not in the vocabulary; nothing
    /// was read then.
    pub fn forward(&mut self, parts: &mut [Part<'_>]) -> Result<Logits<'_>> {
        self.forward_observed(parts, None)
    }

    /// One forward pass while `observe` watches the inputs of the products.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn forward_observed(&mut self, parts: &mut [Part<'_>], observe: Option<&dyn Observe>) -> Result<Logits<'_>> {
        let vocab = self.config().n_vocab;
        for p in parts.iter_mut() {
            if p.tokens.is_empty() {
                return Err(Error::usage("there are no tokens to read"));
            }
            if let Some(t) = p.tokens.iter().find(|&&t| t as usize >= vocab) {
                return Err(Error::usage(format!("token {t} is not in the vocabulary of {vocab} entries")));
            }
            let (have, more) = (p.seq.len(), p.tokens.len());
            if have + more > self.n_ctx {
                let all = have + more;
                return Err(Error::limit(format!(
                    "{all} tokens do not fit the context of {}; use -c {all}",
                    self.n_ctx
                )));
            }
            self.kv.reserve(p.seq, more)?;
        }
        let span = |p: &Part<'_>| Span {
            tokens: p.tokens.to_vec(),
            past: p.seq.len(),
            role: p.role,
            pages: p.seq.pages().to_vec(),
            wanted: p.wanted,
        };
        let batch = Batch::new(parts.iter().map(span).collect());
        let threads = if batch.tokens().len() > 1 { self.threads_batch } else { self.threads };
        let Self { model, kernels, pool, kv, scratch, .. } = self;
        pool.enter(threads, |team| {
            let c = Compute { team, kernels, observe, layer: None };
            model.forward(c, &batch, &mut kv.store, scratch);
        });
        for p in parts.iter_mut() {
            p.seq.commit(&mut self.kv.pages, p.tokens);
        }
        Ok(Logits { values: self.scratch.logits(), vocab, of_part: rows_of_parts(parts) })
    }

    /// The logits of the last forward pass, as it returned them: `[wanted, vocab]`, part after part, prompts first.
    pub fn logits(&self) -> &[f32] {
        self.scratch.logits()
    }

    /// Reads `tokens` as a prompt, in chunks; returns `[wanted, vocab]` logits of the last `wanted` tokens. `progress`
    /// hears how many tokens were read and says whether to go on.
    ///
    /// # Errors
    /// As [`Engine::forward`]; and when `progress` says to stop, in which case what was read stays in the cache.
    pub fn read(
        &mut self,
        seq: &mut Sequence,
        tokens: &[u32],
        wanted: usize,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f32>> {
        self.check_fits(seq.len() + tokens.len())?;
        let mut logits = Vec::new();
        for start in (0..tokens.len()).step_by(UBATCH) {
            let end = tokens.len().min(start + UBATCH);
            let first_wanted = tokens.len().saturating_sub(wanted).max(start);
            let wanted = end.saturating_sub(first_wanted);
            let part = Part { seq: &mut *seq, tokens: &tokens[start..end], role: Role::Prompt, wanted };
            logits.extend_from_slice(self.forward(&mut [part])?.part(0));
            if !progress(end) {
                return Err(Error::runtime("reading was interrupted"));
            }
        }
        Ok(logits)
    }

    /// Reads one generated token; returns the logits of the next.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn step(&mut self, seq: &mut Sequence, token: u32) -> Result<Vec<f32>> {
        let part = Part { seq, tokens: &[token], role: Role::Generated, wanted: 1 };
        Ok(self.forward(&mut [part])?.part(0).to_vec())
    }
}

/// Where each part's logits are: prompts come first, otherwise the order is kept.
fn rows_of_parts(parts: &[Part<'_>]) -> Vec<Range<usize>> {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&i| parts[i].role);
    let mut ranges = vec![0..0; parts.len()];
    let mut row = 0;
    for i in order {
        let n = parts[i].wanted.min(parts[i].tokens.len());
        ranges[i] = row..row + n;
        row += n;
    }
    ranges
}
