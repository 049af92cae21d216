//! The display as a whole: the same whatever pieces the text comes in, true to the text, right in its columns.

use super::render::{Renderer, Target, Thinking};
use super::{harmless, thousands};
use crate::chat::Router;
use std::num::NonZero;
use std::time::Duration;

const FULL: Target = Target { terminal: true, colours: true, wrap: true, markdown: true, thinking: Thinking::Show };

/// What thinking and answer of all kinds look like.
const TEXT: &str = "<think>\nOkay, 漢字 e\u{301} first.\n\nThen **x**.\n</think>\n\n# Ti**t**le 漢\n\n\
Some **bold words** and `co de`, 2**3, \\*no\\* 👨\u{200d}👩\u{200d}👧 über-long-word-that-fits-nowhere 🇩🇪🇫🇷.\n\n\
- one two three four five six\n  12) **a** *b*\n> quote ``x`y``\n\n```rust\nfn main() { /* 漢字 */ }  // a long line of code\n\
```\n| a | b |\n漢字漢字漢字漢字漢字漢字。漢字\ttab\r\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": [1, 2, 3]}}\n\
</tool_call>\n**open `end";

fn shown(target: Target, columns: usize, pieces: &[&str]) -> String {
    let mut router = Router::new(false);
    let mut renderer = Renderer::new(target, Box::new(move || columns));
    let mut out = String::new();
    for piece in pieces {
        router.push(piece).into_iter().for_each(|event| renderer.event(event, &mut out));
    }
    router.finish().0.into_iter().for_each(|event| renderer.event(event, &mut out));
    renderer.finish(&mut out);
    out
}

/// Each character with the style it is shown in; no other sequences may be there.
fn cells(out: &str) -> Vec<(char, &str)> {
    let (mut cells, mut style, mut rest) = (vec![], "0", out);
    while let Some(c) = rest.chars().next() {
        if let Some(sequence) = rest.strip_prefix("\x1b[") {
            let end = sequence.find('m').expect("a style is all that is set");
            assert!(sequence[..end].chars().all(|c| c.is_ascii_digit() || c == ';'), "{sequence:?}");
            (style, rest) = (&sequence[..end], &sequence[end + 1..]);
        } else {
            cells.push((c, style));
            rest = &rest[c.len_utf8()..];
        }
    }
    assert_eq!(style, "0", "the terminal is left as it was");
    cells
}

fn text_of(out: &str) -> String {
    cells(out).into_iter().map(|(c, _)| c).collect()
}

/// A terminal of so many rows and columns.
fn emulated(rows: u16, columns: u16) -> vt100::Parser {
    let size = |n| NonZero::new(n).expect("a terminal has rows and columns");
    vt100::Parser::new(size(rows), size(columns), 0)
}

#[test]
fn pieces_do_not_matter() {
    let borders: Vec<usize> = TEXT.char_indices().map(|(at, _)| at).collect();
    for thinking in [Thinking::Show, Thinking::Hide] {
        for columns in [7, 20, 80] {
            let target = Target { thinking, ..FULL };
            let whole = shown(target, columns, &[TEXT]);
            let expected = cells(&whole);
            let single: Vec<&str> = TEXT.split_inclusive(|_| true).collect();
            assert_eq!(cells(&shown(target, columns, &single)), expected, "one by one, {columns} columns");
            for &at in &borders {
                let (a, b) = TEXT.split_at(at);
                assert_eq!(cells(&shown(target, columns, &[a, b])), expected, "split at {at}, {columns} columns");
            }
        }
    }
}

#[test]
fn every_split_into_three() {
    let text = "- **漢e\u{301}** `c d`\n```\nx ``\n```\n**";
    let expected = shown(FULL, 6, &[text]);
    let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    for (i, &first) in borders.iter().enumerate() {
        for &second in &borders[i..] {
            let pieces = [&text[..first], &text[first..second], &text[second..]];
            assert_eq!(cells(&shown(FULL, 6, &pieces)), cells(&expected), "{first}, {second}");
        }
    }
}

#[test]
fn what_is_copied_is_what_was_written() {
    let tagged = shown(Target { terminal: false, ..FULL }, 20, &[TEXT]);
    assert!(tagged.starts_with("<think>\nOkay, 漢字"));
    let written = harmless(&tagged).replace("<think>\n", "").replace("\n</think>\n\n", "\n\n");
    assert_eq!(text_of(&shown(Target { wrap: false, ..FULL }, 20, &[TEXT])), written, "not wrapped: byte for byte");
    let dense = |text: &str| -> String { text.split_whitespace().collect() };
    for columns in [1, 2, 7, 20, 80] {
        let wrapped = text_of(&shown(FULL, columns, &[TEXT]));
        assert_eq!(dense(&wrapped), dense(&written), "only white space changes at {columns} columns");
        assert!(wrapped.contains("fn main() { /* 漢字 */ }  // a long line of code\n"), "code is never wrapped");
        assert!(wrapped.contains("{\"name\": \"f\", \"arguments\": {\"x\": [1, 2, 3]}}\n"), "nor are calls");
    }
}

#[test]
fn no_colours_no_sequences() {
    let plain = shown(Target { colours: false, ..FULL }, 30, &[TEXT]);
    assert!(!plain.contains('\x1b'));
    assert!(plain.starts_with("<think>\nOkay,") && plain.contains("\n</think>\n\n# Ti**t**le"), "{plain}");
}

#[test]
fn a_terminal_agrees_on_the_columns() {
    let text = "one two 漢字漢字漢字漢字 e\u{301}e\u{301}e\u{301} averyveryverylongword ab\tc 漢。漢。漢。漢。漢。 \
                exact fit of 16 columns **bold** end";
    let mut terminal = emulated(24, 16);
    terminal.process(shown(FULL, 16, &[text]).replace('\n', "\r\n").as_bytes());
    let rows: Vec<String> = terminal.screen().rows(0, 16).collect();
    let expected = [
        "one two 漢字漢字",
        "漢字漢字 e\u{301}e\u{301}e\u{301}",
        "averyveryverylon",
        "gword ab",
        "c 漢。漢。漢。",
        "漢。漢。 exact",
        "fit of 16",
        "columns **bold**",
        "end",
    ];
    assert_eq!(&rows[..expected.len()], &expected);
}

#[test]
fn a_summary_is_one_line() {
    let target = Target { thinking: Thinking::Summary, ..FULL };
    let mut renderer = Renderer::new(target, Box::new(|| 40));
    let mut router = Router::new(true);
    let mut out = String::new();
    for (i, piece) in ["Well", ", let", " me see\n", "and\n</think>\n\n", "Yes."].iter().enumerate() {
        renderer.thought(1500 + i, Duration::from_secs(70 + i as u64));
        router.push(piece).into_iter().for_each(|event| renderer.event(event, &mut out));
        if router.in_reasoning() {
            renderer.live_line(&mut out);
        }
    }
    assert!(out.contains("\x1b[2mthinking, 1,502 tokens, 1 min 12 s\x1b[0m"), "{out:?}");
    renderer.finish(&mut out);
    let mut terminal = emulated(10, 40);
    terminal.process(out.replace('\n', "\r\n").as_bytes());
    assert_eq!(terminal.screen().contents(), "thought for 1 min 13 s (1,503 tokens)\n\nYes.");

    // Off a terminal the answer stands alone.
    let off = Target { terminal: false, ..target };
    assert_eq!(shown(off, 40, &["<think>\nWell\n</think>\n\nYes."]), "Yes.\n");
    // The line never takes more than one row.
    let mut narrow = Renderer::new(target, Box::new(|| 12));
    let mut out = String::new();
    Router::new(true).push("x").into_iter().for_each(|event| narrow.event(event, &mut out));
    narrow.live_line(&mut out);
    assert!(out.contains("\x1b[2mthinking, 0\x1b[0m"), "{out:?}");
}

#[test]
fn numbers() {
    let all = [(0, "0"), (999, "999"), (1000, "1,000"), (8214, "8,214"), (1_234_567, "1,234,567")];
    all.into_iter().for_each(|(n, text)| assert_eq!(thousands(n), text));
}
