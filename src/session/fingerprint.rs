//! What tells one model from another, so that keys and values computed by one are never given to the other.

use crate::engine::Config;
use crate::gguf::Gguf;
use sha2::{Digest, Sha256};

/// Bytes looked at in each of three places of a tensor.
const SAMPLE: usize = 256;

/// A fingerprint of the weights and of the numbers in force (rotation by flags included), as hexadecimal digits.
///
/// Of each tensor the name, type and shape count, and its bytes at the start, middle and end: all of it would take as
/// long as reading the file. Two models that agree in all of these are taken for the same.
pub fn fingerprint(gguf: &Gguf, config: &Config) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{config:?}"));
    for tensor in gguf.tensors() {
        hash.update(format!("{} {} {:?};", tensor.name(), tensor.type_name(), tensor.shape()));
        let bytes = tensor.bytes();
        for at in [0, bytes.len() / 2, bytes.len().saturating_sub(SAMPLE)] {
            hash.update(&bytes[at..bytes.len().min(at + SAMPLE)]);
        }
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
