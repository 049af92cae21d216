//! Keys while an answer comes: Esc ends the thinking, what else is typed is kept for the next message.
//!
//! While a [`Keys`] lives the terminal does not show what is typed and gives each key at once; Ctrl-C works as always.
//! The terminal is as before once it is dropped, also by a panic, and [`restore`] does it before the program exits.

/// Watches the keys of one answer.
pub struct Keys {
    tty: Option<system::Tty>,
    typed: Typed,
    end_thinking: bool,
}

impl Keys {
    /// Begins; does nothing where standard input is no terminal.
    pub fn watch() -> Self {
        Self { tty: system::Tty::open(), typed: Typed::default(), end_thinking: false }
    }

    /// Whether Esc was pressed since this was asked last. Does not wait.
    pub fn end_thinking(&mut self) -> bool {
        self.take_in();
        std::mem::take(&mut self.end_thinking)
    }

    /// Ends; gives what was typed.
    pub fn finish(mut self) -> String {
        self.take_in();
        self.typed.text()
    }

    fn take_in(&mut self) {
        if let Some(tty) = &mut self.tty {
            self.end_thinking |= self.typed.push(&tty.read());
        }
    }
}

/// Puts the terminal back, if a [`Keys`] is at work: for a program that exits at once.
pub fn restore() {
    system::restore();
}

/// What was typed, without the keys that are no text.
#[derive(Default)]
struct Typed {
    bytes: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After Esc, or what begins as if it were that key.
    Escape,
    /// Within the sequence of an arrow or another such key.
    Sequence,
}

const ESC: u8 = 0x1b;

impl Typed {
    /// Takes the bytes that were there at once, and tells whether Esc was among them. A sequence comes in one piece, so
    /// an Esc at the end is the key.
    fn push(&mut self, bytes: &[u8]) -> bool {
        let mut pressed = false;
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (State::Escape, b'[' | b'O') => State::Sequence,
                (State::Sequence, 0x40..=0x7e) => State::Text,
                (State::Sequence, _) => State::Sequence,
                (before, byte) => {
                    pressed |= before == State::Escape;
                    if byte == ESC {
                        State::Escape
                    } else {
                        self.key(byte);
                        State::Text
                    }
                }
            };
        }
        if self.state == State::Escape {
            pressed = true;
            self.state = State::Text;
        }
        pressed
    }

    fn key(&mut self, byte: u8) {
        match byte {
            b'\r' => self.bytes.push(b'\n'),
            // Backspace, then Ctrl-U.
            0x7f | 0x08 => while self.bytes.pop().is_some_and(|b| b & 0xc0 == 0x80) {},
            0x15 => self.bytes.clear(),
            b'\n' | b'\t' | 0x20.. => self.bytes.push(byte),
            _ => {}
        }
    }

    /// The text; a line break at the end, by which the user meant to send it, is left to them.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).trim_end_matches('\n').to_owned()
    }
}

#[cfg(unix)]
mod system {
    use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
    use std::sync::{Mutex, PoisonError};

    /// How the terminal was, while it is not.
    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    /// Standard input, without echo and without lines.
    pub struct Tty;

    impl Tty {
        pub fn open() -> Option<Self> {
            let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
            let mode = tcgetattr(rustix::stdio::stdin()).ok().filter(|_| before.is_none())?;
            let mut silent = mode.clone();
            silent.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            // A read gives what there is and never waits.
            silent.special_codes[SpecialCodeIndex::VMIN] = 0;
            silent.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &silent).ok()?;
            *before = Some(mode);
            Some(Self)
        }

        pub fn read(&mut self) -> Vec<u8> {
            let mut bytes = vec![0; 4096];
            let read = rustix::io::read(rustix::stdio::stdin(), &mut bytes[..]).unwrap_or(0);
            bytes.truncate(read);
            bytes
        }
    }

    impl Drop for Tty {
        fn drop(&mut self) {
            restore();
        }
    }

    pub fn restore() {
        if let Some(mode) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // A terminal that has gone away needs nothing.
            let _gone = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &mode);
        }
    }
}

#[cfg(windows)]
mod system {
    use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
    use std::io::IsTerminal;
    use std::time::Duration;

    /// The console's events; its mode stays as it is.
    pub struct Tty;

    impl Tty {
        pub fn open() -> Option<Self> {
            std::io::stdin().is_terminal().then_some(Self)
        }

        pub fn read(&mut self) -> Vec<u8> {
            let mut bytes = vec![];
            while matches!(event::poll(Duration::ZERO), Ok(true)) {
                let Ok(Event::Key(key)) = event::read() else { continue };
                if key.kind != KeyEventKind::Press {
                    continue;
                }
                match key.code {
                    KeyCode::Esc => bytes.push(super::ESC),
                    KeyCode::Enter => bytes.push(b'\r'),
                    KeyCode::Tab => bytes.push(b'\t'),
                    KeyCode::Backspace => bytes.push(0x7f),
                    KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => bytes.push(0x15),
                    KeyCode::Char(c) if !key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => {
                        bytes.extend(c.to_string().bytes());
                    }
                    _ => {}
                }
            }
            bytes
        }
    }

    pub fn restore() {}
}

#[cfg(not(any(unix, windows)))]
mod system {
    /// There are no keys to be had here.
    pub struct Tty;

    impl Tty {
        pub fn open() -> Option<Self> {
            None
        }

        pub fn read(&mut self) -> Vec<u8> {
            vec![]
        }
    }

    pub fn restore() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(pieces: &[&[u8]]) -> (String, usize) {
        let mut typed = Typed::default();
        let pressed = pieces.iter().filter(|piece| typed.push(piece)).count();
        (typed.text(), pressed)
    }

    #[test]
    fn text_is_kept() {
        assert_eq!(typed(&[b"next ", "frage über".as_bytes(), b"\r"]), ("next frage über".to_owned(), 0));
        assert_eq!(typed(&[b"a\rb\r"]), ("a\nb".to_owned(), 0));
        assert_eq!(typed(&["xü漢\x7f\x7fy".as_bytes()]), ("xy".to_owned(), 0));
        assert_eq!(typed(&[b"gone\x15here\x04\x01"]), ("here".to_owned(), 0));
        assert_eq!(typed(&[&"漢".as_bytes()[..1], &"漢".as_bytes()[1..]]), ("漢".to_owned(), 0));
    }

    #[test]
    fn escape_is_a_key_unless_it_begins_a_sequence() {
        assert_eq!(typed(&[b"a\x1b", b"b"]), ("ab".to_owned(), 1));
        assert_eq!(typed(&[b"\x1b[A\x1bOB\x1b[1;5C\x1b[200~x"]), ("x".to_owned(), 0));
        assert_eq!(typed(&[b"\x1bx"]), ("x".to_owned(), 1));
        assert_eq!(typed(&[b"\x1b\x1b"]), (String::new(), 1));
    }
}
