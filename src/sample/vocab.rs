//! Which ids exist for the sampler, which can never be drawn and which end generation.

use std::ops::Range;

use super::weight::MAX_TERMS;
use crate::error::{Error, Result};

/// What the sampler knows of the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocab {
    rows: usize,
    /// Runs of ids that are never drawn, ascending.
    banned: Vec<Range<u32>>,
    /// Ids that end generation.
    eog: Vec<u32>,
}

impl Vocab {
    /// A vocabulary of `rows` ids (rows of the output matrix, so as many as logits). `is_padding` names those that
    /// are never drawn: rows past the tokenizer's last token, and tokens of type UNUSED. `is_eog` names those that
    /// end generation.
    pub fn new(rows: usize, is_padding: impl Fn(u32) -> bool, is_eog: impl Fn(u32) -> bool) -> Result<Self> {
        if rows > MAX_TERMS {
            return Err(Error::limit(format!(
                "a vocabulary of {rows} tokens; at most {MAX_TERMS} can be sampled from"
            )));
        }
        let mut banned: Vec<Range<u32>> = Vec::new();
        for id in (0..rows as u32).filter(|&id| is_padding(id)) {
            match banned.last_mut() {
                Some(run) if run.end == id => run.end += 1,
                _ => banned.push(id..id + 1),
            }
        }
        if banned.iter().map(Range::len).sum::<usize>() == rows {
            return Err(Error::file(format!(
                "all {rows} tokens of the vocabulary are padding: nothing can be generated"
            )));
        }
        let eog = (0..rows as u32).filter(|&id| is_eog(id)).collect();
        Ok(Self { rows, banned, eog })
    }

    /// Number of ids and of logits.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the id is padding.
    pub fn is_banned(&self, id: u32) -> bool {
        self.banned.iter().any(|run| run.contains(&id))
    }

    /// Whether the id ends generation.
    pub fn is_eog(&self, id: u32) -> bool {
        self.eog.contains(&id)
    }

    /// Sets the logits of what cannot be drawn to -inf.
    pub(super) fn ban(&self, logits: &mut [f32], ignore_eos: bool) {
        for run in &self.banned {
            logits[run.start as usize..run.end as usize].fill(f32::NEG_INFINITY);
        }
        if ignore_eos {
            for &id in &self.eog {
                logits[id as usize] = f32::NEG_INFINITY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_kept_as_runs() {
        let vocab = Vocab::new(12, |id| id == 2 || id >= 9, |id| id == 4).unwrap();
        assert_eq!(vocab.banned, [2..3, 9..12]);
        let banned: Vec<u32> = (0..12).filter(|&id| vocab.is_banned(id)).collect();
        assert_eq!(banned, [2, 9, 10, 11]);
        let mut logits = [f32::NAN; 12];
        vocab.ban(&mut logits, true);
        let out: Vec<usize> = (0..12).filter(|&i| logits[i] == f32::NEG_INFINITY).collect();
        assert_eq!(out, [2, 4, 9, 10, 11]);
    }

    #[test]
    fn refuses_what_cannot_work() {
        assert!(Vocab::new(3, |_| true, |_| false).is_err());
        assert!(Vocab::new(0, |_| false, |_| false).is_err());
        assert!(Vocab::new(usize::MAX, |_| false, |_| false).is_err());
    }
}
