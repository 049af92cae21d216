//! Memory: what the machine (and the control group) has left, and what a model takes of it.

use super::shapes::{Shape, Weights};
use lapwing_quant::attend::{KvType, PAGE};
use lapwing_quant::cores;

/// Bytes of the program itself with its threads.
const PROGRAM: u64 = 24 << 20;
/// Bytes that an entry of the vocabulary takes, in the metadata and in the tokenizer, about.
const PER_TOKEN: u64 = 600;

/// Where the system does not tell: more than any model takes.
pub const UNKNOWN: u64 = 1 << 60;

/// Memory of this machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All there is.
    pub total: u64,
    /// What can be had without taking it from others.
    pub available: u64,
    /// What the control group allows besides, where it is less than what is available.
    pub group: Option<u64>,
}

impl Memory {
    /// Looks at the machine.
    pub fn read() -> Memory {
        let read = sysinfo::System::new().map(|mut system| {
            system.refresh_memory();
            (system.total_memory(), system.available_memory())
        });
        let (total, available) = read.ok().filter(|(total, _)| *total > 0).unwrap_or((UNKNOWN, UNKNOWN));
        Memory { total, available, group: cores::memory_left().filter(|&left| left < available) }
    }

    /// Bytes that a model may take.
    pub fn usable(&self) -> u64 {
        self.group.map_or(self.available, |group| group.min(self.available))
    }

    /// Left to everything else that is going on: a twentieth, at least 256 MiB, but never more than a quarter.
    pub fn margin(&self) -> u64 {
        (self.usable() / 20).max(256 << 20).min(self.usable() / 4)
    }
}

/// What a model takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Needs {
    /// The weights, once: a copy that is arranged for the kernels takes the place of the file's pages.
    pub weights: u64,
    /// Keys and values of the whole context; taken as it fills.
    pub cache: u64,
    /// Activations, vocabulary, the program.
    pub buffers: u64,
}

impl Needs {
    /// Of a model with a context of `n_ctx` tokens, read `ubatch` at a time.
    pub fn new(shape: &Shape, weights: &Weights, n_ctx: usize, types: (KvType, KvType), ubatch: usize) -> Needs {
        Needs {
            weights: weights.bytes,
            cache: token_bytes(shape, types) * (n_ctx.next_multiple_of(PAGE)) as u64,
            buffers: buffers(shape, n_ctx.min(ubatch)) + weights.metadata + PROGRAM + PER_TOKEN * shape.vocab as u64,
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.cache + self.buffers
    }
}

/// Bytes of keys and values of a token in all layers.
pub fn token_bytes(shape: &Shape, (keys, values): (KvType, KvType)) -> u64 {
    let (_, kv_heads, d) = shape.heads;
    (shape.layers * kv_heads * (keys.row_bytes(d) + values.row_bytes(d))) as u64
}

/// Bytes of the buffers of a forward pass over `n` tokens.
fn buffers(shape: &Shape, n: usize) -> u64 {
    let (heads, kv_heads, d) = shape.heads;
    let (q, kv, e) = (heads * d, kv_heads * d, shape.embd);
    let ff = shape.experts.map_or(shape.ff, |(_, used, ff)| used * ff);
    // Floats, and the integer forms of those that are multiplied, at 5/4 bytes each.
    let floats = 2 * e + e + 2 * q + 2 * kv + q + e + 3 * ff;
    let coded = e + q + e + ff;
    (n * (4 * floats + coded * 5 / 4) + 4 * shape.vocab) as u64
}

#[cfg(test)]
mod tests {
    use super::super::shapes::published;
    use super::*;
    use crate::convert::FileType;

    #[test]
    fn what_a_context_takes() {
        let all = published();
        let shape = &all.iter().find(|p| p.name == "8B").unwrap().shape;
        // 36 layers, 8 heads of 128 values, keys and values of 2 bytes: 144 KiB a token.
        assert_eq!(token_bytes(shape, (KvType::F16, KvType::F16)), 147_456);
        assert_eq!(token_bytes(shape, (KvType::Q8_0, KvType::Q8_0)), 78_336);
        let weights = shape.weights(FileType::Q4_K_M).unwrap();
        let needs = Needs::new(shape, &weights, 40_960, (KvType::F16, KvType::F16), 512);
        assert_eq!(needs.cache, 147_456 * 40_960);
        assert_eq!(needs.total(), needs.weights + needs.cache + needs.buffers);
    }

    #[test]
    fn a_group_limits_what_is_usable() {
        let gib = |n: u64| n << 30;
        let memory = |available, group| Memory { total: gib(64), available, group };
        assert_eq!(memory(gib(40), None).usable(), gib(40));
        assert_eq!(memory(gib(40), Some(gib(4))).usable(), gib(4));
        assert_eq!(memory(gib(40), None).margin(), gib(2));
        assert_eq!(memory(gib(1), None).margin(), 256 << 20);
        assert_eq!(memory(gib(40), Some(0)).margin(), 0);
    }
}
