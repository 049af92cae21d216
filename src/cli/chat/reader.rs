//! Lines from standard input.

use crate::error::{Error, Result};
use std::io::BufRead;

/// What was typed.
pub enum Line {
    /// A line.
    Message(String),
    /// The end of the input.
    Eof,
}

/// Reads lines.
pub struct Reader;

impl Reader {
    /// The next one.
    pub fn read(&mut self) -> Result<Line> {
        let mut line = String::new();
        let n =
            std::io::stdin().lock().read_line(&mut line).map_err(|e| Error::file(format!("standard input: {e}")))?;
        if n == 0 {
            return Ok(Line::Eof);
        }
        Ok(Line::Message(line.trim_end_matches(['\n', '\r']).to_owned()))
    }
    pub fn prefill(&mut self, _text: String) {}
    pub fn set_history(&mut self, _on: bool) {}
    pub fn on_terminal(&self) -> bool {
        std::io::IsTerminal::is_terminal(&std::io::stdin())
    }
}
