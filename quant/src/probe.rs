//! Measures how fast the threads of a pool read memory: the ceiling of token generation.
//!
//! The only timing in this crate. Its result is a report about the machine; no result of a model is computed from it.
//! [`rates`] measures the kernels themselves, [`peaks`] what the instruction set could do at most.

pub mod peaks;
pub mod rates;

use crate::buffer::Aligned;
use crate::threads::{Pool, SharedMut};
use std::hint::black_box;
use std::time::Instant;

/// Bytes read together; a page of memory, so that each share is whole pages.
const BLOCK: usize = 4096;

/// Bytes per second that `threads` threads of the pool read from `bytes` bytes together; the best of `passes` passes.
///
/// The buffer is written once before, each part by the thread that reads it, so that every page is memory of its own
/// (not the shared page of zeroes) and near its reader. To measure memory and not a cache, `bytes` must be several
/// times the last cache's size.
///
/// # Errors
/// When there is no such memory.
pub fn read_bandwidth(pool: &Pool, threads: usize, bytes: usize, passes: usize) -> Result<f64, String> {
    let blocks = bytes.div_ceil(BLOCK).max(1);
    let mut buffer = Aligned::zeroed(blocks * BLOCK)?;
    buffer.advise_huge();
    pool.enter(threads, |team| {
        let own = SharedMut::new(&mut buffer);
        team.run(&|worker| {
            let share = worker.share(blocks);
            // SAFETY: the shares of different threads do not overlap, and the buffer outlives the region.
            unsafe { own.slice(share.start * BLOCK..share.end * BLOCK) }.fill(worker.index as u8 + 1);
        });
    });
    let (data, mut best) = (&*buffer, f64::INFINITY);
    for _ in 0..passes.max(1) {
        let started = Instant::now();
        pool.enter(threads, |team| {
            team.run(&|worker| {
                let share = worker.share(blocks);
                black_box(sum(&data[share.start * BLOCK..share.end * BLOCK]));
            });
        });
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(data.len() as f64 / best.max(1e-9))
}

/// Sum of all bytes taken as words; eight sums side by side, which any compiler turns into vector additions.
fn sum(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 8];
    for line in bytes.as_chunks::<64>().0 {
        for (sum, word) in sums.iter_mut().zip(line.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read() {
        let mut bytes = vec![0u8; 4 * 64];
        for at in 0..bytes.len() / 8 {
            bytes[8 * at] = 1 + at as u8;
        }
        assert_eq!(sum(&bytes), (1..=32).sum::<u64>());
        bytes[255] = 1;
        assert_eq!(sum(&bytes), (1..=32).sum::<u64>() + (1 << 56));
    }

    #[test]
    fn any_number_of_threads_gives_a_rate() {
        let pool = Pool::new(3, &[]).unwrap();
        for threads in 1..=3 {
            for bytes in [1, 10_000, 3 << 20] {
                let rate = read_bandwidth(&pool, threads, bytes, 2).unwrap();
                assert!(rate.is_finite() && rate > 0.0, "{bytes} bytes with {threads} threads: {rate}");
            }
        }
        assert!(read_bandwidth(&pool, 1, usize::MAX / 4, 1).is_err(), "no such memory");
    }
}
