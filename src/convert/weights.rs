//! The tensors of a checkpoint under their GGUF names, shaped as the config says: each layer's matrices, experts
//! stacked into one tensor, norms and routers in F32.

use std::collections::{HashMap, HashSet};

use lapwing_quant::DType;

use super::SourceTensor;
use super::checkpoint::{Checkpoint, Stored};
use super::config::{Config, Experts};
use crate::error::{Error, Result};
use crate::gguf::Payload;

/// The tensors in GGUF's order, and what was left out and should be said.
pub fn collect(checkpoint: &Checkpoint, config: &Config) -> Result<(Vec<SourceTensor>, Vec<String>)> {
    let shown = config.path.parent().unwrap_or(&config.path).display().to_string();
    let mut weights = Weights { shown, stored: &checkpoint.tensors, used: HashSet::new(), tensors: Vec::new() };
    let (hidden, vocab) = (config.hidden, config.vocab);
    weights.add("token_embd.weight", "model.embed_tokens.weight", &[vocab, hidden])?;
    weights.add("output_norm.weight", "model.norm.weight", &[hidden])?;
    if !config.tied {
        weights.add("output.weight", "lm_head.weight", &[vocab, hidden])?;
    }
    for layer in 0..config.layers {
        weights.layer(config, layer)?;
    }
    let notes = weights.leftovers(config)?;
    Ok((weights.tensors, notes))
}

struct Weights<'a> {
    shown: String,
    stored: &'a HashMap<String, Stored>,
    used: HashSet<String>,
    tensors: Vec<SourceTensor>,
}

impl Weights<'_> {
    fn layer(&mut self, config: &Config, layer: usize) -> Result<()> {
        let (hidden, head) = (config.hidden, config.head_dim);
        let (q, kv) = (config.heads * head, config.kv_heads * head);
        let table: [(&str, &str, &[usize]); 8] = [
            ("attn_norm", "input_layernorm", &[hidden]),
            ("ffn_norm", "post_attention_layernorm", &[hidden]),
            ("attn_q", "self_attn.q_proj", &[q, hidden]),
            ("attn_k", "self_attn.k_proj", &[kv, hidden]),
            ("attn_v", "self_attn.v_proj", &[kv, hidden]),
            ("attn_output", "self_attn.o_proj", &[hidden, q]),
            ("attn_q_norm", "self_attn.q_norm", &[head]),
            ("attn_k_norm", "self_attn.k_norm", &[head]),
        ];
        for (ours, theirs, shape) in table {
            self.add(&format!("blk.{layer}.{ours}.weight"), &format!("model.layers.{layer}.{theirs}.weight"), shape)?;
        }
        match config.moe {
            Some(experts) => self.experts(layer, hidden, experts),
            None => self.dense(layer, hidden, config.ffn),
        }
    }

    fn dense(&mut self, layer: usize, hidden: usize, ffn: usize) -> Result<()> {
        for (kind, shape) in [("gate", [ffn, hidden]), ("up", [ffn, hidden]), ("down", [hidden, ffn])] {
            let theirs = format!("model.layers.{layer}.mlp.{kind}_proj.weight");
            self.add(&format!("blk.{layer}.ffn_{kind}.weight"), &theirs, &shape)?;
        }
        Ok(())
    }

    fn experts(&mut self, layer: usize, hidden: usize, experts: Experts) -> Result<()> {
        let Experts { count, ffn, .. } = experts;
        let theirs = format!("model.layers.{layer}.mlp");
        self.add(&format!("blk.{layer}.ffn_gate_inp.weight"), &format!("{theirs}.gate.weight"), &[count, hidden])?;
        let fused = format!("{theirs}.experts.gate_up_proj");
        if self.stored.contains_key(&fused) {
            return self.fused_experts(layer, hidden, experts);
        }
        for (kind, rows, cols) in [("gate", ffn, hidden), ("up", ffn, hidden), ("down", hidden, ffn)] {
            let name = |expert: usize| format!("{theirs}.experts.{expert}.{kind}_proj.weight");
            let mut pieces = Vec::with_capacity(count);
            let mut dtype = None;
            for expert in 0..count {
                let name = name(expert);
                let (found, payload) = self.take(&name, &[rows, cols])?;
                if *dtype.get_or_insert(found) != found {
                    return Err(Error::file(format!(
                        "{}: tensor {name:?} has type {}, but the experts before it have another",
                        self.shown,
                        found.name()
                    )));
                }
                pieces.push(payload);
            }
            let dtype = dtype.unwrap_or(DType::F32);
            let described = format!("{} to {count}", name(0));
            self.push(format!("blk.{layer}.ffn_{kind}_exps.weight"), described, vec![cols, rows, count], dtype, pieces);
        }
        Ok(())
    }

    /// Experts as newer checkpoints store them: all of a layer in two tensors, gate above up.
    fn fused_experts(&mut self, layer: usize, hidden: usize, experts: Experts) -> Result<()> {
        let Experts { count, ffn, .. } = experts;
        let theirs = format!("model.layers.{layer}.mlp.experts");
        let name = format!("{theirs}.gate_up_proj");
        let (dtype, both) = self.take(&name, &[count, 2 * ffn, hidden])?;
        let half = both.len() / (2 * count);
        for (kind, first) in [("gate", 0), ("up", half)] {
            let pieces = (0..count).map(|e| both.part(2 * half * e + first..2 * half * e + first + half)).collect();
            let ours = format!("blk.{layer}.ffn_{kind}_exps.weight");
            self.push(ours, name.clone(), vec![hidden, ffn, count], dtype, pieces);
        }
        let name = format!("{theirs}.down_proj");
        self.add(&format!("blk.{layer}.ffn_down_exps.weight"), &name, &[count, hidden, ffn])
    }

    /// Adds the tensor `theirs`, which must have `shape` (the contiguous dimension last).
    fn add(&mut self, ours: &str, theirs: &str, shape: &[usize]) -> Result<()> {
        let (dtype, payload) = self.take(theirs, shape)?;
        let shape = shape.iter().rev().copied().collect();
        self.push(ours.to_owned(), theirs.to_owned(), shape, dtype, vec![payload]);
        Ok(())
    }

    fn push(&mut self, name: String, described: String, shape: Vec<usize>, dtype: DType, pieces: Vec<Payload>) {
        let floats = shape.len() == 1 || name.ends_with("ffn_gate_inp.weight");
        let unquantized = if floats { DType::F32 } else { dtype };
        let described = format!("{}: tensor {described:?}", self.shown);
        self.tensors.push(SourceTensor { name, described, shape, dtype, unquantized, shard: 0, pieces });
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<(DType, Payload)> {
        let shown = &self.shown;
        let Some(stored) = self.stored.get(name) else {
            return Err(Error::file(format!(
                "{shown}: tensor {name:?} is missing (expected shape {shape:?} from config.json); the checkpoint is \
                 incomplete, or of another architecture"
            )));
        };
        if stored.shape != shape {
            return Err(Error::file(format!(
                "{shown}: tensor {name:?} has shape {:?}, expected {shape:?} from config.json; they are not of one model",
                stored.shape
            )));
        }
        let dtype = stored.dtype.clone().map_err(|found| {
            Error::unsupported(format!(
                "{shown}: tensor {name:?} has type {found}; BF16, F16 and F32 can be converted. Download the original"
            ))
        })?;
        self.used.insert(name.to_owned());
        Ok((dtype, stored.payload.clone()))
    }

    /// What nothing asked for: dropped with a note where that is known to be right, else an error.
    fn leftovers(&self, config: &Config) -> Result<Vec<String>> {
        let mut left: Vec<&String> = self.stored.keys().filter(|name| !self.used.contains(*name)).collect();
        left.sort_unstable();
        let mut notes = Vec::new();
        for name in left {
            if config.tied && name == "lm_head.weight" {
                let why = "config.json says that the embedding is used in its place (tie_word_embeddings)";
                notes.push(format!("{}: {name} is left out: {why}", self.shown));
            } else if !name.ends_with("rotary_emb.inv_freq") {
                return Err(Error::file(format!(
                    "{}: tensor {name:?} is no part of a {} model with {} layers; config.json is of another model",
                    self.shown,
                    config.architecture(),
                    config.layers
                )));
            }
        }
        Ok(notes)
    }
}
