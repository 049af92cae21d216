//! The same tokens over and over: for every period, how many of the last tokens equal those a period before.
//!
//! How many repeats are too many depends on what repeats. Prose: at least `TIMES` repeats and `PROSE` tokens (fewer
//! in thinking). Other text (code, rows of a table): at least `OTHER` tokens and `ROWS` repeats, or fewer if those make
//! `MOST_OTHER` tokens. What has hardly a letter (figures, drawings): `OTHER` tokens and `ROWS` repeats however long
//! the rows. So a loop is found at the latest after [`bound`] tokens.

use super::Repetition;
use ahash::AHashMap;

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
    /// Of each token, where the same one came before.
    before: Vec<Option<usize>>,
    /// Where each token came last.
    latest: AHashMap<u32, usize>,
    sums: Vec<Sums>,
    /// The periods, ascending, that the last token repeats: how many of the last tokens equal the one a period before.
    runs: Vec<(usize, usize)>,
    /// Nothing is reported before so many tokens.
    silent_until: usize,
}

impl Exact {
    /// For thinking or for an answer.
    pub fn new(thinking: bool) -> Self {
        let (before, latest, runs) = (Vec::new(), AHashMap::new(), Vec::new());
        Self { thinking, before, latest, sums: vec![Sums::default()], runs, silent_until: 0 }
    }

    /// Takes a token and its text.
    pub fn push(&mut self, token: u32, text: &str) -> Option<Repetition> {
        self.repeat(token);
        self.add(text);
        if self.before.len() < self.silent_until {
            return None;
        }
        let fewest = PROSE.0.min(PROSE.1);
        let long = self.runs.iter().filter(|(period, run)| *run >= period * (TIMES - 1) && run + period >= fewest);
        let mut found = long.map(|&(period, run)| (period, (run + period) / period));
        let (period, times) = found.find(|&(period, times)| self.is_too_much(period, times))?;
        Some(Repetition::Exact { period, times })
    }

    /// Goes back over the places where the token came before; runs of other periods end.
    fn repeat(&mut self, token: u32) {
        let n = self.before.len();
        let mut at = self.latest.insert(token, n);
        self.before.push(at);
        let mut old = std::mem::take(&mut self.runs).into_iter().peekable();
        while let Some(place) = at.filter(|&place| n - place <= MAX_PERIOD) {
            let period = n - place;
            while old.next_if(|(shorter, _)| *shorter < period).is_some() {}
            let so_far = old.next_if(|(same, _)| *same == period).map_or(0, |(_, run)| run);
            self.runs.push((period, so_far + 1));
            at = self.before[place];
        }
    }

    /// From here on it is enough that the repetition goes on for a while.
    pub fn look_again(&mut self) {
        self.silent_until = self.before.len() + AGAIN;
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
        let n = self.before.len();
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

    /// Against the definition, on noise of few tokens with stretches that repeat.
    #[test]
    fn runs_are_those_of_all_tokens() {
        let (mut exact, mut tokens, mut seed) = (Exact::new(false), Vec::<u32>::new(), 7u32);
        for i in 0..3000usize {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let repeats = i % 400 > 250;
            tokens.push(if repeats { tokens[i - 1 - (i / 400) * 13] } else { (seed >> 28) % 5 });
            exact.repeat(tokens[i]);
            if i % 37 == 0 || repeats && i % 11 == 0 {
                let run = |p: usize| (0..=i - p).take_while(|k| tokens[i - k] == tokens[i - k - p]).count();
                let all = (1..=MAX_PERIOD.min(i)).map(|p| (p, run(p))).filter(|(_, run)| *run > 0);
                assert_eq!(exact.runs, all.collect::<Vec<_>>(), "token {i}");
            }
        }
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
