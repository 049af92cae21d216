//! The start of a GGUF: header, metadata, tensor table, padding, written by gguf-rs-lib's stream writer.

use std::io::Write;

use gguf_rs_lib::format::metadata::Metadata;
use gguf_rs_lib::format::types::GGUFTensorType;
use gguf_rs_lib::tensor::{TensorInfo, TensorShape};
use gguf_rs_lib::writer::stream_writer::{GGUFStreamWriter, StreamWriterConfig};

use super::plan::{Plan, PlannedFile};
use crate::error::{Error, Result};

/// Every payload starts at a multiple of this, and the file ends at one.
pub const ALIGNMENT: u64 = 32;
/// What the writer copies at once.
const COPIED: usize = 1 << 20;

/// Writes the start of a file; the result takes the payloads of the tensors, which are also given, in order.
pub fn write<W: Write>(plan: &Plan, file: &PlannedFile, to: W) -> Result<(GGUFStreamWriter<W>, Vec<TensorInfo>)> {
    let config = StreamWriterConfig { buffer_size: COPIED, ..StreamWriterConfig::default() };
    let mut writer = GGUFStreamWriter::with_config(to, config);
    let mut meta = Metadata::new();
    file.meta.iter().for_each(|(key, value)| meta.insert(key.clone(), value.clone()));
    let infos = infos(plan, file)?;
    let header = gguf_rs_lib::format::GGUFHeader::new(infos.len() as u64, meta.len() as u64);
    let failed = |e: gguf_rs_lib::GGUFError| Error::runtime(format!("the header cannot be written: {e}"));
    writer.write_header(&header).map_err(failed)?;
    writer.write_metadata(&meta).map_err(failed)?;
    writer.write_tensor_infos(&infos).map_err(failed)?;
    writer.align_for_tensor_data().map_err(failed)?;
    Ok((writer, infos))
}

/// The start of a file as bytes.
pub fn bytes(plan: &Plan, file: &PlannedFile) -> Result<Vec<u8>> {
    write(plan, file, Vec::new()).map(|(writer, _)| writer.into_inner())
}

fn infos(plan: &Plan, file: &PlannedFile) -> Result<Vec<TensorInfo>> {
    let mut offset = 0;
    let info = |planned: &super::Planned| {
        let tensor = plan.source_of(planned);
        let failed = |e: &dyn std::fmt::Display| Error::runtime(format!("{}: cannot be described: {e}", tensor.name));
        let shape = TensorShape::new(tensor.shape.iter().map(|&d| d as u64).collect()).map_err(|e| failed(&e))?;
        let kind = GGUFTensorType::from_u32(planned.dtype.ggml_id()).map_err(|e| failed(&e))?;
        let info = TensorInfo::new(tensor.name.clone(), shape, kind, offset);
        offset += planned.bytes.next_multiple_of(ALIGNMENT);
        Ok(info)
    };
    plan.tensors[file.tensors.clone()].iter().map(info).collect()
}
