//! Flags and metadata about positions that do not do what they seem to: YaRN's traps.
//!
//! Qwen3 reads 32,768 tokens as it is (its files say 40,960: room for an answer), and 131,072 with YaRN by 4. YaRN costs
//! quality on short texts, so it is for those who need the length.

use super::Finding;
use crate::engine::{RopeFlags, Scaling};
use crate::error::Result;
use crate::gguf::Gguf;

/// Tokens that Qwen3 was trained to read.
const NATIVE: usize = 32_768;
/// What Qwen3's files say instead.
const WITH_ANSWER: usize = 40_960;
/// The factor that Qwen3's authors tried.
const TRIED: f64 = 4.0;
/// Base frequencies of Qwen3: the first models, and those of 2507 for long texts.
const BASES: [f64; 2] = [1e6, 5e6];

/// What the file says about positions.
#[derive(Clone, Debug, PartialEq)]
pub struct FileFacts {
    /// `rope.scaling.type`.
    pub scaling: Option<Scaling>,
    /// `rope.scaling.factor`.
    pub factor: Option<f64>,
    /// `rope.scaling.original_context_length`.
    pub orig_ctx: Option<usize>,
    /// `rope.freq_base`.
    pub freq_base: Option<f64>,
    /// `context_length`.
    pub context: usize,
}

impl FileFacts {
    /// Reads them.
    ///
    /// # Errors
    /// When a key has another type than it should.
    pub fn read(gguf: &Gguf) -> Result<FileFacts> {
        let meta = gguf.meta();
        let arch = meta.require_str("general.architecture")?;
        let key = |name: &str| format!("{arch}.{name}");
        Ok(FileFacts {
            scaling: meta.str(&key("rope.scaling.type"))?.and_then(Scaling::parse),
            factor: meta.float(&key("rope.scaling.factor"))?.or(meta.float(&key("rope.scale_linear"))?),
            orig_ctx: meta.size(&key("rope.scaling.original_context_length"))?,
            freq_base: meta.float(&key("rope.freq_base"))?,
            context: meta.size(&key("context_length"))?.unwrap_or(0),
        })
    }
}

/// Looks at flags and file. `ctx`: what `-c` says, if it is given.
pub fn lint(file: &FileFacts, flags: &RopeFlags, ctx: Option<usize>) -> Vec<Finding> {
    let mut found = Vec::new();
    let scaling = flags.scaling.or(file.scaling);
    let yarn = scaling == Some(Scaling::Yarn);
    let factor = flags.scale.or(file.factor);
    by_flags(file, flags, &mut found);
    if yarn {
        of_yarn(file, flags, ctx, &mut found);
    } else {
        without_yarn(file, flags, &mut found);
    }
    if let Some(base) = flags.freq_base.filter(|b| file.freq_base.is_some_and(|of_file| of_file != *b)) {
        found.push(Finding::warning(
            "rope-base-overruled",
            format!("--rope-freq-base {base} overrules the file's {}", file.freq_base.unwrap_or_default()),
            "the model was trained with the file's: leave the flag out",
        ));
    }
    if let Some(f) = factor.filter(|&f| scaling.is_some_and(|s| s != Scaling::None) && f < 1.0) {
        found.push(Finding::warning(
            "rope-scale-below-one",
            format!("a scale of {f} makes the context shorter"),
            "the scale is the factor by which the context grows: --rope-scale 4 (llama.cpp's --rope-freq-scale is its inverse)",
        ));
    }
    let most = longest(file, flags, scaling, factor);
    if let Some(n) = ctx.filter(|&n| n > most && most > 0) {
        found.push(Finding::warning(
            "context-beyond-positions",
            format!("a context of {n} tokens is beyond the {most} that the positions allow"),
            format!(
                "answers get worse beyond; use -c {most}, or --rope-scaling yarn --rope-scale {:.0} --yarn-orig-ctx {NATIVE}",
                (n as f64 / NATIVE as f64).ceil()
            ),
        ));
    }
    found
}

/// The longest context that the positions in force allow.
fn longest(file: &FileFacts, flags: &RopeFlags, scaling: Option<Scaling>, factor: Option<f64>) -> usize {
    let orig = flags.orig_ctx.or(file.orig_ctx).unwrap_or(file.context);
    let stretched = match scaling {
        Some(Scaling::Yarn | Scaling::Linear) => (orig as f64 * factor.unwrap_or(1.0)) as usize,
        _ => 0,
    };
    file.context.max(stretched)
}

/// Flags that contradict the file or each other.
fn by_flags(file: &FileFacts, flags: &RopeFlags, found: &mut Vec<Finding>) {
    let baked = file.scaling.filter(|s| *s != Scaling::None);
    if let Some(s) = baked.filter(|_| flags.scaling.is_some_and(|f| f != Scaling::None) || flags.scale.is_some()) {
        found.push(Finding::warning(
            "rope-in-file-and-flags",
            format!(
                "the file has {} scaling by {} already, and flags set it again",
                s.name(),
                file.factor.unwrap_or(1.0)
            ),
            "the flags overrule the file's, they are not multiplied; leave them out, or download the file without it",
        ));
    }
    if flags.scaling == Some(Scaling::None) && baked.is_some() && file.orig_ctx.is_some_and(|o| file.context > o) {
        found.push(Finding::note(
            "rope-of-file-switched-off",
            format!("--rope-scaling none switches the file's scaling off, but its context_length is {}", file.context),
            format!("do not go beyond -c {}", file.orig_ctx.unwrap_or(NATIVE)),
        ));
    }
    if flags.scaling == Some(Scaling::None) && flags.scale.is_some_and(|s| s != 1.0) {
        found.push(Finding::warning(
            "rope-scale-without-effect",
            format!("--rope-scale {} does nothing with --rope-scaling none", flags.scale.unwrap_or_default()),
            "leave one of them out",
        ));
    }
}

fn of_yarn(file: &FileFacts, flags: &RopeFlags, ctx: Option<usize>, found: &mut Vec<Finding>) {
    let factor = flags.scale.or(file.factor).unwrap_or(1.0);
    let orig = flags.orig_ctx.or(file.orig_ctx);
    if factor == 1.0 {
        found.push(Finding::warning(
            "yarn-without-scale",
            "--rope-scaling yarn without --rope-scale changes nothing: the factor is 1",
            format!("add --rope-scale {TRIED} --yarn-orig-ctx {NATIVE}"),
        ));
        return;
    }
    if orig.is_none() && file.context != NATIVE {
        found.push(Finding::warning(
            "yarn-without-orig-ctx",
            format!("YaRN stretches from the file's context_length, {}, as nothing says from where", file.context),
            format!("Qwen3 was trained on {NATIVE}: add --yarn-orig-ctx {NATIVE}"),
        ));
    }
    if orig == Some(WITH_ANSWER) {
        found.push(Finding::warning(
            "yarn-orig-ctx-of-file",
            format!("YaRN stretches from {WITH_ANSWER}, which is Qwen3's context with room for an answer"),
            format!("it was trained on {NATIVE}: use --yarn-orig-ctx {NATIVE}"),
        ));
    }
    let native = orig.unwrap_or(file.context);
    let by_flag = flags.scaling == Some(Scaling::Yarn);
    match ctx {
        None | Some(0) if by_flag => found.push(Finding::warning(
            "yarn-without-context",
            "YaRN is on but -c is not given, so that its harm to short texts comes perhaps without its use",
            format!("give the context you need: -c {}", (native as f64 * factor) as usize),
        )),
        Some(n @ 1..) if n <= native => found.push(Finding::warning(
            "yarn-for-short-context",
            format!(
                "YaRN is on though a context of {n} needs none: up to {native} the model reads as it is, and better"
            ),
            "leave YaRN out (--rope-scaling none), or use a larger -c",
        )),
        _ => {}
    }
    if factor > TRIED {
        found.push(Finding::warning(
            "yarn-scale-beyond-four",
            format!("YaRN by {factor} is more than Qwen3 was tried with"),
            format!("use --rope-scale {TRIED} (131,072 tokens) or less"),
        ));
    }
    if let Some(by) = flags.attn_factor.filter(|&f| f != 1.0) {
        found.push(Finding::warning(
            "yarn-attn-factor",
            format!("--yarn-attn-factor {by} multiplies what YaRN sets by itself (llama.cpp ignores the flag here)"),
            "leave it out",
        ));
    }
    if flags.ext_factor == Some(0.0) {
        found.push(Finding::warning(
            "yarn-ext-factor-zero",
            "--yarn-ext-factor 0 makes YaRN plain linear scaling, which Qwen3 was not made for",
            "leave it out",
        ));
    }
    if let (Some(fast), Some(slow)) = (flags.beta_fast.or(Some(32.0)), flags.beta_slow.or(Some(1.0)))
        && fast <= slow
    {
        found.push(Finding::warning(
            "yarn-betas-swapped",
            format!("--yarn-beta-fast {fast} is not above --yarn-beta-slow {slow}"),
            "leave both out: they are 32 and 1",
        ));
    }
}

fn without_yarn(file: &FileFacts, flags: &RopeFlags, found: &mut Vec<Finding>) {
    let said = flags.scaling;
    if flags.scale.is_some_and(|s| s != 1.0) && said.or(file.scaling).is_none() {
        found.push(Finding::warning(
            "rope-scale-is-linear",
            format!("--rope-scale {} without --rope-scaling is linear scaling", flags.scale.unwrap_or_default()),
            format!("Qwen3 was made for YaRN: add --rope-scaling yarn --yarn-orig-ctx {NATIVE}"),
        ));
    }
    if said == Some(Scaling::Linear) {
        found.push(Finding::warning(
            "rope-linear",
            "linear scaling spoils Qwen3, which was not trained for it",
            format!("use --rope-scaling yarn --rope-scale {TRIED} --yarn-orig-ctx {NATIVE}"),
        ));
    }
    let given = [
        (flags.orig_ctx.is_some(), "--yarn-orig-ctx"),
        (flags.ext_factor.is_some(), "--yarn-ext-factor"),
        (flags.attn_factor.is_some(), "--yarn-attn-factor"),
        (flags.beta_fast.is_some(), "--yarn-beta-fast"),
        (flags.beta_slow.is_some(), "--yarn-beta-slow"),
    ];
    let given: Vec<&str> = given.into_iter().filter(|(given, _)| *given).map(|(_, name)| name).collect();
    if !given.is_empty() {
        found.push(Finding::warning(
            "yarn-flags-without-yarn",
            format!("{} without YaRN does nothing", given.join(", ")),
            format!("add --rope-scaling yarn --rope-scale {TRIED}, or leave it out"),
        ));
    }
}

/// Whether the base frequency is one of Qwen3's, in a file that has Qwen3's context: smaller models have their own.
pub fn base(file: &FileFacts) -> Option<Finding> {
    let base = file.freq_base.unwrap_or(10_000.0);
    (file.context >= NATIVE && !BASES.contains(&base)).then(|| {
        Finding::warning(
            "rope-base-of-file",
            format!("the file's rope.freq_base is {base}, Qwen3's is 1000000"),
            "its positions would be wrong: download a file of another maker",
        )
    })
}
