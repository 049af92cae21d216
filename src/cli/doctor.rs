//! `lapwing doctor`: looks for what is wrong and says what to do about it.

use super::model_args::{self, ModelArgs};
use super::output::{Progress, Unit};
use super::{Cli, Outcome, inspect, interrupt, output, settings};
use crate::demo;
use crate::doctor::{Finding, Severity, machine, model, rope, text};
use crate::engine::{Config, UBATCH};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, OpenOptions, Override};
use crate::plan::context::Case;
use crate::plan::{Memory, Shape, Weights};
use clap::{Args, CommandFactory};
use lapwing_quant::kernels;
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Look for what is wrong with this machine, a model and the settings, and say what to do about it.
///
/// Without a model the built-in one is looked at. Exit code 1 when there is a problem; warnings and notes are none.
#[derive(Args)]
pub struct DoctorArgs {
    /// The model: as -m.
    #[arg(value_name = "MODEL", conflicts_with = "hf_repo")]
    name: Option<PathBuf>,
    /// Write JSON.
    #[arg(long)]
    json: bool,
    /// Do not read the whole file (no hash, no look at every weight).
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    model: ModelArgs,
}

/// What was looked at, and what was found.
#[derive(Default, Serialize)]
struct Report {
    /// Sentences about what is in order.
    fine: Vec<String>,
    findings: Vec<Finding>,
}

impl Report {
    /// Notes findings; without any, that this was in order.
    fn check(&mut self, fine: impl Into<String>, found: impl IntoIterator<Item = Finding>) {
        let before = self.findings.len();
        self.findings.extend(found);
        if self.findings.len() == before {
            self.fine.push(fine.into());
        }
    }
}

/// Runs the command.
pub fn doctor(args: &DoctorArgs) -> Outcome {
    interrupt::watch();
    let mut report = Report::default();
    args.machine(&mut report)?;
    args.settings(&mut report);
    args.model(&mut report)?;
    report.findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    if args.json {
        output::result(&inspect::json(&report)?)?;
    } else {
        output::result(&show(&report))?;
    }
    let problems = report.findings.iter().filter(|f| f.severity == Severity::Problem).count();
    match problems {
        0 => Ok(()),
        1 => Err(Error::runtime("there is a problem").into()),
        n => Err(Error::runtime(format!("there are {n} problems")).into()),
    }
}

impl DoctorArgs {
    fn machine(&self, report: &mut Report) -> Result<()> {
        let compute = &self.model.compute;
        let tables: Vec<_> = kernels::available().collect();
        let (compared, found) = machine::self_test(&tables).map_err(Error::limit)?;
        let names: Vec<&str> = tables.iter().map(|t| t.name).collect();
        report.check(format!("kernels: {} agree with the plain ones ({compared} products)", names.join(", ")), found);
        match compute.kernels() {
            Ok(used) => {
                let found = machine::isa(used, kernels::best()).into_iter().chain(machine::distrusted());
                report.check(format!("instruction set: {}", used.name), found);
            }
            Err(e) => report.check("", [machine::unknown_isa(&e.to_string())]),
        }
        let cores = compute.cores()?;
        let asked = [("--threads", compute.threads), ("--threads-batch", compute.threads_batch)];
        let quota = cores.quota.map_or(String::new(), |q| format!(", a quota of {q} CPUs"));
        let (perf, all) = (cores.perf.len(), cores.all_physical.len());
        let fine = format!("cores: {perf} fast ones of {all}, {} hardware threads{quota}", cores.logical);
        report.check(fine, machine::threads(&cores, &asked));
        Ok(())
    }

    fn settings(&self, report: &mut Report) {
        let program = Cli::command();
        let names = settings::names(&program);
        let Some((path, named)) = settings::file::path() else { return };
        match settings::file::read(&path, named, &names) {
            Ok(entries) => report.check(format!("settings: {} in {}", entries.len(), path.display()), []),
            Err(e) => report.check("", [machine::settings(&e.to_string())]),
        }
    }

    fn model(&self, report: &mut Report) -> Result<()> {
        let gguf = match self.open() {
            Ok(gguf) => gguf,
            Err(e) => {
                report.check("", [model::unreadable(&e)]);
                return Ok(());
            }
        };
        let shown = gguf.path().display().to_string();
        let (config, found) = model::structure(&gguf);
        report.check(format!("{shown}: all tensors are there"), found);
        let Some(config) = config else { return Ok(()) };
        if !self.quick {
            let mut progress = Progress::new("looking at every weight", Unit::Bytes);
            let mut watch = |done, total| {
                progress.update(done, total);
                !interrupt::asked()
            };
            report.check(format!("{shown}: all weights are sound"), model::weights(&gguf, &mut watch));
            let (compared, found) = model::hashes(&gguf, &mut watch)?;
            if interrupt::asked() {
                return Err(Error::runtime("interrupted before everything was looked at"));
            }
            if compared > 0 {
                report.check(format!("{shown}: the SHA-256 is the recorded one"), found);
            }
        }
        match model_args::tokenizer(&gguf) {
            Ok(tokenizer) => {
                report.check("vocabulary: Qwen3's", text::vocabulary(&gguf, &config, &tokenizer));
                report.check("chat template: Qwen3's", text::template(&gguf, &tokenizer)?);
            }
            Err(e) => report.check("", [model::no_tokenizer(&e)]),
        }
        self.positions(&gguf, &config, report)
    }

    fn positions(&self, gguf: &Gguf, config: &Config, report: &mut Report) -> Result<()> {
        let context = &self.model.context;
        let facts = rope::FileFacts::read(gguf)?;
        let found = rope::lint(&facts, &context.rope(), context.ctx_size).into_iter().chain(rope::base(&facts));
        report.check("positions: nothing odd in flags and file", found);
        let shape = Shape::of(config, gguf.tensor("output.weight").is_none());
        let Ok(weights) = Weights::of(gguf, &shape) else { return Ok(()) };
        let types = (context.cache_type_k, context.cache_type_v);
        let case = Case { shape: &shape, weights: &weights, types, ubatch: UBATCH, memory: Memory::read() };
        let n_ctx = match context.ctx_size {
            None => case.chosen(config.max_context()).0,
            Some(0) => config.max_context(),
            Some(n) => n,
        };
        report.check(format!("memory: suffices for a context of {n_ctx} tokens"), machine::memory(&case, n_ctx));
        Ok(())
    }

    fn open(&self) -> Result<Arc<Gguf>> {
        let file = &self.model.file;
        let path = file.hub.locate(self.name.as_deref().or(file.model.as_deref()))?;
        let mut overrides = Vec::new();
        for text in &file.override_kv {
            overrides.extend(Override::parse_list(text)?);
        }
        let options = OpenOptions { overrides };
        if path == Path::new(demo::NAME) { demo::open(&options) } else { Gguf::open(&path, &options) }
    }
}

fn show(report: &Report) -> String {
    let mut text = String::new();
    for fine in &report.fine {
        let _ = writeln!(text, "ok       {fine}");
    }
    for finding in &report.findings {
        let word = match finding.severity {
            Severity::Problem => "PROBLEM",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let _ = writeln!(text, "{word:8} {} [{}]", finding.found, finding.check);
        let _ = writeln!(text, "         -> {}", finding.advice);
    }
    if report.findings.is_empty() {
        text.push_str("nothing is wrong\n");
    }
    text
}
