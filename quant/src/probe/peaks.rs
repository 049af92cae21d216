//! How many multiply-adds per second an instruction set does when nothing is loaded or stored: the ceiling of reading
//! a prompt, as the bandwidth is that of generating. The loops are [`crate::kernels`]'s.

use crate::kernels::Kernels;
use crate::kernels::peak::{ENTRIES, Loop};
use crate::threads::Pool;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Rounds between two looks at the clock.
const ROUNDS: u64 = 4096;
/// How long each thread runs in one pass, and the number of passes, of which the best counts: the first may still be
/// waiting for the clock frequency to rise.
const PASS: Duration = Duration::from_millis(10);
const PASSES: usize = 4;

/// Multiply-adds per second of all threads together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peaks {
    /// Of bfloat16 in a matrix unit, where the table has one: it multiplies the rows of prompts.
    pub bf16: Option<f64>,
    /// Of bytes, summed in integers; `None` where the table multiplies floats only.
    pub int8: Option<f64>,
    /// Of f32.
    pub f32: f64,
}

/// The peaks of `threads` threads of the pool; `None` where the table has no entry.
pub fn measure(pool: &Pool, threads: usize, kernels: &'static Kernels) -> Option<Peaks> {
    let entry = ENTRIES.iter().find(|e| e.table == kernels.name)?;
    let rate = |run| rate(pool, threads, run);
    Some(Peaks { bf16: entry.bf16.map(rate), int8: entry.int8.map(rate), f32: rate(entry.f32) })
}

/// The rates of all threads, each over its own time: a slow core holds nobody up here either.
fn rate(pool: &Pool, threads: usize, run: Loop) -> f64 {
    let pass = || {
        let sum = Mutex::new(0.0);
        pool.enter(threads, |team| {
            team.run(&|_worker| {
                let (started, mut done) = (Instant::now(), 0);
                while started.elapsed() < PASS {
                    // SAFETY: the caller holds the entry's table, which is the proof of its instruction set.
                    done += unsafe { run(ROUNDS) };
                }
                let own = done as f64 / started.elapsed().as_secs_f64();
                *sum.lock().unwrap_or_else(|e| e.into_inner()) += own;
            });
        });
        sum.into_inner().unwrap_or_else(|e| e.into_inner())
    };
    (0..PASSES).map(|_| pass()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels;

    #[test]
    fn every_table_has_peaks() {
        let pool = Pool::new(2, &[]).unwrap();
        for table in kernels::available() {
            let peaks = measure(&pool, 2, table).unwrap();
            for figure in peaks.int8.into_iter().chain(peaks.bf16).chain([peaks.f32]) {
                assert!(figure.is_finite() && figure > 0.0, "{}: {peaks:?}", table.name);
            }
            assert_eq!(peaks.int8.is_some(), table.name != "scalar");
            assert_eq!(peaks.bf16.is_some(), table.name == "amx");
        }
    }
}
