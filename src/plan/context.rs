//! The context that fits, and the words when something does not.

use super::memory::{Memory, Needs, token_bytes};
use super::shapes::{Shape, Weights};
use lapwing_quant::attend::KvType;

/// The longest context that is taken without being asked for.
pub const MOST: usize = 32_768;
/// The shortest that is worth loading a model for.
pub const LEAST: usize = 1024;
/// Contexts are rounded down to multiples of this.
const STEP: usize = 1024;

/// A model, its cache's types, and the machine.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The model's shape.
    pub shape: &'a Shape,
    /// Its weights.
    pub weights: &'a Weights,
    /// Types of keys and values.
    pub types: (KvType, KvType),
    /// Tokens read in one pass.
    pub ubatch: usize,
    /// Memory there is.
    pub memory: Memory,
}

impl Case<'_> {
    /// What it takes with a context.
    pub fn needs(&self, n_ctx: usize) -> Needs {
        Needs::new(self.shape, self.weights, n_ctx, self.types, self.ubatch)
    }

    /// Whether it fits, with the margin.
    pub fn fits(&self, n_ctx: usize) -> bool {
        self.needs(n_ctx).total() + self.memory.margin() <= self.memory.usable()
    }

    /// The longest context that fits; 0 when none does.
    pub fn longest(&self) -> usize {
        let base = self.needs(0).buffers.max(self.needs(self.ubatch).buffers) + self.weights.bytes;
        let room = self.memory.usable().saturating_sub(base + self.memory.margin());
        let tokens = (room / token_bytes(self.shape, self.types).max(1)) as usize;
        if tokens >= STEP { tokens / STEP * STEP } else { 0 }
    }

    /// The context when none is asked for: what the model allows and what fits, up to [`MOST`]. The second says whether
    /// memory was what limited it.
    pub fn chosen(&self, most_of_model: usize) -> (usize, bool) {
        let wanted = most_of_model.min(MOST);
        let fits = self.longest();
        if fits >= wanted || self.fits(wanted) { (wanted, false) } else { (fits.max(LEAST.min(wanted)), true) }
    }

    /// What to do when a context of `n_ctx` does not fit: the least change first. A sentence.
    pub fn advice(&self, n_ctx: usize) -> String {
        let longest = self.longest().min(n_ctx);
        let mut ways = Vec::new();
        if longest >= LEAST {
            ways.push(format!("-c {longest}"));
        }
        let small = Case { types: (KvType::Q8_0, KvType::Q8_0), ..*self };
        let head_dim = self.shape.heads.2;
        if self.types != small.types && head_dim.is_multiple_of(32) && small.fits(n_ctx) {
            ways.push("-ctk q8_0 -ctv q8_0".to_owned());
        } else if longest < LEAST && head_dim.is_multiple_of(32) && small.longest() >= LEAST {
            ways.push(format!("-ctk q8_0 -ctv q8_0 -c {}", small.longest()));
        }
        if ways.is_empty() {
            return "a smaller quantization or a smaller model fits: `lapwing plan` lists them; or close other programs"
                .to_owned();
        }
        format!("use {}", ways.join(", or "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::shapes::published;
    use super::*;
    use crate::convert::FileType;

    fn with(name: &str, gib: f64, check: impl FnOnce(Case<'_>)) {
        let all = published();
        let shape = &all.iter().find(|p| p.name == name).unwrap().shape;
        let weights = shape.weights(FileType::Q4_K_M).unwrap();
        let available = (gib * 1073741824.0) as u64;
        let memory = Memory { total: available, available, group: None };
        check(Case { shape, weights: &weights, types: (KvType::F16, KvType::F16), ubatch: 512, memory });
    }

    #[test]
    fn the_context_is_what_fits() {
        with("8B", 64.0, |case| assert_eq!(case.chosen(40_960), (32_768, false)));
        with("8B", 64.0, |case| assert_eq!(case.chosen(4096), (4096, false)));
        with("8B", 8.0, |case| {
            let (n, short) = case.chosen(40_960);
            assert!(short && (8192..24_576).contains(&n) && n % 1024 == 0 && case.fits(n), "{n}");
            assert!(!case.fits(n + 3072));
        });
    }

    #[test]
    fn advice_fits() {
        with("8B", 8.0, |case| {
            assert!(!case.fits(32_768));
            let said = case.advice(32_768);
            assert!(said.starts_with(&format!("use -c {}", case.longest())), "{said}");
        });
        with("8B", 9.5, |case| assert!(case.advice(32_768).contains("-ctk q8_0 -ctv q8_0"), "{}", case.advice(32_768)));
        with("8B", 3.0, |case| assert!(case.advice(4096).contains("smaller model"), "{}", case.advice(4096)));
    }
}
