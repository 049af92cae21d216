//! Puts styled text into the columns of a terminal: breaks lines between words, counts columns as the terminal does.
//!
//! Text comes grapheme by grapheme and leaves word by word. A space at a break becomes the line break; nothing else is
//! added to the text or taken from it. What is longer than a line is left for the terminal to break, so that copying it
//! gives one piece. Styles never last from one piece of output to the next.

use unicode_width::UnicodeWidthStr;

/// How a grapheme looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Bright or heavy.
    pub bold: bool,
    /// Faint.
    pub dim: bool,
    /// In another colour: code.
    pub code: bool,
}

impl Style {
    /// Faint, and nothing else.
    pub const DIM: Self = Self { bold: false, dim: true, code: false };

    /// The sequence that goes from plain text to this.
    fn begin(self) -> String {
        let codes = [(self.bold, "1"), (self.dim, "2"), (self.code, "36")];
        let on: Vec<&str> = codes.into_iter().filter_map(|(on, code)| on.then_some(code)).collect();
        format!("\x1b[{}m", on.join(";"))
    }
}

/// The sequence that goes back to plain text.
const PLAIN: &str = "\x1b[0m";

/// Columns from one tab stop to the next.
const TAB: usize = 8;

/// Gives the columns of the terminal, asked anew for each line: it may be resized.
pub type Width = Box<dyn Fn() -> usize + Send>;

/// The state of one stream of text.
pub struct Wrap {
    width: Width,
    /// Whether styles are written at all.
    colours: bool,
    out: String,
    /// The style that `out` ends in.
    style: Style,
    /// Columns of this line, as asked at its start.
    columns: usize,
    /// Columns that the cursor has passed; `columns` when the line is full and the cursor waits at its end.
    column: usize,
    /// White space that is not written yet.
    gap: Vec<(String, Style)>,
    /// The word that is not written yet, in graphemes.
    word: Vec<(String, Style)>,
    word_width: usize,
    /// The word continues one whose beginning is written: no break may come between.
    continued: bool,
}

impl Wrap {
    /// At the start of a line.
    pub fn new(width: Width, colours: bool) -> Self {
        let columns = width().max(1);
        Self {
            width,
            colours,
            out: String::new(),
            style: Style::default(),
            columns,
            column: 0,
            gap: vec![],
            word: vec![],
            word_width: 0,
            continued: false,
        }
    }

    /// One more grapheme (not a line break); lines are only broken where `breaks`.
    pub fn put(&mut self, grapheme: &str, style: Style, breaks: bool) {
        if !breaks {
            self.flush();
            self.write(grapheme, style);
        } else if grapheme == " " || grapheme == "\t" {
            self.flush_word();
            self.continued = false;
            self.gap.push((grapheme.to_owned(), style));
        } else {
            if self.may_break_before(grapheme) {
                self.flush_word();
            }
            self.word_width += columns_of(grapheme, 0);
            self.word.push((grapheme.to_owned(), style));
            // It fits no line: what there is goes out on a line of its own, the terminal breaks it.
            if self.word_width > self.columns {
                self.flush_word();
                self.continued = true;
            }
        }
    }

    /// A line break of the text.
    pub fn newline(&mut self) {
        self.flush_word();
        let gap: usize = self.gap.iter().map(|(space, _)| columns_of(space, self.column)).sum();
        if self.column + gap > self.columns {
            self.gap.clear();
        }
        self.flush();
        self.break_line();
    }

    /// What can be written now. The terminal is left with plain text.
    pub fn take(&mut self) -> String {
        self.restyle(Style::default());
        std::mem::take(&mut self.out)
    }

    /// Writes what was kept back, too.
    pub fn flush(&mut self) {
        self.flush_word();
        for (space, style) in std::mem::take(&mut self.gap) {
            self.write(&space, style);
        }
    }

    /// The columns of the line.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Lines may be broken next to wide characters (Chinese, Japanese, emoji), but not before closing marks nor after
    /// opening ones.
    fn may_break_before(&self, grapheme: &str) -> bool {
        let Some((last, _)) = self.word.last() else { return false };
        let wide = columns_of(last, 0) > 1 || columns_of(grapheme, 0) > 1;
        wide && !grapheme.starts_with(closes) && !last.starts_with(opens)
    }

    fn flush_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let gap: usize = self.gap.iter().map(|(space, _)| columns_of(space, self.column)).sum();
        if !self.continued && self.column > 0 && self.column + gap + self.word_width > self.columns {
            self.gap.clear();
            self.break_line();
        }
        let gap = std::mem::take(&mut self.gap);
        let word = std::mem::take(&mut self.word);
        for (grapheme, style) in gap.into_iter().chain(word) {
            self.write(&grapheme, style);
        }
        (self.word_width, self.continued) = (0, false);
    }

    fn break_line(&mut self) {
        self.restyle(Style::default());
        self.out.push('\n');
        (self.column, self.continued) = (0, false);
        self.columns = (self.width)().max(1);
    }

    fn write(&mut self, grapheme: &str, style: Style) {
        self.restyle(style);
        let width = columns_of(grapheme, self.column);
        // Where it does not fit, the terminal goes to the next line; a tab stops at the end.
        self.column = match self.column + width {
            end if end <= self.columns => end,
            _ if grapheme == "\t" => self.columns,
            _ => width,
        };
        self.out.push_str(grapheme);
    }

    fn restyle(&mut self, style: Style) {
        if style == self.style || !self.colours {
            return;
        }
        if self.style != Style::default() {
            self.out.push_str(PLAIN);
        }
        if style != Style::default() {
            self.out.push_str(&style.begin());
        }
        self.style = style;
    }
}

/// The columns of a grapheme at a column.
fn columns_of(grapheme: &str, column: usize) -> usize {
    if grapheme == "\t" { TAB - column % TAB } else { grapheme.width() }
}

/// Marks that must not begin a line.
fn closes(c: char) -> bool {
    "、。，．：；？！）］｝」』】〉》〕”’％ー々ゝゞぁぃぅぇぉっゃゅょァィゥェォッャュョ,.:;?!)]}%*`\"'".contains(c)
}

/// Marks that must not end a line.
fn opens(c: char) -> bool {
    "（［｛「『【〈《〔“‘([{*`\"'".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use unicode_segmentation::UnicodeSegmentation;

    fn wrapped(text: &str, columns: usize) -> String {
        let mut wrap = Wrap::new(Box::new(move || columns), false);
        for grapheme in text.graphemes(true) {
            if grapheme == "\n" { wrap.newline() } else { wrap.put(grapheme, Style::default(), true) }
        }
        wrap.flush();
        wrap.take()
    }

    #[test]
    fn words() {
        assert_eq!(wrapped("one two three four", 9), "one two\nthree\nfour");
        assert_eq!(wrapped("abc def", 7), "abc def", "an exact fit");
        assert_eq!(wrapped("abc def ghi", 7), "abc def\nghi");
        assert_eq!(wrapped("  indented text", 10), "  indented\ntext");
        assert_eq!(wrapped("a  b", 9), "a  b", "spaces stay");
        assert_eq!(wrapped("abc  \ndef", 9), "abc  \ndef", "at the end of a line, too");
        assert_eq!(wrapped("abcd  \ne", 4), "abcd\ne", "but not where they would begin a line");
        assert_eq!(wrapped("a\n\nb\n", 5), "a\n\nb\n");
    }

    #[test]
    fn long_words_are_left_whole() {
        assert_eq!(wrapped("see https://example.org/x y", 8), "see\nhttps://example.org/x y");
        assert_eq!(wrapped("abcdefghij", 4), "abcdefghij");
        // The last line of the word has two columns: the next word fits behind, the one after does not.
        assert_eq!(wrapped("abcdefghij k lm", 4), "abcdefghij k\nlm");
    }

    #[test]
    fn wide_characters() {
        assert_eq!(wrapped("漢字漢字漢", 5), "漢字\n漢字\n漢", "half a character fits nowhere");
        assert_eq!(wrapped("漢字。漢", 4), "漢\n字。\n漢", "a full stop begins no line");
        assert_eq!(wrapped("漢「字」", 4), "漢\n「字」", "nor does a closing bracket");
        assert_eq!(wrapped("ab漢字cd", 4), "ab漢\n字cd");
    }

    #[test]
    fn graphemes_stay_whole() {
        let family = "👨\u{200d}👩\u{200d}👧";
        assert_eq!(wrapped(&family.repeat(3), 4), format!("{family}{family}\n{family}"));
        let accented = "e\u{301}";
        assert_eq!(
            wrapped(&format!("{accented}{accented} {accented}"), 2),
            format!("{accented}{accented}\n{accented}")
        );
        assert_eq!(wrapped("🇩🇪🇫🇷", 2), "🇩🇪\n🇫🇷");
    }

    #[test]
    fn the_width_is_asked_for_each_line() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static COLUMNS: AtomicUsize = AtomicUsize::new(3);
        let mut wrap = Wrap::new(Box::new(|| COLUMNS.load(Ordering::Relaxed)), false);
        let mut put = |text: &str| {
            text.graphemes(true).for_each(|g| wrap.put(g, Style::default(), true));
            wrap.flush();
            wrap.take()
        };
        assert_eq!(put("ab"), "ab");
        COLUMNS.store(8, Ordering::Relaxed);
        assert_eq!(put(" cd ef g h"), "\ncd ef g\nh");
    }

    #[test]
    fn styles_end_with_the_output() {
        let mut wrap = Wrap::new(Box::new(|| 80), true);
        let bold = Style { bold: true, ..Style::default() };
        for g in ["a", "b", " ", "c"] {
            wrap.put(g, bold, true);
        }
        assert_eq!(wrap.take(), "\x1b[1mab\x1b[0m", "a word is complete when white space follows");
        wrap.newline();
        assert_eq!(wrap.take(), "\x1b[1m c\x1b[0m\n");
    }
}
