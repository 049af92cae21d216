//! `lapwing quantize --certify`: compares a file just written with its source and puts the figures into it.
//!
//! The writer reserves room by adding [`Certificate::blank`]'s entries to the metadata, calls [`certify`] when the file
//! is whole but has not got its final name, and then renames it.

use super::compare::Pair;
use super::model_args::{self, ModelArgs};
use super::output::{self, Progress, Unit};
use super::text_args::{ChunkArgs, Text};
use super::{Outcome, Stop, interrupt};
use crate::eval::hash;
use crate::gguf::Certificate;
use std::path::Path;

/// What is to be certified.
pub struct Job<'a> {
    /// The source as a GGUF that loses nothing: the source itself, or its lossless conversion.
    pub reference: &'a Path,
    /// The source's files, to be hashed: a GGUF's shards, or a checkpoint's safetensors.
    pub source: &'a [&'a Path],
    /// The file just written; of a split one the first shard.
    pub candidate: &'a Path,
    /// The text to compare over.
    pub text: &'a Path,
    /// How to compute; the file among the flags is not read.
    pub flags: &'a ModelArgs,
    /// How to read the text.
    pub chunks: &'a ChunkArgs,
}

/// Measures and writes the figures into the file.
///
/// # Errors
/// When a model or the text cannot be read, the file has no room for the figures, or Ctrl-C was pressed.
pub fn certify(job: &Job<'_>) -> Outcome {
    let text = Text::read(job.text)?;
    let source_sha256 = source_hash(job.source)?;
    let (reference, candidate) = (model_args::open(job.reference, &[])?, model_args::open(job.candidate, &[])?);
    let mut pair = Pair::load((&reference, &candidate), &text, job.chunks, job.flags)?;
    interrupt::watch();
    let report = pair.measure(job.chunks, &mut |_, _, _| Ok(()))?;
    let certificate = Certificate {
        kld_mean: report.kld.mean.value,
        kld_p99: report.kld.p99,
        kld_max: report.kld.max,
        top1: report.same_top.value,
        ppl_reference: report.ppl_reference.value,
        ppl: report.ppl.value,
        tokens: report.tokens,
        context: u32::try_from(pair.chunks().n_ctx()).unwrap_or(u32::MAX),
        text_sha256: text.sha256(),
        source_sha256,
        tool: Certificate::tool(),
    };
    // Where a mapped file cannot be written to, as on Windows, the maps must be gone first.
    drop(pair);
    drop(candidate);
    certificate.patch(job.candidate)?;
    output::note(&format!(
        "certified over {} tokens: KL divergence {:.6} nats (99% below {:.6}), same top token {:.3} %, perplexity {:.4} \
         (source {:.4})",
        certificate.tokens,
        certificate.kld_mean,
        certificate.kld_p99,
        certificate.top1 * 100.0,
        certificate.ppl,
        certificate.ppl_reference
    ));
    Ok(())
}

fn source_hash(files: &[&Path]) -> Result<String, Stop> {
    let total = files.iter().filter_map(|f| std::fs::metadata(f).ok()).map(|m| m.len()).sum();
    let mut progress = Progress::new("hashing the source", Unit::Bytes);
    let mut done = 0;
    let tick = &mut |n| {
        done += n;
        progress.update(done, total);
    };
    Ok(hash::of_files(files, tick)?)
}
