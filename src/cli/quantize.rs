//! `lapwing quantize`: a checkpoint or a GGUF to a GGUF of the types asked for. Options as llama-quantize has them.

use super::output::{self, Progress as Bar, Unit};
use super::{Outcome, Stop, interrupt, quantize_certify};
use crate::convert::{
    self, Choices, FileType, Importance, Job, Plan, Progress, Report, Settings, Source, is_quantized, parse_dtype,
};
use crate::error::{Error, Result};
use crate::gguf::{Certificate, Override};
use crate::imatrix::Imatrix;
use clap::Args;
use lapwing_quant::DType;
use lapwing_quant::threads::Pool;
use lapwing_quant::{cores, kernels};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Quantize a model: a Hugging Face checkpoint (a directory) or a GGUF, to a GGUF.
///
/// TYPE is one of F32 F16 BF16 Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS Q3_K_L Q3_K_M
/// Q3_K_S Q2_K, with llama-quantize's mixes, or COPY, which changes no type. Without OUTPUT the file is
/// ggml-model-TYPE.gguf beside the input (in it, if it is a directory).
#[derive(Args)]
#[command(override_usage = "lapwing quantize [OPTIONS] INPUT [OUTPUT] TYPE [NTHREADS]")]
pub struct QuantizeArgs {
    /// INPUT [OUTPUT] TYPE [NTHREADS].
    #[arg(num_args = 2..=4, required = true, value_name = "INPUT [OUTPUT] TYPE [NTHREADS]")]
    positional: Vec<String>,
    /// Importance matrix: which columns' errors matter (see `lapwing imatrix`).
    #[arg(long, value_name = "FILE")]
    imatrix: Option<PathBuf>,
    /// Use the importance matrix only for tensors with NAME in their name.
    #[arg(long, value_name = "NAME", requires = "imatrix", conflicts_with = "exclude_weights")]
    include_weights: Vec<String>,
    /// Do not use the importance matrix for tensors with NAME in their name.
    #[arg(long, value_name = "NAME", requires = "imatrix")]
    exclude_weights: Vec<String>,
    /// One format for all tensors, no mix.
    #[arg(long)]
    pure: bool,
    /// Leave output.weight as it is.
    #[arg(long)]
    leave_output_tensor: bool,
    /// Format of output.weight (of the embedding, where they are one).
    #[arg(long, value_name = "FORMAT")]
    output_tensor_type: Option<String>,
    /// Format of token_embd.weight.
    #[arg(long, value_name = "FORMAT")]
    token_embedding_type: Option<String>,
    /// Format of the tensors in whose names the regular expression is found; the first that fits counts.
    #[arg(long, value_name = "PATTERN=FORMAT")]
    tensor_type: Vec<String>,
    /// Write as many files as the split input has, with the same tensors.
    #[arg(long, conflicts_with = "max_shard_size")]
    keep_split: bool,
    /// Write several files, none larger than N bytes, or N with K, M or G behind it.
    #[arg(long, value_name = "N", value_parser = size)]
    max_shard_size: Option<u64>,
    /// Allow tensors that are quantized already to be quantized again, which loses more.
    #[arg(long)]
    allow_requantize: bool,
    /// Put a metadata value in place of the input's: KEY=TYPE:VALUE, TYPE is int, float, bool or str.
    #[arg(long, value_name = "KEY=TYPE:VALUE")]
    override_kv: Vec<String>,
    /// Compare the result with its source over this text, and put the figures into the file.
    #[arg(long, value_name = "TEXT", conflicts_with = "dry_run")]
    certify: Option<PathBuf>,
    /// Show what would be written, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Go on where an interrupted job stopped.
    #[arg(long)]
    resume: bool,
}

/// What the positional arguments say.
#[derive(Debug, PartialEq)]
struct Positional {
    input: PathBuf,
    output: PathBuf,
    file_type: FileType,
    threads: Option<usize>,
}

impl Positional {
    fn parse(given: &[String]) -> Result<Positional> {
        let input = PathBuf::from(&given[0]);
        let (output, rest) = match FileType::parse(&given[1]) {
            Some(file_type) => {
                let dir = if input.is_dir() { Some(input.as_path()) } else { input.parent() };
                let name = format!("ggml-model-{}.gguf", file_type.name());
                (dir.unwrap_or(Path::new("")).join(name), &given[1..])
            }
            None => (PathBuf::from(&given[1]), &given[2..]),
        };
        let Some(file_type) = rest.first() else {
            FileType::require(&given[1])?;
            return Err(Error::usage("TYPE is missing"));
        };
        let threads =
            match rest.get(1) {
                None => None,
                Some(text) => Some(text.parse().ok().filter(|n| (1..=1024).contains(n)).ok_or_else(|| {
                    Error::usage(format!("NTHREADS is {text:?}, expected a number between 1 and 1024"))
                })?),
            };
        if rest.len() > 2 {
            return Err(Error::usage(format!("{:?} is one argument too many", rest[2])));
        }
        Ok(Positional { input, output, file_type: FileType::require(file_type)?, threads })
    }
}

/// Runs the command.
pub fn quantize(args: &QuantizeArgs) -> Outcome {
    let Positional { input, output, file_type, threads } = Positional::parse(&args.positional)?;
    let source = convert::open(&input)?;
    warn_of_requantizing(&source, args);
    let settings = args.settings(file_type, &source)?;
    let plan = Plan::new(source, settings)?;
    plan.notes.iter().for_each(|note| output::warn(note));
    warn_of_fallbacks(&plan);
    if args.dry_run {
        return output::result(&table(&plan, &output));
    }
    output::note(&summary(&plan, &output));
    let threads = threads.unwrap_or_else(|| cores::default_threads(&cores::detect()));
    let pool = Pool::new(threads, &[]).map_err(Error::runtime)?;
    interrupt::watch();
    let started = Instant::now();
    let job = Job { plan: &plan, output: &output, resume: args.resume, pool: &pool, kernels: kernels::best() };
    let mut stopped = None;
    let mut certify = |part: &Path| {
        let text = args.certify.as_deref().unwrap_or(Path::new(""));
        quantize_certify::certify(&input, &plan, part, text, &pool).map_err(|stop| match stop {
            Stop::Error(e) => e,
            other => {
                stopped = Some(other);
                Error::runtime("certifying was stopped")
            }
        })
    };
    let mut bar = Bar::new("quantizing", Unit::Bytes);
    let mut tell = |at: Progress<'_>| {
        bar.say(&format!("{}/{} {} {} to {}", at.number.0, at.number.1, at.tensor, at.types.0, at.types.1));
        bar.update(at.bytes.0, at.bytes.1);
        !interrupt::asked()
    };
    let outcome = job.run(&mut tell, if args.certify.is_some() { Some(&mut certify) } else { None });
    drop(bar);
    if let Some(stop) = stopped {
        return Err(stop);
    }
    match outcome? {
        convert::Outcome::Done(report) => {
            say_done(&plan, &report, args.resume, started.elapsed().as_secs_f64());
            Ok(())
        }
        convert::Outcome::Stopped => {
            output::note("stopped; what is written is kept: run the same command with --resume to go on");
            Err(Stop::Interrupted)
        }
    }
}

impl QuantizeArgs {
    fn settings(&self, file_type: FileType, source: &Source) -> Result<Settings> {
        let dtype = |text: &Option<String>| text.as_deref().map(parse_dtype).transpose();
        let pattern = |text: &String| {
            let (pattern, dtype) = text
                .split_once('=')
                .filter(|(pattern, _)| !pattern.is_empty())
                .ok_or_else(|| Error::usage(format!("--tensor-type {text:?}: expected PATTERN=FORMAT")))?;
            let regex = regex::Regex::new(&pattern.to_lowercase())
                .map_err(|e| Error::usage(format!("--tensor-type {text:?}: no regular expression: {e}")))?;
            Ok((regex, parse_dtype(dtype)?))
        };
        let choices = Choices {
            file_type,
            pure: self.pure,
            leave_output_tensor: self.leave_output_tensor,
            output_tensor_type: dtype(&self.output_tensor_type)?,
            token_embedding_type: dtype(&self.token_embedding_type)?,
            tensor_types: self.tensor_type.iter().map(pattern).collect::<Result<_>>()?,
        };
        self.check(&choices)?;
        let mut overrides = Vec::new();
        for text in &self.override_kv {
            overrides.extend(Override::parse_list(text)?);
        }
        Ok(Settings {
            choices,
            imatrix: self.importance(source)?,
            overrides,
            keep_split: self.keep_split,
            max_shard_bytes: self.max_shard_size,
            allow_requantize: self.allow_requantize,
            reserved: if self.certify.is_some() { Certificate::blank().entries() } else { Vec::new() },
        })
    }

    /// Options that would do nothing are mistakes.
    fn check(&self, choices: &Choices) -> Result<()> {
        let name = choices.file_type.name();
        let quantized = choices.file_type.default_dtype().is_some_and(is_quantized);
        let copy = choices.file_type == FileType::COPY;
        for (given, needs_quantized, option) in [
            (!choices.tensor_types.is_empty(), true, "--tensor-type"),
            (self.pure, true, "--pure"),
            (self.imatrix.is_some(), true, "--imatrix"),
            (choices.output_tensor_type.is_some(), false, "--output-tensor-type"),
            (choices.token_embedding_type.is_some(), false, "--token-embedding-type"),
            (self.leave_output_tensor, false, "--leave-output-tensor"),
        ] {
            if given && (copy || (needs_quantized && !quantized)) {
                return Err(Error::usage(format!(
                    "{option} has no effect with {name}; leave it out or choose another TYPE"
                )));
            }
        }
        Ok(())
    }

    /// Reads the importance matrix, for the tensors it should be used for.
    fn importance(&self, source: &Source) -> Result<Option<Importance>> {
        let Some(path) = &self.imatrix else { return Ok(None) };
        let read = Imatrix::open(path)?;
        let wanted = |name: &str| {
            let among = |list: &[String]| list.iter().any(|part| name.contains(part.as_str()));
            (self.include_weights.is_empty() || among(&self.include_weights)) && !among(&self.exclude_weights)
        };
        let mut weights = HashMap::new();
        for tensor in source.tensors.iter().filter(|t| wanted(&t.name)) {
            let (cols, matrices) = (tensor.cols(), tensor.rows() / tensor.rows_per_matrix());
            let mut all = Vec::with_capacity(cols * matrices);
            for at in 0..matrices {
                let expert = (matrices > 1).then_some(at);
                all.extend(read.importance(&tensor.name, cols, expert)?.into_iter().flatten());
            }
            if !all.is_empty() {
                weights.insert(tensor.name.clone(), all);
            }
        }
        if weights.is_empty() {
            return Err(Error::usage(format!(
                "{}: has no weights for any tensor it should be used for",
                path.display()
            )));
        }
        Ok(Some(Importance {
            file: path.display().to_string(),
            dataset: read.datasets.first().cloned(),
            chunks: u32::try_from(read.chunks()).ok().filter(|&n| n > 0),
            weights,
        }))
    }
}

fn warn_of_requantizing(source: &Source, args: &QuantizeArgs) {
    let formats = convert::quantized_formats(source);
    if args.allow_requantize && !formats.is_empty() {
        output::warn(&format!(
            "{} has tensors that are quantized already ({}); quantizing them again loses more than from the original",
            source.path.display(),
            formats.join(", ")
        ));
    }
}

fn warn_of_fallbacks(plan: &Plan) {
    let odd: Vec<_> = plan.tensors.iter().filter(|p| p.instead_of.is_some()).collect();
    let Some(first) = odd.first() else { return };
    let (tensor, wanted) = (plan.source_of(first), first.instead_of.map_or("", DType::name));
    output::warn(&format!(
        "{} of {} tensors have rows that are not whole blocks and get another format (the first: {} with rows of {}, {} \
         instead of {wanted})",
        odd.len(),
        plan.tensors.len(),
        tensor.name,
        tensor.cols(),
        first.dtype.name()
    ));
}

/// `4.02 B weights in 398 tensors, 8.04 GB to 2.50 GB (4.97 bits per weight)`.
fn summary(plan: &Plan, output: &Path) -> String {
    let weights: u64 = plan.source.tensors.iter().map(|t| t.elements() as u64).sum();
    let files = if plan.files.len() > 1 { format!(" in {} files", plan.files.len()) } else { String::new() };
    format!(
        "{} to {}{files}: {weights} weights in {} tensors, {} to {} ({:.2} bits per weight)",
        plan.source.path.display(),
        output.display(),
        plan.tensors.len(),
        bytes(plan.source_bytes()),
        bytes(plan.bytes()),
        plan.bits_per_weight()
    )
}

fn say_done(plan: &Plan, report: &Report, resume: bool, seconds: f64) {
    for (name, blocks) in &report.clamped {
        output::warn(&format!("{name}: {blocks} blocks hold values beyond the format's range, written as its largest"));
    }
    if resume {
        let what = if report.resumed > 0 { bytes(report.resumed) } else { "none".to_owned() };
        output::note(&format!("--resume: {what} of the result was there already from an interrupted job"));
    }
    let names: Vec<String> = report.files.iter().map(|f| f.display().to_string()).collect();
    let shown = match &names[..] {
        [one] => one.clone(),
        many => format!("{} to {}", many[0], many[many.len() - 1]),
    };
    let rate = plan.source_bytes() as f64 / 1e6 / seconds.max(1e-3);
    let fresh = if report.resumed == 0 { format!(", {rate:.0} MB/s of the source") } else { String::new() };
    output::note(&format!("{shown}: {} in {seconds:.1} s{fresh}", bytes(plan.bytes())));
}

/// What would be written, a line for each tensor.
fn table(plan: &Plan, output: &Path) -> String {
    let mut out = String::new();
    let width = plan.source.tensors.iter().map(|t| t.name.len()).max().unwrap_or(0);
    for (number, file) in plan.files.iter().enumerate() {
        if plan.files.len() > 1 {
            let path = convert::file_name(output, number, plan.files.len());
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}: {}", path.display(), bytes(file.bytes));
        }
        for planned in &plan.tensors[file.tensors.clone()] {
            let tensor = plan.source_of(planned);
            let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
            let instead = planned.instead_of.map_or(String::new(), |d| format!(" (not {})", d.name()));
            let (from, to) = (tensor.dtype.name(), planned.dtype.name());
            let (shape, before, after) = (shape.join(" x "), bytes(tensor.bytes() as u64), bytes(planned.bytes));
            let name = &tensor.name;
            let _ = writeln!(out, "{name:width$}  {shape:20} {from:>6} {before:>9} -> {to:>6} {after:>9}{instead}");
        }
    }
    let _ = writeln!(out, "{}", summary(plan, output));
    out
}

/// A size for people, in decimal units as files are sold in.
fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// A size with K, M or G (thousands, as llama-gguf-split counts) behind it.
fn size(text: &str) -> std::result::Result<u64, String> {
    let (digits, unit) = match text.chars().last() {
        Some('K' | 'k') => (&text[..text.len() - 1], 1_000),
        Some('M' | 'm') => (&text[..text.len() - 1], 1_000_000),
        Some('G' | 'g') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    let n: Option<u64> = digits.parse().ok().filter(|&n| n > 0);
    n.and_then(|n: u64| n.checked_mul(unit)).ok_or_else(|| "expected a number of bytes such as 500M or 4G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Positional> {
        Positional::parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn positions_are_those_of_llama_quantize() {
        let full = parse(&["dir/in.gguf", "out.gguf", "q4_k_m", "3"]).unwrap();
        assert_eq!(full.output, PathBuf::from("out.gguf"));
        assert_eq!((full.file_type, full.threads), (FileType::Q4_K_M, Some(3)));
        let short = parse(&["dir/in.gguf", "Q8_0"]).unwrap();
        assert_eq!(short.output, PathBuf::from("dir/ggml-model-Q8_0.gguf"));
        assert_eq!(parse(&["in.gguf", "7", "2"]).unwrap().threads, Some(2));
        for wrong in [&["in", "out.gguf"][..], &["in", "out", "Q9"], &["in", "Q8_0", "x"], &["in", "Q8_0", "2", "3"]] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("500M"), Ok(500_000_000));
        assert_eq!(size("4g"), Ok(4_000_000_000));
        assert_eq!(size("1024"), Ok(1024));
        for wrong in ["", "M", "-1", "0", "1.5G", "99999999999999G"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
