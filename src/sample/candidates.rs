//! Finding the few tokens that matter among 150,000 without sorting them.
//!
//! One pass takes the greatest logit of every block of 64. The k-th greatest of these maxima is a lower bound of the
//! k-th greatest logit (k blocks hold at least one logit each that reaches it), so the tokens that reach the bound,
//! a few hundred in the blocks whose maximum does, contain the top k. Top-p without top-k puts logits into bins by
//! their distance from the best, finds the bin where the sum of weights crosses p, and sorts that bin alone.
//!
//! Order of candidates everywhere: higher logit first, lower id first among equals. No NaN and no +inf gets past
//! [`Candidates::scan`]; logits of -inf are never candidates.

use std::cmp::Ordering;

use super::weight::{exp, floor_f32, weight};

/// Logits per block of the first pass.
const BLOCK: usize = 64;

/// Bins of the top-p search and how many of them make one nat: the bins cover 32 nats, past which weights are 0.
const BINS: usize = 1024;
const BINS_PER_NAT: f32 = 32.0;

/// A token that may be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    /// Token id.
    pub id: u32,
    /// Its logit after biases and penalties, before temperature.
    pub logit: f32,
}

/// Higher logit first, then lower id. The logits compared are never NaN.
pub(super) fn order(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.id.cmp(&b.id))
}

/// Scratch of the search, reused from token to token.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidates {
    /// Greatest logit of each block.
    maxima: Vec<f32>,
    /// The maxima again, for the selection to reorder.
    selection: Vec<f32>,
    /// What the search found; the order is not defined until a step sorts it.
    pub found: Vec<Candidate>,
    /// Weights of `found`, made by [`Self::weigh`].
    pub weights: Vec<u64>,
}

impl Candidates {
    /// Takes the maxima of all blocks. Returns the greatest logit (-inf when there is none above), or the first
    /// token whose logit is NaN or +inf.
    pub fn scan(&mut self, logits: &[f32]) -> Result<f32, usize> {
        self.maxima.clear();
        let mut top = f32::NEG_INFINITY;
        let mut sound = true;
        for block in logits.chunks(BLOCK) {
            let (max, fine) = block_max(block);
            sound &= fine;
            top = if max > top { max } else { top };
            self.maxima.push(max);
        }
        if sound {
            return Ok(top);
        }
        Err(logits.iter().position(|&x| x.is_nan() || x == f32::INFINITY).unwrap_or(0))
    }

    /// The first token with the logit `top` that [`Self::scan`] returned.
    pub fn first_of(&self, logits: &[f32], top: f32) -> u32 {
        let block = self.maxima.iter().position(|&m| m == top).unwrap_or(0);
        let start = block * BLOCK;
        let within = logits[start..].iter().position(|&x| x == top).unwrap_or(0);
        (start + within) as u32
    }

    /// Finds every token with a logit of at least `floor` (and above -inf), in order of id.
    pub fn at_least(&mut self, logits: &[f32], floor: f32) {
        self.found.clear();
        let floor = floor.max(f32::MIN);
        for (b, block) in logits.chunks(BLOCK).enumerate() {
            if self.maxima[b] < floor {
                continue;
            }
            for (i, &logit) in block.iter().enumerate() {
                if logit >= floor {
                    self.found.push(Candidate { id: (b * BLOCK + i) as u32, logit });
                }
            }
        }
    }

    /// Finds the first `k` (at least 1) tokens in the order of candidates; fewer when fewer are above -inf.
    pub fn top_k(&mut self, logits: &[f32], k: usize) {
        let mut floor = f32::NEG_INFINITY;
        if k < self.maxima.len() {
            self.selection.clone_from(&self.maxima);
            let descending = |a: &f32, b: &f32| b.partial_cmp(a).unwrap_or(Ordering::Equal);
            floor = *self.selection.select_nth_unstable_by(k - 1, descending).1;
        }
        self.at_least(logits, floor);
        if self.found.len() > k {
            self.found.select_nth_unstable_by(k - 1, order);
            self.found.truncate(k);
        }
    }

    /// Cuts what was found to the shortest run, from the best on, that holds at least the part `p` of the weight.
    pub fn cut_to_p(&mut self, top: f32, p: f32) {
        self.found.sort_unstable_by(order);
        let total = self.found.iter().map(|c| weight_below(top, c.logit)).sum();
        let keep = run_length(&self.found, top, 0, share(total, p));
        self.found.truncate(keep);
    }

    /// [`Self::cut_to_p`] over all logits.
    pub fn top_p(&mut self, logits: &[f32], top: f32, p: f32) {
        let mut bins = [0_u64; BINS];
        for block in logits.chunks(BLOCK) {
            // Apart, for the weights are independent of each other and the bins are not.
            let mut weights = [0; BLOCK];
            weights.iter_mut().zip(block).for_each(|(w, &logit)| *w = weight_below(top, logit));
            block.iter().zip(weights).for_each(|(&logit, w)| bins[bin(top, logit)] += w);
        }
        let goal = share(bins.iter().sum(), p);
        let (mut sum, mut last) = (0, 0);
        while last + 1 < BINS && sum + bins[last] < goal {
            sum += bins[last];
            last += 1;
        }
        // All of the bins before the last stay, whatever their order.
        let floor = floor_f32(f64::from(top) - (last + 2) as f64 / f64::from(BINS_PER_NAT));
        self.at_least(logits, if last + 1 == BINS { f32::NEG_INFINITY } else { floor });
        let mut border: Vec<Candidate> = self.found.iter().copied().filter(|c| bin(top, c.logit) == last).collect();
        border.sort_by(order);
        self.found.retain(|c| bin(top, c.logit) < last);
        let keep = run_length(&border, top, sum, goal);
        self.found.extend_from_slice(&border[..keep]);
    }

    /// Makes the weights of what was found, at a temperature above 0.
    pub fn weigh(&mut self, top: f32, temperature: f64) {
        self.weights.clear();
        let weigh = |c: &Candidate| weight((f64::from(c.logit) - f64::from(top)) / temperature);
        self.weights.extend(self.found.iter().map(weigh));
    }

    /// Drops what is less than `p` times as likely as the best.
    pub fn cut_to_min_p(&mut self, top: f32, p: f32) {
        self.found.retain(|c| exp(f64::from(c.logit) - f64::from(top)) >= f64::from(p));
    }
}

/// Greatest value, and whether all are below +inf (which no NaN is). Written for the compiler to vectorise.
fn block_max(block: &[f32]) -> (f32, bool) {
    const LANES: usize = 16;
    let mut max = [f32::NEG_INFINITY; LANES];
    let mut fine = [true; LANES];
    let (whole, rest) = block.as_chunks::<LANES>();
    for chunk in whole {
        for ((m, f), &x) in max.iter_mut().zip(&mut fine).zip(chunk) {
            *m = if x > *m { x } else { *m };
            *f &= x < f32::INFINITY;
        }
    }
    let top = max.iter().chain(rest).fold(f32::NEG_INFINITY, |m, &x| if x > m { x } else { m });
    (top, fine.iter().all(|&f| f) && rest.iter().all(|&x| x < f32::INFINITY))
}

/// The weight at temperature 1 of a logit not above `top`.
fn weight_below(top: f32, logit: f32) -> u64 {
    weight(f64::from(logit) - f64::from(top))
}

/// The bin of a logit: never decreasing as the logit falls.
fn bin(top: f32, logit: f32) -> usize {
    (((top - logit) * BINS_PER_NAT) as usize).min(BINS - 1)
}

/// The part `p` of `total`, at least 1 and rounded up: a run reaches p when its sum reaches this.
fn share(total: u64, p: f32) -> u64 {
    ((total as f64 * f64::from(p)).ceil() as u64).clamp(1, total.max(1))
}

/// How many of `sorted` it takes for `sum` plus their weights to reach `goal`; at least one.
fn run_length(sorted: &[Candidate], top: f32, mut sum: u64, goal: u64) -> usize {
    for (i, c) in sorted.iter().enumerate() {
        sum += weight_below(top, c.logit);
        if sum >= goal {
            return i + 1;
        }
    }
    sorted.len()
}
