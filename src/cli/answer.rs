//! Prints an answer as it comes: thinking apart from the rest, tool calls as the text they are.
//!
//! How it looks is for [`render`](super::term::render); here it is sorted, timed and printed.

use super::{Outcome, output, term};
use crate::chat::{Router, Unclosed};
use crate::cli::term::render::Renderer;
pub use crate::cli::term::render::{Target, Thinking};
use std::time::Instant;

/// What there was, once the answer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whether anything but thinking and white space came.
    pub answered: bool,
    /// What was begun and not ended.
    pub unclosed: Option<Unclosed>,
}

/// Prints one answer.
pub struct Printer {
    router: Option<Router>,
    renderer: Renderer,
    target: Target,
    /// When thinking began.
    thinking: Option<Instant>,
    /// Tokens of thinking.
    tokens: usize,
}

impl Printer {
    /// A printer; `router` sorts the text into thinking and answer, without it all of it is raw text, shown as it is.
    pub fn new(target: Target, router: Option<Router>) -> Self {
        let renderer = Renderer::new(target, Box::new(term::width));
        Self { router, renderer, target, thinking: None, tokens: 0 }
    }

    /// Prints more text: what one token completes.
    ///
    /// # Errors
    /// When standard output is closed or cannot be written.
    pub fn text(&mut self, text: &str) -> Outcome {
        match self.render(text) {
            out if out.is_empty() => Ok(()),
            out => output::result(&out),
        }
    }

    fn render(&mut self, text: &str) -> String {
        let mut out = String::new();
        let Some(router) = &mut self.router else {
            self.renderer.answer(text, false, &mut out);
            return out;
        };
        if router.in_reasoning() {
            self.tokens += 1;
            self.renderer.thought(self.tokens, self.thinking.get_or_insert_with(Instant::now).elapsed());
        }
        for event in router.push(text) {
            self.renderer.event(event, &mut out);
        }
        if router.in_reasoning() {
            self.renderer.live_line(&mut out);
        }
        out
    }

    /// Ends the answer and its last line.
    ///
    /// # Errors
    /// As [`Printer::text`].
    pub fn finish(&mut self) -> Result<Ending, super::Stop> {
        let (out, ending) = self.end();
        output::result(&out)?;
        if self.tokens > 0 && self.target.thinking == Thinking::Summary && !self.target.terminal {
            output::note(&self.renderer.summary());
        }
        Ok(ending)
    }

    fn end(&mut self) -> (String, Ending) {
        let mut out = String::new();
        let mut unclosed = None;
        if let Some(router) = &mut self.router {
            let (events, open) = router.finish();
            unclosed = open;
            events.into_iter().for_each(|event| self.renderer.event(event, &mut out));
        }
        self.renderer.finish(&mut out);
        (out, Ending { answered: self.renderer.answered(), unclosed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(terminal: bool, thinking: Thinking, pieces: &[&str]) -> (String, Ending) {
        let target = Target { terminal, colours: terminal, wrap: terminal, markdown: terminal, thinking };
        let mut printer = Printer::new(target, Some(Router::new(false)));
        let mut out: String = pieces.iter().map(|p| printer.render(p)).collect();
        let (rest, ending) = printer.end();
        out += &rest;
        (out, ending)
    }

    const TEXT: [&str; 5] = ["<thi", "nk>\nwell", "...\n</think>\n", "\nYes", "."];

    #[test]
    fn thinking_is_kept_apart() {
        let done = Ending { answered: true, unclosed: None };
        let tagged = print(false, Thinking::Show, &TEXT);
        assert_eq!(tagged, ("<think>\nwell...\n</think>\n\nYes.\n".to_owned(), done));
        assert_eq!(print(false, Thinking::Hide, &TEXT), ("Yes.\n".to_owned(), done));
        let dimmed = print(true, Thinking::Show, &TEXT).0;
        assert_eq!(dimmed, "\x1b[2mwell...\x1b[0m\n\nYes.\n");
    }

    #[test]
    fn empty_thinking_shows_nothing() {
        assert_eq!(print(false, Thinking::Show, &["<think>\n\n</think>\n\nYes.\n"]).0, "Yes.\n");
    }

    #[test]
    fn thinking_that_was_cut_is_told() {
        let cut = Ending { answered: false, unclosed: Some(Unclosed::Reasoning) };
        assert_eq!(print(false, Thinking::Show, &["<think>\nwell"]), ("<think>\nwell\n".to_owned(), cut));
        assert_eq!(print(false, Thinking::Hide, &["<think>\nwell"]), (String::new(), cut));
        let none = Ending { answered: false, unclosed: None };
        assert_eq!(print(false, Thinking::Show, &["<think>\nwell</think>\n\n"]).1, none);
    }

    #[test]
    fn tool_calls_are_text() {
        let text = "Look:\n<tool_call>\n{\"name\": \"f\"}\n</tool_call>";
        assert_eq!(print(false, Thinking::Show, &[text]).0, "Look:\n<tool_call>\n{\"name\": \"f\"}\n</tool_call>\n");
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let text = "a\x1b[2Jb\u{9b}c\td\r\ne\x07";
        assert_eq!(print(true, Thinking::Show, &[text]).0, "a\u{FFFD}[2Jb\u{FFFD}c\td\u{FFFD}\ne\u{FFFD}\n");
        assert_eq!(print(false, Thinking::Show, &[text]).0, format!("{text}\n"), "a file gets what came");
    }
}
