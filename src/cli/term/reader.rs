//! The user's messages, one at a time: from a line editor on a terminal, else from the lines of standard input.

use super::complete::Word;
use super::editor::Editor;
use super::multiline::{self, Text};
use crate::error::{Error, Result};
use std::io::{BufRead, IsTerminal};

/// What the user did.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A whole message with its line breaks, `"""` taken off; it may be blank.
    Message(String),
    /// Ctrl-C where nothing was typed (typed text is cleared by it and no more).
    Interrupted,
    /// Ctrl-D, or standard input has ended.
    Eof,
}

/// How messages are read.
#[derive(Clone, Copy, Debug)]
pub struct ReaderOptions {
    /// Stands before what is typed; not printed when standard input or output is no terminal.
    pub prompt: &'static str,
    /// Vi's keys instead of Emacs'.
    pub vi: bool,
    /// Whether messages go to the history and its file.
    pub history: bool,
    /// What can be completed.
    pub commands: &'static [Word],
}

/// Reads messages.
pub struct Reader(Source);

enum Source {
    Editor(Box<Editor>),
    Lines(Lines<std::io::StdinLock<'static>>),
}

impl Reader {
    /// A reader of standard input.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub fn new(options: ReaderOptions) -> Result<Self> {
        let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        Ok(Self(match terminal {
            true => Source::Editor(Box::new(Editor::new(options)?)),
            false => Source::Lines(Lines { input: std::io::stdin().lock(), number: 0 }),
        }))
    }

    /// The next message; waits for it.
    ///
    /// # Errors
    /// When the terminal or standard input fails, is not UTF-8, or ends within `"""`.
    pub fn read(&mut self) -> Result<Line> {
        match &mut self.0 {
            Source::Editor(editor) => editor.read(),
            Source::Lines(lines) => lines.read(),
        }
    }

    /// Whether the user types on a terminal.
    pub fn on_terminal(&self) -> bool {
        matches!(self.0, Source::Editor(_))
    }

    /// The next message begins with this text, if there is any, and the user can change it. No effect on piped lines.
    pub fn prefill(&mut self, text: String) {
        if let Source::Editor(editor) = &mut self.0 {
            editor.prefill(&text);
        }
    }

    /// Whether messages go to the history from now on.
    pub fn set_history(&mut self, on: bool) {
        if let Source::Editor(editor) = &mut self.0 {
            editor.set_history(on);
        }
    }

    /// Vi's keys, or Emacs'.
    pub fn set_vi(&mut self, on: bool) {
        if let Source::Editor(editor) = &mut self.0 {
            editor.set_vi(on);
        }
    }
}

/// Messages from lines without an editor.
struct Lines<R> {
    input: R,
    /// Lines read.
    number: usize,
}

impl<R: BufRead> Lines<R> {
    fn read(&mut self) -> Result<Line> {
        let Some(mut text) = self.line()? else { return Ok(Line::Eof) };
        let first = self.number;
        loop {
            if let Text::Whole(whole) = multiline::parse(&text) {
                // Within """ a backslash at the end of a line is text.
                let marked = whole.len() != text.len();
                if marked || !multiline::continues(&text) {
                    return Ok(Line::Message(whole));
                }
                let Some(next) = self.line()? else { return Ok(Line::Message(whole)) };
                text.pop();
                text = text + "\n" + &next;
            } else {
                let Some(next) = self.line()? else {
                    return Err(Error::usage(format!(
                        "standard input ends within the \"\"\" of line {first}: end the message with \"\"\""
                    )));
                };
                text = text + "\n" + &next;
            }
        }
    }

    /// The next line without its line break.
    fn line(&mut self) -> Result<Option<String>> {
        let mut bytes = vec![];
        let read = self.input.read_until(b'\n', &mut bytes);
        let read = read.map_err(|e| Error::file(format!("standard input cannot be read: {e}")))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        for end in [b'\n', b'\r'] {
            bytes.truncate(bytes.len() - usize::from(bytes.last() == Some(&end)));
        }
        String::from_utf8(bytes).map(Some).map_err(|e| {
            let (line, at) = (self.number, e.utf8_error().valid_up_to());
            Error::file(format!("standard input, line {line}, byte {at}: not UTF-8 text"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(input: &[u8]) -> (Vec<String>, Option<String>) {
        let mut lines = Lines { input, number: 0 };
        let mut all = vec![];
        loop {
            match lines.read() {
                Ok(Line::Message(text)) => all.push(text),
                Ok(_) => return (all, None),
                Err(e) => return (all, Some(e.to_string())),
            }
        }
    }

    #[test]
    fn lines_are_messages() {
        let (all, error) = messages(b"one\r\n\n\"\"\"two\n  \\\nthree\"\"\"\nfour\\\nfive \\\nsix\nseven");
        assert_eq!(all, ["one", "", "two\n  \\\nthree", "four\nfive \nsix", "seven"]);
        assert_eq!(error, None);
    }

    #[test]
    fn what_goes_wrong_is_told() {
        let (all, error) = messages(b"one\n\"\"\"\ntwo\n");
        assert_eq!(all, ["one"]);
        assert!(error.is_some_and(|e| e.contains("line 2")), "where it was opened");
        let (_, error) = messages(b"one\nab\xff\n");
        assert!(error.is_some_and(|e| e.contains("line 2, byte 2")), "where it is");
    }
}
