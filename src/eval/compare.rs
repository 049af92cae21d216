//! Two models on the same text: how far the second one's predictions are from the reference's.

use super::moments::{Estimate, Moments};
use super::score::Pair;
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use serde::Serialize;

/// Figures of all positions so far.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    reference: Moments,
    model: Moments,
    /// Differences of the two models' `-ln p`: paired, so what both find hard does not count as an error.
    gap: Moments,
    kld: Moments,
    delta_p: Moments,
    delta_p_squared: Moments,
    same_top: u64,
    all_kld: Vec<f64>,
}

/// What a comparison comes to. Divergences are in nats, probabilities between 0 and 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Positions compared.
    pub tokens: u64,
    /// Perplexity of the reference.
    pub ppl_reference: Estimate,
    /// Perplexity of the model.
    pub ppl: Estimate,
    /// Model's perplexity divided by the reference's.
    pub ppl_ratio: Estimate,
    /// Kullback-Leibler divergence of the model from the reference.
    pub kld: Divergence,
    /// Share of positions at which both put the same token first.
    pub same_top: Estimate,
    /// Mean of the model's probability of the right token minus the reference's.
    pub delta_p_mean: Estimate,
    /// Root mean square of it.
    pub delta_p_rms: Estimate,
}

/// How a divergence is spread over the positions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Divergence {
    /// Mean over the positions.
    pub mean: Estimate,
    /// Half of the positions have less.
    pub median: f64,
    /// Nine tenths have less.
    pub p90: f64,
    /// 99 in a hundred have less.
    pub p99: f64,
    /// 999 in a thousand have less.
    pub p999: f64,
    /// The largest.
    pub max: f64,
}

impl Comparison {
    /// Takes one more position.
    pub fn push(&mut self, pair: Pair) {
        self.reference.push(pair.reference);
        self.model.push(pair.model);
        self.gap.push(pair.model - pair.reference);
        self.kld.push(pair.kld);
        let delta = pair.delta_p();
        self.delta_p.push(delta);
        self.delta_p_squared.push(delta * delta);
        self.same_top += u64::from(pair.same_top);
        self.all_kld.push(pair.kld);
    }

    /// Positions so far.
    pub fn tokens(&self) -> u64 {
        self.kld.n()
    }

    /// The figures.
    pub fn report(&self) -> Report {
        let n = self.tokens();
        let share = self.same_top as f64 / n.max(1) as f64;
        let same_top =
            Estimate { value: share, error: (share * (1.0 - share) / n.saturating_sub(1).max(1) as f64).sqrt() };
        let mean_square = self.delta_p_squared.mean();
        let rms = mean_square.value.sqrt();
        let slope = if rms > 0.0 { 0.5 / rms } else { 0.0 };
        let mut sorted = self.all_kld.clone();
        sorted.sort_by(f64::total_cmp);
        Report {
            tokens: n,
            ppl_reference: self.reference.mean().exp(),
            ppl: self.model.mean().exp(),
            ppl_ratio: self.gap.mean().exp(),
            kld: Divergence {
                mean: self.kld.mean(),
                median: quantile(&sorted, 0.5),
                p90: quantile(&sorted, 0.9),
                p99: quantile(&sorted, 0.99),
                p999: quantile(&sorted, 0.999),
                max: quantile(&sorted, 1.0),
            },
            same_top,
            delta_p_mean: self.delta_p.mean(),
            delta_p_rms: mean_square.through(rms, slope),
        }
    }
}

impl Extend<Pair> for Comparison {
    fn extend<I: IntoIterator<Item = Pair>>(&mut self, pairs: I) {
        pairs.into_iter().for_each(|pair| self.push(pair));
    }
}

/// The value below which a share of the sorted values lies, between neighbours in a straight line; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = share * last as f64;
    let (low, part) = (place as usize, place.fract());
    let high = (low + 1).min(last);
    sorted[low] + part * (sorted[high] - sorted[low])
}

/// Fails unless both files have the same tokens, each with the same number.
///
/// # Errors
/// Names the first token that differs.
pub fn same_vocabulary(reference: &Gguf, model: &Gguf) -> Result<()> {
    const KEY: &str = "tokenizer.ggml.tokens";
    let (a, b) = (reference.meta().require_strings(KEY)?, model.meta().require_strings(KEY)?);
    let (name_a, name_b) = (reference.path().display(), model.path().display());
    let differ = |what: String| Err(Error::usage(format!("{name_b} cannot be compared with {name_a}: {what}")));
    if let Some(i) = (0..a.len().min(b.len())).find(|&i| a[i] != b[i]) {
        return differ(format!("token {i} is {:?} in one and {:?} in the other", b[i], a[i]));
    }
    if a.len() != b.len() {
        return differ(format!("one has {} tokens, the other {}", b.len(), a.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(reference: f64, model: f64, kld: f64, same_top: bool) -> Pair {
        Pair { reference, model, kld, same_top }
    }

    #[test]
    fn figures_of_known_pairs() {
        let mut c = Comparison::default();
        c.extend([pair(1.0, 1.5, 0.1, true), pair(2.0, 2.1, 0.4, false), pair(0.5, 0.6, 0.0, true)]);
        let r = c.report();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        assert_eq!(r.tokens, 3);
        close(r.ppl_reference.value, (3.5f64 / 3.0).exp());
        close(r.ppl.value, (4.2f64 / 3.0).exp());
        close(r.ppl_ratio.value, (0.7f64 / 3.0).exp());
        close(r.kld.mean.value, 0.5 / 3.0);
        close(r.kld.median, 0.1);
        close(r.kld.p90, 0.1 + 0.8 * 0.3);
        close(r.kld.max, 0.4);
        close(r.same_top.value, 2.0 / 3.0);
        close(r.same_top.error, (2.0f64 / 9.0 / 2.0).sqrt());
        let deltas =
            [(-1.5f64).exp() - (-1.0f64).exp(), (-2.1f64).exp() - (-2.0f64).exp(), (-0.6f64).exp() - (-0.5f64).exp()];
        close(r.delta_p_mean.value, deltas.iter().sum::<f64>() / 3.0);
        close(r.delta_p_rms.value, (deltas.iter().map(|d| d * d).sum::<f64>() / 3.0).sqrt());
    }

    #[test]
    fn no_difference_is_exactly_none() {
        let mut c = Comparison::default();
        c.extend((0..50).map(|i| pair(f64::from(i) * 0.3, f64::from(i) * 0.3, 0.0, true)));
        let r = c.report();
        let zero = Estimate { value: 0.0, error: 0.0 };
        assert_eq!((r.kld.mean, r.kld.max, r.delta_p_mean, r.delta_p_rms), (zero, 0.0, zero, zero));
        assert_eq!(
            (r.ppl_ratio, r.same_top),
            (Estimate { value: 1.0, error: 0.0 }, Estimate { value: 1.0, error: 0.0 })
        );
        assert_eq!(r.ppl, r.ppl_reference);
    }

    #[test]
    fn of_nothing_there_are_zeros() {
        let r = Comparison::default().report();
        assert_eq!((r.tokens, r.kld.max, r.same_top.value), (0, 0.0, 0.0));
    }
}
