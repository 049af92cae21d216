//! The safetensors files of a checkpoint: mapped, their headers checked, every tensor findable by name.
//!
//! A file is hostile until checked: header sizes are bounded, file names of an index stay in its directory, and after
//! [`Checkpoint::open`] every tensor lies inside its file and its length is that of its shape and type.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lapwing_quant::DType;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::Value;

use super::json;
use crate::error::{Error, Result};
use crate::gguf::{Map, Payload};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// A checkpoint of 235 billion parameters has 118 files.
const MAX_FILES: usize = 4096;

/// The tensors of a checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    /// Every file with its length.
    pub files: Vec<(PathBuf, u64)>,
    /// Tensors by name.
    pub tensors: HashMap<String, Stored>,
    /// What the user should hear.
    pub notes: Vec<String>,
}

/// A tensor of a checkpoint.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Dimensions, the contiguous one last.
    pub shape: Vec<usize>,
    /// Its type; the name of one that cannot be read.
    pub dtype: std::result::Result<DType, String>,
    /// Its bytes.
    pub payload: Payload,
}

impl Checkpoint {
    /// Opens the files of the checkpoint in `dir`: one, or as many as its index names.
    pub fn open(dir: &Path) -> Result<Checkpoint> {
        let mut found = Checkpoint { files: Vec::new(), tensors: HashMap::new(), notes: Vec::new() };
        if dir.join(SINGLE).exists() {
            for (name, stored) in found.file(&dir.join(SINGLE))? {
                found.tensors.insert(name, stored);
            }
            return Ok(found);
        }
        if !dir.join(INDEX).exists() {
            return Err(Error::file(format!(
                "{}: has neither {SINGLE} nor {INDEX}{}",
                dir.display(),
                instead(dir).unwrap_or_default()
            )));
        }
        found.sharded(dir)?;
        Ok(found)
    }

    fn sharded(&mut self, dir: &Path) -> Result<()> {
        let index = dir.join(INDEX);
        let wanted = weight_map(&index)?;
        for (file, names) in &wanted {
            let path = dir.join(file);
            if !path.exists() {
                return Err(Error::file(format!(
                    "{}: is missing; {} names it for {} tensors ({} files in all). Download it into {}",
                    path.display(),
                    index.display(),
                    names.len(),
                    wanted.len(),
                    dir.display()
                )));
            }
            let mut stored = self.file(&path)?;
            for name in names {
                let tensor = stored.remove(name).ok_or_else(|| {
                    Error::file(format!(
                        "{}: has no tensor {name:?}, but {} says so; the files are not of one download",
                        path.display(),
                        index.display()
                    ))
                })?;
                self.tensors.insert(name.clone(), tensor);
            }
            let mut extra: Vec<&String> = stored.keys().collect();
            extra.sort_unstable();
            for name in extra {
                self.notes.push(format!("{}: tensor {name:?} is not in {INDEX} and is left out", path.display()));
            }
        }
        Ok(())
    }

    /// Maps a file and reads its header.
    fn file(&mut self, path: &Path) -> Result<HashMap<String, Stored>> {
        let map = Arc::new(Map::open_as(path, "a safetensors file")?);
        let bytes = map.bytes();
        self.files.push((path.to_path_buf(), bytes.len() as u64));
        let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| broken(path, bytes, &e))?;
        let data = 8 + header;
        let tensors = metadata.tensors();
        let entry = |(name, info): (&String, &&safetensors::tensor::TensorInfo)| {
            let (from, to) = info.data_offsets;
            let payload = Payload::new(Arc::clone(&map), data + from..data + to);
            let dtype = match info.dtype {
                Dtype::F32 => Ok(DType::F32),
                Dtype::F16 => Ok(DType::F16),
                Dtype::BF16 => Ok(DType::BF16),
                other => Err(format!("{other:?}")),
            };
            (name.clone(), Stored { shape: info.shape.clone(), dtype, payload })
        };
        Ok(tensors.iter().map(entry).collect())
    }
}

/// Files by name, each with its tensors.
fn weight_map(index: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let shown = index.display();
    let parsed = json::read(index)?;
    let map = parsed
        .get("weight_map")
        .and_then(Value::as_object)
        .ok_or_else(|| Error::file(format!("{shown}: has no object \"weight_map\"; download it again")))?;
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, file) in map {
        let file = file.as_str().filter(|f| is_plain_name(f)).ok_or_else(|| {
            Error::file(format!(
                "{shown}: weight_map gives {file} for {tensor:?}, expected the name of a file beside it"
            ))
        })?;
        files.entry(file.to_owned()).or_default().push(tensor.clone());
    }
    if files.len() > MAX_FILES {
        return Err(Error::file(format!("{shown}: names {} files, the limit is {MAX_FILES}", files.len())));
    }
    Ok(files)
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0'])
}

fn broken(path: &Path, bytes: &[u8], e: &SafeTensorError) -> Error {
    let shown = path.display();
    let header = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b));
    let why = match (e, header) {
        (SafeTensorError::HeaderTooSmall, _) => format!("has {} bytes, too few for a header", bytes.len()),
        (SafeTensorError::InvalidHeaderLength | SafeTensorError::HeaderTooLarge, Some(n)) => {
            format!("claims a header of {n} bytes, but has {} in all", bytes.len())
        }
        (SafeTensorError::MetadataIncompleteBuffer, _) => {
            format!("has {} bytes, which is not what its header says: it is truncated or was added to", bytes.len())
        }
        _ => format!("is no sound safetensors file ({e})"),
    };
    Error::file(format!("{shown}: {why}; download it again"))
}

/// What there is in place of safetensors.
fn instead(dir: &Path) -> Option<String> {
    let names = std::fs::read_dir(dir).ok()?.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
    let names: Vec<String> = names.collect();
    if names.iter().any(|n| n.starts_with("pytorch_model") && n.ends_with(".bin")) {
        return Some("; pytorch_model.bin is not read: save the model as safetensors".to_owned());
    }
    if let Some(gguf) = names.iter().find(|n| n.ends_with(".gguf")) {
        return Some(format!("; to quantize {gguf} again, give that file"));
    }
    let shard = names.iter().find(|n| n.ends_with(".safetensors"))?;
    Some(format!("; there is {shard}, but nothing says which tensors belong to the model: download {INDEX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_cannot_lead_out_of_its_directory() {
        for name in ["model-00001-of-00002.safetensors", "a"] {
            assert!(is_plain_name(name), "{name}");
        }
        for name in ["", ".", "..", "../a", "/etc/passwd", "a/b", "a\\b", "C:a"] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
