//! Tensor types of the GGUF world that this program cannot compute with: their names, and what reads them.
//!
//! A type whose block size is known can be listed by `inspect`; a type id without one cannot, since nothing says
//! how long its tensors are.

use gguf_rs_lib::format::types::GGUFTensorType;
use lapwing_quant::DType;

use crate::error::{Error, Result};

/// Types that llama.cpp had once and took out again: id, name. Their ids are never used for anything else.
const REMOVED: &[(u32, &str)] = &[
    (4, "Q4_2"),
    (5, "Q4_3"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (36, "IQ4_NL_4_4"),
    (37, "IQ4_NL_4_8"),
    (38, "IQ4_NL_8_8"),
];

/// From this id on, type ids are ik_llama.cpp's own (IQ4_K, IQ4_KS, Q4_0_R8 and so on).
const FIRST_IK_ID: u32 = 97;

/// The type with this id, when its block size is known. The error says what the id is; `what` names file and tensor.
pub(super) fn known(what: &str, id: u32) -> Result<GGUFTensorType> {
    if let Ok(found) = GGUFTensorType::from_u32(id) {
        return Ok(found);
    }
    let why = if let Some((_, name)) = REMOVED.iter().find(|(removed, _)| *removed == id) {
        format!("type {name} (id {id}), which llama.cpp removed; download the model again as Q4_0 or Q4_K_M")
    } else if (FIRST_IK_ID..1000).contains(&id) {
        format!("type id {id}, one of ik_llama.cpp's own; run it there, or download the model as Q4_K_M")
    } else {
        format!("the unknown type id {id}; the file is broken, or newer than this program (ids up to 42 are known)")
    };
    Err(Error::unsupported(format!("{what} has {why}")))
}

/// The format to compute with, or an error that names the type and what reads it; `what` names file and tensor.
pub(super) fn computable(what: &str, found: GGUFTensorType) -> Result<DType> {
    DType::from_ggml_id(found as u32).ok_or_else(|| {
        let name = found.name();
        let supported: Vec<&str> = DType::ALL.iter().map(|d| d.name()).collect();
        Error::unsupported(format!(
            "{what} has type {name}, which lapwing cannot compute with (it can: {}). llama.cpp reads {name}; \
             download the model in one of these types, or make it with llama-quantize from the original",
            supported.join(" ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The library's table decides where tensors end, ours how they are computed: they must agree.
    #[test]
    fn block_sizes_agree_with_the_library() {
        for &dtype in DType::ALL {
            let theirs = known("test", dtype.ggml_id()).unwrap();
            assert_eq!(theirs.block_size().max(1), dtype.block_len(), "{}", dtype.name());
            assert_eq!(theirs.block_size_bytes(), Some(dtype.block_bytes()), "{}", dtype.name());
            assert_eq!(theirs.name(), dtype.name());
            assert_eq!(computable("test", theirs).unwrap(), dtype);
        }
    }

    #[test]
    fn every_other_type_is_refused_by_name() {
        for (id, name) in [(16, "IQ2_XXS"), (19, "IQ1_S"), (34, "TQ1_0"), (39, "MXFP4"), (26, "I32"), (28, "F64")] {
            let found = known("m.gguf: tensor \"t\"", id).unwrap();
            let error = computable("m.gguf: tensor \"t\"", found).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("llama.cpp") && error.contains("\"t\""), "{error}");
        }
        for (id, text) in [(4, "Q4_2"), (33, "Q4_0_8_8"), (139, "ik_llama.cpp"), (43, "unknown"), (u32::MAX, "unknown")]
        {
            let error = known("m.gguf: tensor \"t\"", id).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
