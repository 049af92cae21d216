//! config.json: what a checkpoint says it is, and the metadata that follows from it.
//!
//! What this program and GGUF cannot express (sliding windows, biases, layers without experts among layers with) is an
//! error here, so that no model is written that computes something else.

use std::path::{Path, PathBuf};

use gguf_rs_lib::format::metadata::MetadataValue as V;
use serde_json::Value;

use super::json::{self, Object};
use crate::error::{Error, Result};

/// A checkpoint's config.
#[derive(Debug)]
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// Its content.
    pub value: Value,
    /// Whether the feed-forward networks are mixtures of experts.
    pub moe: Option<Experts>,
    /// Number of layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width inside a dense feed-forward network.
    pub ffn: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Rows of the embedding.
    pub vocab: usize,
    /// Whether the output projection is the embedding.
    pub tied: bool,
    context: usize,
    eps: f64,
}

/// A mixture of experts.
#[derive(Clone, Copy, Debug)]
pub struct Experts {
    /// Experts of a layer.
    pub count: usize,
    /// Experts that a token uses.
    pub used: usize,
    /// Width inside an expert.
    pub ffn: usize,
}

/// Layers of the largest model, with room.
const MAX_LAYERS: usize = 1024;
const MAX_EXPERTS: usize = 4096;

impl Config {
    /// Reads config.json of the checkpoint in `dir`.
    pub fn read(dir: &Path) -> Result<Config> {
        let path = dir.join("config.json");
        if !path.exists() {
            return Err(Error::file(format!(
                "{}: has no config.json, expected a checkpoint as Hugging Face has it",
                dir.display()
            )));
        }
        let value = json::read(&path)?;
        let moe = architecture(&path, &value)?;
        let config = Object { path: &path, value: &value };
        let moe = if moe { Some(experts(&config)?) } else { None };
        refuse(&config)?;
        let layers = config.require_count("num_hidden_layers")?;
        let (heads, kv_heads) =
            (config.require_count("num_attention_heads")?, config.require_count("num_key_value_heads")?);
        if layers > MAX_LAYERS || !heads.is_multiple_of(kv_heads) {
            return Err(Error::file(format!(
                "{}: {layers} layers with {heads} heads and {kv_heads} key/value heads are no sound model",
                path.display()
            )));
        }
        Ok(Config {
            moe,
            layers,
            hidden: config.require_count("hidden_size")?,
            ffn: config.require_count("intermediate_size")?,
            heads,
            kv_heads,
            // transformers has this default for qwen3; the published configs all say it.
            head_dim: config.count("head_dim")?.filter(|&n| n > 0).unwrap_or(128),
            vocab: config.require_count("vocab_size")?,
            tied: config.bool("tie_word_embeddings")?.unwrap_or(false),
            context: config.require_count("max_position_embeddings")?,
            eps: config.number("rms_norm_eps")?.unwrap_or(1e-6),
            path,
            value,
        })
    }

    /// The GGUF architecture.
    pub fn architecture(&self) -> &'static str {
        if self.moe.is_some() { "qwen3moe" } else { "qwen3" }
    }

    /// The object.
    pub fn object(&self) -> Object<'_> {
        Object { path: &self.path, value: &self.value }
    }

    /// The keys under the architecture's name, without that name, in the types llama.cpp's converter gives them.
    pub fn metadata(&self) -> Result<Vec<(&'static str, V)>> {
        let count = |n: usize| V::U32(n as u32); // below 2^31 by `Object::count`
        let mut keys = vec![
            ("block_count", count(self.layers)),
            ("context_length", count(self.context)),
            ("embedding_length", count(self.hidden)),
            ("feed_forward_length", count(self.ffn)),
            ("attention.head_count", count(self.heads)),
            ("attention.head_count_kv", count(self.kv_heads)),
            ("attention.layer_norm_rms_epsilon", V::F32(self.eps as f32)),
            ("attention.key_length", count(self.head_dim)),
            ("attention.value_length", count(self.head_dim)),
        ];
        if let Some(experts) = self.moe {
            keys.push(("expert_count", count(experts.count)));
            keys.push(("expert_used_count", count(experts.used)));
            keys.push(("expert_feed_forward_length", count(experts.ffn)));
        }
        keys.extend(self.rope()?);
        Ok(keys)
    }

    /// Rotation: older checkpoints say `rope_theta` and `rope_scaling`, newer ones `rope_parameters`.
    fn rope(&self) -> Result<Vec<(&'static str, V)>> {
        let config = self.object();
        let nested = config.get("rope_parameters").or_else(|| config.get("rope_scaling"));
        let rope = Object { path: &self.path, value: nested.unwrap_or(&Value::Null) };
        let base = rope.number("rope_theta")?.or(config.number("rope_theta")?);
        let mut keys = Vec::new();
        if let Some(base) = base {
            keys.push(("rope.freq_base", V::F32(base as f32)));
        }
        let kind = match rope.str("rope_type")? {
            Some(kind) => Some(kind),
            None => rope.str("type")?,
        };
        let factor = rope.number("factor")?.map(|f| ("rope.scaling.factor", V::F32(f as f32)));
        match (kind, factor) {
            (None | Some("default"), _) => {}
            (Some("linear"), Some(factor)) => {
                keys.push(("rope.scaling.type", V::String("linear".to_owned())));
                keys.push(factor);
            }
            (Some("yarn"), Some(factor)) => {
                keys.push(("rope.scaling.type", V::String("yarn".to_owned())));
                keys.push(factor);
                let original = match rope.count("original_max_position_embeddings")? {
                    Some(n) => n,
                    None => config.count("original_max_position_embeddings")?.unwrap_or(self.context),
                };
                keys.push(("rope.scaling.original_context_length", V::U32(original as u32)));
                for (theirs, ours) in YARN {
                    if let Some(x) = rope.number(theirs)? {
                        keys.push((ours, V::F32(x as f32)));
                    }
                }
            }
            (Some(kind), factor) => {
                let why = if factor.is_none() { " without a factor" } else { "" };
                return Err(Error::unsupported(format!(
                    "{}: positions are scaled by {kind:?}{why}; linear and yarn with a factor are known",
                    self.path.display()
                )));
            }
        }
        Ok(keys)
    }
}

const YARN: [(&str, &str); 5] = [
    ("extrapolation_factor", "rope.scaling.yarn_ext_factor"),
    ("attention_factor", "rope.scaling.yarn_attn_factor"),
    ("attn_factor", "rope.scaling.yarn_attn_factor"),
    ("beta_fast", "rope.scaling.yarn_beta_fast"),
    ("beta_slow", "rope.scaling.yarn_beta_slow"),
];

/// Whether it is the mixture-of-experts variant; an error for anything but Qwen3.
fn architecture(path: &Path, value: &Value) -> Result<bool> {
    let named = value.get("architectures").and_then(|a| a.get(0)).and_then(Value::as_str);
    let kind = value.get("model_type").and_then(Value::as_str);
    match (named, kind) {
        (Some("Qwen3ForCausalLM"), _) | (None, Some("qwen3")) => Ok(false),
        (Some("Qwen3MoeForCausalLM"), _) | (None, Some("qwen3_moe")) => Ok(true),
        _ => {
            let found = named.or(kind).map_or("no architecture".to_owned(), |name| format!("architecture {name:?}"));
            Err(Error::unsupported(format!(
                "{}: {found}; Qwen3ForCausalLM and Qwen3MoeForCausalLM can be converted",
                path.display()
            )))
        }
    }
}

fn experts(config: &Object<'_>) -> Result<Experts> {
    let key = if config.get("num_experts").is_some() { "num_experts" } else { "num_local_experts" };
    let experts = Experts {
        count: config.require_count(key)?,
        used: config.require_count("num_experts_per_tok")?,
        ffn: config.require_count("moe_intermediate_size")?,
    };
    let refused = |what: &str| Err(Error::unsupported(format!("{}: {what}", config.path.display())));
    if experts.used > experts.count || experts.count > MAX_EXPERTS {
        return refused(&format!("{} of {} experts for a token is no sound model", experts.used, experts.count));
    }
    if config.count("decoder_sparse_step")?.unwrap_or(1) != 1
        || config.get("mlp_only_layers").and_then(Value::as_array).is_some_and(|layers| !layers.is_empty())
    {
        return refused("some layers have experts and some have none, which a qwen3moe GGUF cannot say");
    }
    if !config.bool("norm_topk_prob")?.unwrap_or(false) {
        return refused("norm_topk_prob is not true, but a qwen3moe GGUF always means normalized weights of experts");
    }
    Ok(experts)
}

fn refuse(config: &Object<'_>) -> Result<()> {
    let refused = |what: String| Err(Error::unsupported(format!("{}: {what}", config.path.display())));
    if let Some(quantized) = config.get("quantization_config") {
        let method = quantized.get("quant_method").and_then(Value::as_str).unwrap_or("an unnamed method");
        return refused(format!(
            "the checkpoint is quantized already (by {method}); download the original in BF16, F16 or F32"
        ));
    }
    for (key, what) in [("attention_bias", "attention with biases"), ("use_sliding_window", "sliding-window attention")]
    {
        if config.bool(key)?.unwrap_or(false) {
            return refused(format!("{key} is true: {what} is not known in qwen3 GGUFs"));
        }
    }
    match config.str("hidden_act")? {
        None | Some("silu") => Ok(()),
        Some(other) => refused(format!("hidden_act is {other:?}, expected \"silu\"")),
    }
}
