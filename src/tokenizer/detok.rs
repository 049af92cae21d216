//! From ids back to text, as it is generated: what is whole is given out at once, what is not waits for its rest.

use super::{TokenKind, Tokenizer};

/// Turns bytes that come in arbitrary portions into text, exactly as `String::from_utf8_lossy` does with all of them
/// at once: a character is given out as soon as it is whole, an impossible sequence becomes U+FFFD as soon as it is
/// seen to be one. Holds at most three bytes back.
#[derive(Clone, Debug, Default)]
pub struct Utf8Stream {
    pending: Vec<u8>,
    out: String,
}

impl Utf8Stream {
    /// Takes `bytes` and returns the text that is now complete (often empty).
    pub fn push(&mut self, bytes: &[u8]) -> &str {
        self.out.clear();
        self.pending.extend_from_slice(bytes);
        let mut rest = 0;
        for chunk in self.pending.utf8_chunks() {
            self.out.push_str(chunk.valid());
            rest += chunk.valid().len();
            let tail = &self.pending[rest..];
            if tail.len() == chunk.invalid().len() && is_unfinished(tail) {
                break;
            }
            if !chunk.invalid().is_empty() {
                self.out.push(char::REPLACEMENT_CHARACTER);
                rest += chunk.invalid().len();
            }
        }
        self.pending.drain(..rest);
        &self.out
    }

    /// Ends the text: U+FFFD when it stops within a character, else nothing. The stream can then be used anew.
    pub fn finish(&mut self) -> &str {
        self.out.clear();
        if !self.pending.is_empty() {
            self.pending.clear();
            self.out.push(char::REPLACEMENT_CHARACTER);
        }
        &self.out
    }

    /// Whether bytes of an unfinished character are held back.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// Whether more bytes could make the invalid `tail` a character.
fn is_unfinished(tail: &[u8]) -> bool {
    !tail.is_empty() && std::str::from_utf8(tail).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
}

/// Streaming detokenizer of one answer: O(1) per token.
#[derive(Clone, Debug)]
pub struct Detokenizer<'t> {
    tokenizer: &'t Tokenizer,
    utf8: Utf8Stream,
    show_control: bool,
}

impl<'t> Detokenizer<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer) -> Self {
        Self { tokenizer, utf8: Utf8Stream::default(), show_control: false }
    }

    /// Whether control tokens (`<|im_end|>`) show as their text; by default they give no text, as with transformers'
    /// `skip_special_tokens`. User-defined ones (`<think>`) always show.
    #[must_use]
    pub fn show_control(mut self, show: bool) -> Self {
        self.show_control = show;
        self
    }

    /// Takes the next id and returns the text that is now complete (often empty). Unknown ids give nothing.
    pub fn push(&mut self, id: u32) -> &str {
        let hidden = !self.show_control && self.tokenizer.kind(id) == Some(TokenKind::Control);
        self.utf8.push(if hidden { &[] } else { self.tokenizer.bytes(id) })
    }

    /// Ends the text: U+FFFD when it stops within a character, else nothing.
    pub fn finish(&mut self) -> &str {
        self.utf8.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `parts` and joins what comes out.
    fn stream<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> String {
        let mut utf8 = Utf8Stream::default();
        let mut out = String::new();
        for part in parts {
            out.push_str(utf8.push(part));
            assert!(utf8.pending.len() <= 3);
        }
        out + utf8.finish()
    }

    #[test]
    fn every_split_gives_the_lossy_text() {
        let samples: [&[u8]; 9] = [
            "aé中🦙\u{301}z".as_bytes(),
            b"\xff\xfe\xff",
            b"\xe4\xb8",
            b"\xf0\x9f\xa6",
            b"\xf0\x9fa\xe4\xb8\xf0\x9f\xa6\x99",
            b"\xed\xa0\x80x",
            b"\xc0\xaf\xf4\x90\x80\x80",
            b"\xe4\xe4\xe4\xb8\xad",
            b"",
        ];
        for bytes in samples {
            let whole = String::from_utf8_lossy(bytes);
            assert_eq!(stream(bytes.chunks(1)), whole, "{bytes:x?} byte by byte");
            for i in 0..=bytes.len() {
                for j in i..=bytes.len() {
                    assert_eq!(stream([&bytes[..i], &bytes[i..j], &bytes[j..]]), whole, "{bytes:x?} at {i}, {j}");
                }
            }
        }
    }

    #[test]
    fn text_comes_as_soon_as_it_is_whole() {
        let mut utf8 = Utf8Stream::default();
        assert_eq!(utf8.push(b"a\xf0\x9f"), "a");
        assert_eq!(utf8.push(b"\xa6"), "");
        assert!(utf8.is_pending());
        assert_eq!(utf8.push(b"\x99b"), "🦙b");
        assert_eq!(utf8.push(b"\xff"), "\u{FFFD}", "nothing can complete it");
        assert_eq!(utf8.finish(), "");
        assert_eq!(utf8.push(b"\xe4"), "");
        assert_eq!(utf8.finish(), "\u{FFFD}");
        assert_eq!(utf8.push(b"ok"), "ok", "usable anew");
    }
}
