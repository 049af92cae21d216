//! A rendered prompt that remembers which control tokens are the template's own.

use crate::error::Result;
use crate::tokenizer::{Segment, Tokenizer};

/// A prompt. Trusted segments are the template's and all text without control tokens; untrusted ones are control
/// tokens (or beginnings of some) that a message or tool spelled out: they stay text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    segments: Vec<Segment>,
}

impl Rendered {
    pub(super) fn new(segments: Vec<Segment>) -> Self {
        Self { segments }
    }

    /// The segments in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The whole text, byte for byte what jinja2 gives.
    pub fn text(&self) -> String {
        self.segments.iter().map(|segment| segment.text.as_str()).collect()
    }

    /// Whether the prompt ends within reasoning, so that the answer starts there without a `<think>` of its own.
    pub fn opens_thinking(&self) -> bool {
        self.text().trim_end().ends_with("<think>")
    }
}

impl Tokenizer {
    /// The ids of a rendered prompt, its own control tokens and no others.
    ///
    /// # Errors
    /// Only if the encoder itself fails.
    pub fn encode_rendered(&self, rendered: &Rendered) -> Result<Vec<u32>> {
        self.encode_segments(rendered.segments())
    }
}
