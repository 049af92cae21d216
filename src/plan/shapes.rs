//! A model's tensors from its hyperparameters, and what their formats make of them: bytes to hold, bytes and products of
//! a token.

use crate::convert::{Choices, FileType, ModelFacts, TensorFacts, choose};
use crate::engine::Config;
use crate::error::Result;
use crate::gguf::Gguf;
use lapwing_quant::DType;
use lapwing_quant::attend::Heads;

/// Metadata of a file with Qwen3's vocabulary, in bytes, about.
const METADATA: u64 = 6_000_000;

/// Hyperparameters that decide about sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Blocks.
    pub layers: usize,
    /// Values per token between blocks.
    pub embd: usize,
    /// Hidden values of the dense FFN; 0 with experts.
    pub ff: usize,
    /// Attention heads: query, key/value, values per head.
    pub heads: (usize, usize, usize),
    /// Entries of the vocabulary.
    pub vocab: usize,
    /// Whether the embedding serves as output.
    pub tied: bool,
    /// Experts of a block, experts of a token, hidden values of each; with a mixture.
    pub experts: Option<(usize, usize, usize)>,
}

/// A published model.
#[derive(Clone, Debug)]
pub struct Published {
    /// `8B`, `30B-A3B`.
    pub name: &'static str,
    /// Its shape.
    pub shape: Shape,
}

/// Qwen3's published sizes, the least able first (by the results its authors give).
pub fn published() -> Vec<Published> {
    let dense = |name, embd, layers, n_heads, ff, tied| Published {
        name,
        shape: Shape { layers, embd, ff, heads: (n_heads, 8, 128), vocab: 151_936, tied, experts: None },
    };
    let experts = Some((128, 8, 768));
    let moe = Shape { layers: 48, embd: 2048, ff: 0, heads: (32, 4, 128), vocab: 151_936, tied: false, experts };
    vec![
        dense("0.6B", 1024, 28, 16, 3072, true),
        dense("1.7B", 2048, 28, 16, 6144, true),
        dense("4B", 2560, 36, 32, 9728, true),
        dense("8B", 4096, 36, 32, 12288, false),
        dense("14B", 5120, 40, 40, 17408, false),
        Published { name: "30B-A3B", shape: moe },
        dense("32B", 5120, 64, 64, 25600, false),
    ]
}

/// A tensor: its name, and its shape with the contiguous dimension first.
pub struct Part {
    /// As in the file.
    pub name: String,
    /// Columns, rows, experts.
    pub shape: Vec<usize>,
}

impl Shape {
    /// The shape of a file's model.
    pub fn of(config: &Config, tied: bool) -> Shape {
        let Heads { n_heads, n_kv_heads, head_dim } = config.heads;
        Shape {
            layers: config.n_layers,
            embd: config.n_embd,
            ff: config.n_ff,
            heads: (n_heads, n_kv_heads, head_dim),
            vocab: config.n_vocab,
            tied,
            experts: config.experts.map(|e| (e.count, e.used, e.ffn)),
        }
    }

    /// All tensors, in a file's order.
    pub fn tensors(&self) -> Vec<Part> {
        let (n_heads, n_kv, d) = self.heads;
        let (q, kv, e) = (n_heads * d, n_kv * d, self.embd);
        let mut parts = Vec::new();
        let mut add = |name: String, shape: &[usize]| parts.push(Part { name, shape: shape.to_vec() });
        if !self.tied {
            add("output.weight".into(), &[e, self.vocab]);
        }
        add("output_norm.weight".into(), &[e]);
        add("token_embd.weight".into(), &[e, self.vocab]);
        for i in 0..self.layers {
            let mut blk = |what: &str, shape: &[usize]| add(format!("blk.{i}.{what}.weight"), shape);
            blk("attn_k", &[e, kv]);
            blk("attn_k_norm", &[d]);
            blk("attn_norm", &[e]);
            blk("attn_output", &[q, e]);
            blk("attn_q", &[e, q]);
            blk("attn_q_norm", &[d]);
            blk("attn_v", &[e, kv]);
            match self.experts {
                None => {
                    blk("ffn_down", &[self.ff, e]);
                    blk("ffn_gate", &[e, self.ff]);
                    blk("ffn_norm", &[e]);
                    blk("ffn_up", &[e, self.ff]);
                }
                Some((count, _, ff)) => {
                    blk("ffn_down_exps", &[ff, e, count]);
                    blk("ffn_gate_exps", &[e, ff, count]);
                    blk("ffn_gate_inp", &[e, count]);
                    blk("ffn_norm", &[e]);
                    blk("ffn_up_exps", &[e, ff, count]);
                }
            }
        }
        parts
    }

    /// The weights in one of llama-quantize's mixes.
    ///
    /// # Errors
    /// When the mix cannot hold the rows.
    pub fn weights(&self, file_type: FileType) -> Result<Weights> {
        let parts = self.tensors();
        let facts: Vec<TensorFacts<'_>> =
            parts.iter().map(|p| TensorFacts { name: &p.name, shape: &p.shape, dtype: DType::F32 }).collect();
        let model = ModelFacts {
            layers: self.layers,
            experts: self.experts.map_or(0, |(count, ..)| count),
            queries_per_kv: self.heads.0 / self.heads.1.max(1),
            has_imatrix: false,
        };
        let chosen = choose(&facts, &model, &Choices::new(file_type))?;
        let mut weights = Weights { metadata: METADATA, ..Weights::default() };
        for (part, choice) in parts.iter().zip(chosen) {
            weights.add(self, &part.name, &part.shape, choice.dtype);
        }
        Ok(weights)
    }
}

/// What one format's part of a model amounts to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// The format.
    pub dtype: DType,
    /// Bytes that a generated token reads.
    pub bytes: f64,
    /// Multiplications of a token.
    pub products: f64,
}

/// Weights in their formats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Bytes of a file besides.
    pub metadata: u64,
    /// Work of a token, by format.
    pub loads: Vec<Load>,
}

impl Weights {
    /// The weights of an open file.
    ///
    /// # Errors
    /// When a tensor has a format that cannot be computed with.
    pub fn of(gguf: &Gguf, shape: &Shape) -> Result<Weights> {
        let metadata = gguf.file_bytes().saturating_sub(gguf.tensor_bytes());
        let mut weights = Weights { metadata, ..Weights::default() };
        for tensor in gguf.tensors() {
            weights.add(shape, tensor.name(), tensor.shape(), tensor.dtype()?);
        }
        Ok(weights)
    }

    /// The formats that matter for speed: those of at least a hundredth of a token's bytes.
    pub fn formats(&self) -> Vec<DType> {
        let all: f64 = self.loads.iter().map(|l| l.bytes).sum();
        self.loads.iter().filter(|l| l.bytes >= 0.01 * all).map(|l| l.dtype).collect()
    }

    fn add(&mut self, shape: &Shape, name: &str, dims: &[usize], dtype: DType) {
        let elements: usize = dims.iter().product();
        let bytes = elements as u64 * dtype.block_bytes() as u64 / dtype.block_len() as u64;
        self.bytes += bytes;
        let looked_up = name == "token_embd.weight" && !shape.tied;
        let significant = dims.iter().rposition(|&d| d != 1).map_or(0, |last| last + 1);
        if looked_up || significant < 2 {
            return;
        }
        let part = match shape.experts {
            Some((count, used, _)) if name.contains("_exps.") => used as f64 / count.max(1) as f64,
            _ => 1.0,
        };
        let at = self.loads.iter().position(|l| l.dtype == dtype).unwrap_or_else(|| {
            self.loads.push(Load { dtype, bytes: 0.0, products: 0.0 });
            self.loads.len() - 1
        });
        self.loads[at].bytes += bytes as f64 * part;
        self.loads[at].products += elements as f64 * part;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(name: &str, file_type: FileType) -> u64 {
        let all = published();
        let shape = &all.iter().find(|p| p.name == name).unwrap().shape;
        let weights = shape.weights(file_type).unwrap();
        weights.bytes + weights.metadata
    }

    /// Bytes that llama-quantize wrote for random weights of these shapes: 5,027,783,328 with 6 MB of vocabulary.
    #[test]
    fn sizes_are_those_of_published_files() {
        for (name, file_type, bytes) in [
            ("8B", FileType::Q4_K_M, 5_027_783_328_u64),
            ("0.6B", FileType::Q8_0, 639_446_688),
            ("8B", FileType::Q8_0, 8_709_518_208),
        ] {
            let found = size(name, file_type);
            assert!(found.abs_diff(bytes) < bytes / 200, "{name} {}: {found}, not {bytes}", file_type.name());
        }
    }

    #[test]
    fn a_mixture_reads_a_part_of_itself() {
        let all = published();
        let moe = &all.iter().find(|p| p.name == "30B-A3B").unwrap().shape;
        let weights = moe.weights(FileType::Q4_K_M).unwrap();
        let read: f64 = weights.loads.iter().map(|l| l.bytes).sum();
        assert!(weights.bytes > 17_000_000_000 && (1.5e9..2.6e9).contains(&read), "{} {read}", weights.bytes);
    }
}
