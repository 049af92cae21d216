//! How many multiply-adds per second an instruction set does when nothing is loaded or stored: the ceiling of reading
//! a prompt, as the bandwidth is that of generating.
//!
//! Each loop keeps [`CHAINS`] sums in registers, each of which waits only for itself; that is enough to hide the latency
//! of a multiply-add behind the others. The int8 loop is the instruction that the table's integer tiles are built on;
//! of the matrix unit, whose tiles are bf16, it is that product.
//! A table without an entry here has no figure; a test says so.

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::kernels::Kernels;
use crate::threads::Pool;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Sums side by side: with one more register for the factor they fit the 16 of AVX2.
const CHAINS: usize = 14;
/// Rounds between two looks at the clock.
const ROUNDS: u64 = 4096;
/// How long each thread runs in one pass, and the number of passes, of which the best counts: the first may still be
/// waiting for the clock frequency to rise.
const PASS: Duration = Duration::from_millis(10);
const PASSES: usize = 4;

/// Multiply-adds per second of all threads together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peaks {
    /// Of bytes, summed in integers; `None` where the table multiplies floats only.
    pub int8: Option<f64>,
    /// Of f32.
    pub f32: f64,
}

/// Runs so many rounds; returns the multiply-adds that were done. Unsafe because it needs its instruction set.
type Loop = unsafe fn(u64) -> u64;

/// The loops of one table, by its name: who holds a table has its instruction set.
struct Entry {
    table: &'static str,
    int8: Option<Loop>,
    f32: Loop,
}

const ENTRIES: &[Entry] = &[
    #[cfg(target_arch = "x86_64")]
    Entry { table: "amx", int8: Some(x86::amx_bf16), f32: x86::avx512_f32 },
    #[cfg(target_arch = "x86_64")]
    Entry { table: "avx512", int8: Some(x86::avx512_int8), f32: x86::avx512_f32 },
    #[cfg(target_arch = "x86_64")]
    Entry { table: "avxvnni", int8: Some(x86::avxvnni_int8), f32: x86::avx2_f32 },
    #[cfg(target_arch = "x86_64")]
    Entry { table: "avx2", int8: Some(x86::avx2_int8), f32: x86::avx2_f32 },
    #[cfg(target_arch = "aarch64")]
    Entry { table: "neon-i8mm", int8: Some(arm::i8mm_int8), f32: arm::neon_f32 },
    #[cfg(target_arch = "aarch64")]
    Entry { table: "neon-dotprod", int8: Some(arm::dotprod_int8), f32: arm::neon_f32 },
    #[cfg(target_arch = "aarch64")]
    Entry { table: "neon", int8: Some(arm::neon_int8), f32: arm::neon_f32 },
    Entry { table: "scalar", int8: None, f32: plain::f32 },
];

/// Defines a [`Loop`]: so many multiply-adds in each step of each sum.
macro_rules! chains {
    ($name:ident, [$($attr:meta)?], macs = $macs:literal, start = $start:expr, |$sum:ident, $by:ident| $step:expr) => {
        $(#[$attr])?
        pub(super) fn $name(rounds: u64) -> u64 {
            let $by = std::hint::black_box($start);
            let mut sums = [$by; crate::probe::peaks::CHAINS];
            for _ in 0..rounds {
                for sum in &mut sums {
                    let $sum = *sum;
                    *sum = $step;
                }
            }
            std::hint::black_box(sums);
            rounds * crate::probe::peaks::CHAINS as u64 * $macs
        }
    };
}
use chains;

mod plain {
    // The sums stay at one.
    super::chains!(f32, [], macs = 4, start = [0.5f32; 4], |s, by| std::array::from_fn(|l| s[l] * by[l] + by[l]));
}

/// The peaks of `threads` threads of the pool; `None` where the table has no entry.
pub fn measure(pool: &Pool, threads: usize, kernels: &'static Kernels) -> Option<Peaks> {
    let entry = ENTRIES.iter().find(|e| e.table == kernels.name)?;
    Some(Peaks { int8: entry.int8.map(|f| rate(pool, threads, f)), f32: rate(pool, threads, entry.f32) })
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
        for (name, _) in kernels::known() {
            assert!(ENTRIES.iter().any(|e| e.table == name), "{name} needs an entry in probe/peaks.rs");
        }
        for table in kernels::available() {
            let peaks = measure(&pool, 2, table).unwrap();
            for figure in peaks.int8.into_iter().chain([peaks.f32]) {
                assert!(figure.is_finite() && figure > 0.0, "{}: {peaks:?}", table.name);
            }
            assert_eq!(peaks.int8.is_some(), table.name != "scalar");
        }
    }

    #[test]
    fn the_work_of_a_loop_is_counted() {
        assert_eq!(plain::f32(10), 10 * CHAINS as u64 * 4);
    }
}
