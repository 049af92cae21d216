//! What this machine could do at most, measured in the same run as the tests: bytes read and products per second. Both
//! vary between machines of one name and from hour to hour, so that a speed means little without them.

use super::super::output;
use super::machine;
use crate::engine::Engine;
use crate::error::{Error, Result};
use lapwing_quant::probe;
use lapwing_quant::probe::peaks::{self, Peaks};
use std::collections::BTreeMap;

/// The limits of a number of threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Bytes per second that are read from memory.
    pub bandwidth: f64,
    /// Multiply-adds per second of the instruction set in use, where there is a loop that tells.
    pub peaks: Option<Peaks>,
}

/// Limits that were measured, by the number of threads. All models of one run have the same instruction set.
#[derive(Default)]
pub struct Known(BTreeMap<usize, Limits>);

impl Known {
    /// The limits of the engine's threads; measured when they are first asked for.
    ///
    /// # Errors
    /// When there is no memory to read.
    pub fn of(&mut self, engine: &Engine, threads: usize) -> Result<Limits> {
        if let Some(&found) = self.0.get(&threads) {
            return Ok(found);
        }
        /// Enough for every cache that does not say its size, and the most to take from a small machine.
        const BYTES: (usize, usize) = (256 << 20, 1 << 30);
        let bytes = machine::last_cache().map_or(BYTES.0, |cache| cache.saturating_mul(4).clamp(BYTES.0, BYTES.1));
        let kernels = engine.kernels();
        output::note(&format!(
            "limits of {threads} threads: reading {} MiB of memory, multiplying with {}",
            bytes >> 20,
            kernels.name
        ));
        let bandwidth = probe::read_bandwidth(engine.pool(), threads, bytes, 5).map_err(Error::limit)?;
        let limits = Limits { bandwidth, peaks: peaks::measure(engine.pool(), threads, kernels) };
        self.0.insert(threads, limits);
        Ok(limits)
    }
}
