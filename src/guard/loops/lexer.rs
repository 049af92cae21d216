//! Cuts streamed text into words, numbers and marks, whatever tokens it comes in.
//!
//! Words are runs of letters, in lower case; a letter of a script without spaces between words is a word. Numbers are runs of
//! digits. Single spaces between words are nothing; two or more, and tabs, are a mark (columns, indentation).

use super::exact::is_common_mark;

/// A piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lexeme {
    /// A word, by its hash.
    Word(u64),
    /// A number; one too large for 64 bits is taken for the largest.
    Number(u64),
    /// A mark.
    Mark(Mark),
}

/// A mark, and what kind of text it speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The character.
    pub char: char,
    /// Whether it is one that sentences have few of, or stands as in no sentence.
    pub symbol: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Nothing,
    Word(u64),
    Number(u64),
    /// White space, and whether it is more than one blank.
    Space(bool),
}

/// The state between two portions of text.
#[derive(Clone, Debug)]
pub(super) struct Lexer {
    open: Open,
    /// A mark whose kind hangs on what follows: one that stands between two words without a space.
    mark: Option<char>,
}

const FNV: (u64, u64) = (0xcbf2_9ce4_8422_2325, 0x0100_0000_01b3);

/// One more value into a hash.
pub(super) fn hash(so_far: u64, value: u64) -> u64 {
    value.to_le_bytes().iter().fold(so_far, |h, &b| (h ^ u64::from(b)).wrapping_mul(FNV.1))
}

/// The hash of nothing.
pub(super) const NOTHING: u64 = FNV.0;

impl Lexer {
    pub fn new() -> Self {
        Self { open: Open::Nothing, mark: None }
    }

    /// Takes more text and gives each lexeme that it ends.
    pub fn push(&mut self, text: &str, give: &mut dyn FnMut(Lexeme)) {
        for c in text.chars() {
            self.char(c, give);
        }
    }

    fn char(&mut self, c: char, give: &mut dyn FnMut(Lexeme)) {
        if let Some(mark) = self.mark.take() {
            // "a,b" and "x:y" are data; "a, b" and "so." are sentences.
            let tight = c.is_alphanumeric() && !matches!(mark, '-' | '\'' | '’' | '.' | '*' | '"' | '(');
            give(Lexeme::Mark(Mark { char: mark, symbol: tight }));
        }
        let digit = c.to_digit(10);
        self.open = match (self.open, digit) {
            (Open::Number(n), Some(d)) => Open::Number(n.saturating_mul(10).saturating_add(u64::from(d))),
            (Open::Word(h), None) if c.is_alphabetic() && !is_whole_word(c) => Open::Word(lower(h, c)),
            (Open::Space(_), None) if c == ' ' => Open::Space(true),
            (open, digit) => {
                close(open, give);
                self.begin(c, digit, give)
            }
        };
    }

    fn begin(&mut self, c: char, digit: Option<u32>, give: &mut dyn FnMut(Lexeme)) -> Open {
        match digit {
            Some(d) => Open::Number(u64::from(d)),
            None if is_whole_word(c) => {
                give(Lexeme::Word(lower(NOTHING, c)));
                Open::Nothing
            }
            None if c.is_alphabetic() => Open::Word(lower(NOTHING, c)),
            None if c == ' ' => Open::Space(false),
            None if is_common_mark(c) => {
                self.mark = Some(c);
                Open::Nothing
            }
            None => {
                give(Lexeme::Mark(Mark { char: c, symbol: c != '\n' && c != '\r' }));
                Open::Nothing
            }
        }
    }
}

fn close(open: Open, give: &mut dyn FnMut(Lexeme)) {
    match open {
        Open::Word(h) => give(Lexeme::Word(h)),
        Open::Number(n) => give(Lexeme::Number(n)),
        Open::Space(true) => give(Lexeme::Mark(Mark { char: ' ', symbol: true })),
        Open::Nothing | Open::Space(false) => {}
    }
}

fn lower(h: u64, c: char) -> u64 {
    c.to_lowercase().fold(h, |h, c| hash(h, u64::from(u32::from(c))))
}

/// Letters of scripts that put no spaces between words: Chinese, Japanese, Thai and their neighbours.
fn is_whole_word(c: char) -> bool {
    matches!(c, '\u{0E00}'..='\u{0EFF}' | '\u{2E80}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
        && c.is_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(parts: &[&str]) -> Vec<Lexeme> {
        let (mut lexer, mut all) = (Lexer::new(), vec![]);
        parts.iter().for_each(|part| lexer.push(part, &mut |l| all.push(l)));
        all
    }

    fn word(text: &str) -> Lexeme {
        Lexeme::Word(text.chars().fold(NOTHING, |h, c| hash(h, u64::from(u32::from(c)))))
    }

    fn mark(char: char, symbol: bool) -> Lexeme {
        Lexeme::Mark(Mark { char, symbol })
    }

    #[test]
    fn text_is_cut_the_same_whatever_the_portions() {
        let text = "Wait, step 41:  a,b = {x1}\n你好。 ";
        let whole = lex(&[text]);
        let letters: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(lex(&letters.iter().map(String::as_str).collect::<Vec<_>>()), whole);
        let head = [word("wait"), mark(',', false), word("step"), Lexeme::Number(41), mark(':', false)];
        assert_eq!(whole[..5], head);
        assert_eq!(whole[5..10], [mark(' ', true), word("a"), mark(',', true), word("b"), mark('=', true)]);
        assert_eq!(whole[10..14], [mark('{', true), word("x"), Lexeme::Number(1), mark('}', true)]);
        assert_eq!(whole[14..], [mark('\n', false), word("你"), word("好"), mark('。', false)]);
    }

    #[test]
    fn hyphens_and_stops_within_are_no_data() {
        assert_eq!(lex(&["re-check. "]), [word("re"), mark('-', false), word("check"), mark('.', false)]);
        assert_eq!(lex(&["99999999999999999999999 "]), [Lexeme::Number(u64::MAX)]);
    }
}
