//! The measuring behind `lapwing quantize --certify`: gives the comparison its reference, which for a checkpoint is a
//! conversion that loses nothing, made for the purpose and removed again.

use super::certify::{self, Job as Certificate};
use super::model_args::ModelArgs;
use super::output::{Progress as Bar, Unit};
use super::text_args::ChunkArgs;
use super::{Outcome, Stop, interrupt};
use crate::convert::{self, Choices, FileType, Job, Plan, Progress, Settings};
use crate::error::{Error, Result};
use clap::Parser;
use lapwing_quant::kernels;
use lapwing_quant::threads::Pool;
use std::path::Path;

/// The flags of the comparison, all at their defaults.
#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    chunks: ChunkArgs,
}

/// Compares the file at `part`, made from `input` by `plan`, with its source over `text`, and writes the figures into it.
pub fn certify(input: &Path, plan: &Plan, part: &Path, text: &Path, pool: &Pool) -> Outcome {
    let flags = Defaults::try_parse_from([Path::new("quantize"), Path::new("-m"), part])
        .map_err(|e| Error::runtime(format!("the defaults of a comparison: {e}")))?;
    let source: Vec<&Path> = plan.source.files.iter().map(|(path, _)| path.as_path()).collect();
    let compare = |reference: &Path| {
        certify::certify(&Certificate {
            reference,
            source: &source,
            candidate: part,
            text,
            flags: &flags.model,
            chunks: &flags.chunks,
        })
    };
    if !input.is_dir() {
        return compare(input);
    }
    let beside = part.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = tempfile::Builder::new()
        .prefix(".lapwing-reference-")
        .tempdir_in(beside)
        .map_err(|e| Error::file(format!("{}: no directory for the reference can be made: {e}", beside.display())))?;
    let reference = dir.path().join("reference.gguf");
    match lossless(input, &reference, pool)? {
        convert::Outcome::Done(_) => compare(&reference),
        convert::Outcome::Stopped => Err(Stop::Interrupted),
    }
}

/// Converts the checkpoint `input` without changing a weight.
fn lossless(input: &Path, output: &Path, pool: &Pool) -> Result<convert::Outcome> {
    let settings = Settings {
        choices: Choices::new(FileType::COPY),
        imatrix: None,
        overrides: Vec::new(),
        keep_split: false,
        max_shard_bytes: None,
        allow_requantize: false,
        reserved: Vec::new(),
    };
    let plan = Plan::new(convert::open(input)?, settings)?;
    let mut bar = Bar::new("converting the reference", Unit::Bytes);
    let mut tell = |at: Progress<'_>| {
        bar.update(at.bytes.0, at.bytes.1);
        !interrupt::asked()
    };
    Job { plan: &plan, output, resume: false, pool, kernels: kernels::best() }.run(&mut tell, None)
}
