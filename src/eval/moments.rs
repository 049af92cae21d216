//! Running means and their standard errors, in one pass and without cancellation (Welford's recurrence).

use serde::Serialize;

/// A figure and its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The figure.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
}

impl Estimate {
    /// The estimate of a function of this one, where `slope` is the function's derivative here.
    pub fn through(self, value: f64, slope: f64) -> Self {
        Self { value, error: (slope * self.error).abs() }
    }

    /// The perplexity of a mean negative log-likelihood.
    pub fn exp(self) -> Self {
        self.through(self.value.exp(), self.value.exp())
    }
}

/// The first two moments of a row of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    n: u64,
    mean: f64,
    /// Sum of squared distances from the mean.
    m2: f64,
}

impl Moments {
    /// Takes one more number.
    pub fn push(&mut self, x: f64) {
        self.n += 1;
        let before = x - self.mean;
        self.mean += before / self.n as f64;
        self.m2 += before * (x - self.mean);
    }

    /// How many numbers there were.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Their mean and its standard error (0 below two numbers): `sqrt(variance / (n - 1))`, the variance being that of
    /// the numbers themselves, as llama-perplexity has it.
    pub fn mean(&self) -> Estimate {
        let n = self.n as f64;
        let error = if self.n < 2 { 0.0 } else { (self.m2.max(0.0) / n / (n - 1.0)).sqrt() };
        Estimate { value: self.mean, error }
    }
}

impl Extend<f64> for Moments {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, numbers: I) {
        numbers.into_iter().for_each(|x| self.push(x));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_error() {
        let mut m = Moments::default();
        assert_eq!(m.mean(), Estimate { value: 0.0, error: 0.0 });
        m.extend([1.0]);
        assert_eq!(m.mean(), Estimate { value: 1.0, error: 0.0 });
        m.extend([2.0, 3.0, 6.0]);
        // Variance 3.5 of four numbers.
        assert_eq!((m.n(), m.mean().value), (4, 3.0));
        assert!((m.mean().error - (3.5f64 / 3.0).sqrt()).abs() < 1e-15);
        let mut offset = Moments::default();
        offset.extend([1.0, 2.0, 3.0, 6.0].map(|x| x + 1e9));
        assert!((offset.mean().error - m.mean().error).abs() < 1e-6, "no cancellation");
    }

    #[test]
    fn errors_go_through_functions() {
        let e = Estimate { value: 2.0, error: 0.5 }.exp();
        assert_eq!((e.value, e.error), (2f64.exp(), 0.5 * 2f64.exp()));
    }
}
