//! A Rust source as the tidy rules see it: comments and literals blanked, functions, modules and paths found.
//!
//! This is no parser. It relies on rustfmt's output being regular and on nothing but brackets, words and `::`.

use std::ops::Range;

/// A source text with what the rules ask of it. Byte offsets are the same in `raw` and `code`.
pub struct Source {
    /// The text as written.
    pub raw: String,
    /// The text with every byte inside comments, strings and character literals made a space (newlines kept).
    pub code: String,
}

impl Source {
    pub fn new(raw: &str) -> Self {
        Self { raw: raw.to_string(), code: mask(raw) }
    }

    /// Line of an offset, from 1.
    pub fn line(&self, at: usize) -> usize {
        self.code[..at].bytes().filter(|b| *b == b'\n').count() + 1
    }

    /// Offsets where the word stands alone (no identifier character on either side).
    pub fn words(&self, word: &str) -> Vec<usize> {
        let bytes = self.code.as_bytes();
        let alone = |at: &usize| {
            let before = at.checked_sub(1).is_none_or(|i| !is_ident(bytes[i]));
            before && bytes.get(at + word.len()).is_none_or(|b| !is_ident(*b))
        };
        self.code.match_indices(word).map(|(at, _)| at).filter(alone).collect()
    }

    /// Body of each inline `mod NAME { .. }`, braces included.
    pub fn inline_modules(&self) -> Vec<Range<usize>> {
        let body = |at: usize| {
            let rest = self.code[at + 3..].trim_start();
            let name = rest.bytes().take_while(|b| is_ident(*b)).count();
            let open = rest[name..].trim_start();
            (name > 0 && open.starts_with('{')).then(|| self.braces(self.code.len() - open.len()))
        };
        self.words("mod").into_iter().filter_map(body).collect()
    }

    /// Inline modules that only tests compile.
    pub fn test_modules(&self) -> Vec<Range<usize>> {
        let after_cfg = |r: &Range<usize>| {
            let head = self.code[..r.start].rfind("mod ").expect("a module has a head");
            self.code[..head].trim_end().ends_with("#[cfg(test)]")
        };
        self.inline_modules().into_iter().filter(after_cfg).collect()
    }

    /// Each function with a body: its name, the line of `fn` and the number of lines to its closing brace.
    pub fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut found = Vec::new();
        for at in self.words("fn") {
            let rest = self.code[at + 2..].trim_start();
            let name: String = rest.bytes().take_while(|b| is_ident(*b)).map(char::from).collect();
            if let (false, Some(open)) = (name.is_empty(), self.body_after(at)) {
                let (first, last) = (self.line(at), self.line(self.braces(open).end - 1));
                found.push((name, first, last - first + 1));
            }
        }
        found
    }

    /// The `{` that opens the body of the function at `at`; none for a declaration that ends in `;`.
    fn body_after(&self, at: usize) -> Option<usize> {
        let mut depth = 0usize;
        for (i, b) in self.code.bytes().enumerate().skip(at) {
            match b {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth = depth.saturating_sub(1),
                b'{' if depth == 0 => return Some(i),
                b';' if depth == 0 => return None,
                _ => {}
            }
        }
        None
    }

    /// From the `{` at `open` to past its `}`; to the end of the text where it is missing.
    fn braces(&self, open: usize) -> Range<usize> {
        let mut depth = 0usize;
        for (i, b) in self.code.bytes().enumerate().skip(open) {
            match b {
                b'{' => depth += 1,
                b'}' if depth == 1 => return open..i + 1,
                b'}' => depth -= 1,
                _ => {}
            }
        }
        open..self.code.len()
    }

    /// First names after `root::`, as (offset, name): one, or each of a `{..}` group; `*` for a glob.
    pub fn names_under(&self, root: &str) -> Vec<(usize, String)> {
        let after = |at: usize| self.code[at + root.len()..].strip_prefix("::").map(|_| at + root.len() + 2);
        let names = |at: usize| self.first_names(at).into_iter().map(move |name| (at, name));
        self.words(root).into_iter().filter_map(after).flat_map(names).collect()
    }

    /// Paths that climb: (offset of the first `super`, how many, first names after them).
    pub fn climbs(&self) -> Vec<(usize, usize, Vec<String>)> {
        let mut found = Vec::new();
        let mut past = 0;
        for start in self.words("super") {
            if start < past {
                continue;
            }
            let (mut at, mut count) = (start, 0);
            while self.code[at..].starts_with("super::") {
                at += "super::".len();
                count += 1;
            }
            past = at;
            if count > 0 {
                found.push((start, count, self.first_names(at)));
            }
        }
        found
    }

    fn first_names(&self, at: usize) -> Vec<String> {
        let text = &self.code[at..];
        if !text.starts_with('{') {
            return vec![first_name(text)];
        }
        let group = self.braces(at);
        split_top(&self.code[group.start + 1..group.end - 1]).into_iter().map(first_name).collect()
    }
}

fn first_name(path: &str) -> String {
    let path = path.trim_start();
    if path.starts_with('*') {
        return "*".into();
    }
    path.bytes().take_while(|b| is_ident(*b)).map(char::from).collect()
}

/// Parts of a use group between commas that are not inside an inner group; empty ones left out.
fn split_top(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0usize, 0, Vec::new());
    for (i, b) in group.bytes().enumerate() {
        match b {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => {
                parts.push(&group[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&group[start..]);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

fn is_ident(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// Blanks comments and the inside of literals.
fn mask(raw: &str) -> String {
    let bytes = raw.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = token_end(bytes, at);
        if end > at + 1 {
            out[at..end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out.into_iter().map(|b| if b.is_ascii() { b } else { b' ' }).collect()).expect("ASCII now")
}

/// Past the comment or literal that starts at `at`, or `at` where none does.
fn token_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let in_word = at > 0 && is_ident(bytes[at - 1]);
    match rest[0] {
        b'/' if rest.starts_with(b"//") => at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        b'/' if rest.starts_with(b"/*") => at + block_comment(rest),
        b'"' => at + quoted(rest, b'"'),
        b'r' if !in_word || bytes[at - 1] == b'b' => at + raw_string(rest).unwrap_or(0),
        // A character, not a lifetime: closes within an escape or one (possibly long) character.
        b'\'' if rest.get(1) == Some(&b'\\') => at + quoted(rest, b'\''),
        b'\'' => at + character(rest),
        _ => at,
    }
}

fn character(rest: &[u8]) -> usize {
    let length = match rest.get(1) {
        Some(b) if *b >= 0xF0 => 4,
        Some(b) if *b >= 0xE0 => 3,
        Some(b) if *b >= 0xC0 => 2,
        _ => 1,
    };
    if rest.get(length + 1) == Some(&b'\'') { length + 2 } else { 0 }
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut i = 1;
    while i < rest.len() && rest[i] != quote {
        i += if rest[i] == b'\\' { 2 } else { 1 };
    }
    (i + 1).min(rest.len())
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let body = 2 + hashes;
    let found = rest[body..].windows(close.len()).position(|w| w == close);
    Some(found.map_or(rest.len(), |i| body + i + close.len()))
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut i) = (0usize, 0);
    while i < rest.len() {
        if rest[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if rest[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    rest.len()
}
