//! Which of Qwen3's published models fit this machine, in which mixes, and which one to take.

use super::context::Case;
use super::memory::Memory;
use super::rates::Rates;
use super::shapes::published;
use super::speed;
use crate::convert::FileType;
use crate::error::Result;
use lapwing_quant::attend::KvType;
use serde::Serialize;

/// Mixes that are listed, the smallest first.
const MIXES: [FileType; 5] = [FileType::Q3_K_M, FileType::Q4_K_M, FileType::Q5_K_M, FileType::Q6_K, FileType::Q8_0];
/// Tokens per second at which an answer comes about as fast as it is read.
const PLEASANT: f64 = 6.0;

/// A model in a mix.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `8B`.
    pub model: &'static str,
    /// `Q4_K_M`.
    pub mix: &'static str,
    /// Bytes of the file, about.
    pub file_bytes: u64,
    /// Bytes of memory with the context.
    pub memory_bytes: u64,
    /// Whether they are there.
    pub fits: bool,
    /// Predicted tokens per second.
    pub tokens_per_second: Option<f64>,
    /// Predicted seconds to the first token of the answer to a prompt of 1,024.
    pub first_token_1k: Option<f64>,
    /// Whether this is the one to take.
    pub recommended: bool,
}

/// All of them, with a context of `n_ctx` tokens.
///
/// # Errors
/// Never, for the published shapes.
pub fn rows(memory: Memory, n_ctx: usize, types: (KvType, KvType), rates: Option<&Rates>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for model in published() {
        for mix in MIXES {
            let (shape, weights) = (&model.shape, model.shape.weights(mix)?);
            let case = Case { shape, weights: &weights, types, ubatch: 512, memory };
            rows.push(Row {
                model: model.name,
                mix: mix.name(),
                file_bytes: weights.bytes + weights.metadata,
                memory_bytes: case.needs(n_ctx).total(),
                fits: case.fits(n_ctx),
                tokens_per_second: rates.map(|r| speed::decode_rate(shape, &weights, r, 0)),
                first_token_1k: rates.map(|r| speed::first_token_seconds(shape, &weights, r, 1024)),
                recommended: false,
            });
        }
    }
    if let Some(at) = recommended(&rows) {
        rows[at].recommended = true;
    }
    Ok(rows)
}

/// The ablest model that fits and is pleasant to read along, in the best mix in which it is both; where none is
/// pleasant, the fastest that fits. Three bits are only for who asks for them.
fn recommended(rows: &[Row]) -> Option<usize> {
    let good = |row: &Row| row.fits && row.mix != "Q3_K_M";
    let speed = |row: &Row| row.tokens_per_second.unwrap_or(PLEASANT);
    let ablest = rows.iter().rposition(|row| good(row) && speed(row) >= PLEASANT);
    if let Some(at) = ablest {
        // Beyond Q6_K nothing is gained that could be noticed; more memory left is.
        let smaller = at.checked_sub(1).filter(|_| rows[at].mix == "Q8_0");
        return Some(smaller.filter(|&s| rows[s].model == rows[at].model).unwrap_or(at));
    }
    let fits = rows.iter().enumerate().filter(|(_, row)| good(row));
    fits.max_by(|a, b| speed(a.1).total_cmp(&speed(b.1))).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::super::rates::tests::even;
    use super::*;

    fn choice(gib: u64, bytes_per_second: f64) -> Option<String> {
        choice_of(Memory { total: gib << 30, available: gib << 30, group: None }, bytes_per_second)
    }

    fn choice_of(memory: Memory, bytes_per_second: f64) -> Option<String> {
        let rates = even(bytes_per_second, 300e9, 0.0);
        let rows = rows(memory, 8192, (KvType::F16, KvType::F16), Some(&rates)).unwrap();
        assert_eq!(rows.len(), 35);
        assert!(rows.iter().filter(|r| r.recommended).count() <= 1);
        rows.iter().find(|r| r.recommended).map(|r| format!("{} {}", r.model, r.mix))
    }

    #[test]
    fn one_is_recommended_for_each_machine() {
        assert_eq!(choice(1, 40e9).as_deref(), None, "8192 tokens of context take most of it");
        assert_eq!(choice(7, 40e9).as_deref(), Some("8B Q4_K_M"));
        assert_eq!(choice(32, 40e9).as_deref(), Some("30B-A3B Q6_K"));
        assert_eq!(choice(64, 500e9).as_deref(), Some("32B Q6_K"));
        // The limit of the control group and what others have taken count like a smaller machine.
        let memory = |available: u64, group: Option<u64>| Memory {
            total: 64 << 30,
            available: available << 30,
            group: group.map(|g| g << 30),
        };
        assert_eq!(choice_of(memory(60, Some(7)), 40e9).as_deref(), Some("8B Q4_K_M"));
        assert_eq!(choice_of(memory(7, None), 40e9).as_deref(), Some("8B Q4_K_M"));
        assert_eq!(choice_of(memory(60, Some(0)), 40e9).as_deref(), None);
        // So slow that nothing is pleasant: the fastest.
        assert_eq!(choice(64, 1e9).as_deref(), Some("0.6B Q4_K_M"));
    }
}
