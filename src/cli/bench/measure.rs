//! Runs one test: a warm-up, then the repetitions, each over fresh random tokens. Sampling and text are left out.

use super::Shape;
use crate::engine::Role;
use crate::engine::Sequence;
use crate::engine::{Engine, Part};
use crate::error::Result;
use crate::sample::Rng;
use std::time::{Duration, Instant};

/// Seed of the token ids: every run of every build reads the same ones.
const SEED: u64 = 0x1a9_0b1d;

/// One test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// What is read and generated.
    pub shape: Shape,
    /// Sequences that do so side by side.
    pub parallel: usize,
    /// Tokens of each sequence that are in the cache before.
    pub depth: usize,
    /// Most tokens given to the engine in one go.
    pub batch: usize,
    /// Most tokens of one forward pass.
    pub ubatch: usize,
    /// Timed repetitions.
    pub repetitions: usize,
    /// Whether an untimed run comes first.
    pub warmup: bool,
}

impl Test {
    /// As llama-bench names it: `pp512`, `tg128`, `pp512+tg128`, `pp512 @ d4096`; with several sequences `tg128 x8`.
    pub fn name(&self) -> String {
        let Shape { n_prompt, n_gen } = self.shape;
        let mut name = match (n_prompt, n_gen) {
            (p, 0) => format!("pp{p}"),
            (0, n) => format!("tg{n}"),
            (p, n) => format!("pp{p}+tg{n}"),
        };
        if self.parallel > 1 {
            name += &format!(" x{}", self.parallel);
        }
        if self.depth > 0 {
            name += &format!(" @ d{}", self.depth);
        }
        name
    }

    /// Tokens of context that each sequence needs.
    pub fn context(&self) -> usize {
        self.depth + self.shape.n_prompt + self.shape.n_gen
    }

    /// Tokens that a repetition processes, of all sequences.
    pub fn tokens(&self) -> usize {
        self.parallel * (self.shape.n_prompt + self.shape.n_gen)
    }
}

/// Reads random tokens for one test.
struct Reader<'a> {
    engine: &'a mut Engine,
    seqs: Vec<Sequence>,
    rng: Rng,
    pass: usize,
}

impl Reader<'_> {
    fn random(&mut self, n: usize) -> Vec<u32> {
        let vocab = self.engine.config().n_vocab as u64;
        (0..n).map(|_| self.rng.below(vocab) as u32).collect()
    }

    /// `n` tokens for each sequence.
    fn for_each(&mut self, n: usize) -> Vec<Vec<u32>> {
        (0..self.seqs.len()).map(|_| self.random(n)).collect()
    }

    /// Reads each sequence's prompt; the logits of its last token are computed, as an answer would need them.
    fn prompts(&mut self, prompts: &[Vec<u32>]) -> Result<()> {
        for (seq, tokens) in self.seqs.iter_mut().zip(prompts) {
            let chunks = tokens.len().div_ceil(self.pass);
            for (i, chunk) in tokens.chunks(self.pass).enumerate() {
                let wanted = usize::from(i + 1 == chunks);
                self.engine.forward(&mut [Part { seq, tokens: chunk, role: Role::Prompt, wanted }])?;
            }
        }
        Ok(())
    }

    /// Reads the sequences' tokens one by one, as if each had been generated: one token of each in a pass.
    fn generate(&mut self, tokens: &[Vec<u32>]) -> Result<()> {
        for i in 0..tokens.first().map_or(0, Vec::len) {
            let mut parts: Vec<Part<'_>> = Vec::with_capacity(tokens.len());
            for (seq, own) in self.seqs.iter_mut().zip(tokens) {
                parts.push(Part { seq, tokens: &own[i..=i], role: Role::Generated, wanted: 1 });
            }
            self.engine.forward(&mut parts)?;
        }
        Ok(())
    }

    /// Leaves the first `len` tokens of each sequence.
    fn truncate(&mut self, len: usize) {
        let pages = &mut self.engine.kv_mut().pages;
        self.seqs.iter_mut().for_each(|seq| seq.truncate(pages, len));
    }

    /// One repetition on top of the first `depth` tokens; the tokens are drawn before the clock starts.
    fn repetition(&mut self, shape: Shape, depth: usize) -> Result<Duration> {
        self.truncate(depth);
        let (prompts, generated) = (self.for_each(shape.n_prompt), self.for_each(shape.n_gen));
        let started = Instant::now();
        self.prompts(&prompts)?;
        self.generate(&generated)?;
        Ok(started.elapsed())
    }
}

/// Runs the test and returns the time of each repetition. `heard` is told which one (0: warm-up) is about to begin.
///
/// # Errors
/// When the tokens do not fit the engine's context.
pub fn run(engine: &mut Engine, test: &Test, heard: &mut dyn FnMut(usize)) -> Result<Vec<Duration>> {
    let pass = test.batch.min(test.ubatch).max(1);
    let seqs = (0..test.parallel).map(|_| Sequence::default()).collect();
    let mut reader = Reader { engine, seqs, rng: Rng::new(SEED), pass };
    let times = repetitions(&mut reader, test, heard);
    reader.truncate(0);
    times
}

fn repetitions(reader: &mut Reader<'_>, test: &Test, heard: &mut dyn FnMut(usize)) -> Result<Vec<Duration>> {
    if test.depth > 0 {
        let past = reader.for_each(test.depth);
        reader.prompts(&past)?;
    }
    if test.warmup {
        heard(0);
        // The whole prompt, which sizes every buffer, but only one token: it reads all weights.
        let shape = Shape { n_prompt: test.shape.n_prompt, n_gen: test.shape.n_gen.min(1) };
        reader.repetition(shape, test.depth)?;
    }
    let mut times = Vec::with_capacity(test.repetitions);
    for i in 1..=test.repetitions {
        heard(i);
        times.push(reader.repetition(test.shape, test.depth)?);
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_named_as_llama_bench_names_them() {
        let named = |n_prompt, n_gen, parallel, depth| {
            let shape = Shape { n_prompt, n_gen };
            Test { shape, parallel, depth, batch: 1, ubatch: 1, repetitions: 1, warmup: false }.name()
        };
        assert_eq!(named(512, 0, 1, 0), "pp512");
        assert_eq!(named(0, 128, 1, 0), "tg128");
        assert_eq!(named(512, 128, 1, 0), "pp512+tg128");
        assert_eq!(named(512, 0, 1, 4096), "pp512 @ d4096");
        assert_eq!(named(0, 32, 8, 512), "tg32 x8 @ d512");
    }
}
