//! The random numbers of sampling: SplitMix64.
//!
//! The generator of Steele, Lea and Flood ("Fast splittable pseudorandom number generators", 2014): a counter that
//! steps by a fixed odd number, hashed. One `u64` is the whole state, so it is saved and restored as a number, and
//! the same seed gives the same numbers on every platform and in every version of this program.

use std::hash::{BuildHasher, Hasher};

/// The generator; its state is public so that it can be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rng {
    /// The counter: the seed, plus one step for each number drawn.
    pub state: u64,
}

impl Rng {
    /// A generator whose first number is the hash of `seed` plus one step.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = self.state;
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `0..n`, each as likely as the other up to `n / 2^64`; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }
}

/// A seed for a run whose user gave none, from the operating system's randomness. 32 bits, so that it is short to
/// type again, and what llama.cpp's `--seed` can take. The only function in `sample` that is not deterministic.
pub fn fresh_seed() -> u64 {
    let hash = std::hash::RandomState::new().build_hasher().finish();
    (hash ^ (hash >> 32)) & 0xFFFF_FFFF
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First outputs published for SplitMix64 with these seeds.
    #[test]
    fn equals_published_outputs() {
        let mut rng = Rng::new(0);
        assert_eq!([rng.next_u64(), rng.next_u64()], [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4]);
        let mut rng = Rng::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| rng.next_u64()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn below_stays_below_and_reaches_each() {
        let mut rng = Rng::new(7);
        let mut seen = [0_u32; 5];
        for _ in 0..5000 {
            seen[rng.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (900..1100).contains(&n)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn fresh_seeds_differ_and_are_short() {
        let seeds: std::collections::BTreeSet<u64> = (0..8).map(|_| fresh_seed()).collect();
        assert!(seeds.len() > 1, "{seeds:?}");
        assert!(seeds.iter().all(|&s| s <= u64::from(u32::MAX)));
    }
}
