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

impl Limits {
    /// The higher of each figure.
    fn best(self, other: Self) -> Self {
        let higher = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a.max(b));
        let peaks = |a: Peaks, b: Peaks| Peaks {
            bf16: higher(a.bf16, b.bf16),
            int8: higher(a.int8, b.int8),
            f32: a.f32.max(b.f32),
        };
        Self {
            bandwidth: self.bandwidth.max(other.bandwidth),
            peaks: self.peaks.zip(other.peaks).map(|(a, b)| peaks(a, b)),
        }
    }
}

/// Limits that were measured, by the number of threads. All models of one run have the same instruction set.
#[derive(Default)]
pub struct Known(BTreeMap<usize, Limits>);

impl Known {
    /// The limits of the engine's threads: measured anew before each test, and the best that was found so far. One look
    /// may fall into a moment at which the machine does something else, and is over in a tenth of a second.
    ///
    /// # Errors
    /// When there is no memory to read.
    pub fn of(&mut self, engine: &Engine, threads: usize) -> Result<Limits> {
        /// Enough for every cache that does not say its size, and the most to take from a small machine.
        const BYTES: (usize, usize) = (256 << 20, 1 << 30);
        let bytes = machine::last_cache().map_or(BYTES.0, |cache| cache.saturating_mul(4).clamp(BYTES.0, BYTES.1));
        let kernels = engine.kernels();
        if !self.0.contains_key(&threads) {
            let what = format!("reading {} MiB of memory, multiplying with {}", bytes >> 20, kernels.name);
            output::note(&format!("limits of {threads} threads: {what}"));
        }
        let bandwidth = probe::read_bandwidth(engine.pool(), threads, bytes, 5).map_err(Error::limit)?;
        let new = Limits { bandwidth, peaks: peaks::measure(engine.pool(), threads, kernels) };
        let best = self.0.get(&threads).map_or(new, |found| found.best(new));
        self.0.insert(threads, best);
        Ok(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_looks_the_better_counts() {
        let limits = |bandwidth, int8, f32| Limits { bandwidth, peaks: Some(Peaks { bf16: int8, int8, f32 }) };
        let both = limits(3.0, Some(2.0), 5.0).best(limits(1.0, Some(4.0), 1.0));
        assert_eq!(both, limits(3.0, Some(4.0), 5.0));
        assert_eq!(limits(1.0, None, 1.0).best(limits(1.0, None, 2.0)), limits(1.0, None, 2.0));
    }
}
