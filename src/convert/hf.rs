//! A checkpoint directory as Hugging Face has it, as a [`Source`].

use std::collections::BTreeMap;
use std::path::Path;

use gguf_rs_lib::format::metadata::MetadataValue as V;
use serde_json::Value;

use super::checkpoint::Checkpoint;
use super::config::Config;
use super::json::{self, Object};
use super::vocab::VocabFiles;
use super::{Source, SourceTensor, card, model_name, weights};
use crate::error::{Context, Result};

/// Reads the checkpoint in `dir`: everything but the weights themselves, which stay mapped.
pub fn open(dir: &Path) -> Result<Source> {
    let config = Config::read(dir)?;
    let checkpoint = Checkpoint::open(dir)?;
    let (tensors, mut notes) = weights::collect(&checkpoint, &config)?;
    notes.splice(0..0, checkpoint.notes);
    let architecture = config.architecture().to_owned();
    let mut meta = BTreeMap::from([
        ("general.architecture".to_owned(), V::String(architecture.clone())),
        ("general.type".to_owned(), V::String("model".to_owned())),
    ]);
    meta.extend(names(dir, &config, &tensors)?);
    meta.extend(sampling(&dir.join("generation_config.json"))?);
    for (key, value) in config.metadata()? {
        meta.insert(format!("{architecture}.{key}"), value);
    }
    let ids = special_ids(&config);
    let vocab = VocabFiles::read(dir)?.metadata(config.vocab, &ids, &mut notes);
    meta.extend(vocab.context_with(|| "vocabulary".to_owned())?);
    Ok(Source { path: dir.to_path_buf(), architecture, meta, tensors, files: checkpoint.files, shards: 1, notes })
}

/// Special ids by kind, as config.json gives them; a list of ids names none.
fn special_ids(config: &Config) -> Vec<(&'static str, u64)> {
    let id = |kind: &'static str| Some((kind, config.value.get(format!("{kind}_token_id"))?.as_u64()?));
    ["bos", "eos", "unk", "sep", "pad", "cls", "mask"].into_iter().filter_map(id).collect()
}

/// The keys under `general.`: what the model is called, after its card, its config and its directory.
fn names(dir: &Path, config: &Config, tensors: &[SourceTensor]) -> Result<Vec<(String, V)>> {
    let (mut shared, mut expert, mut total) = (0u64, 0u64, 0u64);
    for tensor in tensors {
        let size = tensor.elements() as u64;
        total += size;
        match config.moe {
            Some(experts) if tensor.name.contains("_exps.") => expert += size / experts.count as u64,
            _ => shared += size,
        }
    }
    let mut keys = card::metadata(dir, total)?;
    let given = config.value.get("_name_or_path").and_then(Value::as_str);
    let given = given.filter(|id| !id.is_empty() && id.matches('/').count() <= 1);
    let folder = dir.canonicalize().ok().and_then(|d| Some(d.file_name()?.to_string_lossy().into_owned()));
    let sources = [given.map(str::to_owned), folder];
    let parts: Vec<_> = sources.iter().flatten().map(|id| model_name::parse(id, total)).collect();
    let first = |get: fn(&model_name::NameParts) -> Option<String>| parts.iter().find_map(get);
    let experts = config.moe.map_or(0, |e| e.count as u64);
    let label = first(|p| p.size_label.clone()).unwrap_or_else(|| model_name::size_label(shared, expert, experts));
    let name = parts.first().map_or_else(|| "model".to_owned(), |p| model_name::title(&p.full));
    for (key, value) in [
        ("name", Some(name)),
        ("organization", first(|p| p.organization.as_deref().map(model_name::title))),
        ("basename", first(|p| p.basename.clone())),
        ("finetune", first(|p| p.finetune.clone())),
        ("version", first(|p| p.version.clone())),
        ("size_label", Some(label)),
    ] {
        keys.extend(value.map(|text| (format!("general.{key}"), V::String(text))));
    }
    Ok(keys)
}

/// The sampling defaults of generation_config.json.
fn sampling(path: &Path) -> Result<Vec<(String, V)>> {
    let Some(value) = json::read_optional(path)? else { return Ok(Vec::new()) };
    let config = Object { path, value: &value };
    let mut keys = Vec::new();
    for (theirs, ours) in [("top_k", "top_k"), ("penalty_last_n", "penalty_last_n")] {
        if let Some(n) = config.count(theirs)? {
            keys.push((format!("general.sampling.{ours}"), V::I32(n as i32)));
        }
    }
    for (theirs, ours) in
        [("top_p", "top_p"), ("min_p", "min_p"), ("temperature", "temp"), ("repetition_penalty", "penalty_repeat")]
    {
        if let Some(x) = config.number(theirs)? {
            keys.push((format!("general.sampling.{ours}"), V::F32(x as f32)));
        }
    }
    Ok(keys)
}
