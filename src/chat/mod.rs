//! Conversations: messages in OpenAI's shape, the file's chat template, and the way back from generated text to
//! reasoning, answer and tool calls.
//!
//! Invariants: a rendered prompt is byte-equal to what jinja2 gives as transformers sets it up; control tokens that a
//! message, a tool or its result spells out never count as such ([`Rendered`] says which do); nothing here knows the
//! model, only names of tokens.

mod clock;
mod guard;
mod message;
mod mode;
mod python;
mod rendered;
mod router;
mod template;

pub use message::{Message, Request};
pub use mode::{Mode, mode_in_force, soft_switch};
pub use rendered::Rendered;
pub use router::{Event, Router, ToolCall, Unclosed};
pub use template::{SpecialTexts, Template};

#[cfg(test)]
mod tests;
