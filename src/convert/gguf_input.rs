//! A GGUF as a [`Source`]: its metadata without what describes the file, and its tensors.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use gguf_rs_lib::format::metadata::MetadataValue;

use super::{Source, SourceTensor};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, OpenOptions};

/// Keys that describe one file and not the model.
const OF_THE_FILE: [&str; 4] = ["split.no", "split.count", "split.tensors.count", "general.alignment"];
const ARCHITECTURES: [&str; 2] = ["qwen3", "qwen3moe"];

/// Opens the GGUF at `path`, all shards of it.
pub fn open(path: &Path) -> Result<Source> {
    let gguf = Gguf::open(path, &OpenOptions::default())?;
    let shown = path.display();
    let architecture = gguf.meta().require_str("general.architecture")?.to_owned();
    if !ARCHITECTURES.contains(&architecture.as_str()) {
        return Err(Error::unsupported(format!(
            "{shown}: architecture {architecture:?}; qwen3 and qwen3moe can be quantized. llama-quantize knows others"
        )));
    }
    let mut notes = gguf.warnings().to_vec();
    let mut meta = BTreeMap::new();
    for key in gguf.meta().keys().filter(|key| !OF_THE_FILE.contains(key)) {
        let Some(value) = gguf.meta().raw(key) else { continue };
        if writable(key) {
            meta.insert(key.to_owned(), value.clone());
        } else {
            notes.push(format!("{shown}: metadata key {key:?} is left out: only lower-case words can be written"));
        }
    }
    let tensor = |t: crate::gguf::Tensor<'_>| {
        Ok(SourceTensor {
            name: t.name().to_owned(),
            described: t.described(),
            shape: t.shape().to_vec(),
            dtype: t.dtype()?,
            unquantized: t.dtype()?,
            shard: t.shard(),
            pieces: vec![t.payload()],
        })
    };
    let tensors = gguf.tensors().map(tensor).collect::<Result<Vec<_>>>()?;
    let files = gguf.files().map(|file| Ok((file.to_path_buf(), length(file)?))).collect::<Result<Vec<_>>>()?;
    let shards = files.len();
    // The metadata holds its own copy of what later passes need, and the pieces keep their maps.
    Ok(Source { path: path.to_path_buf(), architecture, meta, tensors, files, shards, notes })
}

fn length(path: &Path) -> Result<u64> {
    let found = std::fs::metadata(path);
    found.map(|m| m.len()).map_err(|e| Error::file(format!("{}: cannot be opened: {e}", path.display())))
}

/// Whether gguf-rs-lib writes the key: words of lower-case letters and digits, joined by dots and single underscores.
pub fn writable(key: &str) -> bool {
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    key.split('.').all(|part| part.split('_').all(word))
}

/// A count among the metadata, whatever its width.
pub fn count(meta: &BTreeMap<String, MetadataValue>, key: &str) -> Option<usize> {
    let value = meta.get(key)?;
    let n = value.as_u64().or_else(|| u64::try_from(value.as_i64()?).ok())?;
    usize::try_from(n).ok()
}

/// Formats that `source` has among its tensors and that are quantized.
pub fn quantized_formats(source: &Source) -> Vec<&'static str> {
    let mut seen = HashSet::new();
    let quantized = source.tensors.iter().filter(|t| super::mix::is_quantized(t.dtype));
    quantized.map(|t| t.dtype.name()).filter(|name| seen.insert(*name)).collect()
}
