//! How an engine is set up: every choice made, no defaults left.

use crate::model::rope::RopeFlags;
use lapwing_quant::attend::KvType;
use lapwing_quant::kernels::Kernels;

/// Settings of one engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Kernels to compute with.
    pub kernels: &'static Kernels,
    /// Threads for single tokens.
    pub threads: usize,
    /// Threads for batches.
    pub threads_batch: usize,
    /// Logical CPUs to pin the threads to, in order; empty for none.
    pub cpus: Vec<usize>,
    /// What the user says about rotation.
    pub rope: RopeFlags,
    /// Context length per sequence; 0 for all that the model allows.
    pub n_ctx: usize,
    /// Sequences that the cache has room for.
    pub sequences: usize,
    /// Type of cached keys.
    pub keys: KvType,
    /// Type of cached values.
    pub values: KvType,
    /// Whether weights are arranged for the kernels at load.
    pub repack: bool,
}
