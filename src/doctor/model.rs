//! The model file: structure, weights, and the hash that it should have.

use super::Finding;
use crate::engine::{Config, RopeFlags};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, Tensor};
use crate::hub;
use crate::plan::Shape;
use lapwing_quant::formats;

/// Findings of one kind that are listed.
const MOST: usize = 5;
/// A run of zero bytes that no weights have: what a broken download leaves.
const HOLE: usize = 64 << 10;

/// What is said of a file that cannot be opened.
pub fn unreadable(error: &Error) -> Finding {
    Finding::problem("file-broken", error.to_string(), "download it again: `lapwing pull` checks what it downloads")
}

/// Hyperparameters, and that all tensors are there with the right shapes and types.
pub fn structure(gguf: &Gguf) -> (Option<Config>, Vec<Finding>) {
    let config = match Config::read(gguf, &RopeFlags::default()) {
        Ok(config) => config,
        Err(e) => {
            let advice = "this program runs qwen3 and qwen3moe: take another file";
            return (None, vec![Finding::problem("model-unknown", e.to_string(), advice)]);
        }
    };
    let shape = Shape::of(&config, gguf.tensor("output.weight").is_none());
    let wrong = shape.tensors().into_iter().filter_map(|part| gguf.require(&part.name, &part.shape).err());
    let found = wrong
        .take(MOST)
        .map(|e| Finding::problem("tensor-wrong", e.to_string(), "the file is incomplete or of another model"))
        .collect();
    (Some(config), found)
}

/// Looks at every weight. `progress` hears bytes done, of all, and says whether to go on.
pub fn weights(gguf: &Gguf, progress: &mut dyn FnMut(u64, u64) -> bool) -> Vec<Finding> {
    let (total, mut done) = (gguf.tensor_bytes(), 0);
    let mut found = Vec::new();
    for tensor in gguf.tensors() {
        if found.len() < MOST {
            found.extend(of_tensor(tensor));
        }
        done += tensor.bytes().len() as u64;
        if !progress(done, total) {
            break;
        }
    }
    found
}

fn of_tensor(tensor: Tensor<'_>) -> Option<Finding> {
    let bytes = tensor.bytes();
    let dtype = tensor.dtype().ok()?;
    let advice = "the file is damaged: download it again";
    if let Some(at) = hole(bytes) {
        let what = format!("{}: is all zeros from byte {at} on", tensor.described());
        return Some(Finding::problem("weights-hole", what, advice));
    }
    let row = dtype.row_bytes(*tensor.shape().first()?)?;
    let broken = bytes.chunks(row.max(1)).position(|row| !formats::is_finite(dtype, row))?;
    let what = format!("{}: row {broken} has a weight that is infinite or no number", tensor.described());
    Some(Finding::problem("weights-not-finite", what, advice))
}

/// Where a long run of zeros begins; a tensor that is zeros altogether is one however short.
fn hole(bytes: &[u8]) -> Option<usize> {
    if bytes.iter().all(|&b| b == 0) {
        return Some(0);
    }
    let chunks = bytes.chunks(HOLE / 2).map(|chunk| chunk.len() == HOLE / 2 && chunk.iter().all(|&b| b == 0));
    let mut before = false;
    for (i, zeros) in chunks.enumerate() {
        if zeros && before {
            return Some((i - 1) * (HOLE / 2));
        }
        before = zeros;
    }
    None
}

/// Compares each file's SHA-256 with the one that its store recorded, where it did.
///
/// # Errors
/// When a file cannot be read.
pub fn hashes(gguf: &Gguf, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<(usize, Vec<Finding>)> {
    let (mut compared, mut found) = (0, Vec::new());
    for file in gguf.files() {
        let Some(recorded) = hub::recorded_sha256(file) else { continue };
        let Some(hash) = hub::sha256_file(file, progress)? else { break };
        compared += 1;
        if hash != recorded {
            let what = format!("{}: its SHA-256 is {hash}, recorded was {recorded}", file.display());
            let advice = "somebody or something changed it: delete it and `lapwing pull` it again";
            found.push(Finding::problem("hash-differs", what, advice));
        }
    }
    Ok((compared, found))
}

/// What is said of a file whose vocabulary cannot be used.
pub fn no_tokenizer(error: &Error) -> Finding {
    Finding::problem("tokenizer-broken", error.to_string(), "take a file of another maker")
}
