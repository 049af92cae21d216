//! `lapwing logits`: the logits of given tokens, for comparison with other programs.

use super::model_args::{self, ModelArgs};
use super::output::{Progress, Unit};
use super::{Outcome, output};
use crate::engine::Sequence;
use crate::error::{Error, Result};
use crate::tokenizer::Specials;
use clap::Args;
use safetensors::tensor::{Dtype, TensorView, serialize};
use std::path::{Path, PathBuf};

/// Writes `ids` (one per token) and f32 `logits` (rows x vocabulary) to a safetensors file.
#[derive(Args)]
pub struct LogitsArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Token ids, separated by commas.
    #[arg(long, value_name = "1,2,3", value_delimiter = ',', conflicts_with = "prompt")]
    ids: Vec<u32>,
    /// Text to read; control tokens in it count as such.
    #[arg(short, long, value_name = "TEXT", required_unless_present = "ids")]
    prompt: Option<String>,
    /// How many of the last rows to write; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 1)]
    last: usize,
    /// How many of the last tokens to read one by one, as if they had been generated.
    #[arg(long, value_name = "N", default_value_t = 0)]
    generated: usize,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Runs the command.
pub fn logits(args: &LogitsArgs) -> Outcome {
    let gguf = args.model.file.open()?;
    let ids = match &args.prompt {
        Some(text) => model_args::tokenizer(&gguf)?.encode(text, Specials::Parse)?,
        None => args.ids.clone(),
    };
    if ids.is_empty() {
        return Err(Error::usage("there are no tokens to read").into());
    }
    let n_ctx = args.model.context.ctx_size.filter(|&n| n > 0).unwrap_or(ids.len());
    let mut engine = args.model.load(&gguf, 1, Some(n_ctx))?;
    let vocab = engine.config().n_vocab;
    let wanted = if args.last == 0 { ids.len() } else { args.last.min(ids.len()) };
    let (prompt, generated) = ids.split_at(ids.len().saturating_sub(args.generated.min(ids.len() - 1)));
    let mut seq = Sequence::default();
    let mut progress = Progress::new("reading", Unit::Tokens);
    let mut values = engine.read(&mut seq, prompt, prompt.len().min(wanted), &mut |done| {
        progress.update(done as u64, prompt.len() as u64);
        true
    })?;
    for &token in generated {
        values.extend(engine.step(&mut seq, token)?);
    }
    drop(progress);
    let values = &values[values.len() - wanted * vocab..];
    write(&args.output, &ids, values, vocab)?;
    output::note(&format!("{wanted} rows of {vocab} logits written to {}", args.output.display()));
    Ok(())
}

fn write(path: &Path, ids: &[u32], logits: &[f32], vocab: usize) -> Result<()> {
    let ids: Vec<u8> = ids.iter().flat_map(|&i| i64::from(i).to_le_bytes()).collect();
    let bytes: Vec<u8> = logits.iter().flat_map(|v| v.to_le_bytes()).collect();
    let shown = path.display();
    let failed = |e: &dyn std::fmt::Display| Error::file(format!("{shown}: cannot be written: {e}"));
    let ids = TensorView::new(Dtype::I64, vec![ids.len() / 8], &ids).map_err(|e| failed(&e))?;
    let rows = TensorView::new(Dtype::F32, vec![logits.len() / vocab, vocab], &bytes).map_err(|e| failed(&e))?;
    let file = serialize([("ids", ids), ("logits", rows)], None).map_err(|e| failed(&e))?;
    output::write_file(path, &file)
}
