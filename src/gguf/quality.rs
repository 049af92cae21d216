//! The certificate of a quantized file: what it lost against its source, measured, in the metadata of the file itself.
//!
//! Metadata comes before the tensors, and the figures are known only when the tensors are written. So the keys are
//! written at first with the values of [`Certificate::blank`], which take as many bytes as any others, and
//! [`Certificate::patch`] overwrites them in place, in a file that has not got its final name yet.

use super::map::Map;
use super::{Metadata, scan};
use crate::error::{Error, Result};
use gguf_rs_lib::format::metadata::MetadataValue;
use serde::Serialize;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// What all keys begin with.
pub const PREFIX: &str = "lapwing.quality.";
/// A hash that is not known yet.
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The figures of `lapwing compare` between the source and this file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Certificate {
    /// Mean Kullback-Leibler divergence from the source, in nats.
    pub kld_mean: f64,
    /// 99 of a hundred positions have less.
    pub kld_p99: f64,
    /// The largest.
    pub kld_max: f64,
    /// Share of positions at which both put the same token first, 0 to 1.
    pub top1: f64,
    /// Perplexity of the source.
    pub ppl_reference: f64,
    /// Perplexity of this file.
    pub ppl: f64,
    /// Positions compared; 0 in a blank certificate only.
    pub tokens: u64,
    /// Tokens per chunk of the text.
    pub context: u32,
    /// SHA-256 of the text.
    pub text_sha256: String,
    /// SHA-256 of the source.
    pub source_sha256: String,
    /// The program that measured.
    pub tool: String,
}

impl Certificate {
    /// A certificate that says nothing, of the size of every other by this program.
    pub fn blank() -> Self {
        Self {
            kld_mean: 0.0,
            kld_p99: 0.0,
            kld_max: 0.0,
            top1: 0.0,
            ppl_reference: 0.0,
            ppl: 0.0,
            tokens: 0,
            context: 0,
            text_sha256: NO_HASH.to_owned(),
            source_sha256: NO_HASH.to_owned(),
            tool: Self::tool(),
        }
    }

    /// This program and its version.
    pub fn tool() -> String {
        concat!("lapwing ", env!("CARGO_PKG_VERSION")).to_owned()
    }

    /// The metadata entries, by key.
    pub fn entries(&self) -> Vec<(String, MetadataValue)> {
        let float = |key: &str, v: f64| (format!("{PREFIX}{key}"), MetadataValue::F64(v));
        let text = |key: &str, v: &str| (format!("{PREFIX}{key}"), MetadataValue::String(v.to_owned()));
        vec![
            float("kld_mean", self.kld_mean),
            float("kld_p99", self.kld_p99),
            float("kld_max", self.kld_max),
            float("top1", self.top1),
            float("ppl_reference", self.ppl_reference),
            float("ppl", self.ppl),
            (format!("{PREFIX}tokens"), MetadataValue::U64(self.tokens)),
            (format!("{PREFIX}context"), MetadataValue::U32(self.context)),
            text("text_sha256", &self.text_sha256),
            text("source_sha256", &self.source_sha256),
            text("tool", &self.tool),
        ]
    }

    /// The certificate in a file's metadata; none where it has none, or a blank or partial one.
    ///
    /// # Errors
    /// When a key is of the wrong type.
    pub fn read(meta: &Metadata) -> Result<Option<Self>> {
        let float = |key: &str| meta.float(&format!("{PREFIX}{key}"));
        let uint = |key: &str| meta.uint(&format!("{PREFIX}{key}"));
        let text = |key: &str| meta.str(&format!("{PREFIX}{key}")).map(|t| t.map(str::to_owned));
        let floats = (float("kld_mean")?, float("kld_p99")?, float("kld_max")?, float("top1")?);
        let (Some(kld_mean), Some(kld_p99), Some(kld_max), Some(top1)) = floats else { return Ok(None) };
        let (Some(ppl_reference), Some(ppl)) = (float("ppl_reference")?, float("ppl")?) else { return Ok(None) };
        let counts = (uint("tokens")?.filter(|&n| n > 0), uint("context")?.and_then(|n| u32::try_from(n).ok()));
        let (Some(tokens), Some(context)) = counts else { return Ok(None) };
        let texts = (text("text_sha256")?, text("source_sha256")?, text("tool")?);
        let (Some(text_sha256), Some(source_sha256), Some(tool)) = texts else { return Ok(None) };
        Ok(Some(Self {
            kld_mean,
            kld_p99,
            kld_max,
            top1,
            ppl_reference,
            ppl,
            tokens,
            context,
            text_sha256,
            source_sha256,
            tool,
        }))
    }

    /// Writes the figures over those that the file at `path` has room for, and syncs it. Not for a file that anyone
    /// reads meanwhile.
    ///
    /// # Errors
    /// When the file is no sound GGUF, lacks a key, has a value of another size there, or cannot be written; it may
    /// have a part of the figures then.
    pub fn patch(&self, path: &Path) -> Result<()> {
        let shown = path.display().to_string();
        let places = {
            let map = Map::open(path)?;
            let all = scan::values(&shown, map.bytes())?;
            let place = |(key, value): (String, MetadataValue)| {
                let mut bytes = (value.value_type() as u32).to_le_bytes().to_vec();
                let encoded = value.write_to(&mut bytes);
                let found = all.iter().find(|v| v.key == key);
                let fits = |v: &&scan::ValueAt<'_>| {
                    encoded.is_ok() && v.bytes.len() == bytes.len() && map.bytes()[v.bytes.clone()][..4] == bytes[..4]
                };
                match found.filter(fits) {
                    Some(v) => Ok((v.bytes.start as u64, bytes)),
                    None => Err(Error::file(format!("{shown}: has no room for {key}; quantize with --certify again"))),
                }
            };
            self.entries().into_iter().map(place).collect::<Result<Vec<_>>>()?
        };
        let write = || {
            let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
            for (at, bytes) in &places {
                file.seek(SeekFrom::Start(*at))?;
                file.write_all(bytes)?;
            }
            file.sync_all()
        };
        write().map_err(|e| Error::file(format!("{shown}: the certificate cannot be written: {e}")))
    }
}
