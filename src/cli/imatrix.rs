//! `lapwing imatrix`: the importance matrix of a model over a text, for `lapwing quantize --imatrix`.

use super::model_args::{self, ModelArgs};
use super::output::{Progress, Unit};
use super::text_args::{CHUNK_HELP, ChunkArgs, Text, chunk_length};
use super::{Outcome, Stop, interrupt, output};
use crate::engine::{Config, Engine};
use crate::error::{Error, Result};
use crate::eval::{Chunks, Collector, Moments, Reader};
use crate::imatrix::Imatrix;
use clap::Args;
use std::ops::Range;
use std::path::PathBuf;

/// Measure which columns of each weight matrix matter on a text.
///
/// Reads the text in chunks and sums the squares of every matrix's inputs. Writes llama.cpp's GGUF form, which
/// `lapwing quantize --imatrix` and llama-quantize read. Ctrl-C ends after the chunk at hand and keeps what there is.
#[derive(Args)]
#[command(mut_arg("ctx_size", |a| a.help(CHUNK_HELP)))]
pub struct ImatrixArgs {
    /// The text; - for standard input. Without it the matrices of --in-file are put together.
    #[arg(short, long, value_name = "FILE", required_unless_present = "in_file")]
    file: Option<PathBuf>,
    /// The file to write.
    #[arg(short, long, value_name = "FILE", default_value = "imatrix.gguf")]
    output: PathBuf,
    /// Add to the importance matrix in this file (GGUF or the older .dat). Can be given several times.
    #[arg(long, value_name = "FILE")]
    in_file: Vec<PathBuf>,
    #[command(flatten)]
    chunks: ChunkArgs,
    /// Leave out this many chunks at the start of the text.
    #[arg(long = "chunk", visible_alias = "from-chunk", value_name = "N", default_value_t = 0)]
    skip: usize,
    /// Write the file anew after every N chunks; 0 for at the end only.
    #[arg(long, value_name = "N", default_value_t = 10)]
    output_frequency: usize,
    /// Collect the inputs of the output matrix too.
    #[arg(long)]
    process_output: bool,
    /// Do not compute the perplexity on the way.
    #[arg(long)]
    no_ppl: bool,
    #[command(flatten, next_help_heading = "Model")]
    model: ModelArgs,
}

/// Runs the command.
pub fn imatrix(args: &ImatrixArgs) -> Outcome {
    let mut before = Imatrix::default();
    for path in &args.in_file {
        before.merge(Imatrix::open(path)?).map_err(|e| e.context(path.display().to_string()))?;
    }
    let Some(file) = &args.file else {
        output::write_file(&args.output, &before.to_gguf()?)?;
        output::note(&format!("{} files put together in {}", args.in_file.len(), args.output.display()));
        return Ok(());
    };
    let text = Text::read(file)?;
    let gguf = args.model.file.open()?;
    let n_ctx = chunk_length(&args.model.context, &Config::read(&gguf, &args.model.context.rope())?);
    let chunks = args.chunks.cut(&text, &model_args::tokenizer(&gguf)?, n_ctx, args.skip)?;
    let mut engine = args.model.load(&gguf, 1, Some(n_ctx))?;
    interrupt::watch();
    let mut job = Job { args, chunks, before, dataset: text.name, collector: Collector::new(args.process_output) };
    job.run(&mut engine)
}

/// A matrix in the making.
struct Job<'a> {
    args: &'a ImatrixArgs,
    chunks: Chunks,
    /// What `--in-file` gave.
    before: Imatrix,
    dataset: String,
    collector: Collector,
}

impl Job<'_> {
    fn run(&mut self, engine: &mut Engine) -> Outcome {
        let reader = Reader { chunks: &self.chunks, sizes: self.args.chunks.sizes(engine.config().n_vocab) };
        let (count, n_ctx) = (self.chunks.count(), self.chunks.n_ctx());
        let total = (count * n_ctx) as u64;
        let mut progress = Progress::new("collecting", Unit::Tokens);
        let (mut moments, mut read, mut said) = (Moments::default(), 0, false);
        for i in 0..count {
            let found = reader.watched(engine, i, self.scored(), &self.collector, &mut |n| {
                read += n as u64;
                progress.update(read, total);
                if interrupt::asked() && !std::mem::replace(&mut said, true) {
                    let what =
                        "ending after this chunk; press Ctrl-C again to end at once, without what is not written";
                    progress.suspended(|| output::note(what));
                }
                true
            })?;
            let first = self.chunks.scored().start.saturating_sub(self.scored().start);
            moments.extend(found.unwrap_or_default().into_iter().skip(first));
            let done = i + 1;
            let due = self.args.output_frequency > 0 && done % self.args.output_frequency == 0;
            if done == count || interrupt::asked() {
                drop(progress);
                return self.finish(done, &moments);
            }
            if due {
                self.save()?;
            }
        }
        Ok(())
    }

    /// Positions whose logits are computed: those of the perplexity, or all that have a next token when the inputs of
    /// the output matrix are wanted.
    fn scored(&self) -> Range<usize> {
        let scored = self.chunks.scored();
        match (self.args.process_output, self.args.no_ppl) {
            (true, _) => 0..scored.end,
            (false, true) => scored.end..scored.end,
            (false, false) => scored,
        }
    }

    fn save(&self) -> Result<Imatrix> {
        let mut all = Imatrix::new(self.chunks.n_ctx() as u64);
        all.merge(self.before.clone())?;
        let mut mine = self.collector.imatrix(self.chunks.n_ctx())?;
        mine.datasets.push(self.dataset.clone());
        all.merge(mine).map_err(|e| Error::usage(format!("--in-file is of another model: {e}")))?;
        output::write_file(&self.args.output, &all.to_gguf()?)?;
        Ok(all)
    }

    /// Writes the file, says what it holds; an interruption is one only when something was left to read.
    fn finish(&self, done: usize, moments: &Moments) -> Outcome {
        let all = self.save()?;
        if let Some(said) = never_hit(&all) {
            output::warn(&said);
        }
        let (count, out) = (self.chunks.count(), self.args.output.display());
        let ppl = match self.args.no_ppl {
            true => String::new(),
            false => format!("; PPL = {:.4} +/- {:.5}", moments.mean().exp().value, moments.mean().exp().error),
        };
        output::note(&format!("{out}: {} tensors over {done} of {count} chunks{ppl}", all.entries().len()));
        if done == count {
            return Ok(());
        }
        let next = self.args.skip + done;
        output::note(&format!("interrupted; to go on add: --in-file {out} --chunk {next}"));
        Err(Stop::Interrupted)
    }
}

/// What to say of experts that no token went to.
fn never_hit(imatrix: &Imatrix) -> Option<String> {
    let misses = |part: &str| -> Vec<(&str, usize)> {
        let all = imatrix.entries().filter(|(name, _)| name.contains(part));
        all.map(|(name, entry)| (name, entry.never_hit())).filter(|(_, n)| *n > 0).collect()
    };
    let missed = misses("ffn_down_exps");
    let (first, _) = missed.first()?;
    let experts: usize = missed.iter().map(|(_, n)| n).sum();
    Some(format!(
        "no token went to {experts} experts in {} blocks (the first is {first}): their inputs are taken to be like the other \
         experts', and the columns of their ffn_down all count the same; use a longer text",
        missed.len()
    ))
}
