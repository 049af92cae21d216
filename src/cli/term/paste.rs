//! Pasted text: collected key by key until the terminal says that it ends, then inserted as a whole, never sent by a
//! line break within it.
//!
//! A long text stands in the line as a label, "[pasted text 1, 200 lines]", for a line editor cannot show more than a
//! screen. The label becomes the text again when the message is sent or handed to the user's editor; a label that was
//! changed is text like any other.

use rustyline::{Cmd, ConditionalEventHandler, EditMode, Event, EventContext, InputMode, KeyCode, KeyEvent, Modifiers};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Texts of more lines than this are folded.
const LINES: usize = 10;
/// Texts of more bytes than this are folded.
const BYTES: usize = 2000;

/// What was pasted into the message that is being typed.
#[derive(Default)]
pub struct Pastes {
    /// The text so far, while it comes.
    coming: Option<String>,
    /// Whether it ends with a carriage return, of which a line feed may be part.
    returned: bool,
    /// Labels and what they stand for.
    folded: Vec<(String, String)>,
}

/// The pastes that the handlers of keys share.
pub type Shared = Arc<Mutex<Pastes>>;

/// The pastes, whatever happened elsewhere.
pub fn lock(pastes: &Shared) -> MutexGuard<'_, Pastes> {
    pastes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pastes {
    /// What stands in the line for a text: itself, or a label.
    pub fn fold(&mut self, text: String) -> String {
        let lines = text.split('\n').count();
        if lines <= LINES && text.len() <= BYTES {
            return text;
        }
        let number = self.folded.len() + 1;
        let label = match lines {
            1 => format!("[pasted text {number}, {} bytes]", text.len()),
            _ => format!("[pasted text {number}, {lines} lines]"),
        };
        self.folded.push((label.clone(), text));
        label
    }

    /// The line with each label replaced by its text.
    pub fn unfold(&self, line: &str) -> String {
        let (mut out, mut rest) = (String::new(), line);
        // A text that was put in is not searched: it may look like a label.
        let first = |rest: &str| {
            let found = self.folded.iter().filter_map(|(label, text)| Some((rest.find(label)?, label, text)));
            found.min_by_key(|(at, ..)| *at).map(|(at, label, text)| (at, label.len(), text.clone()))
        };
        while let Some((at, length, text)) = first(rest) {
            out += &rest[..at];
            out += &text;
            rest = &rest[at + length..];
        }
        out + rest
    }

    /// Forgets all: another message begins.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes a key if it is part of a paste.
    fn key(&mut self, KeyEvent(code, modifiers): KeyEvent) -> Option<Cmd> {
        if code == KeyCode::BracketedPasteStart {
            (self.coming, self.returned) = (Some(String::new()), false);
            return Some(Cmd::Noop);
        }
        let text = self.coming.as_mut()?;
        // Ctrl-C, too, in case the end got lost.
        if code == KeyCode::BracketedPasteEnd || (code, modifiers) == (KeyCode::Char('C'), Modifiers::CTRL) {
            let text = self.coming.take().unwrap_or_default();
            return Some(if text.is_empty() { Cmd::Noop } else { Cmd::Insert(1, self.fold(text)) });
        }
        let character = match (code, modifiers.contains(Modifiers::CTRL)) {
            (KeyCode::Enter, _) | (KeyCode::Char('M'), true) => Some('\r'),
            (KeyCode::Char('J'), true) => Some('\n'),
            (KeyCode::Tab, _) | (KeyCode::Char('I'), true) => Some('\t'),
            (KeyCode::Char(c), false) => Some(c),
            // Control characters are no text.
            _ => None,
        };
        match character {
            Some('\n') if self.returned => {}
            Some('\r') => text.push('\n'),
            Some(c) => text.push(c),
            None => {}
        }
        self.returned = character == Some('\r');
        Some(Cmd::Noop)
    }
}

/// A handler of keys that leaves the keys of a paste to the paste.
pub struct Outside<H>(pub Shared, pub H);

impl<H: ConditionalEventHandler> ConditionalEventHandler for Outside<H> {
    fn handle(&self, event: &Event, n: u16, positive: bool, ctx: &EventContext) -> Option<Cmd> {
        // Among Vi's commands digits do not come here; rustyline takes a paste there by itself, without folding it.
        let commands = ctx.mode() == EditMode::Vi && ctx.input_mode() == InputMode::Command;
        let taken = match event {
            Event::KeySeq(keys) if !commands => keys.first().and_then(|key| lock(&self.0).key(*key)),
            _ => None,
        };
        taken.or_else(|| self.1.handle(event, n, positive, ctx))
    }
}

/// Always the same command, or what the key does by itself.
pub struct Plainly(pub Option<Cmd>);

impl ConditionalEventHandler for Plainly {
    fn handle(&self, _: &Event, _: u16, _: bool, _: &EventContext) -> Option<Cmd> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paste(pastes: &mut Pastes, text: &str) -> Option<Cmd> {
        assert_eq!(pastes.key(KeyEvent(KeyCode::BracketedPasteStart, Modifiers::NONE)), Some(Cmd::Noop));
        for c in text.chars() {
            assert_eq!(pastes.key(KeyEvent::new(c, Modifiers::NONE)), Some(Cmd::Noop));
        }
        pastes.key(KeyEvent(KeyCode::BracketedPasteEnd, Modifiers::NONE))
    }

    #[test]
    fn short_texts_are_inserted() {
        let mut pastes = Pastes::default();
        assert_eq!(pastes.key(KeyEvent::new('a', Modifiers::NONE)), None, "not pasted");
        let pasted = paste(&mut pastes, "a\rÄ漢\r\nc\n\n\td\x07");
        assert_eq!(pasted, Some(Cmd::Insert(1, "a\nÄ漢\nc\n\n\td".to_owned())));
        assert_eq!(paste(&mut pastes, ""), Some(Cmd::Noop));
        assert_eq!(pastes.key(KeyEvent::ctrl('C')), None);
    }

    #[test]
    fn long_texts_are_folded() {
        let mut pastes = Pastes::default();
        let long = "[pasted text 2, 2500 bytes]\n".repeat(11);
        assert_eq!(paste(&mut pastes, &long), Some(Cmd::Insert(1, "[pasted text 1, 12 lines]".to_owned())));
        let wide = "x".repeat(2500);
        assert_eq!(paste(&mut pastes, &wide), Some(Cmd::Insert(1, "[pasted text 2, 2500 bytes]".to_owned())));
        let line = "a [pasted text 2, 2500 bytes] [pasted text 1, 12 lines][pasted text 1, 13 lines]";
        assert_eq!(pastes.unfold(line), format!("a {wide} {long}[pasted text 1, 13 lines]"));
        pastes.clear();
        assert_eq!(pastes.unfold(line), line);
    }
}
