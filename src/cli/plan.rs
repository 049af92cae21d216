//! `lapwing plan`: what fits this machine and how fast it will be, without loading anything.

use super::before_load::{gb, lines, name, rate, seconds};
use super::model_args::ModelArgs;
use super::rates::{self, Wanted};
use super::{Outcome, bench::machine, inspect, output};
use crate::demo;
use crate::engine::{Config, UBATCH};
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::plan::context::Case;
use crate::plan::table::{self, Row};
use crate::plan::{Memory, Needs, Rates, Shape, Weights, speed};
use clap::Args;
use lapwing_quant::DType;
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Context for which models are compared when -c is not given.
const TABLE_CONTEXT: usize = 8192;
/// Lengths of prompts for which the time to the first token is told.
const PROMPTS: [usize; 3] = [1024, 8192, 32_768];

/// Show what fits this machine, how fast it will be, and which model to take.
///
/// Speeds are predicted from a measurement of the kernels on this machine (about two seconds, kept for 30 days; --probe
/// measures anew). With a model it is looked at first; exit code 1 when it does not fit.
#[derive(Args)]
pub struct PlanArgs {
    /// A model to look at: as -m.
    #[arg(value_name = "MODEL", conflicts_with = "hf_repo")]
    name: Option<PathBuf>,
    /// Measure anew.
    #[arg(long)]
    probe: bool,
    /// Do not measure: no speeds, unless they are known.
    #[arg(long, conflicts_with = "probe")]
    no_probe: bool,
    /// Write JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelArgs,
}

/// The plan as JSON.
#[derive(Serialize)]
struct Plan<'a> {
    memory_total: u64,
    memory_free: u64,
    memory_margin: u64,
    cpu: String,
    isa: &'static str,
    power: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    busy: Option<String>,
    rates: Option<&'a Rates>,
    model: Option<OneModel>,
    table_context: usize,
    table: &'a [Row],
}

/// One model as JSON.
#[derive(Serialize)]
struct OneModel {
    name: String,
    context: usize,
    needs: Needs,
    total: u64,
    fits: bool,
    tokens_per_second: Option<f64>,
    /// Prompt and seconds.
    first_token: Vec<(usize, f64)>,
}

/// Runs the command.
pub fn plan(args: &PlanArgs) -> Outcome {
    let (compute, context) = (&args.model.compute, &args.model.context);
    let (kernels, cores, memory) = (compute.kernels()?, compute.cores()?, Memory::read());
    compute.hold(&cores);
    let gguf = args.gguf()?;
    let wanted = match (args.probe, args.no_probe) {
        (true, _) => Wanted::New,
        (_, true) => Wanted::Kept,
        _ => Wanted::Any,
    };
    let types = (context.cache_type_k, context.cache_type_v);
    let model = gguf.as_ref().map(|gguf| Model::read(gguf, &args.model)).transpose()?;
    let formats = model.as_ref().map(|m| m.weights.formats()).unwrap_or_default();
    let rates = rates::rates(compute, (&cores, kernels), wanted, &formats)?;
    let table_context = context.ctx_size.filter(|&n| n > 0).unwrap_or(TABLE_CONTEXT);
    let table = table::rows(memory, table_context, types, rates.as_ref())?;
    let mut text = String::new();
    let (mut one, mut refused) = (None, None);
    if let Some(Model { name, config, shape, weights }) = &model {
        let case = Case { shape, weights, types, ubatch: UBATCH, memory };
        let n_ctx = match context.ctx_size {
            None => case.chosen(config.max_context()).0,
            Some(0) => config.max_context(),
            Some(n) => n,
        };
        text += &lines(name, &case, n_ctx, rates.as_ref());
        text += "\n";
        one = Some(one_model(name.clone(), &case, n_ctx, rates.as_ref()));
        if case.needs(n_ctx).total() > memory.usable() && !args.model.force {
            refused = Some(Error::limit(format!("{name} does not fit: {}", case.advice(n_ctx))));
        }
    }
    let busy = busy(rates::load(), cores.logical);
    if args.json {
        let plan = Plan {
            memory_total: memory.total,
            memory_free: memory.usable(),
            memory_margin: memory.margin(),
            cpu: machine::cpu_name(),
            isa: kernels.name,
            power: rates::power_source(),
            busy,
            rates: rates.as_ref(),
            model: one,
            table_context,
            table: &table,
        };
        output::result(&inspect::json(&plan)?)?;
    } else {
        let free = format!("{} of memory free of {}", gb(memory.usable()), gb(memory.total));
        let _ = writeln!(text, "{}, {}, {free}, {}", machine::cpu_name(), kernels.name, rates::power_source());
        if let Some(rates) = &rates {
            let _ = writeln!(text, "{}", measured(rates));
        }
        text.extend(busy.map(|busy| format!("{busy}\n")));
        text += &show(&table, table_context);
        output::result(&text)?;
    }
    refused.map_or(Ok(()), |e| Err(e.into()))
}

/// What is known of a model before it is loaded.
struct Model {
    name: String,
    config: Config,
    shape: Shape,
    weights: Weights,
}

impl Model {
    fn read(gguf: &Gguf, args: &ModelArgs) -> Result<Self> {
        let config = Config::read(gguf, &args.context.rope())?;
        let shape = Shape::of(&config, gguf.tensor("output.weight").is_none());
        let weights = Weights::of(gguf, &shape)?;
        Ok(Self { name: name(gguf), config, shape, weights })
    }
}

impl PlanArgs {
    /// The model that was asked about, if one was.
    fn gguf(&self) -> Result<Option<Arc<Gguf>>> {
        let mut file = self.model.file.clone();
        if let Some(name) = &self.name {
            file.model = Some(name.clone());
        }
        let of_hub = file.hub.hf_repo.is_some() || file.hub.model_url.is_some();
        let named = file.model.as_deref().is_some_and(|m| m != Path::new(demo::NAME)) || self.name.is_some();
        (of_hub || named).then(|| file.open()).transpose()
    }
}

fn one_model(name: String, case: &Case<'_>, n_ctx: usize, rates: Option<&Rates>) -> OneModel {
    let needs = case.needs(n_ctx);
    let first = |rates: &Rates| {
        PROMPTS.iter().map(|&n| (n, speed::first_token_seconds(case.shape, case.weights, rates, n))).collect()
    };
    OneModel {
        name,
        context: n_ctx,
        needs,
        total: needs.total(),
        fits: case.fits(n_ctx),
        tokens_per_second: rates.map(|r| speed::decode_rate(case.shape, case.weights, r, 0)),
        first_token: rates.map(first).unwrap_or_default(),
    }
}

/// The measurement in one line.
fn measured(rates: &Rates) -> String {
    let speed = rates.format(DType::Q8_0);
    format!(
        "measured {}: weights are read at {:.1} GB/s, prompts computed at {:.0} billion int8 products/s; best with {} \
         threads, {} for prompts",
        rates::age(rates),
        speed.bytes_per_second / 1e9,
        speed.products_per_second / 1e9,
        rates.threads,
        rates.threads_batch
    )
}

/// What is said when others use the processor.
fn busy(load: f64, logical: usize) -> Option<String> {
    rates::is_busy(load, logical).then(|| {
        format!(
            "the machine is busy (load {load:.1} on {logical} hardware threads): speeds are lower while that lasts; \
             --probe measures it as it is now"
        )
    })
}

fn show(rows: &[Row], n_ctx: usize) -> String {
    let mut text = format!("\nQwen3 with a context of {n_ctx} tokens:\n");
    let _ = writeln!(
        text,
        "{:9} {:7} {:>9} {:>9}  {:12} {:>8}  PROMPT OF 1K",
        "MODEL", "QUANT", "FILE", "MEMORY", "", "TOKENS/S"
    );
    for row in rows {
        let speeds = match (row.tokens_per_second, row.first_token_1k) {
            (Some(r), Some(s)) => format!("{:>8}  {}", rate(r), seconds(s)),
            _ => format!("{:>8}  -", "-"),
        };
        let fits = match (row.recommended, row.fits) {
            (true, _) => "recommended",
            (_, true) => "fits",
            _ => "too large",
        };
        let (file, memory) = (gb(row.file_bytes), gb(row.memory_bytes));
        let _ = writeln!(text, "{:9} {:7} {file:>9} {memory:>9}  {fits:12} {speeds}", row.model, row.mix);
    }
    match rows.iter().find(|row| row.recommended) {
        Some(row) => {
            let (model, mix) = (row.model, row.mix);
            let _ = writeln!(text, "\nget it: lapwing pull Qwen/Qwen3-{model}-GGUF:{mix}");
        }
        None => text.push_str("\nnone of them fits; close other programs, or use a smaller -c\n"),
    }
    text
}
