//! Which bytes of a file are there: a set of byte ranges, sorted, never empty, never touching.

use std::ops::Range;

/// A set of byte ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Extents(Vec<Range<u64>>);

impl Extents {
    /// Adds a range, which may overlap what is there.
    pub(super) fn insert(&mut self, mut new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        let first = self.0.partition_point(|r| r.end < new.start);
        let behind = self.0.partition_point(|r| r.start <= new.end);
        if first < behind {
            new.start = new.start.min(self.0[first].start);
            new.end = new.end.max(self.0[behind - 1].end);
        }
        self.0.splice(first..behind, [new]);
    }

    /// Bytes in all ranges.
    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|r| r.end - r.start).sum()
    }

    /// The ranges, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().cloned()
    }

    /// What is not there of `0..size`, in order.
    pub(super) fn missing(&self, size: u64) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = 0;
        for range in &self.0 {
            if range.start > at {
                gaps.push(at..range.start.min(size));
            }
            at = range.end;
        }
        if at < size {
            gaps.push(at..size);
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_set_of_bytes() {
        let mut state = 12345u64;
        let mut next = |limit: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % limit
        };
        for _ in 0..300 {
            let mut set = Extents::default();
            let mut bytes = [false; 40];
            for _ in 0..next(12) {
                let start = next(40);
                let end = start + next(41 - start);
                set.insert(start..end);
                bytes[start as usize..end as usize].fill(true);
            }
            assert_eq!(set.bytes(), bytes.iter().filter(|b| **b).count() as u64);
            let mut back = [true; 40];
            set.missing(40).into_iter().for_each(|r| back[r.start as usize..r.end as usize].fill(false));
            assert_eq!(back, bytes);
            let ranges: Vec<_> = set.iter().collect();
            assert!(ranges.iter().all(|r| !r.is_empty()) && ranges.windows(2).all(|w| w[0].end < w[1].start));
        }
    }
}
