//! A model's hyperparameters, read from a file's metadata and checked before anything is allocated from them.

use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::model::rope::{Rope, RopeFlags};
use lapwing_quant::attend::Heads;

/// The architectures there are, by their name in `general.architecture`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// `qwen3`: dense.
    Qwen3,
    /// `qwen3moe`: mixture of experts in every block.
    Qwen3Moe,
}

impl Arch {
    const ALL: [(&'static str, Arch); 2] = [("qwen3", Arch::Qwen3), ("qwen3moe", Arch::Qwen3Moe)];

    /// The name in files.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, a)| *a == self).map_or("", |(n, _)| n)
    }
}

/// Sizes of the mixture of experts.
#[derive(Clone, Copy, Debug)]
pub struct Experts {
    /// Experts per block.
    pub count: usize,
    /// Experts per token.
    pub used: usize,
    /// Hidden values of one expert.
    pub ffn: usize,
}

/// Hyperparameters.
#[derive(Clone, Debug)]
pub struct Config {
    /// The architecture.
    pub arch: Arch,
    /// Blocks.
    pub n_layers: usize,
    /// Values per token between blocks.
    pub n_embd: usize,
    /// Hidden values of the dense FFN.
    pub n_ff: usize,
    /// Attention heads.
    pub heads: Heads,
    /// Entries of the vocabulary, padding included.
    pub n_vocab: usize,
    /// Positions the model was made for, before any scaling by flags.
    pub n_ctx_train: usize,
    /// Epsilon of every RMSNorm.
    pub eps: f32,
    /// Mixture of experts, for [`Arch::Qwen3Moe`].
    pub experts: Option<Experts>,
    /// Rotation of queries and keys.
    pub rope: Rope,
}

/// Largest value accepted for any size: far above every model, far below any overflow of their products.
const MAX: usize = 1 << 24;

impl Config {
    /// Reads and checks the metadata; `flags` override what it says about rotation.
    ///
    /// # Errors
    /// Names the file and the key that is missing, of the wrong type or out of range.
    pub fn read(gguf: &Gguf, flags: &RopeFlags) -> Result<Self> {
        let meta = gguf.meta();
        let file = gguf.path().display();
        let name = meta.require_str("general.architecture")?;
        let arch = Arch::ALL.iter().find(|(n, _)| *n == name).map(|(_, a)| *a).ok_or_else(|| {
            let known: Vec<&str> = Arch::ALL.iter().map(|(n, _)| *n).collect();
            Error::unsupported(format!(
                "{file}: architecture '{name}' cannot be run; this program runs {}",
                known.join(" and ")
            ))
        })?;
        let size = |key: &str, max: usize| -> Result<usize> {
            let key = format!("{name}.{key}");
            let v = meta.require_size(&key)?;
            if v == 0 || v > max {
                return Err(Error::file(format!("{file}: {key} is {v}, expected 1 to {max}")));
            }
            Ok(v)
        };
        let n_embd = size("embedding_length", MAX)?;
        let n_heads = size("attention.head_count", 1 << 16)?;
        let n_kv_heads = size("attention.head_count_kv", 1 << 16)?;
        let head_dim = match meta.size(&format!("{name}.attention.key_length"))? {
            Some(_) => size("attention.key_length", 1 << 12)?,
            None => n_embd / n_heads,
        };
        let value_length = meta.size(&format!("{name}.attention.value_length"))?.unwrap_or(head_dim);
        let heads = Heads { n_heads, n_kv_heads, head_dim };
        check_heads(&file.to_string(), heads, value_length)?;
        let n_ctx_train = size("context_length", MAX)?;
        let eps = meta.require_float(&format!("{name}.attention.layer_norm_rms_epsilon"))? as f32;
        if !(eps > 0.0 && eps < 1.0) {
            return Err(Error::file(format!(
                "{file}: layer_norm_rms_epsilon is {eps}, expected a small positive number"
            )));
        }
        let experts = (arch == Arch::Qwen3Moe).then(|| read_experts(gguf, name, &size)).transpose()?;
        Ok(Self {
            arch,
            n_layers: size("block_count", 1 << 12)?,
            n_embd,
            n_ff: if arch == Arch::Qwen3 { size("feed_forward_length", MAX)? } else { 0 },
            heads,
            n_vocab: vocabulary(gguf, n_embd)?,
            n_ctx_train,
            eps,
            experts,
            rope: Rope::read(gguf, name, head_dim, n_ctx_train, flags)?,
        })
    }

    /// The longest context that the rotation allows.
    pub fn max_context(&self) -> usize {
        self.rope.max_context(self.n_ctx_train)
    }
}

fn check_heads(file: &str, heads: Heads, value_length: usize) -> Result<()> {
    let Heads { n_heads, n_kv_heads, head_dim } = heads;
    if !n_heads.is_multiple_of(n_kv_heads) {
        return Err(Error::file(format!("{file}: {n_heads} heads cannot share {n_kv_heads} key/value heads evenly")));
    }
    if head_dim == 0 || head_dim % 2 != 0 {
        return Err(Error::file(format!("{file}: heads of {head_dim} values, expected an even number")));
    }
    if value_length != head_dim {
        let what = format!("{file}: value_length is {value_length}, expected key_length {head_dim}");
        return Err(Error::unsupported(what));
    }
    Ok(())
}

fn read_experts(gguf: &Gguf, name: &str, size: &dyn Fn(&str, usize) -> Result<usize>) -> Result<Experts> {
    let experts = Experts {
        count: size("expert_count", 1 << 12)?,
        used: size("expert_used_count", 1 << 12)?,
        ffn: size("expert_feed_forward_length", MAX)?,
    };
    if experts.used > experts.count {
        let Experts { count, used, .. } = experts;
        return Err(Error::file(format!("{}: {name}.expert_used_count is {used} of {count}", gguf.path().display())));
    }
    if gguf.meta().bool(&format!("{name}.expert_weights_norm"))? == Some(false) {
        return Err(Error::unsupported(format!(
            "{}: {name}.expert_weights_norm is false; only renormalized expert weights are supported",
            gguf.path().display()
        )));
    }
    Ok(experts)
}

/// Rows of the embedding, which is the vocabulary with its padding.
fn vocabulary(gguf: &Gguf, n_embd: usize) -> Result<usize> {
    let missing = || {
        Error::file(format!(
            "{}: tensor 'token_embd.weight' is missing; this file has a vocabulary or a part of a model only",
            gguf.path().display()
        ))
    };
    let embd = gguf.tensor("token_embd.weight").ok_or_else(missing)?;
    let rows = embd.shape().get(1).copied().unwrap_or(1);
    embd.expect_shape(&[n_embd, rows])?;
    if rows > MAX {
        return Err(Error::file(format!(
            "{}: a vocabulary of {rows} entries, expected at most {MAX}",
            gguf.path().display()
        )));
    }
    Ok(rows)
}
