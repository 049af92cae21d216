//! `lapwing list`: the models on this computer.

use super::hub_args::{self, PlaceArgs};
use super::{Outcome, inspect, output};
use crate::hub::local::{self, Model};
use crate::hub::recorded_sha256;
use clap::Args;
use serde::Serialize;
use std::fmt::Write;

/// List the models on this computer.
///
/// Looks in the Hugging Face cache (HF_HOME), Ollama's models (OLLAMA_MODELS), LM Studio's, and the folders of
/// --models-dir and LAPWING_MODELS_DIR. The names shown can be given with -m. Nothing is changed there.
#[derive(Args)]
pub struct ListArgs {
    /// Write JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    places: PlaceArgs,
}

/// A model as it is listed.
#[derive(Serialize)]
struct Row {
    name: String,
    store: &'static str,
    bytes: u64,
    quant: Option<String>,
    architecture: Option<String>,
    parameters: Option<u64>,
    files: Vec<String>,
    sha256: Vec<Option<String>>,
    /// Why it cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
}

impl Row {
    fn of(model: &Model) -> Row {
        let look = model.look();
        let brief = look.as_ref().ok();
        Row {
            name: model.name.clone(),
            store: model.store.name(),
            bytes: model.bytes,
            quant: model.quant.clone().or_else(|| brief.and_then(|b| b.quant.clone())),
            architecture: brief.and_then(|b| b.architecture.clone()),
            parameters: brief.filter(|b| b.shards == 1).map(|b| b.parameters),
            files: model.files.iter().map(|f| f.display().to_string()).collect(),
            sha256: model.files.iter().map(|f| recorded_sha256(f)).collect(),
            broken: look.err().map(|e| e.to_string()),
        }
    }
}

/// Runs the command.
pub fn list(args: &ListArgs) -> Outcome {
    let places = args.places.places();
    let rows: Vec<Row> = local::models(&places).iter().map(Row::of).collect();
    if args.json {
        return output::result(&inspect::json(&rows)?);
    }
    if rows.is_empty() {
        let folders = places.huggingface.iter().chain(&places.ollama).chain(&places.lmstudio).chain(&places.folders);
        let looked: Vec<String> = folders.map(|f| f.display().to_string()).collect();
        output::note(&format!("no models are here (looked in {}); get one: lapwing pull USER/REPO", looked.join(", ")));
        return Ok(());
    }
    output::result(&table(&rows))
}

fn table(rows: &[Row]) -> String {
    let width = |cell: fn(&Row) -> &str, least: usize| {
        rows.iter().map(|row| cell(row).chars().count()).max().unwrap_or(0).max(least)
    };
    let name_width = width(|row| &row.name, 4);
    let quant_width = width(|row| row.quant.as_deref().unwrap_or("-"), 5);
    let arch_width = width(|row| row.architecture.as_deref().unwrap_or("-"), 4);
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:name_width$}  {:>9}  {:quant_width$}  {:arch_width$}  {:11}  FILE",
        "NAME", "SIZE", "QUANT", "ARCH", "STORE"
    );
    for row in rows {
        let (quant, arch) = (row.quant.as_deref().unwrap_or("-"), row.architecture.as_deref().unwrap_or("-"));
        let file = match (&row.broken, &row.files[..]) {
            (Some(why), _) => format!("broken: {why}"),
            (None, [only]) => only.clone(),
            (None, [first, rest @ ..]) => format!("{first} and {} more", rest.len()),
            (None, []) => String::new(),
        };
        let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
        let (name, size) = (plain(&row.name), hub_args::size(row.bytes));
        let _ = writeln!(
            text,
            "{name:name_width$}  {size:>9}  {quant:quant_width$}  {arch:arch_width$}  {:11}  {}",
            row.store,
            plain(&file)
        );
    }
    text
}
