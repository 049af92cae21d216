//! Light Markdown, styled and not changed: every character of the text comes out, in its order, so that what is copied
//! from the terminal is what the model wrote.
//!
//! Known are headings, lists, quotes, tables (not wrapped), fenced code (not wrapped), `code` and `**bold**`; the marks
//! are faint. Text may come in any pieces: no more is held back than what decides how it looks, at most the beginning
//! of a line or a run of marks. What is opened in a line and not closed ends with it.

use super::wrap::Style;

/// What the text becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A grapheme, its style, and whether its line may be broken between words.
    Text(String, Style, bool),
    /// A line break.
    Newline,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Not known yet: only the beginning has come.
    Start,
    /// Ordinary text, in this style.
    Text(Style),
    /// All of one style, never broken.
    Verbatim(Style),
}

/// The mark that opened a block of code: its character and how many at least close it.
type Fence = (char, usize);

/// What the beginning of a line says.
#[derive(Debug, PartialEq, Eq)]
enum Beginning {
    /// More must come.
    Unknown,
    /// This many bytes are a mark, and the line goes on as text of this style.
    Marked(usize, Style),
    /// A line of a table.
    Table,
    /// The line opens a block of code.
    Opens(Fence),
    /// Nothing special.
    Plain,
}

const CODE: Style = Style { bold: false, dim: false, code: true };
const BOLD: Style = Style { bold: true, dim: false, code: false };

/// The state of one text.
pub struct Markdown {
    line: Line,
    /// The beginning of the line, while it is not known what it is.
    begun: Vec<String>,
    fence: Option<Fence>,
    bold: bool,
    /// How many backticks close the code that is open in this line.
    code: Option<usize>,
    /// A run of one mark, whose meaning what follows decides.
    run: Option<(char, usize)>,
    /// The last character of the line before the run.
    before: Option<char>,
    /// A backslash came: the next mark is text.
    escaped: bool,
    out: Vec<Item>,
}

impl Default for Markdown {
    fn default() -> Self {
        Self {
            line: Line::Start,
            begun: vec![],
            fence: None,
            bold: false,
            code: None,
            run: None,
            before: None,
            escaped: false,
            out: vec![],
        }
    }
}

impl Markdown {
    /// What one more grapheme completes.
    pub fn push(&mut self, grapheme: &str) -> Vec<Item> {
        if grapheme == "\n" {
            self.end_line();
        } else if self.line == Line::Start {
            self.begun.push(grapheme.to_owned());
            self.begin(false);
        } else {
            self.put(grapheme);
        }
        std::mem::take(&mut self.out)
    }

    /// What was held back, when the text ends.
    pub fn finish(&mut self) -> Vec<Item> {
        self.begin(true);
        self.end_run(None);
        std::mem::take(&mut self.out)
    }

    fn end_line(&mut self) {
        self.begin(true);
        self.end_run(None);
        self.out.push(Item::Newline);
        (self.line, self.bold, self.code, self.before, self.escaped) = (Line::Start, false, None, None, false);
    }

    /// Decides what the line is if it can be told; it must be when no more of it comes.
    fn begin(&mut self, ends: bool) {
        if self.line != Line::Start || self.begun.is_empty() {
            return;
        }
        let text = self.begun.concat();
        let mut marked = 0;
        self.line = match self.fence {
            Some(fence) => match closes(&text, fence) {
                Some(true) if ends => {
                    self.fence = None;
                    Line::Verbatim(Style::DIM)
                }
                Some(_) if !ends => return,
                _ => Line::Verbatim(CODE),
            },
            None => match beginning(&text, ends) {
                Beginning::Unknown => return,
                Beginning::Plain => Line::Text(Style::default()),
                Beginning::Table => Line::Verbatim(Style::default()),
                Beginning::Opens(fence) => {
                    self.fence = Some(fence);
                    Line::Verbatim(Style::DIM)
                }
                Beginning::Marked(bytes, style) => {
                    marked = bytes;
                    Line::Text(style)
                }
            },
        };
        for grapheme in std::mem::take(&mut self.begun) {
            if marked > 0 {
                marked = marked.saturating_sub(grapheme.len());
                self.out.push(Item::Text(grapheme, Style::DIM, true));
            } else if let Line::Verbatim(style) = self.line {
                self.out.push(Item::Text(grapheme, style, false));
            } else {
                self.put(&grapheme);
            }
        }
    }

    /// A grapheme of a line whose kind is known.
    fn put(&mut self, grapheme: &str) {
        if let Line::Verbatim(style) = self.line {
            // ```code``` in one line opens no block.
            if style == Style::DIM && grapheme == "`" {
                self.fence = None;
            }
            return self.out.push(Item::Text(grapheme.to_owned(), style, false));
        }
        // Code that the run before closes is closed.
        let in_code = self.code.is_some() && self.run != self.code.map(|count| ('`', count));
        let mark = match grapheme {
            "`" => Some('`'),
            "*" if !in_code => Some('*'),
            _ => None,
        };
        match (mark.filter(|_| !self.escaped), self.run) {
            (Some(mark), Some((same, count))) if mark == same => self.run = Some((mark, count + 1)),
            (Some(mark), _) => {
                self.end_run(Some(mark));
                self.run = Some((mark, 1));
                // The run before may have opened code, where this is no mark.
                if mark == '*' && self.code.is_some() {
                    self.end_run(None);
                }
            }
            (None, _) => {
                let first = grapheme.chars().next();
                self.end_run(first);
                self.escaped = grapheme == "\\" && self.code.is_none() && !self.escaped;
                self.before = first;
                self.text(grapheme);
            }
        }
    }

    /// Decides about a run of marks; `next` is the character after it, if the line goes on.
    fn end_run(&mut self, next: Option<char>) {
        let Some((mark, count)) = self.run.take() else { return };
        let spaced = |c: Option<char>| c.is_none_or(char::is_whitespace);
        let shown = match (mark, self.code) {
            ('`', None) if next.is_some() => {
                self.code = Some(count);
                true
            }
            ('`', Some(open)) if open == count => {
                self.code = None;
                true
            }
            ('*', None) if (2..=3).contains(&count) && self.bold && !spaced(self.before) => {
                self.bold = false;
                true
            }
            ('*', None) if (2..=3).contains(&count) && !self.bold && !spaced(next) => {
                // 2**3 is arithmetic; but Chinese has no spaces around what it stresses.
                self.bold = !self.before.is_some_and(|c| c.is_ascii_alphanumeric());
                self.bold
            }
            _ => false,
        };
        for _ in 0..count {
            match shown {
                true => self.out.push(Item::Text(mark.to_string(), Style::DIM, true)),
                false => self.text(&mark.to_string()),
            }
        }
        self.before = Some(mark);
    }

    /// Text in the style in force.
    fn text(&mut self, grapheme: &str) {
        let base = if let Line::Text(style) = self.line { style } else { Style::default() };
        let style = match self.code {
            Some(_) => CODE,
            None => Style { bold: base.bold || self.bold, ..base },
        };
        self.out.push(Item::Text(grapheme.to_owned(), style, true));
    }
}

/// Whether a line closes a block of code, as far as it has come: `None` once it cannot any more, `Some(false)` while
/// more must come.
fn closes(text: &str, (mark, least): Fence) -> Option<bool> {
    let rest = text.trim_start_matches(' ');
    let after = rest.trim_start_matches(mark);
    after.trim_end().is_empty().then_some(rest.len() - after.len() >= least)
}

/// What the beginning of a line outside of code says.
fn beginning(text: &str, ends: bool) -> Beginning {
    let rest = text.trim_start_matches(' ');
    let indent = text.len() - rest.len();
    let Some(first) = rest.chars().next() else {
        return if ends { Beginning::Plain } else { Beginning::Unknown };
    };
    let count = rest.len() - rest.trim_start_matches(first).len();
    let next = rest.trim_start_matches(first).chars().next();
    let unknown = |otherwise| if next.is_none() && !ends { Beginning::Unknown } else { otherwise };
    let marked = |bytes: usize, style| Beginning::Marked(indent + bytes, style);
    match first {
        '#' if count <= 6 && next == Some(' ') => marked(count, BOLD),
        '#' if count <= 6 => unknown(Beginning::Plain),
        '`' | '~' if count >= 3 => unknown(Beginning::Opens((first, count))),
        '`' | '~' => unknown(Beginning::Plain),
        '-' | '*' | '+' if count == 1 && next == Some(' ') => marked(1, Style::default()),
        '-' | '*' | '+' if count == 1 => unknown(Beginning::Plain),
        '>' => marked(1, Style::default()),
        '|' => Beginning::Table,
        '0'..='9' => numbered(rest, ends).map_or(Beginning::Plain, |bytes| match bytes {
            Some(bytes) => marked(bytes, Style::default()),
            None => Beginning::Unknown,
        }),
        _ => Beginning::Plain,
    }
}

/// The length of `12.` or `12)` before a space; `Some(None)` while it may still become one.
fn numbered(rest: &str, ends: bool) -> Option<Option<usize>> {
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let after: Vec<char> = rest[digits..].chars().take(2).collect();
    match after[..] {
        _ if digits > 9 => None,
        ['.' | ')', ' '] => Some(Some(digits + 1)),
        [] | ['.' | ')'] if !ends => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_segmentation::UnicodeSegmentation;

    /// The text with a letter for the style of each part: b bold, d dim, c code, `_` plain; upper case for what is not
    /// wrapped.
    fn styled(text: &str) -> String {
        let mut markdown = Markdown::default();
        let mut items: Vec<Item> = text.graphemes(true).flat_map(|g| markdown.push(g)).collect();
        items.extend(markdown.finish());
        let (mut copied, mut out, mut last) = (String::new(), String::new(), None);
        for item in items {
            match item {
                Item::Newline => {
                    copied.push('\n');
                    out.push('\n');
                    last = None;
                }
                Item::Text(grapheme, style, wraps) => {
                    copied += &grapheme;
                    let letter = match style {
                        Style { code: true, .. } => 'c',
                        Style { dim: true, .. } => 'd',
                        Style { bold: true, .. } => 'b',
                        _ => '_',
                    };
                    let letter = if wraps {
                        letter
                    } else if letter == '_' {
                        '='
                    } else {
                        letter.to_ascii_uppercase()
                    };
                    if last != Some(letter) {
                        out += &format!("<{letter}>");
                    }
                    out += &grapheme;
                    last = Some(letter);
                }
            }
        }
        assert_eq!(copied, text, "what is copied is what was written");
        out
    }

    #[test]
    fn lines() {
        assert_eq!(styled("## Title\nand text"), "<d>##<b> Title\n<_>and text");
        assert_eq!(styled("#hashtag\n####### seven"), "<_>#hashtag\n<_>####### seven");
        assert_eq!(
            styled("- one\n  * two\n12. three\n> four"),
            "<d>-<_> one\n<d>  *<_> two\n<d>12.<_> three\n<d>><_> four"
        );
        assert_eq!(styled("-5\n---\n3.14 x\n2024\n"), "<_>-5\n<_>---\n<_>3.14 x\n<_>2024\n");
        assert_eq!(styled("| a | `b` |\n"), "<=>| a | `b` |\n");
    }

    #[test]
    fn inline() {
        assert_eq!(styled("a **b c** d"), "<_>a <d>**<b>b c<d>**<_> d");
        assert_eq!(styled("a `b * c` d"), "<_>a <d>`<c>b * c<d>`<_> d");
        assert_eq!(styled("``a`b`` **`c`**"), "<d>``<c>a`b<d>``<_> <d>**`<c>c<d>`**");
        assert_eq!(styled("这是**重点**。"), "<_>这是<d>**<b>重点<d>**<_>。");
        assert_eq!(styled("2**3 ** 4 * 5*6 \\*\\*x\\**"), "<_>2**3 ** 4 * 5*6 \\*\\*x\\**");
        assert_eq!(styled("**open\nplain `open\nplain"), "<d>**<b>open\n<_>plain <d>`<c>open\n<_>plain");
        assert_eq!(styled("# a **b** c"), "<d>#<b> a <d>**<b>b<d>**<b> c");
        assert_eq!(styled("**bold** first"), "<d>**<b>bold<d>**<_> first");
        assert_eq!(styled("`"), "<_>`");
    }

    #[test]
    fn code() {
        let text = "```rust\nfn f() {}\n\n  ``\n# no\n````  \nafter";
        assert_eq!(styled(text), "<D>```rust\n<C>fn f() {}\n\n<C>  ``\n<C># no\n<D>````  \n<_>after");
        assert_eq!(
            styled("- x\n  ~~~\n  **a**\n  ```\n  ~~~\n"),
            "<d>-<_> x\n<D>  ~~~\n<C>  **a**\n<C>  ```\n<D>  ~~~\n"
        );
        assert_eq!(styled("```\nnever closed"), "<D>```\n<C>never closed");
        assert_eq!(styled("````\n```\nx\n````\ny"), "<D>````\n<C>```\n<C>x\n<D>````\n<_>y");
        assert_eq!(styled("```in line``` and\nafter"), "<D>```in line``` and\n<_>after");
    }
}
