//! A model file in brief, for lists of many: what it calls itself, its types, and whether it is all there.
//!
//! Only the header is read (metadata and tensor table, bounded as in `scan`), and nothing of it is decoded but a few
//! short values, so it takes milliseconds where opening takes a tenth of a second.

use std::collections::BTreeMap;
use std::path::Path;

use super::map::Map;
use super::quoted;
use super::scan::{self, RawTensor, Scan};
use super::types;
use crate::error::{Error, Result};

const DEFAULT_ALIGNMENT: u64 = 32;

/// Names of `general.file_type` by llama.cpp's numbers, as they stand in file names.
const FILE_TYPES: [(u64, &str); 32] = [
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (19, "IQ2_XXS"),
    (20, "IQ2_XS"),
    (21, "Q2_K_S"),
    (22, "IQ3_XS"),
    (23, "IQ3_XXS"),
    (24, "IQ1_S"),
    (25, "IQ4_NL"),
    (26, "IQ3_S"),
    (27, "IQ3_M"),
    (28, "IQ2_S"),
    (29, "IQ2_M"),
    (30, "IQ4_XS"),
    (31, "IQ1_M"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
];

/// One GGUF file in brief.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// `general.architecture`.
    pub architecture: Option<String>,
    /// `general.file_type` by name; where the file does not say, the type of most bytes.
    pub quant: Option<String>,
    /// Weights in the tensors of this file.
    pub parameters: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Files of the whole model: 1 where it is not split.
    pub shards: u64,
}

impl Brief {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// When it is no sound GGUF, or its tensors end past its end; says which and by how much.
    pub fn read(path: &Path) -> Result<Brief> {
        let map = Map::open(path)?;
        let file = path.display().to_string();
        let Scan { tensors, facts, end, .. } = scan::scan(&file, map.bytes())?;
        let alignment = facts.get("general.alignment").and_then(Fact::uint).unwrap_or(DEFAULT_ALIGNMENT).max(1);
        let start = (end as u64).next_multiple_of(alignment);
        let mut bytes_of: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut parameters = 0u64;
        for tensor in &tensors {
            let (name, bytes) = size(&file, tensor)?;
            check_end(&file, tensor, start, bytes, map.bytes().len() as u64)?;
            *bytes_of.entry(name).or_default() += bytes;
            parameters = parameters.saturating_add(tensor.dims.iter().product());
        }
        let most = bytes_of.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(name, _)| name.to_owned());
        let said = facts.get("general.file_type").and_then(Fact::uint);
        let named = FILE_TYPES.iter().find(|(id, _)| Some(*id) == said).map(|(_, name)| (*name).to_owned());
        Ok(Brief {
            architecture: facts.get("general.architecture").and_then(Fact::text),
            quant: named.or(most),
            parameters,
            file_bytes: map.bytes().len() as u64,
            shards: facts.get("split.count").and_then(Fact::uint).unwrap_or(1).max(1),
        })
    }
}

/// A short metadata value as it stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) type_id: u32,
    pub(super) bytes: Vec<u8>,
}

impl Fact {
    fn uint(&self) -> Option<u64> {
        if ![0, 2, 4, 10].contains(&self.type_id) || self.bytes.len() > 8 {
            return None;
        }
        Some(self.bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
    }

    fn text(&self) -> Option<String> {
        let text = self.bytes.get(8..).filter(|_| self.type_id == 8)?;
        Some(String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).collect())
    }
}

/// Name of the type and bytes of the payload. That dimensions multiply without overflow was checked by the scan.
fn size(file: &str, tensor: &RawTensor) -> Result<(&'static str, u64)> {
    let what = format!("{file}: tensor {}", quoted(&tensor.name));
    let kind = types::known(&what, tensor.type_id)?;
    let block = kind.block_size().max(1) as u64;
    let blocks = tensor.dims.iter().product::<u64>().div_ceil(block);
    let bytes = kind.block_size_bytes().and_then(|n| blocks.checked_mul(n as u64));
    let bytes = bytes.ok_or_else(|| Error::file(format!("{what} has no size; the file is broken")))?;
    Ok((kind.name(), bytes))
}

fn check_end(file: &str, tensor: &RawTensor, start: u64, bytes: u64, length: u64) -> Result<()> {
    match start.checked_add(tensor.offset).and_then(|at| at.checked_add(bytes)) {
        Some(end) if end <= length => Ok(()),
        Some(end) => Err(Error::file(format!(
            "{file}: is truncated: tensor {} ends at offset {end}, but the file has {length} bytes, {} too few \
             (an unfinished download?)",
            quoted(&tensor.name),
            end - length
        ))),
        None => Err(Error::file(format!("{file}: tensor {} ends past 2^64; the file is broken", quoted(&tensor.name)))),
    }
}
