//! Probabilities for show: log-probabilities of the model's own distribution, before any setting touches it.

use super::candidates::{Candidate, Candidates, order};
use super::weight::exp;
use crate::error::{Error, Result};

/// The softmax of one row of logits, for asking.
#[derive(Clone, Debug, PartialEq)]
pub struct LogProbs {
    /// Natural logarithm of the sum of `e^logit`.
    log_sum: f64,
    /// The most likely tokens and their log-probabilities, best first.
    pub top: Vec<(u32, f32)>,
}

impl LogProbs {
    /// Normalizes `logits` and finds the `n` most likely tokens. To be called before [`super::Sampler::sample`],
    /// which changes logits. Two passes over the vocabulary. Errors on NaN, +inf, or when all are -inf.
    pub fn new(logits: &[f32], n: usize) -> Result<Self> {
        let mut search = Candidates::default();
        let max = search.scan(logits).map_err(|token| {
            Error::runtime(format!("no probabilities: the logit of token {token} is {}", logits[token]))
        })?;
        if max == f32::NEG_INFINITY {
            return Err(Error::runtime("no probabilities: every logit is -inf"));
        }
        let sum: f64 = logits.iter().map(|&x| exp(f64::from(x) - f64::from(max))).sum();
        let mut probs = Self { log_sum: f64::from(max) + sum.ln(), top: Vec::new() };
        if n > 0 {
            search.top_k(logits, n);
            search.found.sort_unstable_by(order);
            let log_prob = |c: &Candidate| (c.id, probs.of(c.logit));
            probs.top = search.found.iter().map(log_prob).collect();
        }
        Ok(probs)
    }

    /// The log-probability of a token with this logit.
    pub fn of(&self, logit: f32) -> f32 {
        (f64::from(logit) - self.log_sum) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_softmax() {
        let logits: Vec<f32> = (0..1000).map(|i| ((i * 7919) % 1000) as f32 * 0.01).collect();
        let probs = LogProbs::new(&logits, 3).unwrap();
        let total: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        let sum: f64 = logits.iter().map(|&x| f64::from(probs.of(x)).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        let best = (0..1000).find(|i| (i * 7919) % 1000 == 999).unwrap();
        assert_eq!(probs.top.len(), 3);
        assert_eq!(probs.top[0].0, best);
        let expected = (f64::from(9.99_f32) - total.ln()) as f32;
        assert!((probs.top[0].1 - expected).abs() < 1e-5);
        assert!(probs.top[0].1 > probs.top[1].1 && probs.top[1].1 > probs.top[2].1);
    }

    #[test]
    fn edges() {
        assert!(LogProbs::new(&[], 1).is_err());
        assert!(LogProbs::new(&[f32::NEG_INFINITY], 1).is_err());
        assert!(LogProbs::new(&[1.0, f32::NAN], 1).is_err());
        let one = LogProbs::new(&[f32::NEG_INFINITY, 3.0], 5).unwrap();
        assert_eq!(one.top, [(1, 0.0)]);
        assert_eq!(one.of(f32::NEG_INFINITY), f32::NEG_INFINITY);
        assert!(LogProbs::new(&[3.0], 0).unwrap().top.is_empty());
    }
}
