//! Where a long text may be cut so that the ids of the pieces are the ids of the whole.
//!
//! The encoder needs about 150 bytes of memory per byte of text, so long texts are encoded piece by piece. A cut is
//! sure when the split regex ends a match there whatever surrounds it, and when NFC does not reach over it:
//! * after a line break, before something that is not white space: every alternative which takes a line break takes it
//!   at its end, with all the white space that leads to it;
//! * after a letter, before an ASCII character that is not a letter: letters are only taken at the end of a match, and
//!   only marks extend a run or compose backwards;
//! * after an ASCII digit, before any ASCII character: a digit is a match of its own.
//!
//! The piece before a cut of the last two kinds ends in no white space, so the look-ahead `(?!\S)` sees nothing new.

/// Bytes after which a cut is looked for.
pub(super) const CHUNK: usize = 64 << 10;

/// Letters (general category L) that NFC leaves as they are, in ranges that hold nothing else.
fn is_plain_letter(c: char) -> bool {
    c.is_ascii_alphabetic()
        || matches!(c, 'а'..='я' | 'А'..='Я' | 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '\u{4E00}'..='\u{9FA5}' | '가'..='힣')
}

/// Whether the text may be cut between `before` and `after`.
fn is_sure(before: char, after: char) -> bool {
    match before {
        '\n' | '\r' => !after.is_whitespace(),
        '0'..='9' => after.is_ascii(),
        _ => is_plain_letter(before) && after.is_ascii() && !after.is_ascii_alphabetic(),
    }
}

/// Length of the first piece of `text`: the last sure cut within `limit` bytes, else the first one after it, else all.
pub(super) fn first_piece(text: &str, limit: usize) -> usize {
    if text.len() <= limit {
        return text.len();
    }
    let middle = text.floor_char_boundary(limit);
    let mut after = text[middle..].chars().next();
    for (at, c) in text[..middle].char_indices().rev() {
        if after.is_some_and(|after| is_sure(c, after)) {
            return at + c.len_utf8();
        }
        after = Some(c);
    }
    let mut before = None;
    for (at, c) in text[middle..].char_indices() {
        if before.is_some_and(|before| is_sure(before, c)) {
            return middle + at;
        }
        before = Some(c);
    }
    text.len()
}

/// Cuts `text` into pieces of `limit` bytes or less where that is surely harmless.
pub(super) fn pieces(mut text: &str, limit: usize) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let (piece, rest) = text.split_at(first_piece(text, limit));
        text = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text_and_end_where_it_is_sure() {
        let text = "one two\n\nthree 12345 一二三。 x\r\n  y";
        for limit in 0..text.len() {
            let cut: Vec<_> = pieces(text, limit).collect();
            assert_eq!(cut.concat(), text);
            assert!(cut.iter().all(|piece| !piece.is_empty()));
        }
        assert_eq!(pieces("ab cd", 3).collect::<Vec<_>>(), ["ab", " cd"]);
        assert_eq!(pieces("a\n\nb", 3).collect::<Vec<_>>(), ["a\n\n", "b"]);
        assert_eq!(pieces("!!!!!!", 2).collect::<Vec<_>>(), ["!!!!!!"], "no sure cut: left whole");
        assert_eq!(pieces("e\u{301} f", 1).collect::<Vec<_>>(), ["e\u{301} f"], "never before a mark");
    }
}
