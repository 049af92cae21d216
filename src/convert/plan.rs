//! What will be written, decided before the first byte: types, sizes, files, headers.
//!
//! A plan depends on the source and the settings alone, so the same job always writes the same bytes; [`Plan::id`] is
//! what an interrupted job is recognised by.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use gguf_rs_lib::format::metadata::MetadataValue as V;
use lapwing_quant::DType;
use sha2::{Digest, Sha256};

use super::gguf_input::{count, writable};
use super::mix::{self, ModelFacts, TensorFacts, is_quantized};
use super::{Choices, FileType, Source, SourceTensor, header};
use crate::error::{Error, Result};
use crate::gguf::Override;

/// Everything a user may ask for.
#[derive(Debug)]
pub struct Settings {
    /// Types.
    pub choices: Choices,
    /// Weights of columns.
    pub imatrix: Option<Importance>,
    /// Metadata in place of the source's.
    pub overrides: Vec<Override>,
    /// As many files as the (split) source has, with the same tensors.
    pub keep_split: bool,
    /// No file larger than this, as far as single tensors allow it.
    pub max_shard_bytes: Option<u64>,
    /// Quantized tensors may be quantized again.
    pub allow_requantize: bool,
    /// Metadata that is known only when the file is written: keys with values of the final size.
    pub reserved: Vec<(String, V)>,
}

/// An importance matrix.
#[derive(Clone, Debug, Default)]
pub struct Importance {
    /// The file, as the user named it.
    pub file: String,
    /// The first text it was made from.
    pub dataset: Option<String>,
    /// Number of chunks it was made from.
    pub chunks: Option<u32>,
    /// By tensor: mean squares of the activations that meet each column, expert after expert.
    pub weights: HashMap<String, Vec<f32>>,
}

/// A job, ready to run.
#[derive(Debug)]
pub struct Plan {
    /// What is read.
    pub source: Source,
    /// What is written, in file order.
    pub tensors: Vec<Planned>,
    /// The files.
    pub files: Vec<PlannedFile>,
    /// What the user should hear.
    pub notes: Vec<String>,
    pub(super) imatrix: Option<Importance>,
}

/// A tensor that will be written.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Index into the source's tensors.
    pub source: usize,
    /// Its format.
    pub dtype: DType,
    /// The one it should have had, were its rows not too odd.
    pub instead_of: Option<DType>,
    /// Bytes of payload.
    pub bytes: u64,
    /// Where the payload starts in its file.
    pub start: u64,
}

/// A file that will be written.
#[derive(Clone, Debug)]
pub struct PlannedFile {
    /// Its tensors.
    pub tensors: Range<usize>,
    /// Its metadata.
    pub meta: BTreeMap<String, V>,
    /// Bytes before the first tensor.
    pub header_bytes: u64,
    /// Bytes in all.
    pub bytes: u64,
}

impl Plan {
    /// Decides what `settings` make of `source`.
    pub fn new(source: Source, settings: Settings) -> Result<Plan> {
        let mut notes = source.notes.clone();
        let order = order(&source, settings.keep_split);
        let facts = facts(&source, &settings)?;
        let described: Vec<TensorFacts<'_>> = order
            .iter()
            .map(|&at| &source.tensors[at])
            .map(|t| TensorFacts { name: &t.name, shape: &t.shape, dtype: t.unquantized })
            .collect();
        let chosen = mix::choose(&described, &facts, &settings.choices)?;
        let mut tensors = Vec::with_capacity(order.len());
        for (&at, choice) in order.iter().zip(chosen) {
            let tensor = &source.tensors[at];
            requantized(tensor, choice.dtype, settings.allow_requantize)?;
            let row = choice.dtype.row_bytes(tensor.cols()).ok_or_else(|| {
                let cols = tensor.cols();
                Error::usage(format!("{} cannot be {}: its rows have {cols} weights", tensor.name, choice.dtype.name()))
            })?;
            let bytes = row as u64 * tensor.rows() as u64;
            tensors.push(Planned { source: at, dtype: choice.dtype, instead_of: choice.instead_of, bytes, start: 0 });
        }
        unused_patterns(&settings.choices, &described)?;
        if let Some(imatrix) = &settings.imatrix {
            notes.extend(check_imatrix(imatrix, &source, &tensors)?);
        }
        let meta = metadata(&source, &settings)?;
        let mut plan = Plan { source, tensors, files: Vec::new(), notes, imatrix: settings.imatrix };
        plan.split(meta, settings.keep_split, settings.max_shard_bytes)?;
        Ok(plan)
    }

    /// The source tensor of a planned one.
    pub fn source_of(&self, planned: &Planned) -> &SourceTensor {
        &self.source.tensors[planned.source]
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }

    /// Bytes that are read.
    pub fn source_bytes(&self) -> u64 {
        self.source.tensors.iter().map(|t| t.bytes() as u64).sum()
    }

    /// Mean bits per weight.
    pub fn bits_per_weight(&self) -> f64 {
        let weights: u64 = self.source.tensors.iter().map(|t| t.elements() as u64).sum();
        let bytes: u64 = self.tensors.iter().map(|t| t.bytes).sum();
        bytes as f64 * 8.0 / weights.max(1) as f64
    }

    /// Importance of the columns of a tensor, matrix after matrix.
    pub(super) fn importance(&self, name: &str) -> Option<&[f32]> {
        self.imatrix.as_ref()?.weights.get(name).map(Vec::as_slice)
    }

    /// A number for the job: the same source files, settings and program give the same one.
    pub fn id(&self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(concat!("lapwing ", env!("CARGO_PKG_VERSION"), "\n"));
        for (path, length) in &self.source.files {
            let changed = std::fs::metadata(path).and_then(|m| m.modified()).ok();
            let changed = changed.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok()).unwrap_or_default();
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            hash.update(format!("{} {length} {changed:?}\n", path.display()));
        }
        for file in &self.files {
            hash.update(header::bytes(self, file)?);
        }
        if let Some(imatrix) = &self.imatrix {
            let sorted: BTreeMap<&String, &Vec<f32>> = imatrix.weights.iter().collect();
            for (name, weights) in sorted {
                hash.update(name);
                weights.iter().for_each(|w| hash.update(w.to_le_bytes()));
            }
        }
        Ok(hex(&hash.finalize()))
    }

    /// Distributes the tensors over files and places them.
    fn split(&mut self, meta: BTreeMap<String, V>, keep: bool, most: Option<u64>) -> Result<()> {
        let ranges = if keep && self.source.shards > 1 {
            let shard = |planned: &Planned| self.source.tensors[planned.source].shard;
            ranges_by(&self.tensors, |a, b| shard(a) == shard(b))
        } else if let Some(most) = most {
            self.packed(&meta, most)?
        } else {
            let all = 0..self.tensors.len();
            Vec::from([all])
        };
        let (count, total) = (ranges.len(), self.tensors.len());
        if count > usize::from(u16::MAX) {
            return Err(Error::usage(format!("--max-shard-size would make {count} files; choose a larger size")));
        }
        let mut meta = Some(meta);
        for (number, tensors) in ranges.into_iter().enumerate() {
            let mut meta = meta.take().unwrap_or_default();
            if count > 1 {
                meta.insert("split.no".to_owned(), V::U16(number as u16));
                meta.insert("split.count".to_owned(), V::U16(count as u16));
                meta.insert("split.tensors.count".to_owned(), V::I32(total as i32));
            }
            let mut file = PlannedFile { tensors, meta, header_bytes: 0, bytes: 0 };
            file.header_bytes = header::bytes(self, &file)?.len() as u64;
            let mut at = file.header_bytes;
            for planned in &mut self.tensors[file.tensors.clone()] {
                planned.start = at;
                at += planned.bytes.next_multiple_of(header::ALIGNMENT);
            }
            file.bytes = at;
            self.files.push(file);
        }
        Ok(())
    }

    /// As many tensors into each file as fit.
    fn packed(&mut self, meta: &BTreeMap<String, V>, most: u64) -> Result<Vec<Range<usize>>> {
        /// More than the three keys of a split take.
        const SPLIT_KEYS: u64 = 256;
        let empty = PlannedFile { tensors: 0..0, meta: meta.clone(), header_bytes: 0, bytes: 0 };
        let mut size = header::bytes(self, &empty)?.len() as u64 + SPLIT_KEYS;
        let (mut ranges, mut first) = (Vec::new(), 0);
        for (at, planned) in self.tensors.iter().enumerate() {
            let tensor = &self.source.tensors[planned.source];
            let entry = (8 + tensor.name.len() + 4 + 8 * tensor.shape.len() + 4 + 8) as u64;
            let bytes = entry + planned.bytes.next_multiple_of(header::ALIGNMENT);
            if size + bytes > most && at > first {
                ranges.push(first..at);
                (first, size) = (at, SPLIT_KEYS);
            }
            size += bytes;
            if size > most && at == first {
                self.notes.push(format!("{} alone takes {size} bytes, more than a file should have", tensor.name));
            }
        }
        ranges.push(first..self.tensors.len());
        Ok(ranges)
    }
}

/// Hexadecimal digits of bytes.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn ranges_by(tensors: &[Planned], same: impl Fn(&Planned, &Planned) -> bool) -> Vec<Range<usize>> {
    let mut at = 0;
    let chunks = tensors.chunk_by(same);
    chunks
        .map(|chunk| {
            at += chunk.len();
            at - chunk.len()..at
        })
        .collect()
}

/// Tensors without a layer first, then layer by layer, by name; or, where shards are kept, as they lie in them.
fn order(source: &Source, keep_split: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..source.tensors.len()).collect();
    let key = |t: &SourceTensor| mix::layer_of(&t.name).map_or(0, |layer| layer + 1);
    if keep_split && source.shards > 1 {
        order.sort_by_key(|&at| source.tensors[at].shard);
    } else {
        order.sort_by_key(|&at| (key(&source.tensors[at]), source.tensors[at].name.as_str()));
    }
    order
}

fn facts(source: &Source, settings: &Settings) -> Result<ModelFacts> {
    let arch = &source.architecture;
    let number = |key: &str| count(&source.meta, &format!("{arch}.{key}"));
    let require = |key: &str| {
        number(key).filter(|&n| n > 0).ok_or_else(|| {
            let shown = source.path.display();
            Error::file(format!("{shown}: metadata key {arch}.{key} is missing or no number; the file is incomplete"))
        })
    };
    let heads = require("attention.head_count")?;
    Ok(ModelFacts {
        layers: require("block_count")?,
        experts: number("expert_count").unwrap_or(0),
        queries_per_kv: heads / number("attention.head_count_kv").unwrap_or(heads).max(1),
        has_imatrix: settings.imatrix.is_some(),
    })
}

fn requantized(tensor: &SourceTensor, to: DType, allowed: bool) -> Result<()> {
    if !is_quantized(tensor.dtype) || tensor.dtype == to || allowed {
        return Ok(());
    }
    Err(Error::usage(format!(
        "{} is {} already; quantizing it again to {} loses more than from the original. Give the BF16 or F32 model, or \
         --allow-requantize",
        tensor.described,
        tensor.dtype.name(),
        to.name()
    )))
}

/// A pattern that no tensor has in its name is a mistake of the user's.
fn unused_patterns(choices: &Choices, tensors: &[TensorFacts<'_>]) -> Result<()> {
    match choices.tensor_types.iter().find(|(p, _)| !tensors.iter().any(|t| p.is_match(t.name))) {
        None => Ok(()),
        Some((pattern, _)) => {
            Err(Error::usage(format!("--tensor-type: no tensor has {:?} in its name", pattern.as_str())))
        }
    }
}

/// Checks lengths and values, and says which tensors have no weights.
fn check_imatrix(imatrix: &Importance, source: &Source, tensors: &[Planned]) -> Result<Vec<String>> {
    let mut without = Vec::new();
    for planned in tensors.iter().filter(|p| is_quantized(p.dtype)) {
        let tensor = &source.tensors[planned.source];
        let Some(weights) = imatrix.weights.get(&tensor.name) else {
            if !["token_embd.weight", "output.weight"].contains(&tensor.name.as_str()) {
                without.push(tensor.name.as_str());
            }
            continue;
        };
        let wanted = tensor.elements() / tensor.rows_per_matrix();
        if weights.len() != wanted {
            return Err(Error::file(format!(
                "{}: has {} weights for {}, expected {wanted}; it was made from another model",
                imatrix.file,
                weights.len(),
                tensor.name
            )));
        }
        if let Some(at) = weights.iter().position(|w| !w.is_finite()) {
            return Err(Error::file(format!("{}: weight {at} of {} is {}", imatrix.file, tensor.name, weights[at])));
        }
    }
    let Some(first) = without.first() else { return Ok(Vec::new()) };
    let others = without.len() - 1;
    Ok(vec![format!(
        "{}: has no weights for {first} and {others} other tensors: they are rounded plainly",
        imatrix.file
    )])
}

/// The metadata of the (first) file.
fn metadata(source: &Source, settings: &Settings) -> Result<BTreeMap<String, V>> {
    let mut meta = source.meta.clone();
    meta.insert("general.quantization_version".to_owned(), V::U32(2));
    match settings.choices.file_type.id() {
        Some(id) => drop(meta.insert("general.file_type".to_owned(), V::U32(id))),
        None if !meta.contains_key("general.file_type") => {
            let embedding = source.tensors.iter().find(|t| t.name == "token_embd.weight");
            let id = embedding.and_then(|t| FileType::of_floats(t.unquantized)).and_then(FileType::id);
            meta.extend(id.map(|id| ("general.file_type".to_owned(), V::U32(id))));
        }
        None => {}
    }
    if let Some(imatrix) = &settings.imatrix {
        let mut put = |key: &str, value| meta.insert(format!("quantize.imatrix.{key}"), value);
        put("file", V::String(imatrix.file.clone()));
        put("entries_count", V::U32(imatrix.weights.len() as u32));
        imatrix.dataset.iter().for_each(|text| drop(put("dataset", V::String(text.clone()))));
        imatrix.chunks.iter().for_each(|n| drop(put("chunks_count", V::U32(*n))));
    }
    for o in &settings.overrides {
        if !writable(&o.key) {
            let key = &o.key;
            return Err(Error::usage(format!("--override-kv {key}: a key is lower-case words joined by dots")));
        }
        meta.insert(o.key.clone(), o.stored());
    }
    meta.extend(settings.reserved.iter().cloned());
    Ok(meta)
}
