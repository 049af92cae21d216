//! A batch: spans of consecutive tokens of several sequences, flattened for one forward pass.
//!
//! There is no prefill flag. A span has a role, which may decide how its rows are multiplied; its length, its
//! neighbours and the borders between chunks never do. Spans of prompts come first, so each product sees the two
//! roles as two runs of rows.

use lapwing_quant::attend::{PAGE, QuerySpan};

/// What the tokens of a span are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Given: a prompt, or a part of one.
    Prompt,
    /// Generated, or drafted to be verified.
    Generated,
}

/// Consecutive tokens of one sequence.
#[derive(Clone, Debug)]
pub struct Span {
    /// The tokens to read.
    pub tokens: Vec<u32>,
    /// Position of the first one: how many tokens of the sequence are in the cache already.
    pub past: usize,
    /// What they are.
    pub role: Role,
    /// The sequence's pages, enough for `past + tokens.len()` positions.
    pub pages: Vec<u32>,
    /// How many of the last tokens' logits are wanted.
    pub wanted: usize,
}

/// Spans laid out as rows.
#[derive(Debug)]
pub struct Batch {
    spans: Vec<Span>,
    /// First row of each span.
    first: Vec<usize>,
    tokens: Vec<u32>,
    positions: Vec<usize>,
    slots: Vec<usize>,
    wanted: Vec<usize>,
    prompt: usize,
}

impl Batch {
    /// Lays out the spans, prompts before generated ones, otherwise in the order given.
    ///
    /// # Panics
    /// When a span has too few pages.
    pub fn new(mut spans: Vec<Span>) -> Self {
        spans.sort_by_key(|s| s.role);
        let mut batch = Self {
            first: Vec::new(),
            tokens: Vec::new(),
            positions: Vec::new(),
            slots: Vec::new(),
            wanted: Vec::new(),
            prompt: 0,
            spans: Vec::new(),
        };
        for s in &spans {
            let (row, len) = (batch.tokens.len(), s.tokens.len());
            assert!(s.pages.len() * PAGE >= s.past + len, "a span has too few pages");
            batch.first.push(row);
            batch.tokens.extend(&s.tokens);
            batch.positions.extend(s.past..s.past + len);
            batch.slots.extend((s.past..s.past + len).map(|p| s.pages[p / PAGE] as usize * PAGE + p % PAGE));
            batch.wanted.extend(row + len - s.wanted.min(len)..row + len);
            if s.role == Role::Prompt {
                batch.prompt = batch.tokens.len();
            }
        }
        batch.spans = spans;
        batch
    }

    /// The spans in row order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The spans as attention sees them.
    pub fn query_spans(&self) -> Vec<QuerySpan<'_>> {
        let spans = self.spans.iter().zip(&self.first);
        spans
            .map(|(s, &first)| QuerySpan {
                first,
                len: s.tokens.len(),
                past: s.past,
                pages: &s.pages,
                generated: s.role == Role::Generated,
            })
            .collect()
    }

    /// All tokens, in row order.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Position of each row in its sequence.
    pub fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// Where each row's keys and values are stored: page * PAGE + offset.
    pub fn slots(&self) -> &[usize] {
        &self.slots
    }

    /// Rows whose logits are wanted, ascending.
    pub fn wanted(&self) -> &[usize] {
        &self.wanted
    }

    /// Whether a row is a prompt token.
    pub fn is_prompt(&self, row: usize) -> bool {
        row < self.prompt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_come_first_and_rows_find_their_slots() {
        let span = |tokens: Vec<u32>, past, role, pages, wanted| Span { tokens, past, role, pages, wanted };
        let batch = Batch::new(vec![
            span(vec![9], 70, Role::Generated, vec![5, 3], 1),
            span(vec![1, 2, 3], 63, Role::Prompt, vec![7, 2], 2),
        ]);
        assert_eq!(batch.tokens(), [1, 2, 3, 9]);
        assert_eq!(batch.positions(), [63, 64, 65, 70]);
        assert_eq!(batch.slots(), [7 * 64 + 63, 2 * 64, 2 * 64 + 1, 3 * 64 + 6]);
        assert_eq!(batch.wanted(), [1, 2, 3]);
        assert_eq!((0..4).map(|r| batch.is_prompt(r)).collect::<Vec<_>>(), [true, true, true, false]);
    }
}
