//! The chain in its plain form: every step as it reads in the module's description, on a sorted list of all tokens.
//! It shares with the fast form the weight of a token and the random numbers, and nothing else.

use super::weight::{exp, weight};
use super::{Params, Rng, Vocab};

/// The token that the settings, the history and the random numbers lead to; `None` when there is none.
pub(super) fn sample(params: &Params, vocab: &Vocab, generated: &[u32], logits: &[f32], rng: &mut Rng) -> Option<u32> {
    let chain = &params.chain;
    let mut list: Vec<(u32, f32)> = (0..logits.len() as u32).zip(logits.iter().copied()).collect();
    for (id, logit) in &mut list {
        for b in params.logit_bias.iter().filter(|b| b.token == *id) {
            *logit += b.bias;
        }
    }
    list.retain(|(id, _)| !vocab.is_banned(*id));
    list.retain(|(id, _)| !params.ignore_eos || !vocab.is_eog(*id));
    let window = usize::try_from(chain.repeat_last_n).unwrap_or(generated.len()).min(generated.len());
    let recent = &generated[generated.len() - window..];
    for (id, logit) in &mut list {
        let count = recent.iter().filter(|&t| t == id).count();
        if count > 0 {
            *logit = if *logit > 0.0 { *logit / chain.repeat_penalty } else { *logit * chain.repeat_penalty };
            *logit -= count as f32 * chain.frequency_penalty + chain.presence_penalty;
        }
    }
    list.retain(|(_, logit)| *logit > f32::NEG_INFINITY);
    list.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
    let best = *list.first()?;
    if chain.temperature <= 0.0 {
        return Some(best.0);
    }
    let below = |logit: f32| f64::from(logit) - f64::from(best.1);
    if chain.top_k > 0 {
        list.truncate(chain.top_k as usize);
    }
    if chain.top_p < 1.0 {
        let total: u64 = list.iter().map(|c| weight(below(c.1))).sum();
        let goal = (total as f64 * f64::from(chain.top_p)).ceil() as u64;
        let mut sum = 0;
        let reached = list.iter().position(|c| {
            sum += weight(below(c.1));
            sum >= goal
        });
        list.truncate(reached.unwrap() + 1);
    }
    list.retain(|c| chain.min_p <= 0.0 || exp(below(c.1)) >= f64::from(chain.min_p));
    list.sort_by_key(|c| c.0);
    let weights: Vec<u64> = list.iter().map(|c| weight(below(c.1) / f64::from(chain.temperature))).collect();
    let point = rng.below(weights.iter().sum());
    let mut sum = 0;
    let drawn = weights.iter().position(|w| {
        sum += w;
        sum > point
    });
    Some(list[drawn.unwrap()].0)
}
