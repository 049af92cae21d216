//! Whether the text is thinking or answer, token by token, by the same rules by which the answer is shown.
//!
//! Invariant: [`Phase::is_thinking`] says what [`Router::in_reasoning`] says after the same text.

use crate::chat::{Event, Router};

/// Where a prompt leaves off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Within thinking: the prompt opened it.
    Thinking,
    /// Before thinking or an answer, whichever the model begins.
    #[default]
    Open,
    /// Within the answer: the prompt closed the thinking, or the text has no such parts.
    Answer,
}

impl Start {
    /// Where a chat prompt with this text leaves off.
    pub fn of(prompt: &str) -> Self {
        let text = prompt.trim_end();
        match () {
            () if text.ends_with("<think>") => Self::Thinking,
            () if text.ends_with("</think>") => Self::Answer,
            () => Self::Open,
        }
    }
}

/// The phase of one generation.
#[derive(Clone, Debug)]
pub struct Phase {
    /// None where the text has no such parts, or none any more.
    router: Option<Router>,
    answered: bool,
}

/// What one more piece of text did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Thinking began with it.
    pub opened: bool,
    /// Thinking ended with it.
    pub closed: bool,
    /// Text of the answer came after the end of thinking, within the same piece.
    pub answered_at_once: bool,
}

impl Phase {
    /// The phase after a prompt.
    pub fn new(start: Start) -> Self {
        let router = (start != Start::Answer).then(|| Router::new(start == Start::Thinking));
        Self { router, answered: start == Start::Answer }
    }

    /// Whether the text is thinking now.
    pub fn is_thinking(&self) -> bool {
        self.router.as_ref().is_some_and(Router::in_reasoning)
    }

    /// Whether neither thinking nor an answer has begun.
    pub fn is_open(&self) -> bool {
        !self.answered && !self.is_thinking()
    }

    /// Takes more text.
    pub fn push(&mut self, text: &str) -> Step {
        let before = self.is_thinking();
        let Some(router) = &mut self.router else { return Step::default() };
        let events = router.push(text);
        let closed = events.contains(&Event::ReasoningEnd);
        let speaks = |e: &Event| match e {
            Event::Answer(text) => !text.trim().is_empty(),
            Event::ToolCallStart => true,
            _ => false,
        };
        let spoke = events.iter().any(speaks);
        let thinking = router.in_reasoning();
        self.answered |= closed || spoke;
        if self.answered && !thinking {
            // Thinking never opens again.
            self.router = None;
        }
        Step { opened: thinking && !before, closed, answered_at_once: closed && spoke }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_say_where_they_leave_off() {
        assert_eq!(Start::of("<|im_start|>assistant\n"), Start::Open);
        assert_eq!(Start::of("<|im_start|>assistant\n<think>\n"), Start::Thinking);
        assert_eq!(Start::of("<|im_start|>assistant\n<think>\n\n</think>\n\n"), Start::Answer);
    }

    #[test]
    fn thinking_opens_and_closes_once() {
        let mut phase = Phase::new(Start::Open);
        assert!(phase.is_open() && !phase.is_thinking());
        assert_eq!(phase.push("\n"), Step::default());
        assert_eq!(phase.push("<think>"), Step { opened: true, ..Step::default() });
        assert!(phase.is_thinking() && !phase.is_open());
        assert_eq!(phase.push("\nHm.</th"), Step::default());
        assert_eq!(phase.push("ink>\n\n"), Step { closed: true, ..Step::default() });
        assert!(!phase.is_thinking() && !phase.is_open());
        assert_eq!(phase.push("x <think> y"), Step::default());
        assert!(!phase.is_thinking());
    }

    #[test]
    fn an_answer_without_thinking_is_an_answer() {
        let mut phase = Phase::new(Start::Open);
        assert_eq!(phase.push("Hi"), Step::default());
        assert!(!phase.is_open());
        assert_eq!(phase.push("<think>"), Step::default());
        assert!(!phase.is_thinking());
        let mut answer = Phase::new(Start::Answer);
        assert_eq!(answer.push("<think>"), Step::default());
        assert!(!answer.is_thinking() && !answer.is_open());
    }

    #[test]
    fn an_answer_in_the_same_piece_is_seen() {
        let mut phase = Phase::new(Start::Thinking);
        assert!(phase.is_thinking());
        phase.push("a</think");
        assert_eq!(phase.push(">{"), Step { closed: true, answered_at_once: true, ..Step::default() });
        let mut blank = Phase::new(Start::Thinking);
        blank.push("a</think");
        assert_eq!(blank.push(">\n\n"), Step { closed: true, ..Step::default() });
    }
}
