//! Prints an answer as it comes: thinking apart from the rest, tool calls as the text they are.
//!
//! On a terminal thinking is dimmed; elsewhere, and where colours are not wanted, it stands between `<think>` and
//! `</think>`, so that it is never taken for the answer. Control characters never reach a terminal.

use super::{Outcome, output};
use crate::chat::{Event, Router, Unclosed};
use std::borrow::Cow;
use std::io::IsTerminal;

/// How thinking is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// Dimmed by ANSI codes.
    Dimmed,
    /// Between tags.
    Tagged,
    /// Not at all.
    Hidden,
}

/// Where an answer goes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Whether it is a terminal.
    pub terminal: bool,
    /// How thinking is shown there.
    pub thinking: Thinking,
}

impl Target {
    /// Standard output.
    pub fn stdout(hide_thinking: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        let thinking = match (hide_thinking, colours) {
            (true, _) => Thinking::Hidden,
            (false, true) => Thinking::Dimmed,
            (false, false) => Thinking::Tagged,
        };
        Self { terminal, thinking }
    }
}

/// What there was, once the answer has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Whether anything but thinking and white space came.
    pub answered: bool,
    /// What was begun and not ended.
    pub unclosed: Option<Unclosed>,
}

/// The parts of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Thinking,
    Rest,
}

/// Turns the events of one answer into what is printed.
struct Layout {
    router: Option<Router>,
    target: Target,
    /// The part that was printed last.
    part: Part,
    answered: bool,
    /// Whether the cursor is at the start of a line.
    line_start: bool,
}

impl Layout {
    /// The text to print for more text of the answer.
    fn push(&mut self, text: &str) -> String {
        let mut out = String::new();
        match &mut self.router {
            None => self.rest(text, &mut out),
            Some(router) => {
                for event in router.push(text) {
                    self.event(event, &mut out);
                }
            }
        }
        out
    }

    fn event(&mut self, event: Event, out: &mut String) {
        match event {
            Event::Reasoning(text) => self.thinking(&text, out),
            Event::ReasoningEnd => self.end_thinking(out),
            Event::Answer(text) | Event::ToolCallText(text) => self.rest(&text, out),
            Event::ToolCallStart => {
                let before = if self.line_start { "" } else { "\n" };
                self.rest(&format!("{before}<tool_call>\n"), out);
            }
            Event::ToolCallEnd(_) => self.rest("\n</tool_call>\n", out),
        }
    }

    fn thinking(&mut self, text: &str, out: &mut String) {
        if self.target.thinking == Thinking::Hidden {
            return;
        }
        if self.part != Part::Thinking {
            self.part = Part::Thinking;
            self.write(if self.target.thinking == Thinking::Tagged { "<think>\n" } else { "" }, out);
        }
        if self.target.thinking == Thinking::Dimmed {
            out.push_str("\x1b[2m");
        }
        self.write(text, out);
        if self.target.thinking == Thinking::Dimmed {
            out.push_str("\x1b[0m");
        }
    }

    fn end_thinking(&mut self, out: &mut String) {
        if self.part == Part::Thinking {
            self.part = Part::Rest;
            self.write(if self.target.thinking == Thinking::Tagged { "\n</think>\n\n" } else { "\n\n" }, out);
        }
    }

    fn rest(&mut self, text: &str, out: &mut String) {
        self.answered |= !text.trim().is_empty();
        self.write(text, out);
    }

    fn write(&mut self, text: &str, out: &mut String) {
        if let Some(last) = text.chars().next_back() {
            self.line_start = last == '\n';
            out.push_str(&if self.target.terminal { harmless(text) } else { Cow::Borrowed(text) });
        }
    }

    /// What was held back, and a line break unless the last line has one.
    fn finish(&mut self) -> (String, Ending) {
        let mut out = String::new();
        let mut unclosed = None;
        if let Some(router) = &mut self.router {
            let (events, open) = router.finish();
            unclosed = open;
            for event in events {
                self.event(event, &mut out);
            }
        }
        if !self.line_start {
            self.write("\n", &mut out);
        }
        (out, Ending { answered: self.answered, unclosed })
    }
}

/// The text without characters that a terminal acts upon, but for line breaks and tabs.
fn harmless(text: &str) -> Cow<'_, str> {
    let harms = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(harms) { text.replace(harms, "\u{FFFD}").into() } else { text.into() }
}

/// Prints one answer.
pub struct Printer(Layout);

impl Printer {
    /// A printer; `router` sorts the text into thinking and answer, without it all of it is answer.
    pub fn new(target: Target, router: Option<Router>) -> Self {
        Self(Layout { router, target, part: Part::Rest, answered: false, line_start: true })
    }

    /// Prints more text.
    ///
    /// # Errors
    /// When standard output is closed or cannot be written.
    pub fn text(&mut self, text: &str) -> Outcome {
        match self.0.push(text) {
            out if out.is_empty() => Ok(()),
            out => output::result(&out),
        }
    }

    /// Ends the answer and its last line.
    ///
    /// # Errors
    /// As [`Printer::text`].
    pub fn finish(&mut self) -> Result<Ending, super::Stop> {
        let (out, ending) = self.0.finish();
        output::result(&out)?;
        Ok(ending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(terminal: bool, thinking: Thinking, pieces: &[&str]) -> (String, Ending) {
        let target = Target { terminal, thinking };
        let router = Some(Router::new(false));
        let mut layout = Layout { router, target, part: Part::Rest, answered: false, line_start: true };
        let mut out: String = pieces.iter().map(|p| layout.push(p)).collect();
        let (rest, ending) = layout.finish();
        out += &rest;
        (out, ending)
    }

    const TEXT: [&str; 5] = ["<thi", "nk>\nwell", "...\n</think>\n", "\nYes", "."];

    #[test]
    fn thinking_is_kept_apart() {
        let done = Ending { answered: true, unclosed: None };
        let tagged = print(false, Thinking::Tagged, &TEXT);
        assert_eq!(tagged, ("<think>\nwell...\n</think>\n\nYes.\n".to_owned(), done));
        assert_eq!(print(false, Thinking::Hidden, &TEXT), ("Yes.\n".to_owned(), done));
        let dimmed = print(true, Thinking::Dimmed, &TEXT).0;
        assert_eq!(dimmed, "\x1b[2mwell\x1b[0m\x1b[2m...\x1b[0m\n\nYes.\n");
    }

    #[test]
    fn empty_thinking_shows_nothing() {
        assert_eq!(print(false, Thinking::Tagged, &["<think>\n\n</think>\n\nYes.\n"]).0, "Yes.\n");
    }

    #[test]
    fn thinking_that_was_cut_is_told() {
        let cut = Ending { answered: false, unclosed: Some(Unclosed::Reasoning) };
        assert_eq!(print(false, Thinking::Tagged, &["<think>\nwell"]), ("<think>\nwell\n".to_owned(), cut));
        assert_eq!(print(false, Thinking::Hidden, &["<think>\nwell"]), (String::new(), cut));
        let none = Ending { answered: false, unclosed: None };
        assert_eq!(print(false, Thinking::Tagged, &["<think>\nwell</think>\n\n"]).1, none);
    }

    #[test]
    fn tool_calls_are_text() {
        let text = "Look:\n<tool_call>\n{\"name\": \"f\"}\n</tool_call>";
        assert_eq!(print(false, Thinking::Tagged, &[text]).0, "Look:\n<tool_call>\n{\"name\": \"f\"}\n</tool_call>\n");
    }

    #[test]
    fn a_terminal_gets_no_control_characters() {
        let text = "a\x1b[2Jb\u{9b}c\td\r\ne\x07";
        assert_eq!(print(true, Thinking::Dimmed, &[text]).0, "a\u{FFFD}[2Jb\u{FFFD}c\td\u{FFFD}\ne\u{FFFD}\n");
        assert_eq!(print(false, Thinking::Tagged, &[text]).0, format!("{text}\n"), "a file gets what came");
    }
}
