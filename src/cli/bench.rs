//! `lapwing bench`: the speed of models, with llama-bench's flags, test names, columns and JSON fields, so that figures
//! of the two programs can be laid side by side. Also this machine's limits, and how much of them each test reaches: of
//! the memory's bandwidth in generating, of the products per second in reading a prompt.

mod limits;
mod lists;
pub(super) mod machine;
mod measure;
mod model_name;
mod record;
mod report;

use super::hub_args::HubArgs;
use super::model_args::{ComputeArgs, ContextArgs, CoreArgs, FileArgs, ModelArgs};
use super::{Outcome, output};
use crate::error::{Error, Result};
use clap::Args;
use lapwing_quant::cores;
use lists::List;
use measure::Test;
use model_name::ModelName;
use record::{Record, Setting};
use report::{Format, Report};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Tokens of one test: a prompt, then generated ones; either may be 0, not both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Tokens of the prompt.
    pub n_prompt: usize,
    /// Tokens to generate.
    pub n_gen: usize,
}

/// Flags of `bench`. Where a list is taken, every combination is measured.
#[derive(Args)]
pub struct BenchArgs {
    /// A model: a GGUF file (any shard of a split one), or demo; may be given several times.
    #[arg(short, long, value_name = "FILE", default_value = crate::demo::NAME)]
    model: Vec<PathBuf>,
    /// Overrule a metadata value of every model: KEY=TYPE:VALUE, TYPE is int, float, bool or str.
    #[arg(long, value_name = "KEY=TYPE:VALUE")]
    override_kv: Vec<String>,
    /// Lengths of prompts to read; 0 for none. Lists and ranges: 128,256 or 1-4 or 0-8+2 or 1-16*2.
    #[arg(short = 'p', long, value_name = "LIST", default_value = "512", value_parser = lists::list)]
    n_prompt: List,
    /// Numbers of tokens to generate; 0 for none.
    #[arg(short, long, value_name = "LIST", default_value = "128", value_parser = lists::list)]
    n_gen: List,
    /// Read a prompt of P tokens and generate N, as one test; may be given several times [also -pg].
    #[arg(long = "pg", value_name = "P,N", value_parser = lists::pair)]
    pg: Vec<Shape>,
    /// Numbers of tokens that are in the cache before a test begins.
    #[arg(short = 'd', long, value_name = "LIST", default_value = "0", value_parser = lists::list)]
    n_depth: List,
    /// Numbers of sequences that are generated side by side, each with its own prompt [also -npl].
    #[arg(long, value_name = "LIST", default_value = "1", value_parser = lists::positive)]
    n_parallel: List,
    /// Most tokens given to the engine in one go.
    #[arg(short, long, value_name = "LIST", default_value = "2048", value_parser = lists::positive)]
    batch_size: List,
    /// Most tokens of one forward pass [also -ub].
    #[arg(long, value_name = "LIST", default_value = "512", value_parser = lists::positive)]
    ubatch_size: List,
    /// Numbers of threads [default: performance cores].
    #[arg(short, long, value_name = "LIST", value_parser = lists::positive)]
    threads: Option<List>,
    /// How often each test is repeated.
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repetitions: u16,
    /// Format of the result: md, csv, json or jsonl.
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "md")]
    output: Format,
    /// Do not run each test once untimed before.
    #[arg(long)]
    no_warmup: bool,
    /// Do not measure the machine's limits: bytes read and products per second.
    #[arg(long, alias = "no-bandwidth")]
    no_limits: bool,
    /// Instruction set to use (see `lapwing isa`) [default: the widest].
    #[arg(long, env = "LAPWING_ISA", value_name = "NAME")]
    isa: Option<String>,
    /// Keep the weights as they are in the file, mapped, instead of arranging a copy for the kernels.
    #[arg(long)]
    no_repack: bool,
    /// Do not pin threads to cores.
    #[arg(long)]
    no_pin: bool,
    #[command(flatten)]
    only: CoreArgs,
    #[command(flatten)]
    hub: HubArgs,
    #[command(flatten)]
    context: ContextArgs,
    /// Say what is done and how fast.
    #[arg(short, long)]
    verbose: bool,
}

/// Runs the command.
pub fn bench(args: &BenchArgs) -> Outcome {
    let tests = args.tests()?;
    let threads = match &args.threads {
        Some(List(list)) => list.clone(),
        None => vec![cores::default_threads(&args.model_args(Path::new("")).compute.cores()?)],
    };
    if let Some(most) = threads.iter().find(|&&t| t > 1024) {
        return Err(Error::usage(format!("{most} threads are not between 1 and 1024")).into());
    }
    if cfg!(debug_assertions) {
        output::warn("this is a debug build; figures mean nothing, build with --release");
    }
    let warmup = if args.no_warmup { "no warm-up" } else { "an untimed warm-up before each test" };
    output::note(&format!("{} repetitions, {warmup}; sampling and tokenizing are not measured", args.repetitions));
    let mut report = Report::new(args.output);
    let mut limits = limits::Known::default();
    for path in &args.model {
        let model = args.model_args(path);
        for &threads in &threads {
            args.measure_model(model.clone(), threads, &tests, &mut limits, &mut report)?;
        }
    }
    report.finish()
}

impl BenchArgs {
    /// The tests to run on each model with each number of threads.
    fn tests(&self) -> Result<Vec<Test>> {
        let prompts = self.n_prompt.0.iter().map(|&n_prompt| Shape { n_prompt, n_gen: 0 });
        let gens = self.n_gen.0.iter().map(|&n_gen| Shape { n_prompt: 0, n_gen });
        let shapes: Vec<Shape> =
            prompts.chain(gens).filter(|s| s.n_prompt + s.n_gen > 0).chain(self.pg.iter().copied()).collect();
        if shapes.is_empty() {
            return Err(Error::usage("there is nothing to measure: -p and -n are 0 and there is no -pg"));
        }
        let (repetitions, warmup) = (usize::from(self.repetitions), !self.no_warmup);
        let mut tests = Vec::new();
        for &batch in &self.batch_size.0 {
            for &ubatch in &self.ubatch_size.0 {
                for &depth in &self.n_depth.0 {
                    tests.extend(self.parallel(&shapes).map(|(shape, parallel)| Test {
                        shape,
                        parallel,
                        depth,
                        batch,
                        ubatch,
                        repetitions,
                        warmup,
                    }));
                }
            }
        }
        Ok(tests)
    }

    /// Each shape with each number of sequences; a prompt alone is read for one, as more tokens would say the same.
    fn parallel<'a>(&'a self, shapes: &'a [Shape]) -> impl Iterator<Item = (Shape, usize)> + 'a {
        let one = List(vec![1]);
        shapes.iter().flat_map(move |&shape| {
            let numbers = if shape.n_gen == 0 { one.0.clone() } else { self.n_parallel.0.clone() };
            numbers.into_iter().map(move |n| (shape, n))
        })
    }

    fn model_args(&self, path: &Path) -> ModelArgs {
        ModelArgs {
            file: FileArgs {
                model: Some(path.to_path_buf()),
                override_kv: self.override_kv.clone(),
                hub: self.hub.clone(),
            },
            compute: ComputeArgs {
                threads: None,
                threads_batch: None,
                isa: self.isa.clone(),
                no_repack: self.no_repack,
                no_pin: self.no_pin,
                only: self.only.clone(),
            },
            context: self.context.clone(),
            verbose: self.verbose,
            force: false,
        }
    }

    /// The context to reserve: what the tests need, unless more was asked for.
    fn context_length(&self, tests: &[Test], most: usize) -> Result<usize> {
        let needed = tests.iter().map(Test::context).max().unwrap_or(1);
        if needed > most {
            output::warn(&format!(
                "tests of {needed} tokens are beyond this model's {most}: speeds hold, text would not"
            ));
        }
        match self.context.ctx_size {
            None => Ok(needed),
            Some(0) => Ok(needed.max(most)),
            Some(n) if n < needed => {
                Err(Error::usage(format!("the tests need a context of {needed} tokens, -c says {n}; leave -c out")))
            }
            Some(n) => Ok(n),
        }
    }

    /// All tests of one model with one number of threads. The model is loaded anew, so that its threads are started
    /// and pinned as in any other command.
    fn measure_model(
        &self,
        mut args: ModelArgs,
        threads: usize,
        tests: &[Test],
        limits: &mut limits::Known,
        report: &mut Report,
    ) -> Outcome {
        args.compute.threads = Some(threads);
        machine::forget_peak();
        let started = Instant::now();
        let gguf = args.file.open()?;
        let most = crate::engine::Config::read(&gguf, &args.context.rope())?.max_context();
        let n_ctx = self.context_length(tests, most)?;
        let sequences = tests.iter().map(|test| test.parallel).max().unwrap_or(1);
        let mut engine = args.load(&gguf, sequences, Some(n_ctx))?;
        let load_ns = started.elapsed().as_nanos() as u64;
        let store = &engine.kv().store;
        let mut setting = Setting {
            model: ModelName::of(&gguf)?,
            threads,
            load_ns,
            limits: None,
            cache: (self.context.cache_type_k, self.context.cache_type_v),
            isa: engine.kernels().name,
            bytes_per_token: engine.model().bytes_per_token(),
            cache_bytes_per_token: (store.layers() * store.shape().token_bytes()) as u64,
            products_per_token: engine.model().products_per_token(),
            repack: !self.no_repack,
        };
        let loaded_peak = machine::peak_rss();
        let mut peak_known = true;
        for test in tests {
            if !self.no_limits {
                setting.limits = Some(limits.of(&engine, threads)?);
                // The probe's buffer is not the model's: the peak was taken before, and is forgotten after.
                peak_known = machine::forget_peak();
            }
            let what = format!("{}, {threads} threads: {}", gguf.path().display(), test.name());
            let test_time = machine::utc_now();
            let times = measure::run(&mut engine, test, &mut |i| match i {
                0 if self.verbose => output::note(&format!("{what}: warm-up")),
                i if i > 0 && self.verbose => output::note(&format!("{what}: run {i} of {}", test.repetitions)),
                _ => {}
            })?;
            let peak = if peak_known { machine::peak_rss().max(loaded_peak) } else { None };
            let record = Record::new(&setting, test, test_time, &times, peak);
            output::note(&format!("{what}: {:.2} tokens/s", record.avg_ts));
            report.add(record)?;
        }
        Ok(())
    }
}
