//! Which format each tensor gets: llama-quantize's rules for qwen3 and qwen3moe, and what the user asked for on top.
//!
//! The rules look at a tensor's name, at its layer (or how many of its kind came before it: order matters), at whether
//! there is an importance matrix, and at the row length, which must be whole blocks. Source of the rules: what
//! llama-quantize writes, and its src/llama-quant.cpp read as a description.

use lapwing_quant::DType;
use regex::Regex;

use super::FileType;
use crate::error::{Error, Result};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Choices {
    /// The mix.
    pub file_type: FileType,
    /// One format for all tensors that are quantized: no rules but the fallback for row lengths.
    pub pure: bool,
    /// `output.weight` stays as it is.
    pub leave_output_tensor: bool,
    /// Format of `output.weight`, or of the token embedding where the two are one.
    pub output_tensor_type: Option<DType>,
    /// Format of `token_embd.weight`.
    pub token_embedding_type: Option<DType>,
    /// Formats by pattern: the first that is found in a tensor's name counts.
    pub tensor_types: Vec<(Regex, DType)>,
}

impl Choices {
    /// A mix with nothing else asked for.
    pub fn new(file_type: FileType) -> Choices {
        Choices {
            file_type,
            pure: false,
            leave_output_tensor: false,
            output_tensor_type: None,
            token_embedding_type: None,
            tensor_types: Vec::new(),
        }
    }
}

/// What the rules must know of a model.
#[derive(Clone, Copy, Debug)]
pub struct ModelFacts {
    /// Number of layers.
    pub layers: usize,
    /// Experts of a layer; 0 when dense.
    pub experts: usize,
    /// Query heads for each key/value head.
    pub queries_per_kv: usize,
    /// Whether there is an importance matrix.
    pub has_imatrix: bool,
}

/// What the rules must know of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct TensorFacts<'a> {
    /// Its name in the GGUF.
    pub name: &'a str,
    /// Its shape, the contiguous dimension first.
    pub shape: &'a [usize],
    /// Its format now.
    pub dtype: DType,
}

/// The format chosen for a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The format.
    pub dtype: DType,
    /// The one that the rules name, when the row length does not allow it.
    pub instead_of: Option<DType>,
}

/// The formats of all tensors, which must be in the order of the file.
///
/// # Errors
/// When a format that the user named cannot hold the rows of the tensor it was named for.
pub fn choose(tensors: &[TensorFacts<'_>], model: &ModelFacts, choices: &Choices) -> Result<Vec<Choice>> {
    let mut mix = Mix {
        model,
        choices,
        tied: !tensors.iter().any(|t| t.name == OUTPUT),
        values: tensors.iter().filter(|t| Kind::of(t.name) == Kind::AttnV).count(),
        values_seen: 0,
        downs_seen: 0,
    };
    tensors.iter().map(|t| mix.choose(t)).collect()
}

const OUTPUT: &str = "output.weight";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Output,
    TokenEmbd,
    AttnV,
    AttnK,
    AttnOutput,
    FfnDown,
    Other,
}

impl Kind {
    fn of(name: &str) -> Kind {
        match name {
            OUTPUT => Kind::Output,
            "token_embd.weight" => Kind::TokenEmbd,
            _ if name.contains("attn_v.weight") => Kind::AttnV,
            _ if name.contains("attn_k.weight") => Kind::AttnK,
            _ if name.contains("attn_output.weight") => Kind::AttnOutput,
            _ if name.contains("ffn_down") => Kind::FfnDown,
            _ => Kind::Other,
        }
    }
}

struct Mix<'a> {
    model: &'a ModelFacts,
    choices: &'a Choices,
    tied: bool,
    /// Number of value projections, and of those and of down projections that came before.
    values: usize,
    values_seen: usize,
    downs_seen: usize,
}

impl Mix<'_> {
    fn choose(&mut self, tensor: &TensorFacts<'_>) -> Result<Choice> {
        let as_is = Choice { dtype: tensor.dtype, instead_of: None };
        let Some(default) = self.choices.file_type.default_dtype() else { return Ok(as_is) };
        if !self.may_change(tensor) {
            return Ok(as_is);
        }
        let kind = Kind::of(tensor.name);
        let named = match kind {
            Kind::TokenEmbd => self.choices.token_embedding_type,
            Kind::Output => self.choices.output_tensor_type,
            _ => None,
        };
        if let Some(dtype) = named {
            return exactly(tensor, dtype);
        }
        if !is_quantized(default) {
            return Ok(Choice { dtype: default, instead_of: None });
        }
        let pattern = self.choices.tensor_types.iter().find(|(pattern, _)| pattern.is_match(tensor.name));
        let wanted = match pattern {
            Some((_, dtype)) => *dtype,
            None if self.choices.pure => default,
            None => self.by_rule(kind, tensor, default),
        };
        Ok(fit(wanted, tensor.shape[0]))
    }

    /// Whether the tensor is one that is ever quantized: a matrix, no norm, no router.
    fn may_change(&self, tensor: &TensorFacts<'_>) -> bool {
        let name = tensor.name;
        let dims = tensor.shape.iter().rposition(|&d| d != 1).map_or(1, |last| last + 1);
        dims >= 2
            && name.ends_with("weight")
            && !name.contains("_norm.weight")
            && !name.contains("ffn_gate_inp.weight")
            && !(self.choices.leave_output_tensor && name == OUTPUT)
    }

    fn by_rule(&mut self, kind: Kind, tensor: &TensorFacts<'_>, default: DType) -> DType {
        match kind {
            Kind::Output => self.output(tensor, default),
            Kind::TokenEmbd if self.tied => self.output(tensor, default),
            Kind::AttnV => {
                let layer = self.values_seen;
                self.values_seen += 1;
                self.attn_v(layer, default)
            }
            Kind::AttnK if self.model.experts == 8 => DType::Q8_0,
            Kind::AttnOutput => self.attn_output(default),
            Kind::FfnDown => {
                let seen = self.downs_seen;
                self.downs_seen += 1;
                // Experts of a layer may come in any order, so of a mixture the layer is read from the name.
                let named = if self.model.experts > 1 { layer_of(tensor.name) } else { None };
                self.ffn_down(named.unwrap_or(seen), default)
            }
            _ => default,
        }
    }

    /// The output projection, or the embedding that is one with it.
    fn output(&self, tensor: &TensorFacts<'_>, default: DType) -> DType {
        match self.choices.output_tensor_type {
            Some(dtype) => dtype,
            None if !tensor.shape[0].is_multiple_of(default.block_len()) => DType::Q8_0,
            None if default == DType::Q8_0 => DType::Q8_0,
            None => DType::Q6_K,
        }
    }

    fn attn_v(&self, layer: usize, default: DType) -> DType {
        use FileType as T;
        let shared = self.model.queries_per_kv >= 4;
        if self.model.experts == 8 {
            return DType::Q8_0;
        }
        match self.choices.file_type {
            T::Q2_K if shared => DType::Q4_K,
            T::Q2_K => DType::Q3_K,
            T::Q3_K_M if layer < 2 => DType::Q5_K,
            T::Q3_K_M => DType::Q4_K,
            T::Q3_K_L => DType::Q5_K,
            T::IQ4_NL | T::IQ4_XS if shared => DType::Q5_K,
            T::Q4_K_M | T::Q5_K_M if more_bits(layer, self.values) => DType::Q6_K,
            T::Q4_K_S if layer < 4 => DType::Q5_K,
            _ => default,
        }
    }

    fn attn_output(&self, default: DType) -> DType {
        use FileType as T;
        match self.choices.file_type {
            T::Q2_K | T::Q3_K_S | T::Q3_K_M | T::Q4_K_S | T::Q4_K_M | T::IQ4_NL | T::IQ4_XS
                if self.model.experts == 8 =>
            {
                DType::Q5_K
            }
            _ if self.model.experts == 8 => default,
            T::Q2_K => DType::Q3_K,
            T::Q3_K_M => DType::Q4_K,
            T::Q3_K_L => DType::Q5_K,
            _ => default,
        }
    }

    fn ffn_down(&self, layer: usize, default: DType) -> DType {
        use FileType as T;
        let layers = self.model.layers;
        let (early, imatrix) = (layer < layers / 8, self.model.has_imatrix);
        match self.choices.file_type {
            T::Q2_K => DType::Q3_K,
            T::Q3_K_M if layer < layers / 16 => DType::Q5_K,
            T::Q3_K_M => DType::Q4_K,
            T::Q3_K_L => DType::Q5_K,
            T::Q4_K_M | T::Q5_K_M if more_bits(layer, layers) => DType::Q6_K,
            T::IQ4_NL | T::IQ4_XS if early && !imatrix => DType::Q5_K,
            T::Q4_K_S if early => DType::Q5_K,
            T::Q4_0 if early && imatrix => DType::Q4_1,
            T::Q5_0 if early && imatrix => DType::Q5_1,
            _ => default,
        }
    }
}

/// The first and last eighth of the layers, and every third between.
fn more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// The layer in a name like `blk.12.ffn_down_exps.weight`.
pub(super) fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix("blk.")?.split_once('.')?.0.parse().ok()
}

/// Whether the format is made of blocks, and not of floats.
pub fn is_quantized(dtype: DType) -> bool {
    dtype.block_len() > 1
}

/// The format, or the next that takes rows of `cols` weights.
fn fit(wanted: DType, cols: usize) -> Choice {
    if cols.is_multiple_of(wanted.block_len()) {
        return Choice { dtype: wanted, instead_of: None };
    }
    let smaller = match wanted {
        DType::IQ4_XS => DType::IQ4_NL,
        DType::Q2_K | DType::Q3_K => DType::Q4_0,
        DType::Q4_K => DType::Q5_0,
        DType::Q5_K => DType::Q5_1,
        DType::Q6_K => DType::Q8_0,
        other => other,
    };
    let dtype = if cols.is_multiple_of(smaller.block_len()) { smaller } else { DType::F16 };
    Choice { dtype, instead_of: Some(wanted) }
}

fn exactly(tensor: &TensorFacts<'_>, dtype: DType) -> Result<Choice> {
    let (cols, block) = (tensor.shape[0], dtype.block_len());
    if cols.is_multiple_of(block) {
        return Ok(Choice { dtype, instead_of: None });
    }
    Err(Error::usage(format!(
        "{} cannot be {}: its rows have {cols} weights, and {} takes blocks of {block}; name another type",
        tensor.name,
        dtype.name(),
        dtype.name()
    )))
}

#[cfg(test)]
mod tests;
