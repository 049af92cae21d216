//! A model of made-up weights, to be timed: blocks of the smallest Qwen3's shape, all in one format.
//!
//! Whole forward passes are timed, because a block costs more than its bytes over the bandwidth: threads meet at every
//! product, the last one of them has nothing left to do, norms and attention stand in between, and matrices of a few
//! megabytes are not read as evenly as large ones. Whatever these cost on a machine is in the figure; the smallest
//! shape is taken because they weigh most there.

use super::shapes::Shape;
use crate::engine::{Engine, EngineOptions, Part, Role, Sequence};
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use gguf_rs_lib::format::GGUFHeader;
use gguf_rs_lib::format::metadata::{Metadata, MetadataValue};
use gguf_rs_lib::format::types::GGUFTensorType;
use gguf_rs_lib::tensor::{TensorInfo, TensorShape};
use gguf_rs_lib::writer::stream_writer::GGUFStreamWriter;
use lapwing_quant::DType;
use lapwing_quant::attend::KvType;
use lapwing_quant::buffer::Aligned;
use lapwing_quant::kernels::Kernels;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Entries of the vocabulary: few, as it is the blocks that are timed.
const VOCAB: usize = 512;
/// Room for the tokens of all passes.
const CONTEXT: usize = 64;
/// Timed passes, and the time after which no other is begun.
const PASSES: usize = 9;
const PATIENCE: Duration = Duration::from_millis(120);
/// Every byte of the weights; as a scale (f16, bf16 or f32) an ordinary number.
const FILL: u8 = 0x3c;
/// Where payloads start.
const ALIGNMENT: u64 = 32;

/// How to compute.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The kernels.
    pub kernels: &'static Kernels,
    /// Threads.
    pub threads: usize,
    /// The CPUs to pin them to; empty for none.
    pub cpus: &'a [usize],
}

/// What a generated token took.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// Seconds of a forward pass: the median of several.
    pub seconds: f64,
    /// The shortest, in seconds.
    pub shortest: f64,
    /// Bytes of weights that it read.
    pub bytes: f64,
    /// Blocks that it went through.
    pub blocks: usize,
}

/// Times generated tokens through blocks of `dtype` that take about `bytes` bytes together.
///
/// # Errors
/// When memory or threads are not to be had.
pub fn time(dtype: DType, bytes: usize, setup: Setup<'_>) -> Result<Timed> {
    let block = (block_bytes(dtype).max(1)) as usize;
    let shape = shape((bytes / block).clamp(1, 256));
    let options = EngineOptions {
        kernels: setup.kernels,
        threads: setup.threads,
        threads_batch: setup.threads,
        cpus: setup.cpus.to_vec(),
        rope: Default::default(),
        n_ctx: CONTEXT,
        sequences: 1,
        keys: KvType::F16,
        values: KvType::F16,
        repack: true,
    };
    let mut engine = Engine::load(&model(&shape, dtype)?, options, &mut |_, _| {})?;
    let mut seq = Sequence::default();
    let mut pass = || {
        let started = Instant::now();
        engine.forward(&mut [Part { seq: &mut seq, tokens: &[1], role: Role::Generated, wanted: 1 }])?;
        Ok::<f64, Error>(started.elapsed().as_secs_f64().max(1e-9))
    };
    let began = Instant::now();
    // The first sizes every buffer.
    pass()?;
    let mut times = vec![pass()?];
    while times.len() < PASSES && began.elapsed() < PATIENCE {
        times.push(pass()?);
    }
    times.sort_unstable_by(f64::total_cmp);
    let bytes = engine.model().bytes_per_token() as f64;
    Ok(Timed { seconds: times[times.len() / 2], shortest: times[0], bytes, blocks: shape.layers })
}

fn shape(layers: usize) -> Shape {
    Shape { layers, embd: 1024, ff: 3072, heads: (16, 8, 128), vocab: VOCAB, tied: true, experts: None }
}

/// Bytes of a block, but for its norms.
fn block_bytes(dtype: DType) -> u64 {
    let matrices = |n: usize| -> u64 {
        let parts = shape(n).tensors();
        parts.iter().filter(|p| p.shape.len() > 1).map(|p| size(dtype, &p.shape)).sum()
    };
    matrices(2) - matrices(1)
}

fn size(dtype: DType, shape: &[usize]) -> u64 {
    let elements: usize = shape.iter().product();
    (elements / dtype.block_len() * dtype.block_bytes()) as u64
}

/// The model as a file in memory.
fn model(shape: &Shape, dtype: DType) -> Result<Arc<Gguf>> {
    let failed = |e: gguf_rs_lib::GGUFError| Error::runtime(format!("a model to measure cannot be made: {e}"));
    let (mut infos, mut end) = (Vec::new(), 0);
    for part in shape.tensors() {
        let of = if part.shape.len() > 1 { dtype } else { DType::F32 };
        let dims = TensorShape::new(part.shape.iter().map(|&d| d as u64).collect()).map_err(failed)?;
        let kind = GGUFTensorType::from_u32(of.ggml_id()).map_err(failed)?;
        infos.push(TensorInfo::new(part.name, dims, kind, end));
        end += size(of, &part.shape).next_multiple_of(ALIGNMENT);
    }
    let mut meta = Metadata::new();
    meta.insert("general.architecture".into(), MetadataValue::String("qwen3".into()));
    let (heads, kv_heads, head_dim) = shape.heads;
    for (key, value) in [
        ("block_count", shape.layers),
        ("embedding_length", shape.embd),
        ("feed_forward_length", shape.ff),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
        ("attention.key_length", head_dim),
        ("attention.value_length", head_dim),
        ("context_length", CONTEXT),
    ] {
        meta.insert(format!("qwen3.{key}"), MetadataValue::U32(value as u32));
    }
    meta.insert("qwen3.attention.layer_norm_rms_epsilon".into(), MetadataValue::F32(1e-6));
    let mut writer = GGUFStreamWriter::new(Vec::new());
    writer.write_header(&GGUFHeader::new(infos.len() as u64, meta.len() as u64)).map_err(failed)?;
    writer.write_metadata(&meta).map_err(failed)?;
    writer.write_tensor_infos(&infos).map_err(failed)?;
    writer.align_for_tensor_data().map_err(failed)?;
    let head = writer.into_inner();
    let mut bytes = Aligned::zeroed(head.len() + end as usize).map_err(Error::limit)?;
    bytes[..head.len()].copy_from_slice(&head);
    bytes[head.len()..].fill(FILL);
    Gguf::open_own("(a model to measure)", bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_quant::kernels;

    #[test]
    fn every_format_can_be_timed() {
        for dtype in super::super::rates::FORMATS {
            let setup = Setup { kernels: kernels::best(), threads: 1, cpus: &[] };
            let timed = time(dtype, 1, setup).unwrap();
            assert_eq!(timed.blocks, 1);
            let head = size(dtype, &[1024, VOCAB]);
            assert_eq!(timed.bytes as u64, block_bytes(dtype) + head, "{dtype:?}: block and output");
            assert!(timed.shortest > 0.0 && timed.seconds >= timed.shortest && timed.seconds.is_finite());
        }
    }

    #[test]
    fn as_many_blocks_as_fill_the_room() {
        assert_eq!(block_bytes(DType::F32), 4 * 15_728_640);
        let setup = Setup { kernels: kernels::best(), threads: 2, cpus: &[] };
        let room = 3 * block_bytes(DType::Q4_K) as usize;
        assert_eq!(time(DType::Q4_K, room, setup).unwrap().blocks, 3);
    }
}
