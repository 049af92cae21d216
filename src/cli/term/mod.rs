//! Everything between `lapwing chat` and the terminal: the line editor, the streaming display, keys during an answer.
//!
//! * [`reader`]: one message at a time, from the editor (`editor`, [`complete`], `multiline`, `paste`, `external`) or
//!   from piped lines;
//! * [`render`]: an answer as a terminal shows it: [`markdown`] styled, [`wrap`]ped, harmless;
//! * [`keys`]: what is typed while an answer comes, and the key (Esc) that ends the thinking;
//! * [`reading`]: the status line while a prompt is read.

pub mod complete;
mod editor;
mod external;
pub mod keys;
pub mod markdown;
mod multiline;
mod paste;
pub mod reader;
pub mod reading;
pub mod render;
#[cfg(test)]
mod tests;
pub mod wrap;

use std::borrow::Cow;
use std::path::PathBuf;

/// The columns of the terminal, now.
pub fn width() -> usize {
    let (_, columns) = console::Term::stdout().size();
    usize::from(columns).max(1)
}

/// Whether colours and other styles are wanted: not when NO_COLOR is set to anything but the empty text.
pub fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// The text without characters that a terminal acts upon, but for line breaks and tabs.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let harms = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(harms) { text.replace(harms, "\u{FFFD}").into() } else { text.into() }
}

/// Where the program keeps what it should remember of its use (the history), or none where there is no such place.
pub fn state_dir() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    let base = etcetera::choose_base_strategy().ok()?;
    Some(base.state_dir().unwrap_or_else(|| base.data_dir()).join("lapwing"))
}

/// A whole number with its thousands apart: 8,214.
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
