//! `lapwing inspect`: what a model file holds.

use super::hub_args::PlaceArgs;
use super::{Outcome, model_args, output};
use crate::error::{Error, Result};
use crate::gguf::Summary;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

/// Show what a model file holds.
///
/// Shows metadata, tensors, their types and sizes, and bits per weight. Works on files that cannot be run too.
#[derive(Args)]
pub struct InspectArgs {
    /// The GGUF file (any shard of a split one), or a name of `lapwing list`.
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// Write JSON.
    #[arg(long)]
    json: bool,
    /// List the tensors only.
    #[arg(long)]
    tensors: bool,
    /// Overrule a metadata value: KEY=TYPE:VALUE, TYPE is int, float, bool or str.
    #[arg(long, value_name = "KEY=TYPE:VALUE")]
    override_kv: Vec<String>,
}

/// Runs the command.
pub fn inspect(args: &InspectArgs) -> Outcome {
    let path = PlaceArgs::default().find(&args.model)?;
    let summary = Summary::of(&*model_args::open(&path, &args.override_kv)?);
    let text = match (args.json, args.tensors) {
        (false, false) => summary.to_text(),
        (false, true) => summary.tensors_text(),
        (true, false) => json(&summary)?,
        (true, true) => json(&summary.tensors)?,
    };
    output::result(&text)
}

/// Pretty JSON with a line break at the end.
pub fn json(value: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::runtime(format!("no JSON can be made: {e}")))?;
    Ok(text + "\n")
}
