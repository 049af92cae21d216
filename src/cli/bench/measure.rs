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
    /// Tokens that are in the cache before.
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
    /// As llama-bench names it: `pp512`, `tg128`, `pp512+tg128`, `pp512 @ d4096`.
    pub fn name(&self) -> String {
        let Shape { n_prompt, n_gen } = self.shape;
        let mut name = match (n_prompt, n_gen) {
            (p, 0) => format!("pp{p}"),
            (0, n) => format!("tg{n}"),
            (p, n) => format!("pp{p}+tg{n}"),
        };
        if self.depth > 0 {
            name += &format!(" @ d{}", self.depth);
        }
        name
    }

    /// Tokens of context that it needs.
    pub fn context(&self) -> usize {
        self.depth + self.tokens()
    }

    /// Tokens that a repetition processes.
    pub fn tokens(&self) -> usize {
        self.shape.n_prompt + self.shape.n_gen
    }
}

/// Reads random tokens for one test.
struct Reader<'a> {
    engine: &'a mut Engine,
    seq: Sequence,
    rng: Rng,
    pass: usize,
}

impl Reader<'_> {
    fn random(&mut self, n: usize) -> Vec<u32> {
        let vocab = self.engine.config().n_vocab as u64;
        (0..n).map(|_| self.rng.below(vocab) as u32).collect()
    }

    /// Reads a prompt; the logits of its last token are computed, as an answer would need them.
    fn prompt(&mut self, tokens: &[u32]) -> Result<()> {
        let chunks = tokens.len().div_ceil(self.pass);
        for (i, chunk) in tokens.chunks(self.pass).enumerate() {
            let wanted = usize::from(i + 1 == chunks);
            self.engine.forward(&mut [Part { seq: &mut self.seq, tokens: chunk, role: Role::Prompt, wanted }])?;
        }
        Ok(())
    }

    /// Reads tokens one by one, as if each had been generated.
    fn generate(&mut self, tokens: &[u32]) -> Result<()> {
        for token in tokens.chunks(1) {
            self.engine.forward(&mut [Part { seq: &mut self.seq, tokens: token, role: Role::Generated, wanted: 1 }])?;
        }
        Ok(())
    }

    /// One repetition on top of the first `depth` tokens; the tokens are drawn before the clock starts.
    fn repetition(&mut self, shape: Shape, depth: usize) -> Result<Duration> {
        self.seq.truncate(&mut self.engine.kv_mut().pages, depth);
        let (prompt, generated) = (self.random(shape.n_prompt), self.random(shape.n_gen));
        let started = Instant::now();
        self.prompt(&prompt)?;
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
    let mut reader = Reader { engine, seq: Sequence::default(), rng: Rng::new(SEED), pass };
    let times = repetitions(&mut reader, test, heard);
    reader.seq.truncate(&mut reader.engine.kv_mut().pages, 0);
    times
}

fn repetitions(reader: &mut Reader<'_>, test: &Test, heard: &mut dyn FnMut(usize)) -> Result<Vec<Duration>> {
    if test.depth > 0 {
        let past = reader.random(test.depth);
        reader.prompt(&past)?;
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
        let named = |n_prompt, n_gen, depth| {
            let shape = Shape { n_prompt, n_gen };
            Test { shape, depth, batch: 1, ubatch: 1, repetitions: 1, warmup: false }.name()
        };
        assert_eq!(named(512, 0, 0), "pp512");
        assert_eq!(named(0, 128, 0), "tg128");
        assert_eq!(named(512, 128, 0), "pp512+tg128");
        assert_eq!(named(512, 0, 4096), "pp512 @ d4096");
    }
}
