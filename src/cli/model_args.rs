//! The flags that say which model to load and how, with llama.cpp's names; and the loading itself, with progress.

use super::before_load::Before;
use super::hub_args::HubArgs;
use super::output::{self, Progress, Unit};
use crate::chat::{SpecialTexts, Template};
use crate::demo;
use crate::engine::{Engine, EngineOptions};
use crate::engine::{RopeFlags, Scaling};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, OpenOptions, Override};
use crate::tokenizer::{Tokenizer, Vocab};
use clap::Args;
use lapwing_quant::attend::KvType;
use lapwing_quant::cores::{self, Cores};
use lapwing_quant::kernels::{self, Kernels};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which file, and which of its numbers to overrule.
#[derive(Args, Clone, Debug)]
pub struct FileArgs {
    /// The model: a GGUF file (any shard of a split one), a name of `lapwing list`, or the built-in demo.
    #[arg(short, long = "model", value_name = "FILE", default_value = demo::NAME)]
    pub model: Option<PathBuf>,
    /// Overrule a metadata value: KEY=TYPE:VALUE, TYPE is int, float, bool or str.
    #[arg(long, value_name = "KEY=TYPE:VALUE")]
    pub override_kv: Vec<String>,
    /// Where else it comes from.
    #[command(flatten)]
    pub hub: HubArgs,
}

impl FileArgs {
    /// Opens the file and says what was odd about it.
    pub fn open(&self) -> Result<Arc<Gguf>> {
        open(&self.hub.locate(self.model.as_deref())?, &self.override_kv)
    }
}

/// Opens a GGUF file, or the built-in model by its name, with overrides.
pub fn open(path: &Path, overrides: &[String]) -> Result<Arc<Gguf>> {
    let mut list = Vec::new();
    for text in overrides {
        list.extend(Override::parse_list(text)?);
    }
    let options = OpenOptions { overrides: list };
    let gguf = if path.as_os_str() == demo::NAME {
        output::note(demo::NOTICE);
        demo::open(&options)?
    } else {
        Gguf::open(path, &options)?
    };
    gguf.warnings().iter().for_each(|w| output::warn(w));
    Ok(gguf)
}

/// How to compute.
#[derive(Args, Clone, Debug)]
pub struct ComputeArgs {
    /// Threads for generating [default: performance cores].
    #[arg(short, long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
    /// Threads for reading prompts [default: as --threads].
    #[arg(long = "threads-batch", alias = "tb", value_name = "N", value_parser = threads)]
    pub threads_batch: Option<usize>,
    /// Instruction set to use (see `lapwing isa`) [default: the widest].
    #[arg(long, env = "LAPWING_ISA", value_name = "NAME")]
    pub isa: Option<String>,
    /// Keep the weights as they are in the file, mapped, instead of arranging a copy for the kernels.
    #[arg(long)]
    pub no_repack: bool,
    /// Do not pin threads to cores.
    #[arg(long)]
    pub no_pin: bool,
    /// Where to compute.
    #[command(flatten)]
    pub only: CoreArgs,
}

/// Which cores to use.
#[derive(Args, Clone, Debug, Default)]
pub struct CoreArgs {
    /// Use only these CPUs: hexadecimal, bit 0 is CPU 0. Also -C.
    #[arg(short = 'C', long, value_name = "MASK", value_parser = cpu_mask, conflicts_with = "cpu_range")]
    pub cpu_mask: Option<Cpus>,
    /// Use only these CPUs: a list like 0-3,8. Also -Cr.
    #[arg(long, value_name = "LIST", value_parser = cpu_range)]
    pub cpu_range: Option<Cpus>,
}

/// CPUs by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus(Vec<usize>);

fn cpu_mask(text: &str) -> std::result::Result<Cpus, String> {
    cores::parse_mask(text).map(Cpus)
}

fn cpu_range(text: &str) -> std::result::Result<Cpus, String> {
    cores::parse_range(text).map(Cpus)
}

fn threads(text: &str) -> std::result::Result<usize, String> {
    match text.parse::<i64>() {
        Ok(n @ 1..=1024) => Ok(n as usize),
        Ok(n) => Err(format!("{n} is not between 1 and 1024")),
        Err(_) => Err("expected a number between 1 and 1024".to_owned()),
    }
}

impl CoreArgs {
    fn chosen(&self) -> Option<&Cpus> {
        self.cpu_mask.as_ref().or(self.cpu_range.as_ref())
    }
}

impl ComputeArgs {
    /// Keeps all threads that are yet to be started to the chosen cores, if some were chosen; says so where the system
    /// cannot.
    pub fn hold(&self, cores: &Cores) {
        if self.only.chosen().is_some() && !cores::hold(&cores.all_physical) {
            output::warn(
                "this system cannot keep threads to chosen CPUs: only as many threads as chosen CPUs are used",
            );
        }
    }

    /// The kernels asked for, or the widest.
    pub fn kernels(&self) -> Result<&'static Kernels> {
        match &self.isa {
            None => {
                if let Some(what) = kernels::distrusted() {
                    output::warn(&format!("{what}; {} is used instead", kernels::best().name));
                }
                Ok(kernels::best())
            }
            Some(name) => kernels::by_name(name).map_err(Error::usage),
        }
    }

    /// The cores to compute on: those chosen by flags, or all that this process may use.
    ///
    /// # Errors
    /// When none of the chosen ones may be used.
    pub fn cores(&self) -> Result<Cores> {
        let cores = cores::detect();
        let Some(Cpus(chosen)) = self.only.chosen() else { return Ok(cores) };
        let only = cores.only(chosen, &cores::is_allowed).ok_or_else(|| {
            Error::usage("--cpu-mask and --cpu-range: this process may use none of these CPUs; see `lapwing isa`")
        })?;
        if only.logical < chosen.len() {
            output::warn(&format!("only {} of the {} chosen CPUs may be used", only.logical, chosen.len()));
        }
        Ok(only)
    }
}

/// Positions and cache.
#[derive(Args, Clone, Debug)]
pub struct ContextArgs {
    /// Context length in tokens; 0 for all the model allows [default: what fits, at most 32768].
    #[arg(short, long, value_name = "N")]
    pub ctx_size: Option<usize>,
    /// Type of cached keys: f16, bf16, f32 or q8_0.
    #[arg(long = "cache-type-k", alias = "ctk", value_name = "TYPE", default_value = "f16", value_parser = kv_type)]
    pub cache_type_k: KvType,
    /// Type of cached values: f16, bf16, f32 or q8_0.
    #[arg(long = "cache-type-v", alias = "ctv", value_name = "TYPE", default_value = "f16", value_parser = kv_type)]
    pub cache_type_v: KvType,
    /// Scaling of positions: none, linear or yarn [default: the file's].
    #[arg(long, value_name = "KIND", value_parser = scaling)]
    pub rope_scaling: Option<Scaling>,
    /// By how much the context is stretched.
    #[arg(long, value_name = "N")]
    pub rope_scale: Option<f64>,
    /// The same as its inverse: 0.25 stretches by 4.
    #[arg(long, value_name = "N", value_parser = part, conflicts_with = "rope_scale")]
    pub rope_freq_scale: Option<f64>,
    /// Base frequency of the rotation.
    #[arg(long, value_name = "N")]
    pub rope_freq_base: Option<f64>,
    /// YaRN: context length before stretching.
    #[arg(long, value_name = "N")]
    pub yarn_orig_ctx: Option<usize>,
    /// YaRN: weight of the unscaled frequencies, 0 to 1.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub yarn_ext_factor: Option<f64>,
    /// YaRN: further factor on the attention scale.
    #[arg(long, value_name = "N")]
    pub yarn_attn_factor: Option<f64>,
    /// YaRN: turns above which a pair is not scaled.
    #[arg(long, value_name = "N")]
    pub yarn_beta_fast: Option<f64>,
    /// YaRN: turns below which a pair is fully scaled.
    #[arg(long, value_name = "N")]
    pub yarn_beta_slow: Option<f64>,
}

fn kv_type(text: &str) -> std::result::Result<KvType, String> {
    let names: Vec<&str> = KvType::ALL.iter().map(|(n, _)| *n).collect();
    let found = KvType::ALL.iter().find(|(n, _)| *n == text).map(|(_, t)| *t);
    found.ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

/// A factor by which frequencies are multiplied.
fn part(text: &str) -> std::result::Result<f64, String> {
    let found = text.parse::<f64>().ok().filter(|n| (1e-3..=1e3).contains(n));
    found.ok_or_else(|| "expected a number like 0.25, between 0.001 and 1000".to_owned())
}

fn scaling(text: &str) -> std::result::Result<Scaling, String> {
    Scaling::parse(text).ok_or_else(|| "expected none, linear or yarn".to_owned())
}

impl ContextArgs {
    /// The flags about rotation.
    pub fn rope(&self) -> RopeFlags {
        RopeFlags {
            scaling: self.rope_scaling,
            scale: self.rope_scale.or(self.rope_freq_scale.map(|part| 1.0 / part)),
            freq_base: self.rope_freq_base,
            orig_ctx: self.yarn_orig_ctx,
            ext_factor: self.yarn_ext_factor,
            attn_factor: self.yarn_attn_factor,
            beta_fast: self.yarn_beta_fast,
            beta_slow: self.yarn_beta_slow,
        }
    }
}

/// All flags of a command that runs a model.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// Which file.
    #[command(flatten)]
    pub file: FileArgs,
    /// How to compute.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Positions and cache.
    #[command(flatten)]
    pub context: ContextArgs,
    /// Say what is done and how fast.
    #[arg(short, long)]
    pub verbose: bool,
    /// Load the model even if memory does not suffice for it.
    #[arg(long)]
    pub force: bool,
}

/// Reads the whole file into memory where it is not yet, showing progress.
pub fn page_in(gguf: &Gguf) {
    let total = gguf.payload_bytes();
    if gguf.residency().is_some_and(|r| r * 100 >= total * 98) {
        return;
    }
    let mut progress = Progress::new("reading the file", Unit::Bytes);
    gguf.page_in(&mut |p| progress.update(p.bytes_done, p.bytes_total));
}

impl ModelArgs {
    /// Loads the model with a cache for `sequences` conversations of `n_ctx` tokens (0: what the model allows; `None`:
    /// what the flags say).
    pub fn load(&self, gguf: &Arc<Gguf>, sequences: usize, n_ctx: Option<usize>) -> Result<Engine> {
        let kernels = self.compute.kernels()?;
        let config = crate::engine::Config::read(gguf, &self.context.rope())?;
        let cores = self.compute.cores()?;
        self.compute.hold(&cores);
        let before = Before { args: self, gguf, config: &config, cores: &cores, kernels, sequences };
        let (n_ctx, rates) = before.load(n_ctx)?;
        let by_flag = self.compute.threads;
        let threads = by_flag.or(rates.as_ref().map(|r| r.threads)).unwrap_or_else(|| cores::default_threads(&cores));
        let of_rates = rates.as_ref().map(|r| r.threads_batch).filter(|_| by_flag.is_none());
        let threads_batch = self.compute.threads_batch.or(of_rates).unwrap_or(threads);
        let most = threads.max(threads_batch);
        let plan = if self.compute.no_pin { None } else { cores::pin_plan(&cores, most) };
        if most > cores.logical {
            output::warn(&format!("{most} threads on {} logical cores will wait for each other", cores.logical));
        }
        page_in(gguf);
        let options = EngineOptions {
            kernels,
            threads,
            threads_batch,
            cpus: plan.unwrap_or_default(),
            rope: self.context.rope(),
            n_ctx,
            sequences,
            keys: self.context.cache_type_k,
            values: self.context.cache_type_v,
            repack: !self.compute.no_repack,
        };
        let started = std::time::Instant::now();
        let mut progress = Progress::new("arranging weights", Unit::Bytes);
        let engine = Engine::load(gguf, options, &mut |done, total| progress.update(done, total))?;
        drop(progress);
        if self.verbose {
            output::note(&format!(
                "{}: {}, {threads} threads ({threads_batch} for prompts), {} {} context {n_ctx}, loaded in {:.2} s",
                gguf.path().display(),
                kernels.name,
                if self.compute.no_repack { "weights in place," } else { "weights arranged," },
                config.arch.name(),
                started.elapsed().as_secs_f64()
            ));
        }
        Ok(engine)
    }
}

/// The vocabulary of a file.
pub fn tokenizer(gguf: &Gguf) -> Result<Tokenizer> {
    let meta = gguf.meta();
    let key = |part: &str| format!("tokenizer.ggml.{part}");
    let strings = |part: &str| -> Result<Vec<String>> {
        Ok(meta.require_strings(&key(part))?.into_iter().map(str::to_owned).collect())
    };
    let id = |part: &str| -> Result<Option<u32>> {
        let id = meta.uint(&key(part))?;
        id.map(|v| {
            u32::try_from(v).map_err(|_| Error::file(format!("{}: {} is {v}", gguf.path().display(), key(part))))
        })
        .transpose()
    };
    let type_of = |v: i64| i32::try_from(v).unwrap_or(-1);
    let vocab = Vocab {
        tokens: strings("tokens")?,
        types: meta.require_ints(&key("token_type"))?.into_iter().map(type_of).collect(),
        merges: strings("merges")?,
        pre: meta.str(&key("pre"))?.unwrap_or("default").to_owned(),
        model: meta.require_str(&key("model"))?.to_owned(),
        bos: id("bos_token_id")?,
        eos: id("eos_token_id")?,
        eot: id("eot_token_id")?,
        pad: id("padding_token_id")?,
        add_bos: meta.bool(&key("add_bos_token"))?.unwrap_or(false),
    };
    Tokenizer::from_vocab(vocab).map_err(|e| e.context(gguf.path().display().to_string()))
}

/// The chat template of a file, or of another file given in its place.
pub fn template(gguf: &Gguf, file: Option<&Path>, tokenizer: &Tokenizer) -> Result<Template> {
    let source = match file {
        Some(path) => super::read_text(path)?,
        None => match gguf.meta().str("tokenizer.chat_template")? {
            Some(text) => text.to_owned(),
            None => {
                return Err(Error::file(format!(
                    "{}: has no chat template; give one with --chat-template-file, or use --raw",
                    gguf.path().display()
                )));
            }
        },
    };
    Template::from_source(&source, &SpecialTexts::of(tokenizer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Given {
        #[command(flatten)]
        context: ContextArgs,
    }

    fn rope(args: &[&str]) -> std::result::Result<RopeFlags, clap::Error> {
        Ok(Given::try_parse_from([&["lapwing"], args].concat())?.context.rope())
    }

    #[test]
    fn the_inverse_of_the_scale_is_understood() {
        assert_eq!(rope(&["--rope-freq-scale", "0.25"]).unwrap(), rope(&["--rope-scale", "4"]).unwrap());
        for bad in [["--rope-freq-scale", "0"], ["--rope-freq-scale", "-1"], ["--rope-freq-scale", "nan"]] {
            assert!(rope(&bad).is_err(), "{bad:?}");
        }
        assert!(rope(&["--rope-freq-scale", "0.25", "--rope-scale", "4"]).is_err(), "one or the other");
    }
}
