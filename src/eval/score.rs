//! Figures of single rows of logits, in f64 throughout.
//!
//! Every figure is computed from the two rows in one pass over them, by the same operations on both sides, so equal
//! rows give a difference of exactly zero.

/// `-ln p(target)` of a row of logits: not finite where the logits are not.
pub fn surprise(logits: &[f32], target: u32) -> f64 {
    let top = max(logits);
    let sum: f64 = logits.iter().map(|&x| (f64::from(x) - top).exp()).sum();
    top + sum.ln() - f64::from(logits[target as usize])
}

/// What two models make of the same position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// `-ln p(target)` by the reference.
    pub reference: f64,
    /// `-ln p(target)` by the model.
    pub model: f64,
    /// Kullback-Leibler divergence of the model's distribution from the reference's, in nats.
    pub kld: f64,
    /// Whether both put the same token first (the lower id of equals).
    pub same_top: bool,
}

impl Pair {
    /// No figures yet.
    pub const NONE: Self = Self { reference: 0.0, model: 0.0, kld: 0.0, same_top: false };

    /// By how much the model's probability of the right token is larger than the reference's.
    pub fn delta_p(&self) -> f64 {
        (-self.model).exp() - (-self.reference).exp()
    }

    /// Whether all figures are numbers.
    pub fn is_finite(&self) -> bool {
        self.reference.is_finite() && self.model.is_finite() && self.kld.is_finite()
    }
}

/// Sets two rows of logits of equal length beside each other.
///
/// With `a`, `b` the logits, `A`, `B` their maxima and `Z` the sums of `exp(a - A)`, `exp(b - B)`:
/// `KLD = sum(exp(a - A) (a - b)) / Za - (A + ln Za) + (B + ln Zb)`. Rounding may leave a few 1e-15 below zero, which
/// are cut off.
pub fn pair(reference: &[f32], model: &[f32], target: u32) -> Pair {
    assert_eq!(reference.len(), model.len(), "both models have one vocabulary");
    let (top_a, top_b) = (max(reference), max(model));
    let (mut sum_a, mut sum_b, mut gap) = (0.0, 0.0, 0.0);
    for (&a, &b) in reference.iter().zip(model) {
        let (a, b) = (f64::from(a), f64::from(b));
        let weight = (a - top_a).exp();
        sum_a += weight;
        sum_b += (b - top_b).exp();
        gap += weight * (a - b);
    }
    let (norm_a, norm_b) = (top_a + sum_a.ln(), top_b + sum_b.ln());
    let kld = gap / sum_a - norm_a + norm_b;
    Pair {
        reference: norm_a - f64::from(reference[target as usize]),
        model: norm_b - f64::from(model[target as usize]),
        // `max` would hide what is no number.
        kld: if kld < 0.0 { 0.0 } else { kld },
        same_top: first_max(reference) == first_max(model),
    }
}

fn max(row: &[f32]) -> f64 {
    f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max))
}

fn first_max(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f32; 4] = [1.0, -2.0, 3.5, 3.0];
    const B: [f32; 4] = [0.5, -1.0, 2.5, 4.0];

    fn log_softmax(row: &[f32]) -> Vec<f64> {
        let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
        row.iter().map(|&x| f64::from(x) - sum.ln()).collect()
    }

    #[test]
    fn by_the_definition() {
        let (p, q) = (log_softmax(&A), log_softmax(&B));
        let kld: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
        for target in 0..4 {
            let found = pair(&A, &B, target);
            assert!((found.kld - kld).abs() < 1e-14);
            assert!((found.reference + p[target as usize]).abs() < 1e-14);
            assert!((found.model + q[target as usize]).abs() < 1e-14);
            assert!((found.delta_p() - (q[target as usize].exp() - p[target as usize].exp())).abs() < 1e-14);
            assert!(!found.same_top);
            assert_eq!(surprise(&A, target), found.reference);
        }
    }

    #[test]
    fn a_row_does_not_differ_from_itself() {
        let large: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.7).sin() * 30.0).collect();
        let found = pair(&large, &large, 7);
        assert_eq!((found.kld, found.delta_p(), found.same_top), (0.0, 0.0, true));
    }

    #[test]
    fn what_is_no_number_shows() {
        for bad in [f32::NAN, f32::INFINITY] {
            let broken = [1.0, bad, 0.0, 0.0];
            assert!(!surprise(&broken, 0).is_finite());
            assert!(!pair(&broken, &A, 0).is_finite() && !pair(&A, &broken, 0).is_finite());
        }
    }
}
