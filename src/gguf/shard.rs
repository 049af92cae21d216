//! One GGUF file, opened and checked: the map, the library's reader over it, and where each tensor lies.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use gguf_rs_lib::format::types::GGUFTensorType;
use gguf_rs_lib::reader::file_reader::{GGUFFileReader, GGUFReaderConfig};
use lapwing_quant::buffer::Aligned;

use super::map::Map;
use super::scan::{self, RawTensor, Scan};
use super::tensor::Entry;
use super::types;
use super::view::View;
use super::{cut, escaped, quoted};
use crate::error::{Error, Result};

/// The library refuses longer dimensions.
const MAX_DIM: u64 = 1_000_000_000;
const DEFAULT_ALIGNMENT: u64 = 32;

/// One file of a model: what is kept of it, and its metadata, which is kept of the first only.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) file: OpenFile,
    /// In file order; `Entry::shard` is 0 until the shards are put together.
    pub(super) tensors: Vec<Entry>,
    pub(super) source: Source,
}

/// An open file of a model.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) map: Arc<Map>,
    /// GGUF version: 2 or 3.
    pub(super) version: u32,
    /// A power of two, at least 8.
    pub(super) alignment: u64,
    /// Where the payload starts.
    pub(super) data_start: usize,
}

/// The decoded metadata of a file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) reader: GGUFFileReader<View>,
    /// Keys the reader knows under another name: shown name, real name.
    pub(super) renamed: BTreeMap<String, String>,
}

impl Shard {
    /// Opens and checks the file at `path`. After this every tensor of a known type is known to lie inside the file.
    pub(super) fn open(path: &Path) -> Result<Shard> {
        Shard::of(Map::open(path)?)
    }

    /// As [`Shard::open`], of bytes that are in memory for good.
    pub(super) fn built_in(name: &str, bytes: &'static [u8]) -> Result<Shard> {
        Shard::of(Map::built_in(name, bytes))
    }

    /// As [`Shard::open`], of bytes that were never on a disk.
    pub(super) fn own(name: &str, bytes: Aligned) -> Result<Shard> {
        Shard::of(Map::own(name, bytes))
    }

    fn of(map: Map) -> Result<Shard> {
        let map = Arc::new(map);
        let file = map.path().display().to_string();
        let Scan { version, patches, renamed, tensors: table, end, .. } = scan::scan(&file, map.bytes())?;
        let types = check_table(&file, &table)?;
        let config = GGUFReaderConfig {
            max_metadata_size: scan::MAX_METADATA_BYTES,
            max_decoded_metadata_size: scan::MAX_DECODED_BYTES * 2,
            validate_integrity: false, // done below, after the check for truncation, which the library cannot word
            ..GGUFReaderConfig::default()
        };
        let broken = |e: gguf_rs_lib::GGUFError| {
            Error::file(format!("{file}: is broken: {}; download it again", cut(&escaped(&e.to_string()), 300)))
        };
        let view = View::new(Arc::clone(&map), patches);
        let mut reader = match GGUFFileReader::with_config(view, config) {
            Ok(reader) => reader,
            Err(e) => return Err(alignment_error(&file, map.bytes().len(), end, &e).unwrap_or_else(|| broken(e))),
        };
        let alignment = reader.tensor_alignment();
        let data_start = usize::try_from(reader.tensor_data_offset()).unwrap_or(usize::MAX).min(map.bytes().len());
        check_ends(&file, map.bytes().len() as u64, &table, &reader)?;
        reader.validate_integrity().map_err(broken)?;
        let tensors = table
            .into_iter()
            .zip(reader.tensor_infos())
            .zip(types)
            .map(|((raw, info), kind)| entry(&file, raw, data_start, info, kind))
            .collect::<Result<Vec<Entry>>>()?;
        let file = OpenFile { map, version, alignment, data_start };
        Ok(Shard { file, tensors, source: Source { reader, renamed } })
    }
}

/// Types known, dimensions within the library's limit and whole blocks: what it would refuse without naming the tensor.
fn check_table(file: &str, table: &[RawTensor]) -> Result<Vec<GGUFTensorType>> {
    let check = |raw: &RawTensor| {
        let what = format!("{file}: tensor {}", quoted(&raw.name));
        let kind = types::known(&what, raw.type_id)?;
        if let Some(dim) = raw.dims.iter().find(|&&d| d > MAX_DIM) {
            return Err(Error::file(format!(
                "{what} has a dimension of {dim}, the limit is {MAX_DIM}; the file is broken"
            )));
        }
        let block = kind.block_size().max(1) as u64;
        if !raw.dims[0].is_multiple_of(block) {
            return Err(Error::file(format!(
                "{what} has shape {:?} and type {}: the first dimension must be a multiple of {block}; the file is broken",
                raw.dims,
                kind.name()
            )));
        }
        Ok(kind)
    };
    table.iter().map(check).collect()
}

/// The library ends with "unexpected end of file" when the padded start of the payload lies past the file's end.
fn alignment_error(file: &str, length: usize, end: usize, e: &gguf_rs_lib::GGUFError) -> Option<Error> {
    matches!(e, gguf_rs_lib::GGUFError::UnexpectedEof).then(|| {
        Error::file(format!(
            "{file}: is truncated: the tensor table ends at offset {end} and the payload starts at the next multiple of \
             general.alignment (default {DEFAULT_ALIGNMENT}), but the file has only {length} bytes; download it again"
        ))
    })
}

/// Every tensor ends inside the file; if not, says which goes furthest and how many bytes are missing.
fn check_ends(file: &str, length: u64, table: &[RawTensor], reader: &GGUFFileReader<View>) -> Result<()> {
    let mut furthest: Option<(u64, &RawTensor)> = None;
    for (raw, info) in table.iter().zip(reader.tensor_infos()) {
        let size = info.checked_expected_data_size().ok();
        let end = size.and_then(|n| n.checked_add(raw.offset)?.checked_add(reader.tensor_data_offset()));
        let end = end.ok_or_else(|| {
            let shown = quoted(&raw.name);
            Error::file(format!("{file}: tensor {shown} ends past 2^64 (offset {}); the file is broken", raw.offset))
        })?;
        if end > length && furthest.is_none_or(|(e, _)| end > e) {
            furthest = Some((end, raw));
        }
    }
    match furthest {
        None => Ok(()),
        Some((end, raw)) => Err(Error::file(format!(
            "{file}: is truncated: tensor {} ends at offset {end}, but the file has {length} bytes, {} too few \
             (an unfinished download?); download it again",
            quoted(&raw.name),
            end - length
        ))),
    }
}

fn entry(
    file: &str,
    raw: RawTensor,
    data_start: usize,
    info: &gguf_rs_lib::tensor::TensorInfo,
    kind: GGUFTensorType,
) -> Result<Entry> {
    let too_big = || Error::limit(format!("{file}: tensor {} is too large for this machine", quoted(&raw.name)));
    let shape: Option<Vec<usize>> = raw.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let start = usize::try_from(raw.offset).ok().and_then(|o| o.checked_add(data_start)).ok_or_else(too_big)?;
    let length = info.checked_expected_data_size().ok().and_then(|n| usize::try_from(n).ok()).ok_or_else(too_big)?;
    Ok(Entry { shape: shape.ok_or_else(too_big)?, name: raw.name, kind, shard: 0, start, length })
}
