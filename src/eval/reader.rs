//! Reads chunks with an engine, in passes; each pass's rows of logits are scored before the next one overwrites them.

use super::chunks::Chunks;
use super::score::{self, Pair};
use crate::engine::{Engine, Observe, Part, Role, Sequence};
use crate::error::{Error, Result};
use std::ops::Range;

/// Most bytes of logits that one pass makes: with Qwen3's vocabulary, 131 rows.
const LOGIT_BYTES: usize = 80 << 20;

/// How many tokens are read at once. Never changes a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassSizes {
    /// Most tokens of a pass.
    pub tokens: usize,
    /// Most tokens of a pass whose logits are wanted.
    pub rows: usize,
}

impl PassSizes {
    /// Passes of at most `tokens`, and of as many rows of `vocab` logits as are cheap to hold.
    pub fn new(tokens: usize, vocab: usize) -> Self {
        let tokens = tokens.max(1);
        Self { tokens, rows: (LOGIT_BYTES / (4 * vocab.max(1))).clamp(1, tokens) }
    }
}

/// One pass over part of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pass {
    tokens: Range<usize>,
    wanted: bool,
}

/// Positions `0..n` in passes, those of `scored` apart.
fn passes(n: usize, scored: &Range<usize>, sizes: PassSizes) -> Vec<Pass> {
    let mut all = Vec::new();
    let stretches = [(0..scored.start, false), (scored.clone(), true), (scored.end..n, false)];
    for (stretch, wanted) in stretches {
        let most = if wanted { sizes.rows } else { sizes.tokens };
        for start in stretch.clone().step_by(most) {
            all.push(Pass { tokens: start..stretch.end.min(start + most), wanted });
        }
    }
    all
}

/// What is done with a chunk.
struct Plan<'a> {
    /// Tokens read.
    n: usize,
    /// Positions scored.
    scored: Range<usize>,
    /// Who watches.
    observe: Option<&'a dyn Observe>,
}

/// Who hears that so many more tokens were read, and says whether to go on.
pub type Tick<'a> = &'a mut dyn FnMut(usize) -> bool;

/// How chunks are read.
pub struct Reader<'a> {
    /// The text.
    pub chunks: &'a Chunks,
    /// How many tokens at once.
    pub sizes: PassSizes,
}

impl Reader<'_> {
    /// `-ln p` of each scored position of chunk `i`; nothing when `tick` said to stop.
    ///
    /// # Errors
    /// When a forward pass fails, or gives logits that are no finite numbers.
    pub fn surprises(&self, engine: &mut Engine, i: usize, tick: Tick<'_>) -> Result<Option<Vec<f64>>> {
        // Nothing is asked of the chunk's last token.
        let scored = self.chunks.scored();
        self.read(engine, i, &Plan { n: scored.end, scored, observe: None }, tick)
    }

    /// Reads all of chunk `i` while `observe` watches. `scored` positions are scored, which may be none.
    ///
    /// # Errors
    /// As [`Reader::surprises`].
    pub fn watched(
        &self,
        engine: &mut Engine,
        i: usize,
        scored: Range<usize>,
        observe: &dyn Observe,
        tick: Tick<'_>,
    ) -> Result<Option<Vec<f64>>> {
        self.read(engine, i, &Plan { n: self.chunks.n_ctx(), scored, observe: Some(observe) }, tick)
    }

    fn read(&self, engine: &mut Engine, i: usize, plan: &Plan<'_>, tick: Tick<'_>) -> Result<Option<Vec<f64>>> {
        let tokens = self.chunks.read(i);
        let mut seq = Sequence::default();
        let mut found = Vec::with_capacity(plan.scored.len());
        for pass in passes(plan.n, &plan.scored, self.sizes) {
            forward(engine, &mut seq, &tokens, &pass, plan.observe)?;
            if pass.wanted {
                let mut rows = vec![0.0; pass.tokens.len()];
                let (vocab, logits) = (engine.config().n_vocab, engine.logits());
                engine.pool().enter(engine.threads().1, |team| {
                    team.rows(&mut rows, 1, |row, out| {
                        out[0] = score::surprise(&logits[row * vocab..][..vocab], self.target(i, &pass, row));
                    });
                });
                self.check(i, &pass, rows.iter().position(|x| !x.is_finite()))?;
                found.extend(rows);
            }
            if !tick(pass.tokens.len()) {
                seq.truncate(&mut engine.kv_mut().pages, 0);
                return Ok(None);
            }
        }
        seq.truncate(&mut engine.kv_mut().pages, 0);
        Ok(Some(found))
    }

    /// Both engines' figures of each scored position of chunk `i`; nothing when `tick` said to stop. Both engines must
    /// have one vocabulary.
    ///
    /// # Errors
    /// As [`Reader::surprises`].
    pub fn pairs(
        &self,
        (reference, model): (&mut Engine, &mut Engine),
        i: usize,
        tick: Tick<'_>,
    ) -> Result<Option<Vec<Pair>>> {
        let tokens = self.chunks.read(i);
        let scored = self.chunks.scored();
        let (mut seq_a, mut seq_b) = (Sequence::default(), Sequence::default());
        let mut found = Vec::with_capacity(scored.len());
        let mut stopped = false;
        for pass in passes(scored.end, &scored, self.sizes) {
            forward(reference, &mut seq_a, &tokens, &pass, None)?;
            forward(model, &mut seq_b, &tokens, &pass, None)?;
            if pass.wanted {
                let mut rows = vec![Pair::NONE; pass.tokens.len()];
                let vocab = reference.config().n_vocab;
                let (a, b) = (reference.logits(), model.logits());
                model.pool().enter(model.threads().1, |team| {
                    team.rows(&mut rows, 1, |row, out| {
                        let logits = row * vocab..(row + 1) * vocab;
                        out[0] = score::pair(&a[logits.clone()], &b[logits], self.target(i, &pass, row));
                    });
                });
                self.check(i, &pass, rows.iter().position(|x| !x.is_finite()))?;
                found.extend(rows);
            }
            if !tick(pass.tokens.len()) {
                stopped = true;
                break;
            }
        }
        seq_a.truncate(&mut reference.kv_mut().pages, 0);
        seq_b.truncate(&mut model.kv_mut().pages, 0);
        Ok((!stopped).then_some(found))
    }

    fn target(&self, i: usize, pass: &Pass, row: usize) -> u32 {
        self.chunks.target(i, pass.tokens.start + row)
    }

    fn check(&self, i: usize, pass: &Pass, broken: Option<usize>) -> Result<()> {
        match broken {
            None => Ok(()),
            Some(row) => Err(Error::runtime(format!(
                "chunk {}, position {}: the model gave logits that are no finite numbers; its file is damaged or it \
                 overflows, try -ctk f32 -ctv f32",
                i + 1,
                pass.tokens.start + row
            ))),
        }
    }
}

fn forward(
    engine: &mut Engine,
    seq: &mut Sequence,
    tokens: &[u32],
    pass: &Pass,
    observe: Option<&dyn Observe>,
) -> Result<()> {
    let tokens = &tokens[pass.tokens.clone()];
    let wanted = if pass.wanted { tokens.len() } else { 0 };
    engine.forward_observed(&mut [Part { seq, tokens, role: Role::Prompt, wanted }], observe).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_cover_everything_once_and_change_where_scoring_does() {
        for n in 1..40 {
            for (from, to) in (0..n).flat_map(|from| (from..=n).map(move |to| (from, to))) {
                for (tokens, rows) in [(1, 1), (7, 3), (100, 100)] {
                    let scored = from..to;
                    let all = passes(n, &scored, PassSizes { tokens, rows });
                    let flat: Vec<(usize, bool)> =
                        all.iter().flat_map(|p| p.tokens.clone().map(|t| (t, p.wanted))).collect();
                    let want: Vec<(usize, bool)> = (0..n).map(|t| (t, scored.contains(&t))).collect();
                    assert_eq!(flat, want);
                    assert!(all.iter().all(|p| p.tokens.len() <= if p.wanted { rows } else { tokens }));
                }
            }
        }
    }

    #[test]
    fn logits_stay_small() {
        assert_eq!(PassSizes::new(512, 151_936), PassSizes { tokens: 512, rows: 138 });
        assert_eq!(PassSizes::new(512, 320), PassSizes { tokens: 512, rows: 512 });
        assert_eq!(PassSizes::new(0, 1 << 30), PassSizes { tokens: 1, rows: 1 });
    }
}
