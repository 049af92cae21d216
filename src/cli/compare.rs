//! `lapwing compare`: how far one model's predictions are from another's, both read side by side, chunk by chunk.

use super::hub_args::HubArgs;
use super::model_args::{self, ComputeArgs, ContextArgs, FileArgs, ModelArgs};
use super::output::{Progress, Unit};
use super::text_args::{CHUNK_HELP, ChunkArgs, Text, TextArgs, chunk_length};
use super::{Outcome, Stop, inspect, interrupt, output};
use crate::engine::{Config, Engine};
use crate::error::{Error, Result};
use crate::eval::compare::{Comparison, Report, same_vocabulary};
use crate::eval::{Chunks, Estimate, Reader};
use crate::gguf::Gguf;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// Measure how far a model's predictions are from a reference's.
///
/// Both read the text side by side: KL divergence, agreement on the likeliest token, perplexity of both. Nothing is
/// stored. The figures after each chunk and at the end go to standard output.
#[derive(Args)]
#[command(mut_arg("ctx_size", |a| a.help(CHUNK_HELP)))]
pub struct CompareArgs {
    /// The model to measure against: a GGUF file.
    #[arg(value_name = "REFERENCE")]
    reference: PathBuf,
    /// The model to measure: a GGUF file with the same vocabulary.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    chunks: ChunkArgs,
    /// Write JSON, once all is measured.
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "Model")]
    compute: ComputeArgs,
    #[command(flatten)]
    context: ContextArgs,
    /// Say what is done and how fast.
    #[arg(short, long)]
    verbose: bool,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Record {
    reference: String,
    model: String,
    text: String,
    text_sha256: String,
    isa: &'static str,
    /// Tokens per chunk.
    n_ctx: usize,
    chunks: usize,
    #[serde(flatten)]
    figures: Report,
}

/// Two models and what they are to read.
pub struct Pair {
    reference: Engine,
    model: Engine,
    chunks: Chunks,
}

impl Pair {
    /// Loads both models and cuts the text. The flags are for both alike; the file among them is not read.
    ///
    /// # Errors
    /// When a model cannot be loaded, the vocabularies differ, or the text is too short.
    pub fn load(
        (reference, model): (&Arc<Gguf>, &Arc<Gguf>),
        text: &Text,
        chunks: &ChunkArgs,
        flags: &ModelArgs,
    ) -> Result<Self> {
        same_vocabulary(reference, model)?;
        let n_ctx = chunk_length(&flags.context, &Config::read(reference, &flags.context.rope())?);
        let chunks = chunks.cut(text, &model_args::tokenizer(reference)?, n_ctx, 0)?;
        let load = |gguf| flags.load(gguf, 1, Some(n_ctx));
        let (a, b) = (load(reference)?, load(model)?);
        let rows = (a.config().n_vocab, b.config().n_vocab);
        if rows.0 != rows.1 {
            let names = (reference.path().display(), model.path().display());
            return Err(Error::usage(format!(
                "{} has {} rows of logits and {} has {}: they differ in padding; convert both the same way",
                names.0, rows.0, names.1, rows.1
            )));
        }
        Ok(Self { reference: a, model: b, chunks })
    }

    /// The text as it is read.
    pub fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// Reads everything; `heard` hears the figures so far after each chunk.
    ///
    /// # Errors
    /// When a pass fails; when Ctrl-C was pressed, after saying how far it came.
    pub fn measure(
        &mut self,
        sizes: &ChunkArgs,
        heard: &mut dyn FnMut(usize, &Comparison, &Progress) -> Outcome,
    ) -> std::result::Result<Report, Stop> {
        let reader = Reader { chunks: &self.chunks, sizes: sizes.sizes(self.model.config().n_vocab) };
        let total = (self.chunks.count() * self.chunks.scored().end) as u64;
        let mut progress = Progress::new("comparing", Unit::Tokens);
        let (mut comparison, mut read) = (Comparison::default(), 0);
        for i in 0..self.chunks.count() {
            let found = reader.pairs((&mut self.reference, &mut self.model), i, &mut |n| {
                read += n as u64;
                progress.update(read, total);
                !interrupt::asked()
            })?;
            let Some(found) = found else {
                drop(progress);
                output::note(&format!("interrupted after {i} of {} chunks", self.chunks.count()));
                return Err(Stop::Interrupted);
            };
            comparison.extend(found);
            heard(i, &comparison, &progress)?;
        }
        Ok(comparison.report())
    }
}

/// Runs the command.
pub fn compare(args: &CompareArgs) -> Outcome {
    let text = Text::read(&args.text.file)?;
    let (reference, model) = (model_args::open(&args.reference, &[])?, model_args::open(&args.model, &[])?);
    let flags = ModelArgs {
        file: FileArgs { model: Some(args.model.clone()), override_kv: Vec::new(), hub: HubArgs::default() },
        compute: args.compute.clone(),
        context: args.context.clone(),
        verbose: args.verbose,
        force: false,
    };
    let mut pair = Pair::load((&reference, &model), &text, &args.chunks, &flags)?;
    interrupt::watch();
    let count = pair.chunks().count();
    let figures = pair.measure(&args.chunks, &mut |i, so_far, progress| match args.json {
        true => Ok(()),
        false => progress.suspended(|| output::result(&line(i, count, &so_far.report()))),
    })?;
    let n_ctx = pair.chunks().n_ctx();
    if !args.json {
        return output::result(&table(&figures, count, n_ctx));
    }
    output::result(&inspect::json(&Record {
        reference: reference.path().display().to_string(),
        model: model.path().display().to_string(),
        text_sha256: text.sha256(),
        text: text.name,
        isa: pair.model.kernels().name,
        n_ctx,
        chunks: count,
        figures,
    })?)
}

/// The figures so far, on one line.
fn line(i: usize, count: usize, r: &Report) -> String {
    format!(
        "[{}/{count}] PPL {:.4} (reference {:.4}), KLD {:.6} +/- {:.6}, same top {:.2} %, RMS dp {:.3} %\n",
        i + 1,
        r.ppl.value,
        r.ppl_reference.value,
        r.kld.mean.value,
        r.kld.mean.error,
        r.same_top.value * 100.0,
        r.delta_p_rms.value * 100.0
    )
}

/// The figures at the end.
fn table(r: &Report, chunks: usize, n_ctx: usize) -> String {
    let both = |e: Estimate, scale: f64, digits: usize| {
        format!("{:.digits$} +/- {:.digits$}", e.value * scale, e.error * scale)
    };
    let kld = &r.kld;
    [
        format!("\ntokens compared  {} in {chunks} chunks of {n_ctx}", r.tokens),
        format!("perplexity       {}", both(r.ppl, 1.0, 5)),
        format!("  reference      {}", both(r.ppl_reference, 1.0, 5)),
        format!("  ratio          {}", both(r.ppl_ratio, 1.0, 6)),
        format!("KL divergence    {} nats", both(kld.mean, 1.0, 6)),
        format!("  median         {:.6}", kld.median),
        format!("  90% below      {:.6}", kld.p90),
        format!("  99% below      {:.6}", kld.p99),
        format!("  99.9% below    {:.6}", kld.p999),
        format!("  largest        {:.6}", kld.max),
        format!("same top token   {} %", both(r.same_top, 100.0, 3)),
        format!("delta p, mean    {} %", both(r.delta_p_mean, 100.0, 4)),
        format!("delta p, RMS     {} %\n", both(r.delta_p_rms, 100.0, 4)),
    ]
    .join("\n")
}
