//! The byte-level alphabet of GPT-2 and the table of the bytes that each token stands for.
//!
//! The alphabet gives every byte a printable character, so that vocabularies are plain text: printable Latin-1 bytes
//! are themselves, the other 68 are U+0100 and on, in order.

use super::vocab::TokenKind;
use crate::error::{Error, Result};

/// Whether `byte` is written as the Latin-1 character of the same number.
const fn is_own_symbol(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// Symbol of every byte.
const SYMBOLS: [char; 256] = {
    let mut table = ['\0'; 256];
    let mut next = 0x100;
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if is_own_symbol(byte as u8) {
            byte as u8 as char
        } else {
            next += 1;
            match char::from_u32(next - 1) {
                Some(symbol) => symbol,
                None => panic!("U+0100 to U+0143 are characters"),
            }
        };
        byte += 1;
    }
    table
};

/// Byte of every symbol from U+0000 to U+0143; -1 where there is none.
const BYTES: [i16; 0x144] = {
    let mut table = [-1; 0x144];
    let mut byte = 0;
    while byte < 256 {
        table[SYMBOLS[byte] as usize] = byte as i16;
        byte += 1;
    }
    table
};

/// The character that stands for `byte` in the text of a normal token.
pub fn symbol_of(byte: u8) -> char {
    SYMBOLS[byte as usize]
}

/// The byte for which `symbol` stands; `None` when it is not of the alphabet.
pub fn byte_of(symbol: char) -> Option<u8> {
    BYTES.get(symbol as usize).and_then(|&b| u8::try_from(b).ok())
}

/// The bytes of every token, in one slab.
#[derive(Debug)]
pub(super) struct ByteTable {
    slab: Vec<u8>,
    /// Where each token ends in the slab.
    ends: Vec<u32>,
}

impl ByteTable {
    pub(super) fn new(tokens: &[String], kinds: &[TokenKind]) -> Result<Self> {
        let total: usize = tokens.iter().map(String::len).sum();
        if u32::try_from(total).is_err() {
            return Err(Error::limit(format!("tokenizer.ggml.tokens holds {total} bytes of text, more than 4 GiB")));
        }
        let mut slab = Vec::with_capacity(total);
        let mut ends = Vec::with_capacity(tokens.len());
        for (token, kind) in tokens.iter().zip(kinds) {
            let start = slab.len();
            let spelled = matches!(kind, TokenKind::Normal | TokenKind::Byte)
                && token.chars().all(|symbol| byte_of(symbol).map(|byte| slab.push(byte)).is_some());
            if !spelled {
                slab.truncate(start);
                slab.extend_from_slice(token.as_bytes());
            }
            ends.push(slab.len() as u32);
        }
        slab.shrink_to_fit();
        Ok(Self { slab, ends })
    }

    /// Bytes of `id`; empty when there is no such token.
    pub(super) fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let Some(&end) = self.ends.get(id) else { return &[] };
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        &self.slab[start as usize..end as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabet_is_one_to_one_and_has_the_known_symbols() {
        for byte in 0..=255 {
            assert_eq!(byte_of(symbol_of(byte)), Some(byte));
        }
        assert_eq!([b' ', b'\n', b'\t', 0, 0x7F, 0xAD].map(symbol_of), ['Ġ', 'Ċ', 'ĉ', 'Ā', 'ġ', 'Ń']);
        assert_eq!([' ', '\u{144}', '中'].map(byte_of), [None; 3]);
    }

    #[test]
    fn added_tokens_are_plain_text_and_normal_ones_are_spelled() {
        let tokens = ["Ġé", "é b", "Ġé", "Ġ中"].map(String::from);
        let kinds = [TokenKind::Normal, TokenKind::Normal, TokenKind::Control, TokenKind::Normal];
        let table = ByteTable::new(&tokens, &kinds).unwrap();
        assert_eq!(table.get(0), [0x20, 0xE9]);
        assert_eq!(table.get(1), "é b".as_bytes(), "a space is not of the alphabet: the text itself");
        assert_eq!(table.get(2), "Ġé".as_bytes());
        assert_eq!(table.get(3), "Ġ中".as_bytes());
        assert_eq!(table.get(4), b"");
    }
}
