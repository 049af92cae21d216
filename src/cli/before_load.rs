//! What is decided and said before a model is loaded: the context, whether memory suffices, how fast it will be.
//!
//! For models of at least [`BIG`] bytes (and with -v) the plan is shown; a model that does not fit is refused, unless
//! --force says otherwise.

use super::model_args::ModelArgs;
use super::rates::{self, Wanted};
use super::{output, term};
use crate::doctor::{Severity, rope};
use crate::engine::{Config, UBATCH};
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::plan::context::Case;
use crate::plan::memory::UNKNOWN;
use crate::plan::{Memory, Rates, Shape, Weights, speed};
use lapwing_quant::cores::Cores;
use lapwing_quant::kernels::Kernels;
use std::fmt::Write;

/// Bytes of weights from which on the plan is shown.
pub const BIG: u64 = 2_000_000_000;
/// What needs less than this is not looked at.
const SMALL: u64 = 256 << 20;

/// A model about to be loaded.
pub struct Before<'a> {
    /// The flags.
    pub args: &'a ModelArgs,
    /// The file.
    pub gguf: &'a Gguf,
    /// Its hyperparameters.
    pub config: &'a Config,
    /// The cores to use.
    pub cores: &'a Cores,
    /// The kernels to use.
    pub kernels: &'static Kernels,
    /// Conversations with a cache of their own.
    pub sequences: usize,
}

impl Before<'_> {
    /// Settles the context (`given`: the command knows it) and finds the rates that are kept of this machine.
    ///
    /// # Errors
    /// When memory does not suffice and --force is not given.
    pub fn load(&self, given: Option<usize>) -> Result<(usize, Option<Rates>)> {
        let args = self.args;
        let shape = Shape::of(self.config, self.gguf.tensor("output.weight").is_none());
        let weights = Weights::of(self.gguf, &shape)?;
        let types = (args.context.cache_type_k, args.context.cache_type_v);
        let case = Case { shape: &shape, weights: &weights, types, ubatch: UBATCH, memory: Memory::read() };
        let big = weights.bytes >= BIG;
        let n_ctx = match given {
            Some(n) => n,
            None => {
                self.lint();
                self.context(&case, big)
            }
        };
        let wanted = if big { Wanted::Any } else { Wanted::Kept };
        let rates = rates::rates(&args.compute, (self.cores, self.kernels), wanted, &weights.formats())?;
        if big || args.verbose {
            output::note(lines(&name(self.gguf), &case, n_ctx * self.sequences.max(1), rates.as_ref()).trim_end());
        }
        self.refuse(&case, n_ctx)?;
        Ok((n_ctx, rates))
    }

    /// Says what is odd about the flags of positions.
    fn lint(&self) {
        let facts = rope::FileFacts::read(self.gguf);
        let found = facts.map(|facts| rope::lint(&facts, &self.args.context.rope(), self.args.context.ctx_size));
        for finding in found.unwrap_or_default().iter().filter(|f| f.severity > Severity::Note) {
            output::warn(&finding.to_string());
        }
    }

    /// The context in force, said aloud where nobody asked for it.
    fn context(&self, case: &Case<'_>, big: bool) -> usize {
        let most = self.config.max_context();
        match self.args.context.ctx_size {
            Some(0) => most,
            Some(n) => n,
            None => {
                let (n, short) = case.chosen(most);
                if short {
                    output::note(&format!("context: {n} tokens, as memory does not suffice for more (-c N to insist)"));
                } else if big || self.args.verbose {
                    output::note(&format!("context: {n} tokens, as -c is not given"));
                }
                n
            }
        }
    }

    fn refuse(&self, case: &Case<'_>, n_ctx: usize) -> Result<()> {
        let n_ctx = n_ctx * self.sequences.max(1);
        let (needs, usable) = (case.needs(n_ctx).total(), case.memory.usable());
        if needs < SMALL || needs <= usable {
            return Ok(());
        }
        let what = format!(
            "the model needs {} with a context of {n_ctx} tokens, but only {} are free{}",
            gb(needs),
            gb(usable),
            limit(case.memory)
        );
        if self.args.force {
            output::warn(&format!("{what}; loading it all the same (--force)"));
            return Ok(());
        }
        Err(Error::limit(format!("{what}; {}; --force loads it all the same", case.advice(n_ctx))))
    }
}

/// What the file calls itself.
pub fn name(gguf: &Gguf) -> String {
    let file = gguf.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    match gguf.meta().str("general.name").ok().flatten() {
        Some(name) if !name.trim().is_empty() => format!("{}, {file}", term::harmless(name)),
        _ => file,
    }
}

/// The plan of one model, six lines.
pub fn lines(name: &str, case: &Case<'_>, n_ctx: usize, rates: Option<&Rates>) -> String {
    let (needs, memory) = (case.needs(n_ctx), case.memory);
    let mut text = String::new();
    let _ = writeln!(text, "model    {name}");
    let _ = writeln!(text, "memory   {} free of {}{}", gb(memory.usable()), gb(memory.total), limit(memory));
    let _ = writeln!(text, "weights  {}", gb(needs.weights));
    let _ =
        writeln!(text, "cache    {} when its {n_ctx} tokens are used; buffers {}", gb(needs.cache), gb(needs.buffers));
    let verdict = match (needs.total() <= memory.usable(), case.fits(n_ctx)) {
        (_, true) => "fits",
        (true, false) => "just fits",
        (false, _) => "does not fit",
    };
    let _ =
        writeln!(text, "total    {} and {} to spare for the rest: {verdict}", gb(needs.total()), gb(memory.margin()));
    let speed = rates.map_or("not measured yet: `lapwing plan` does".to_owned(), |rates| {
        let first = |n: usize| seconds(speed::first_token_seconds(case.shape, case.weights, rates, n));
        format!(
            "about {} tokens/s; first token after {} (prompt of 1k), {} (8k), {} (32k); measured {}",
            rate(speed::decode_rate(case.shape, case.weights, rates, 0)),
            first(1024),
            first(8192),
            first(32_768),
            rates::age(rates)
        )
    });
    let _ = writeln!(text, "speed    {speed}");
    text
}

/// Bytes for people.
pub fn gb(bytes: u64) -> String {
    if bytes >= UNKNOWN / 2 {
        return "(unknown)".to_owned();
    }
    format!("{:.2} GB", bytes as f64 / 1e9)
}

/// Tokens per second with as many digits as mean something.
pub fn rate(n: f64) -> String {
    if n < 10.0 { format!("{n:.1}") } else { format!("{n:.0}") }
}

/// A time for people.
pub fn seconds(s: f64) -> String {
    match s {
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s => format!("{:.0} min", s / 60.0),
    }
}

fn limit(memory: Memory) -> &'static str {
    if memory.group.is_some() { " (limit of the control group)" } else { "" }
}
