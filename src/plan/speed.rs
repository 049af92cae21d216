//! Predicted speed: the bytes and products of a token over the rates that were measured.

use super::memory::token_bytes;
use super::rates::Rates;
use super::shapes::{Load, Shape, Weights};
use lapwing_quant::attend::KvType;

/// Tokens of a prompt that are read in one pass.
const UBATCH: f64 = 512.0;

/// Seconds that a generated token takes with `past` tokens before it.
pub fn token_seconds(shape: &Shape, weights: &Weights, rates: &Rates, past: usize) -> f64 {
    let bytes: f64 = weights.loads.iter().map(|l| l.bytes).sum();
    let read: f64 = weights.loads.iter().map(|l| l.bytes / rates.format(l.dtype).bytes_per_second).sum();
    let of_block = |l: &Load| rates.format(l.dtype).block_seconds * l.bytes / bytes.max(1.0);
    let blocks = shape.layers as f64 * weights.loads.iter().map(of_block).sum::<f64>();
    let seen = (past as u64 * token_bytes(shape, (KvType::F16, KvType::F16))) as f64;
    read + blocks + seen / rates.attention.1
}

/// Tokens per second of an answer behind `past` tokens.
pub fn decode_rate(shape: &Shape, weights: &Weights, rates: &Rates, past: usize) -> f64 {
    1.0 / token_seconds(shape, weights, rates, past).max(1e-9)
}

/// Seconds until the first token of the answer to a prompt of `n` tokens.
pub fn first_token_seconds(shape: &Shape, weights: &Weights, rates: &Rates, n: usize) -> f64 {
    let tokens = n as f64;
    // The output matrix is only for the last token, which matters in small models.
    let head = (shape.embd * shape.vocab) as f64;
    let products: f64 = weights.loads.iter().map(|l| l.products / rates.format(l.dtype).products_per_second).sum();
    let all: f64 = weights.loads.iter().map(|l| l.products).sum();
    let body = products * (1.0 - (head / all.max(1.0)).min(1.0));
    let (heads, _, d) = shape.heads;
    let seen = (shape.layers * heads * d) as f64 * tokens * tokens;
    // Where a pass has few tokens, it takes no less than reading the weights.
    let passes = (tokens / UBATCH).ceil();
    (body * tokens + seen / rates.attention.0).max(passes * token_seconds(shape, weights, rates, 0))
}

#[cfg(test)]
mod tests {
    use super::super::rates::tests::even;
    use super::super::shapes::published;
    use super::*;
    use crate::convert::FileType;

    #[test]
    fn speed_follows_bytes_and_products() {
        let rates = even(40e9, 400e9, 0.0);
        let all = published();
        let of = |name: &str, file_type| {
            let shape = &all.iter().find(|p| p.name == name).unwrap().shape;
            (shape.clone(), shape.weights(file_type).unwrap())
        };
        let (shape, weights) = of("8B", FileType::Q8_0);
        // 8.05 GB (the embedding is only looked up in) at 40 GB/s.
        let rate = decode_rate(&shape, &weights, &rates, 0);
        assert!((4.9..5.1).contains(&rate), "{rate}");
        assert!(decode_rate(&shape, &weights, &rates, 32_768) < rate);
        let (one, eight) =
            (first_token_seconds(&shape, &weights, &rates, 1024), first_token_seconds(&shape, &weights, &rates, 8192));
        // 6.95 G products a token at 400 G a second, and attention that grows with the square.
        assert!((17.0..20.0).contains(&one) && eight > 8.0 * one, "{one} {eight}");
        // 36 blocks that take a millisecond more each.
        let slower = decode_rate(&shape, &weights, &even(40e9, 400e9, 1e-3), 0);
        assert!((1.0 / slower - 1.0 / rate - 0.036).abs() < 1e-6, "{slower} {rate}");
        let (small, small_weights) = of("0.6B", FileType::Q4_K_M);
        assert!(decode_rate(&small, &small_weights, &rates, 0) > 15.0 * rate);
    }
}
