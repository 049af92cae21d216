//! The same tokens over and over: for every period, how many of the last tokens equal those a period before.
//!
//! How many repeats are too many depends on what repeats. Prose: at least `TIMES` repeats and `PROSE` tokens (fewer
//! in thinking). Other text (code, rows of a table): at least `OTHER` tokens and `ROWS` repeats, or fewer if those make
//! `MOST_OTHER` tokens. What has hardly a letter (figures, drawings): `OTHER` tokens and `ROWS` repeats however long
//! the rows. So a loop is found at the latest after [`bound`] tokens.

use super::Repetition;

/// The longest period that is looked for.
pub const MAX_PERIOD: usize = 512;
/// Fewest repeats of anything.
const TIMES: usize = 4;
/// Fewest tokens of repeated prose in an answer, and in thinking.
const PROSE: (usize, usize) = (320, 192);
/// Fewest letters, marks and digits in them, for each token; vocabularies of letters need more tokens.
const CHARS_PER_TOKEN: usize = 2;
/// Fewest tokens of anything else that repeats.
const OTHER: usize = 384;
/// Fewest repeats of it, unless they make `MOST_OTHER` tokens.
const ROWS: usize = 24;
/// Tokens of it that are enough with fewer repeats.
const MOST_OTHER: usize = 1536;
/// Tokens that must come before a repetition that goes on is reported again.
const AGAIN: usize = 128;

/// Most tokens from the beginning of a loop of this period until it is found, with letters in it and without.
pub fn bound(period: usize, letters: bool) -> usize {
    period * other_times(period, letters)
}

fn other_times(period: usize, letters: bool) -> usize {
    let rows = if letters { (MOST_OTHER / period).clamp(TIMES, ROWS) } else { ROWS };
    rows.max(OTHER.div_ceil(period))
}

/// Sums over the text up to a token.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    letters: u32,
    /// Digits and marks that prose has few of.
    symbols: u32,
    /// All but white space.
    chars: u32,
}

/// The state over one phase of a text.
#[derive(Clone, Debug)]
pub struct Exact {
    thinking: bool,
    tokens: Vec<u32>,
    sums: Vec<Sums>,
    /// For each period less one: how many of the last tokens equal the one a period before.
    runs: Vec<u32>,
    /// Nothing is reported before so many tokens.
    silent_until: usize,
}

impl Exact {
    /// For thinking or for an answer.
    pub fn new(thinking: bool) -> Self {
        Self { thinking, tokens: Vec::new(), sums: vec![Sums::default()], runs: vec![0; MAX_PERIOD], silent_until: 0 }
    }

    /// Takes a token and its text.
    pub fn push(&mut self, token: u32, text: &str) -> Option<Repetition> {
        for (run, &before) in self.runs.iter_mut().zip(self.tokens.iter().rev()) {
            *run = if before == token { *run + 1 } else { 0 };
        }
        self.tokens.push(token);
        self.add(text);
        if self.tokens.len() < self.silent_until {
            return None;
        }
        let fewest = PROSE.0.min(PROSE.1);
        let long = |(i, &run): (usize, &u32)| {
            let (period, run) = (i + 1, run as usize);
            run >= period * (TIMES - 1) && run + period >= fewest
        };
        let found = self.runs.iter().enumerate().filter(|&of| long(of)).map(|(i, &run)| (i + 1, run as usize));
        let times = |(period, run): (usize, usize)| (period, (run + period) / period);
        let found = found.map(times).find(|&(period, times)| self.is_too_much(period, times));
        found.map(|(period, times)| Repetition::Exact { period, times })
    }

    /// From here on it is enough that the repetition goes on for a while.
    pub fn look_again(&mut self) {
        self.silent_until = self.tokens.len() + AGAIN;
    }

    fn add(&mut self, text: &str) {
        let mut sums = self.sums.last().copied().unwrap_or_default();
        for c in text.chars().filter(|c| !c.is_whitespace()) {
            sums.chars += 1;
            sums.letters += u32::from(c.is_alphabetic());
            sums.symbols += u32::from(!c.is_alphabetic() && !is_common_mark(c));
        }
        self.sums.push(sums);
    }

    fn is_too_much(&self, period: usize, times: usize) -> bool {
        let n = self.tokens.len();
        let (last, before) = (self.sums[n], self.sums[n - period]);
        let (letters, symbols) = (last.letters - before.letters, last.symbols - before.symbols);
        let chars = last.chars - before.chars;
        if times >= other_times(period, letters * 4 >= chars) {
            return true;
        }
        let prose = chars > 0 && letters * 10 >= chars * 6 && symbols * 10 <= chars;
        let tokens = if self.thinking { PROSE.1 } else { PROSE.0 };
        let spelled = times * chars as usize;
        prose && times >= TIMES && times * period >= tokens && spelled >= tokens * CHARS_PER_TOKEN
    }
}

/// Marks that sentences have many of.
pub(super) fn is_common_mark(c: char) -> bool {
    matches!(c, '.' | ',' | ';' | ':' | '!' | '?' | '\'' | '"' | '-' | '*' | '(' | ')')
        || matches!(c, '’' | '‘' | '“' | '”' | '—' | '–' | '…' | '。' | '，' | '、' | '！' | '？' | '：' | '；')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many tokens a loop of `unit` is found, each token a text of its own.
    fn found(thinking: bool, unit: &[&str]) -> Option<usize> {
        let mut exact = Exact::new(thinking);
        (0..4000).find(|i| exact.push((i % unit.len()) as u32, unit[i % unit.len()]).is_some()).map(|i| i + 1)
    }

    #[test]
    fn every_period_is_found_within_its_bound() {
        for period in [1, 2, 3, 7, 16, 17, 64, 65, 100, 255, 400, 512] {
            let prose = vec![" word"; period];
            let (at, again) = (found(false, &prose).unwrap(), found(true, &prose).unwrap());
            assert!(at <= bound(period, true).max(PROSE.0) && again <= at, "period {period}: {at}, {again}");
            let code = vec![" x{}"; period];
            assert!(found(false, &code).unwrap() <= bound(period, true), "period {period}");
            let marks = vec![" |"; period];
            assert!(period > 100 || found(false, &marks).unwrap() <= bound(period, false), "period {period}");
        }
        let longest = (1..=MAX_PERIOD).map(|p| bound(p, true)).max().unwrap();
        assert_eq!(
            (bound(1, true), bound(16, true), bound(64, true), bound(512, true), longest),
            (384, 384, 1536, 2048, 2048)
        );
        assert_eq!((bound(16, false), bound(64, false), bound(100, false)), (384, 1536, 2400));
    }

    #[test]
    fn rows_of_a_table_need_more_repeats_than_sentences() {
        let row = ["|", " 0", " |", " 0", " |", " 0", " |", "\n"];
        let sentence = ["Wait", ",", " let", " me", " check", " that", " again", "."];
        assert_eq!(found(false, &row), Some(384));
        assert_eq!(found(false, &sentence), Some(320));
        assert_eq!(found(true, &sentence), Some(192));
    }

    #[test]
    fn it_is_reported_again_only_if_it_goes_on() {
        let mut exact = Exact::new(false);
        let first = (0..).find(|_| exact.push(1, " a").is_some()).unwrap();
        exact.look_again();
        let second = (1..).find(|_| exact.push(1, " a").is_some()).unwrap();
        assert_eq!((first, second), (OTHER - 1, AGAIN));
        exact.look_again();
        assert!((0..300).all(|i| exact.push(i, " new").is_none()));
    }
}
