//! Small checkpoints as Hugging Face has them, with random weights, made where a test runs.
//!
//! Include it with `#[path = "common/checkpoint.rs"] mod checkpoint;`.
#![allow(dead_code)] // each test crate uses a part

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};

/// A tensor in the making: type, shape (the contiguous dimension last), bytes.
pub type Tensor = (Dtype, Vec<usize>, Vec<u8>);

/// A checkpoint in the making; every part of it can be spoilt before it is written.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub config: Value,
    pub generation: Value,
    pub tokenizer: Value,
    pub tokenizer_config: Value,
    pub tensors: BTreeMap<String, Tensor>,
    /// Number of safetensors files.
    pub shards: usize,
}

/// The shape of one.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub layers: usize,
    pub hidden: usize,
    pub ffn: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub vocab: usize,
    /// Experts, and how many a token uses.
    pub experts: Option<(usize, usize)>,
    pub tied: bool,
}

/// Two layers whose rows are whole super-blocks, and six rows of padding behind the vocabulary.
pub const SMALL: Shape = Shape {
    layers: 2,
    hidden: 256,
    ffn: 512,
    heads: 4,
    kv_heads: 2,
    head_dim: 64,
    vocab: 1030,
    experts: None,
    tied: true,
};

/// Numbers about normal around zero, by a fixed recurrence.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            sum += (self.0 >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        }
        sum
    }

    /// A tensor of such numbers times `scale`, plus `mean`.
    pub fn tensor(&mut self, dtype: Dtype, shape: &[usize], scale: f32, mean: f32) -> Tensor {
        let values = (0..shape.iter().product::<usize>()).map(|_| self.next() * scale + mean);
        let bytes = match dtype {
            Dtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
            Dtype::F16 => values.flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect(),
            Dtype::BF16 => values.flat_map(|x| half::bf16::from_f32(x).to_le_bytes()).collect(),
            other => panic!("no tensors of {other:?} here"),
        };
        (dtype, shape.to_vec(), bytes)
    }
}

impl Checkpoint {
    /// A sound checkpoint of that shape, with weights of `dtype`.
    pub fn new(shape: Shape, dtype: Dtype) -> Self {
        let tokenizer = fs::read_to_string(super::common::root().join("tests/fixtures/tokenizer/small.json")).unwrap();
        Self {
            config: config(shape),
            generation: json!({"temperature": 0.6, "top_k": 20, "top_p": 0.95, "eos_token_id": [1017, 1015]}),
            tokenizer: serde_json::from_str(&tokenizer).unwrap(),
            tokenizer_config: json!({
                "tokenizer_class": "Qwen2Tokenizer", "add_bos_token": false, "bos_token": null,
                "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
                "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
            }),
            tensors: tensors(shape, dtype),
            shards: 1,
        }
    }

    /// Writes it to a directory of this name.
    pub fn write(&self, dir: &Path) -> PathBuf {
        fs::create_dir_all(dir).unwrap();
        let json = |name: &str, value: &Value| fs::write(dir.join(name), serde_json::to_vec(value).unwrap()).unwrap();
        json("config.json", &self.config);
        json("generation_config.json", &self.generation);
        json("tokenizer.json", &self.tokenizer);
        json("tokenizer_config.json", &self.tokenizer_config);
        let names: Vec<&String> = self.tensors.keys().collect();
        let per_file = names.len().div_ceil(self.shards);
        let mut map = serde_json::Map::new();
        for (n, chunk) in names.chunks(per_file).enumerate() {
            let file = match self.shards {
                1 => "model.safetensors".to_owned(),
                many => format!("model-{:05}-of-{many:05}.safetensors", n + 1),
            };
            let views = chunk.iter().map(|name| {
                let (dtype, shape, bytes) = &self.tensors[*name];
                map.insert((*name).clone(), file.clone().into());
                (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
            });
            fs::write(dir.join(&file), serialize(views, None).unwrap()).unwrap();
        }
        if self.shards > 1 {
            json("model.safetensors.index.json", &json!({"metadata": {}, "weight_map": map}));
        }
        dir.to_path_buf()
    }
}

fn config(s: Shape) -> Value {
    let kind = if s.experts.is_some() { ("Qwen3MoeForCausalLM", "qwen3_moe") } else { ("Qwen3ForCausalLM", "qwen3") };
    let mut config = json!({
        "architectures": [kind.0], "model_type": kind.1, "attention_bias": false, "hidden_act": "silu",
        "bos_token_id": 1015, "eos_token_id": 1017, "head_dim": s.head_dim, "hidden_size": s.hidden,
        "intermediate_size": s.ffn, "max_position_embeddings": 4096, "num_attention_heads": s.heads,
        "num_hidden_layers": s.layers, "num_key_value_heads": s.kv_heads, "rms_norm_eps": 1e-6,
        "rope_theta": 1000000, "rope_scaling": null, "tie_word_embeddings": s.tied, "vocab_size": s.vocab,
        "torch_dtype": "bfloat16", "use_sliding_window": false,
    });
    if let Some((count, used)) = s.experts {
        config["num_experts"] = count.into();
        config["num_experts_per_tok"] = used.into();
        config["moe_intermediate_size"] = s.ffn.into();
        config["norm_topk_prob"] = true.into();
        config["decoder_sparse_step"] = 1.into();
        config["mlp_only_layers"] = json!([]);
    }
    config
}

fn tensors(s: Shape, dtype: Dtype) -> BTreeMap<String, Tensor> {
    let mut random = Random(7);
    let mut found = BTreeMap::new();
    let mut add = |name: String, shape: &[usize]| {
        let norm = shape.len() == 1;
        let tensor = random.tensor(dtype, shape, if norm { 0.1 } else { 0.08 }, if norm { 1.0 } else { 0.0 });
        found.insert(name, tensor);
    };
    add("model.embed_tokens.weight".into(), &[s.vocab, s.hidden]);
    add("model.norm.weight".into(), &[s.hidden]);
    if !s.tied {
        add("lm_head.weight".into(), &[s.vocab, s.hidden]);
    }
    let (q, kv) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
    for layer in 0..s.layers {
        let at = format!("model.layers.{layer}");
        add(format!("{at}.input_layernorm.weight"), &[s.hidden]);
        add(format!("{at}.post_attention_layernorm.weight"), &[s.hidden]);
        add(format!("{at}.self_attn.q_proj.weight"), &[q, s.hidden]);
        add(format!("{at}.self_attn.k_proj.weight"), &[kv, s.hidden]);
        add(format!("{at}.self_attn.v_proj.weight"), &[kv, s.hidden]);
        add(format!("{at}.self_attn.o_proj.weight"), &[s.hidden, q]);
        add(format!("{at}.self_attn.q_norm.weight"), &[s.head_dim]);
        add(format!("{at}.self_attn.k_norm.weight"), &[s.head_dim]);
        let mlps: Vec<String> = match s.experts {
            None => vec![format!("{at}.mlp")],
            Some((count, _)) => {
                add(format!("{at}.mlp.gate.weight"), &[count, s.hidden]);
                (0..count).map(|e| format!("{at}.mlp.experts.{e}")).collect()
            }
        };
        for mlp in mlps {
            add(format!("{mlp}.gate_proj.weight"), &[s.ffn, s.hidden]);
            add(format!("{mlp}.up_proj.weight"), &[s.ffn, s.hidden]);
            add(format!("{mlp}.down_proj.weight"), &[s.hidden, s.ffn]);
        }
    }
    found
}
