//! An answer as it is shown: from events (thinking, answer, tool calls) to the text for a terminal or a file.
//!
//! A file gets what the model wrote, thinking between `<think>` and `</think>`. A terminal gets it wrapped by display
//! width, its Markdown styled and its thinking faint (between tags where colours are not wanted), as one live line, or
//! not at all. Every character of the answer comes out in its order; control characters never reach a terminal. The
//! text shown does not depend on the pieces that it came in.

use super::markdown::{Item, Markdown};
use super::wrap::{Style, Width, Wrap};
use super::{colours_wanted, harmless, thousands};
use crate::chat::Event;
use std::io::IsTerminal;
use std::time::Duration;
use unicode_segmentation::UnicodeSegmentation;

/// How thinking is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// As it comes: faint, or between tags where there are no colours.
    Show,
    /// Not at all.
    Hide,
    /// One line: how much of it there is, in the end how much there was.
    Summary,
}

/// Where an answer goes and how it is shown there.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Whether it is a terminal. If not, only `thinking` has a meaning.
    pub terminal: bool,
    /// Whether styles and colours are wanted.
    pub colours: bool,
    /// Whether long lines are broken between words.
    pub wrap: bool,
    /// Whether Markdown is styled.
    pub markdown: bool,
    /// How thinking is shown.
    pub thinking: Thinking,
}

impl Target {
    /// Standard output: with everything a terminal can show, if it is one.
    pub fn stdout(hide_thinking: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let thinking = if hide_thinking { Thinking::Hide } else { Thinking::Show };
        Self { terminal, colours: terminal && colours_wanted(), wrap: terminal, markdown: terminal, thinking }
    }

    fn tags(&self) -> bool {
        self.thinking == Thinking::Show && !(self.terminal && self.colours)
    }
}

/// The parts of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Thinking,
    Rest,
}

/// Turns the events of one answer into what is printed.
pub struct Renderer {
    target: Target,
    /// Lays text out for a terminal.
    screen: Screen,
    /// The part that was printed last.
    part: Part,
    answered: bool,
    /// Whether the text so far ends a line.
    line_start: bool,
    thought: (usize, Duration),
    /// Whether the live line is on the screen.
    live: bool,
}

impl Renderer {
    /// A renderer at the start of a line; `width` gives the columns of the terminal.
    pub fn new(target: Target, width: Width) -> Self {
        let screen = Screen::new(Wrap::new(width, target.colours), target.wrap);
        let thought = (0, Duration::ZERO);
        Self { target, screen, part: Part::Rest, answered: false, line_start: true, thought, live: false }
    }

    /// Adds what an event prints.
    pub fn event(&mut self, event: Event, out: &mut String) {
        match event {
            Event::Reasoning(text) => self.thinking(&text, out),
            Event::ReasoningEnd => self.end_thinking(out),
            Event::Answer(text) => self.answer(&text, true, out),
            Event::ToolCallStart => {
                let before = if self.line_start { "" } else { "\n" };
                self.answer(&format!("{before}<tool_call>\n"), false, out);
            }
            Event::ToolCallText(text) => self.answer(&text, false, out),
            Event::ToolCallEnd(_) => self.answer("\n</tool_call>\n", false, out),
        }
    }

    /// More of the answer; `prose` may be Markdown and may be wrapped.
    pub fn answer(&mut self, text: &str, prose: bool, out: &mut String) {
        self.answered |= !text.trim().is_empty();
        let manner = match prose && self.target.markdown {
            true => Manner::Markdown,
            false => Manner::Plain { style: Style::default(), breaks: prose },
        };
        self.write(text, manner, out);
    }

    /// How many tokens of thinking there are by now, and since when.
    pub fn thought(&mut self, tokens: usize, time: Duration) {
        self.thought = (tokens, time);
    }

    /// The live line of a summary, to be printed over the one before.
    pub fn live_line(&mut self, out: &mut String) {
        if self.target.thinking != Thinking::Summary || !self.target.terminal || self.part != Part::Thinking {
            return;
        }
        self.live = true;
        let (tokens, time) = self.thought;
        let line = format!("thinking, {} tokens, {}", thousands(tokens), seconds(time));
        let line: String = line.chars().take(self.screen.wrap.columns().saturating_sub(1)).collect();
        let (dim, plain) = if self.target.colours { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        *out += &format!("{ERASE}{dim}{line}{plain}");
    }

    /// What is left of a summary: "thought for 8 s (312 tokens)".
    pub fn summary(&self) -> String {
        format!("thought for {} ({} tokens)", seconds(self.thought.1), thousands(self.thought.0))
    }

    /// Whether anything but thinking and white space came.
    pub fn answered(&self) -> bool {
        self.answered
    }

    /// What was kept back, and a line break unless the last line has one.
    pub fn finish(&mut self, out: &mut String) {
        if self.part == Part::Thinking && self.target.thinking == Thinking::Summary {
            self.collapse("", out);
        }
        if !self.line_start {
            self.write("\n", self.screen.manner, out);
        }
        self.screen.settle();
        self.screen.wrap.flush();
        *out += &self.screen.wrap.take();
    }

    fn thinking(&mut self, text: &str, out: &mut String) {
        if self.target.thinking == Thinking::Hide {
            return;
        }
        let tags = self.target.tags();
        let manner = self.thinking_manner();
        if self.part != Part::Thinking {
            self.part = Part::Thinking;
            if tags {
                self.write("<think>\n", manner, out);
            }
        }
        if self.target.thinking == Thinking::Show {
            self.write(text, manner, out);
        }
    }

    fn end_thinking(&mut self, out: &mut String) {
        if self.part != Part::Thinking {
            return;
        }
        self.part = Part::Rest;
        match self.target.thinking {
            Thinking::Summary => self.collapse("\n\n", out),
            _ if self.target.tags() => self.write("\n</think>\n\n", self.thinking_manner(), out),
            _ => self.write("\n\n", self.thinking_manner(), out),
        }
    }

    /// Puts what remains of a summary in the place of the live line.
    fn collapse(&mut self, after: &str, out: &mut String) {
        if self.target.terminal {
            if std::mem::take(&mut self.live) {
                out.push_str(ERASE);
            }
            self.write(&(self.summary() + after), self.thinking_manner(), out);
        }
    }

    fn thinking_manner(&self) -> Manner {
        Manner::Plain { style: Style::DIM, breaks: true }
    }

    fn write(&mut self, text: &str, manner: Manner, out: &mut String) {
        let Some(last) = text.chars().next_back() else { return };
        self.line_start = last == '\n';
        match self.target.terminal {
            false => out.push_str(text),
            true => {
                self.screen.push(text, manner);
                *out += &self.screen.wrap.take();
            }
        }
    }
}

/// To the start of the line, which is emptied.
const ERASE: &str = "\r\x1b[2K";

/// A length of time for people.
fn seconds(time: Duration) -> String {
    match time.as_secs() {
        s @ ..60 => format!("{s} s"),
        s => format!("{} min {} s", s / 60, s % 60),
    }
}

/// What is made of text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Markdown,
    Plain { style: Style, breaks: bool },
}

/// Cuts text into graphemes and lays them out.
struct Screen {
    /// The end of the text, to which more may still belong: an accent, the rest of an emoji.
    pending: String,
    manner: Manner,
    markdown: Markdown,
    wrap: Wrap,
    /// Whether lines may be broken at all.
    breaks: bool,
}

impl Screen {
    fn new(wrap: Wrap, breaks: bool) -> Self {
        let manner = Manner::Plain { style: Style::default(), breaks: true };
        Self { pending: String::new(), manner, markdown: Markdown::default(), wrap, breaks }
    }

    fn push(&mut self, text: &str, manner: Manner) {
        if manner != self.manner {
            self.settle();
            self.manner = manner;
        }
        self.pending.push_str(&harmless(text));
        let text = std::mem::take(&mut self.pending);
        let last = text.graphemes(true).next_back().filter(|last| *last != "\n").map_or(0, str::len);
        let (whole, pending) = text.split_at(text.len() - last);
        self.pending = pending.to_owned();
        whole.graphemes(true).for_each(|g| self.grapheme(g));
    }

    /// Lays out what may not come from another manner of text.
    fn settle(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        pending.graphemes(true).for_each(|g| self.grapheme(g));
        let items = std::mem::take(&mut self.markdown).finish();
        self.items(items);
    }

    fn grapheme(&mut self, grapheme: &str) {
        match self.manner {
            Manner::Markdown => {
                let items = self.markdown.push(grapheme);
                self.items(items);
            }
            Manner::Plain { .. } if grapheme == "\n" => self.wrap.newline(),
            Manner::Plain { style, breaks } => self.wrap.put(grapheme, style, breaks && self.breaks),
        }
    }

    fn items(&mut self, items: Vec<Item>) {
        for item in items {
            match item {
                Item::Newline => self.wrap.newline(),
                Item::Text(grapheme, style, breaks) => self.wrap.put(&grapheme, style, breaks && self.breaks),
            }
        }
    }
}
