//! Prose that says nothing new, and lists that only count on.
//!
//! Every run of `WORDS_RUN` words, and of `MARKS_RUN` words, numbers and marks (all numbers alike), is counted over the
//! phase. One that came `STALE` times before is stale. Prose is stuck when in the last [`PROSE`] words all but
//! 1 in 16 are stale, and they are sentences: few numbers, few marks of tables or code, and no numbers that go down.
//! A list only counts on when in the last [`LIST`] words, numbers and marks all but 1 in 32 are stale, and so few of its
//! numbers neither came shortly before nor follow one that did, while some go up.

use super::Repetition;
use super::lexer::{Lexeme, Lexer, NOTHING, hash};
use ahash::AHashMap;
use std::collections::VecDeque;

/// Words in a run.
const WORDS_RUN: usize = 4;
/// Words, numbers and marks in a run.
const MARKS_RUN: usize = 6;
/// How often a run must have come before to be nothing new.
const STALE: u8 = 3;
/// Words of prose that are looked at in an answer, and in thinking.
pub const PROSE: (usize, usize) = (600, 300);
/// Words, numbers and marks of a list that are looked at in an answer, and in thinking.
pub const LIST: (usize, usize) = (6144, 2048);
/// How many of the last numbers a number is compared with.
const NUMBERS: usize = 16;
/// How often a number must have gone up by one to be a count.
const STEPS: usize = 16;
/// By how much less is looked at once something was done.
const AGAIN: usize = 3;

/// Runs of hashes, and how often each has come.
#[derive(Clone, Debug, Default)]
struct Runs {
    last: VecDeque<u64>,
    seen: AHashMap<u64, u8>,
}

impl Runs {
    /// Takes a hash; whether the run of `length` that it ends is stale.
    fn push(&mut self, value: u64, length: usize) -> bool {
        self.last.push_back(value);
        if self.last.len() < length {
            return false;
        }
        let run = self.last.iter().fold(NOTHING, |h, &v| hash(h, v));
        self.last.pop_front();
        let times = self.seen.entry(run).or_insert(0);
        let stale = *times >= STALE;
        *times = times.saturating_add(1);
        stale
    }
}

/// What a lexeme is in the window.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    word: bool,
    /// A word that ends a stale run of words.
    stale_word: bool,
    /// A stale run of words, numbers and marks ends here.
    stale: bool,
    symbol: bool,
    line_end: bool,
    number: Option<u64>,
    /// A number that did not come shortly before and follows none that did.
    surprising: bool,
    /// A number that follows one that came shortly before.
    step: bool,
}

/// The last lexemes and how many of them are what.
#[derive(Clone, Debug, Default)]
struct Window {
    seen: VecDeque<Seen>,
    words: usize,
    stale_words: usize,
    stale: usize,
    symbols: usize,
    line_ends: usize,
    numbers: usize,
    surprising: usize,
    steps: usize,
}

impl Window {
    fn push(&mut self, seen: Seen) {
        self.count(seen, |n| *n += 1);
        self.seen.push_back(seen);
    }

    fn pop(&mut self) {
        if let Some(seen) = self.seen.pop_front() {
            self.count(seen, |n| *n -= 1);
        }
    }

    fn count(&mut self, seen: Seen, change: impl Fn(&mut usize)) {
        let of = [
            (seen.word, &mut self.words),
            (seen.stale_word, &mut self.stale_words),
            (seen.stale, &mut self.stale),
            (seen.symbol, &mut self.symbols),
            (seen.line_end, &mut self.line_ends),
            (seen.number.is_some(), &mut self.numbers),
            (seen.surprising, &mut self.surprising),
            (seen.step, &mut self.steps),
        ];
        of.into_iter().filter(|(is, _)| *is).for_each(|(_, n)| change(n));
    }

    /// Whether the words in it are sentences.
    fn is_prose(&self) -> bool {
        let all = self.seen.len() - self.line_ends;
        self.words * 100 >= all * 55 && self.symbols * 10 <= all && self.numbers * 5 <= all
    }

    /// Whether its numbers go down and never up, as counts do that end by themselves.
    fn counts_down(&self) -> bool {
        let numbers: Vec<u64> = self.seen.iter().filter_map(|s| s.number).collect();
        let down = numbers.windows(2).filter(|w| w[1] < w[0]).count();
        down >= 4 && numbers.windows(2).all(|w| w[1] <= w[0])
    }
}

/// The state over one phase of a text.
#[derive(Clone, Debug)]
pub struct Phrases {
    lexer: Lexer,
    words: Runs,
    marks: Runs,
    /// The last numbers.
    numbers: VecDeque<u64>,
    prose: Window,
    list: Window,
    /// Words that `prose` looks at, lexemes that `list` does.
    sizes: (usize, usize),
    /// The same before anything was done.
    whole: (usize, usize),
}

impl Phrases {
    /// For thinking or for an answer.
    pub fn new(thinking: bool) -> Self {
        let sizes = if thinking { (PROSE.1, LIST.1) } else { (PROSE.0, LIST.0) };
        Self {
            lexer: Lexer::new(),
            words: Runs::default(),
            marks: Runs::default(),
            numbers: VecDeque::new(),
            prose: Window::default(),
            list: Window::default(),
            sizes,
            whole: sizes,
        }
    }

    /// Takes more text.
    pub fn push(&mut self, text: &str) -> Option<Repetition> {
        let mut lexemes = Vec::new();
        self.lexer.push(text, &mut |lexeme| lexemes.push(lexeme));
        lexemes.into_iter().filter_map(|lexeme| self.lexeme(lexeme)).last()
    }

    /// From here on shorter stretches are looked at, which begin here.
    pub fn look_again(&mut self) {
        self.sizes = (self.whole.0 / AGAIN, self.whole.1 / AGAIN);
        (self.prose, self.list) = Default::default();
    }

    fn lexeme(&mut self, lexeme: Lexeme) -> Option<Repetition> {
        let seen = self.judge(lexeme);
        self.prose.push(seen);
        self.list.push(seen);
        let (words, lexemes) = self.sizes;
        while self.prose.words > words {
            self.prose.pop();
        }
        while self.list.seen.len() > lexemes {
            self.list.pop();
        }
        let (prose, list) = (&self.prose, &self.list);
        if prose.words == words && (words - prose.stale_words) * 16 <= words && prose.is_prose() && !prose.counts_down()
        {
            return Some(Repetition::Phrases { words });
        }
        let stuck = list.seen.len() == lexemes && (lexemes - list.stale) * 32 <= lexemes;
        let counts = list.steps >= STEPS && list.surprising * 32 <= list.numbers && list.words * 16 >= lexemes;
        (stuck && counts).then_some(Repetition::Counting { lexemes })
    }

    fn judge(&mut self, lexeme: Lexeme) -> Seen {
        match lexeme {
            Lexeme::Word(h) => {
                let stale_word = self.words.push(h, WORDS_RUN);
                Seen { word: true, stale_word, stale: self.marks.push(h, MARKS_RUN), ..Seen::default() }
            }
            Lexeme::Number(n) => {
                let known = self.numbers.contains(&n);
                let step = !known && n > 0 && self.numbers.contains(&(n - 1));
                self.numbers.push_back(n);
                if self.numbers.len() > NUMBERS {
                    self.numbers.pop_front();
                }
                let stale = self.marks.push(u64::MAX, MARKS_RUN);
                Seen { number: Some(n), stale, step, surprising: !known && !step, ..Seen::default() }
            }
            Lexeme::Mark(mark) => {
                let stale = self.marks.push(u64::from(u32::from(mark.char)), MARKS_RUN);
                Seen { stale, symbol: mark.symbol, line_end: mark.char == '\n', ..Seen::default() }
            }
        }
    }
}
