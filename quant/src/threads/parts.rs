//! A number of items split over the threads of a region: each has a part of its own, in order, and then half of what
//! another has left.
//!
//! Items that lie one after the other in memory are read best by one thread: what it asks for in advance, at the end of
//! an item, is the next item's. Measured against single items of 128 KiB that go to whoever is free: 11 % more tokens
//! per second from a small model in Q4_K_M, two threads. So are rows of activations: prompts are 5 % faster, since each
//! thread's loads and stores go on where the last row ended. Slow threads hold nobody up as long as items are small.
//!
//! Tried, and of no use that could be measured: threads that wait for the next region ask for the first 64 or 256 KiB
//! of what they will read in it.
//!
//! A part is one number: its first item in the lower half, its end in the upper one. Items are handed out once, so a
//! part that holds items never has a value that it had before, and a comparison with an old value cannot mistake it.

use super::Padded;
use std::sync::atomic::{AtomicU64, Ordering};

/// The items that are left.
pub(super) struct Parts(Vec<Padded<AtomicU64>>);

fn part(first: u64, end: u64) -> u64 {
    first | end << 32
}

/// The first item of a part and its end.
fn ends(part: u64) -> (u64, u64) {
    (part & 0xffff_ffff, part >> 32)
}

impl Parts {
    /// `n` items for each of `threads` threads; fewer than 2^32.
    pub fn new(n: usize, threads: usize) -> Self {
        assert!(n < 1 << 32, "{n} items are too many for one region");
        let at = |t: usize| n as u64 * t as u64 / threads as u64;
        Self((0..threads).map(|t| Padded(AtomicU64::new(part(at(t), at(t + 1))))).collect())
    }

    /// The next item of thread `me`; `None` when all are handed out.
    pub fn take(&self, me: usize) -> Option<usize> {
        loop {
            if let Some((first, _)) = self.cut(me, |first, end| part(first + 1, end)) {
                return Some(first as usize);
            }
            let left = |t: &usize| {
                let (first, end) = ends(self.0[*t].0.load(Ordering::Relaxed));
                end.saturating_sub(first)
            };
            let victim = (0..self.0.len()).max_by_key(left).filter(|t| left(t) > 0)?;
            let middle = |first: u64, end: u64| first + (end - first) / 2;
            if let Some((first, end)) = self.cut(victim, |first, end| part(first, middle(first, end))) {
                let first = middle(first, end);
                // Nobody else writes an empty part.
                self.0[me].0.store(part(first + 1, end), Ordering::Relaxed);
                return Some(first as usize);
            }
        }
    }

    /// Changes a part that holds items to what `change` of its ends gives; the ends that it had.
    fn cut(&self, t: usize, change: impl Fn(u64, u64) -> u64) -> Option<(u64, u64)> {
        let change = |old| {
            let (first, end) = ends(old);
            (first < end).then(|| change(first, end))
        };
        self.0[t].0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).ok().map(ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn every_item_is_handed_out_once() {
        for threads in 1..5 {
            for n in [0, 1, 2, 3, 7, 1000] {
                let (parts, taken) = (Parts::new(n, threads), (0..n).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>());
                std::thread::scope(|s| {
                    for me in 0..threads {
                        let (parts, taken) = (&parts, &taken);
                        s.spawn(move || {
                            while let Some(i) = parts.take(me) {
                                taken[i].fetch_add(1, Ordering::Relaxed);
                            }
                        });
                    }
                });
                assert!(taken.iter().all(|t| t.load(Ordering::Relaxed) == 1), "{n} items, {threads} threads");
            }
        }
    }

    #[test]
    fn one_thread_does_everything_when_the_others_do_nothing() {
        let parts = Parts::new(100, 3);
        let order: Vec<usize> = std::iter::from_fn(|| parts.take(1)).collect();
        assert_eq!(order[..34], (33..66).chain([83]).collect::<Vec<_>>()[..34], "its own part first, in order");
        let mut all = order;
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }
}
