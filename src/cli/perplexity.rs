//! `lapwing perplexity`: how well a model predicts a text, by llama-perplexity's rules.

use super::model_args::{self, ModelArgs};
use super::output::{Progress, Unit};
use super::text_args::{CHUNK_HELP, ChunkArgs, Text, TextArgs, chunk_length};
use super::{Outcome, Stop, inspect, interrupt, output};
use crate::engine::{Config, Engine};
use crate::eval::{Chunks, Estimate, Moments, Reader};
use clap::Args;
use serde::Serialize;
use std::time::Instant;

/// Measure how well a model predicts a text.
///
/// Cuts the text into chunks as llama-perplexity does and scores the second half of each, so that the figures compare.
/// The estimate so far goes to standard output after each chunk, the final one at the end.
#[derive(Args)]
#[command(mut_arg("ctx_size", |a| a.help(CHUNK_HELP)))]
pub struct PerplexityArgs {
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    chunks: ChunkArgs,
    /// Write JSON, once all is measured.
    #[arg(long)]
    json: bool,
    #[command(flatten, next_help_heading = "Model")]
    model: ModelArgs,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report {
    model: String,
    text: String,
    text_sha256: String,
    isa: &'static str,
    /// Tokens per chunk.
    n_ctx: usize,
    chunks: usize,
    /// Tokens scored.
    tokens: u64,
    /// Mean negative log-likelihood of a token, in nats.
    nll: Estimate,
    ppl: Estimate,
    /// The estimate after each chunk.
    running: Vec<f64>,
}

/// Runs the command.
pub fn perplexity(args: &PerplexityArgs) -> Outcome {
    let text = Text::read(&args.text.file)?;
    let gguf = args.model.file.open()?;
    let n_ctx = chunk_length(&args.model.context, &Config::read(&gguf, &args.model.context.rope())?);
    let chunks = args.chunks.cut(&text, &model_args::tokenizer(&gguf)?, n_ctx, 0)?;
    let mut engine = args.model.load(&gguf, 1, Some(n_ctx))?;
    interrupt::watch();
    let started = Instant::now();
    let (moments, running) = measure(args, &chunks, &mut engine)?;
    if args.model.verbose {
        let read = chunks.count() * chunks.scored().end;
        let seconds = started.elapsed().as_secs_f64();
        output::note(&format!("read {read} tokens in {seconds:.2} s, {:.1} tokens/s", read as f64 / seconds));
    }
    if !args.json {
        return output::result(&format!("Final estimate: PPL = {}\n", shown(moments.mean().exp())));
    }
    output::result(&inspect::json(&Report {
        model: gguf.path().display().to_string(),
        text_sha256: text.sha256(),
        text: text.name,
        isa: engine.kernels().name,
        n_ctx,
        chunks: chunks.count(),
        tokens: moments.n(),
        nll: moments.mean(),
        ppl: moments.mean().exp(),
        running,
    })?)
}

fn measure(args: &PerplexityArgs, chunks: &Chunks, engine: &mut Engine) -> Result<(Moments, Vec<f64>), Stop> {
    let reader = Reader { chunks, sizes: args.chunks.sizes(engine.config().n_vocab) };
    let total = (chunks.count() * chunks.scored().end) as u64;
    let mut progress = Progress::new("measuring", Unit::Tokens);
    let (mut moments, mut running, mut read) = (Moments::default(), Vec::new(), 0);
    for i in 0..chunks.count() {
        let found = reader.surprises(engine, i, &mut |n| {
            read += n as u64;
            progress.update(read, total);
            !interrupt::asked()
        })?;
        let Some(found) = found else {
            drop(progress);
            let so_far = if i == 0 { String::new() } else { format!(": PPL = {} so far", shown(moments.mean().exp())) };
            output::note(&format!("interrupted after {i} of {} chunks{so_far}", chunks.count()));
            return Err(Stop::Interrupted);
        };
        moments.extend(found);
        let estimate = moments.mean().exp();
        running.push(estimate.value);
        if !args.json {
            let line = format!("[{}/{}] {}\n", i + 1, chunks.count(), shown(estimate));
            progress.suspended(|| output::result(&line))?;
        }
    }
    Ok((moments, running))
}

/// With llama-perplexity's digits.
fn shown(estimate: Estimate) -> String {
    format!("{:.4} +/- {:.5}", estimate.value, estimate.error)
}
