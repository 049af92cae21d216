//! Keeps control tokens that messages spell out apart from the template's own.
//!
//! A template sees plain strings, so afterwards nobody knows who wrote what. Therefore every control token spelled in
//! a message or a tool (and every beginning of one at the end of a string, which another string might complete) gets a
//! mark after its first character: a character that occurs nowhere in the inputs. The template's own logic
//! (`startswith`, `split('</think>')`, `strip`) sees no difference, as it does not look for control tokens. After
//! rendering, the marks tell the places, and are taken out.

use std::collections::HashSet;
use std::ops::Range;

use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::tokenizer::Segment;

/// How much is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Whole control tokens.
    Whole,
    /// Those, and beginnings at the end of a string.
    WholeAndBegun,
}

/// Finds control tokens in strings.
#[derive(Debug)]
pub(super) struct Guard {
    tokens: AhoCorasick,
    /// Every proper beginning of a control token, at character borders.
    beginnings: HashSet<String>,
    longest: usize,
}

impl Guard {
    pub(super) fn new(control: &[String]) -> Result<Self> {
        let control: Vec<&str> = control.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        let tokens = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .start_kind(StartKind::Both)
            .build(&control)
            .map_err(|e| Error::file(format!("the control tokens of the vocabulary cannot be indexed: {e}")))?;
        let mut beginnings = HashSet::new();
        for token in &control {
            beginnings.extend(token.char_indices().skip(1).map(|(at, _)| token[..at].to_string()));
        }
        let longest = control.iter().map(|token| token.len()).max().unwrap_or(0);
        Ok(Self { tokens, beginnings, longest })
    }

    /// Where control tokens start in `text`, overlapping ones included, and what `scope` adds; ascending.
    fn starts(&self, text: &str, scope: Scope) -> Vec<usize> {
        let mut starts = vec![];
        let mut from = 0;
        while let Some(found) = self.tokens.find(Input::new(text).range(from..)) {
            starts.push(found.start());
            from = text.ceil_char_boundary(found.start() + 1);
        }
        if scope == Scope::WholeAndBegun {
            let first = text.ceil_char_boundary(text.len().saturating_sub(self.longest));
            let tail = text[first..].char_indices().map(|(at, _)| first + at);
            starts.extend(tail.filter(|&at| self.beginnings.contains(&text[at..])));
            starts.sort_unstable();
            starts.dedup();
        }
        starts
    }

    /// Whether any string in `value` has something to mark.
    pub(super) fn finds(&self, value: &Value, scope: Scope) -> bool {
        let hit = |text: &str| !self.starts(text, scope).is_empty();
        match value {
            Value::String(text) => hit(text),
            Value::Array(items) => items.iter().any(|item| self.finds(item, scope)),
            Value::Object(map) => map.iter().any(|(key, item)| hit(key) || self.finds(item, scope)),
            _ => false,
        }
    }

    /// `value` with a mark in every place that `scope` names.
    pub(super) fn marked(&self, value: &Value, scope: Scope, mark: char) -> Value {
        match value {
            Value::String(text) => Value::String(self.marked_text(text, scope, mark)),
            Value::Array(items) => items.iter().map(|item| self.marked(item, scope, mark)).collect(),
            Value::Object(map) => {
                let mut out = Map::new();
                for (key, item) in map {
                    out.insert(self.marked_text(key, scope, mark), self.marked(item, scope, mark));
                }
                Value::Object(out)
            }
            other => other.clone(),
        }
    }

    fn marked_text(&self, text: &str, scope: Scope, mark: char) -> String {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for start in self.starts(text, scope) {
            let after = text.ceil_char_boundary(start + 1);
            out.push_str(&text[done..after]);
            out.push(mark);
            done = after;
        }
        out + &text[done..]
    }

    /// Takes the marks out of a rendered text; what they mark becomes untrusted segments.
    pub(super) fn segments(&self, rendered: &str, mark: char) -> Vec<Segment> {
        let mut text = String::with_capacity(rendered.len());
        let mut starts = vec![];
        for c in rendered.chars() {
            if c != mark {
                text.push(c);
            } else if let Some((at, _)) = text.char_indices().next_back() {
                starts.push(at);
            }
        }
        let mut spans: Vec<Range<usize>> = vec![];
        for start in starts {
            let here = Input::new(&text).range(start..).anchored(Anchored::Yes);
            let end = self.tokens.find(here).map_or(text.ceil_char_boundary(start + 1), |found| found.end());
            match spans.last_mut() {
                Some(last) if start <= last.end => last.end = last.end.max(end),
                _ => spans.push(start..end),
            }
        }
        cut(&text, &spans)
    }
}

/// Segments of `text`, untrusted in the ascending `spans`.
fn cut(text: &str, spans: &[Range<usize>]) -> Vec<Segment> {
    let mut segments = vec![];
    let mut push = |range: Range<usize>, trusted| {
        if !range.is_empty() {
            segments.push(Segment { text: text[range].to_string(), trusted });
        }
    };
    let mut done = 0;
    for span in spans {
        push(done..span.start, true);
        push(span.clone(), false);
        done = span.end;
    }
    push(done..text.len(), true);
    segments
}

/// A character that occurs in none of `texts`: a noncharacter if one is free, else one of private use.
pub(super) fn free_mark<'t>(texts: impl Iterator<Item = &'t str>) -> Result<char> {
    let used: HashSet<char> = texts.flat_map(str::chars).filter(|c| *c >= '\u{FDD0}').collect();
    ('\u{FDD0}'..='\u{FDEF}')
        .chain('\u{F0000}'..='\u{10FFFF}')
        .find(|c| !used.contains(c))
        .ok_or_else(|| Error::limit("the messages use every private character of Unicode; none is left to mark text"))
}

/// All strings in `value`, keys included.
pub(super) fn strings<'v>(value: &'v Value, take: &mut impl FnMut(&'v str)) {
    match value {
        Value::String(text) => take(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, take)),
        Value::Object(map) => {
            for (key, item) in map {
                take(key);
                strings(item, take);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn guard() -> Guard {
        Guard::new(&["<|im_start|>", "<|im_end|>", "<|im_", "\u{1}"].map(String::from)).unwrap()
    }

    #[test]
    fn marks_come_out_where_they_went_in() {
        let guard = guard();
        for text in
            ["", "plain", "<|im_end|>", "a<|im_<|im_end|>b", "<<|im_start|>", "\u{1}x\u{1}", "中<|im_end|>中", "x<|"]
        {
            let marked = guard.marked(&json!(text), Scope::WholeAndBegun, '\u{FDD0}');
            let segments = guard.segments(marked.as_str().unwrap(), '\u{FDD0}');
            assert_eq!(segments.iter().map(|s| s.text.as_str()).collect::<String>(), text);
            assert!(segments.iter().filter(|s| s.trusted).all(|s| guard.starts(&s.text, Scope::Whole).is_empty()));
        }
    }

    #[test]
    fn beginnings_count_only_at_the_end() {
        let guard = guard();
        assert_eq!(guard.starts("a < b <|i", Scope::WholeAndBegun), [6]);
        assert!(guard.starts("<|im", Scope::Whole).is_empty());
        assert_eq!(guard.starts("<<|im_end|><", Scope::WholeAndBegun), [1, 11]);
        assert!(!guard.finds(&json!({"a": [1, null, "<b>"]}), Scope::WholeAndBegun));
        assert!(guard.finds(&json!({"a<|im_end|>": 1}), Scope::Whole));
    }

    #[test]
    fn a_mark_is_a_character_that_is_free() {
        let all: String = ('\u{FDD0}'..='\u{FDEF}').collect();
        assert_eq!(free_mark(["a", "b"].into_iter()).unwrap(), '\u{FDD0}');
        assert_eq!(free_mark(["\u{FDD0}"].into_iter()).unwrap(), '\u{FDD1}');
        assert_eq!(free_mark([all.as_str()].into_iter()).unwrap(), '\u{F0000}');
    }
}
