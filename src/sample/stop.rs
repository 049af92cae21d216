//! Stop strings in text that arrives in pieces.
//!
//! The text ends where the first stop string is complete; of several that are complete at the same place the longest
//! counts. What is shown is the text before it, however the text was cut into pieces. Only text that may be the
//! beginning of a stop string is held back.
//!
//! Each stop string has an automaton (Knuth, Morris and Pratt) that knows how much of it the text so far ends with,
//! so a byte costs a constant, whatever the strings.

use crate::error::{Error, Result};

/// Watches text for stop strings.
#[derive(Clone, Debug)]
pub struct StopMatcher {
    stops: Vec<Stop>,
    /// Text that was not shown yet: what the longest partial match covers.
    held: String,
    /// The stop string that was found.
    found: Option<usize>,
}

/// One stop string and how much of it the text ends with.
#[derive(Clone, Debug)]
struct Stop {
    text: Vec<u8>,
    /// `fallback[n]`: length of the longest shorter prefix that the first `n + 1` bytes end with.
    fallback: Vec<usize>,
    matched: usize,
}

/// What a piece of text led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Text that may be shown now.
    pub show: String,
    /// Index of the stop string that was found (now or before). Nothing after it is shown.
    pub stop: Option<usize>,
}

impl StopMatcher {
    /// A matcher for these strings; none is allowed, an empty one is not.
    pub fn new<S: AsRef<str>>(stops: &[S]) -> Result<Self> {
        if stops.iter().any(|s| s.as_ref().is_empty()) {
            return Err(Error::usage("a stop string is empty: it would end every answer at once"));
        }
        let stops = stops.iter().map(|s| Stop::new(s.as_ref())).collect();
        Ok(Self { stops, held: String::new(), found: None })
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, piece: &str) -> Step {
        if self.found.is_some() {
            return Step { show: String::new(), stop: self.found };
        }
        let before = self.held.len();
        self.held.push_str(piece);
        for (i, &byte) in piece.as_bytes().iter().enumerate() {
            if let Some(index) = self.advance(byte) {
                self.found = Some(index);
                self.held.truncate(before + i + 1 - self.stops[index].text.len());
                return Step { show: std::mem::take(&mut self.held), stop: self.found };
            }
        }
        let partial = self.stops.iter().map(|s| s.matched).max().unwrap_or(0);
        // A partial match begins like a stop string, so with the first byte of a character.
        let rest = self.held.split_off(self.held.len() - partial);
        Step { show: std::mem::replace(&mut self.held, rest), stop: None }
    }

    /// The text has ended: what was held back is no stop string.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Moves every automaton on by a byte; the longest stop string that is complete now.
    fn advance(&mut self, byte: u8) -> Option<usize> {
        let mut complete: Option<usize> = None;
        for index in 0..self.stops.len() {
            let longest = complete.map_or(0, |c| self.stops[c].text.len());
            let stop = &mut self.stops[index];
            stop.advance(byte);
            if stop.matched == stop.text.len() && stop.text.len() > longest {
                complete = Some(index);
            }
        }
        complete
    }
}

impl Stop {
    fn new(text: &str) -> Self {
        let mut stop = Self { text: text.as_bytes().to_vec(), fallback: vec![0], matched: 0 };
        for i in 1..stop.text.len() {
            stop.advance(stop.text[i]);
            stop.fallback.push(stop.matched);
        }
        stop.matched = 0;
        stop
    }

    /// Moves on by a byte. Only while `matched` is short of the whole.
    fn advance(&mut self, byte: u8) {
        while self.matched > 0 && self.text[self.matched] != byte {
            self.matched = self.fallback[self.matched - 1];
        }
        self.matched += usize::from(self.text[self.matched] == byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Rng;

    /// All of a text in pieces: what was shown, the stop, and the length shown after each piece.
    fn run(stops: &[&str], pieces: &[&str]) -> (String, Option<usize>, Vec<usize>) {
        let mut matcher = StopMatcher::new(stops).unwrap();
        let (mut shown, mut stop, mut lengths) = (String::new(), None, Vec::new());
        for piece in pieces {
            let step = matcher.push(piece);
            shown += &step.show;
            stop = step.stop;
            lengths.push(shown.len());
        }
        shown += &matcher.finish();
        (shown, stop, lengths)
    }

    /// The definition: ends are tried from the left, and at each end the longest stop string.
    fn naive<'a>(stops: &[&str], text: &'a str) -> (&'a str, Option<usize>) {
        for end in 0..=text.len() {
            let complete = (0..stops.len()).filter(|&i| text.as_bytes()[..end].ends_with(stops[i].as_bytes()));
            if let Some(i) = complete.min_by_key(|&i| (std::cmp::Reverse(stops[i].len()), i)) {
                return (&text[..end - stops[i].len()], Some(i));
            }
        }
        (text, None)
    }

    #[test]
    fn examples() {
        assert_eq!(run(&["END"], &["one E", "N", "D two"]), ("one ".to_owned(), Some(0), vec![4, 4, 4]));
        assert_eq!(run(&["END"], &["E", "E", "N", "x"]), ("EENx".to_owned(), None, vec![0, 1, 1, 4]));
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), (String::from("a"), Some(0), vec![0, 0, 1, 1]));
        assert_eq!(run(&["bc", "abcd"], &["abcd"]).0, "a");
        assert_eq!(run(&["bc", "abc"], &["xabc"]), ("x".to_owned(), Some(1), vec![1]));
        assert_eq!(run(&[], &["x", "y"]), ("xy".to_owned(), None, vec![1, 2]));
        assert_eq!(run(&["。停"], &["好。", "好。停"]), ("好。好".to_owned(), Some(0), vec![3, 9]));
        let mut matcher = StopMatcher::new(&["x"]).unwrap();
        assert_eq!(matcher.push("x"), Step { show: String::new(), stop: Some(0) });
        assert_eq!(matcher.push("more"), Step { show: String::new(), stop: Some(0) });
        assert_eq!(matcher.finish(), "");
        assert!(StopMatcher::new(&["a", ""]).is_err());
    }

    /// Random texts over few letters, cut at random: equal to the definition, and never more held back than the
    /// longest suffix that begins a stop string.
    #[test]
    fn equals_the_naive_search() {
        const LETTERS: [&str; 4] = ["a", "b", "é", "e\u{301}"];
        let mut rng = Rng::new(1);
        let mut word = |most: u64, least: u64| -> String {
            (0..least + rng.below(most)).map(|_| LETTERS[rng.below(4) as usize]).collect()
        };
        let mut stopped = 0;
        for round in 0..4000 {
            let stops: Vec<String> = (0..round % 4).map(|_| word(5, 1)).collect();
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let pieces: Vec<String> = (0..8).map(|_| word(4, 0)).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let text = pieces.concat();
            let (shown, stop, lengths) = run(&stops, &pieces);
            let (expected, expected_stop) = naive(&stops, &text);
            assert_eq!((shown.as_str(), stop), (expected, expected_stop), "{stops:?} {pieces:?}");
            stopped += usize::from(stop.is_some());
            if stop.is_none() {
                let mut end = 0;
                for (piece, length) in pieces.iter().zip(lengths) {
                    end += piece.len();
                    let begins =
                        |n: &usize| stops.iter().any(|s| s.as_bytes().starts_with(&text.as_bytes()[end - n..end]));
                    let held = (0..=end).rev().find(begins).unwrap_or(0);
                    assert_eq!(length, end - held, "{stops:?} {pieces:?}");
                }
            }
        }
        assert!(stopped > 1000 && stopped < 3000, "{stopped}");
    }

    /// A long stop string that almost matches, over and over: linear, so this ends at once.
    #[test]
    fn long_strings_cost_no_more() {
        let stop = "a".repeat(100_000) + "b";
        let mut matcher = StopMatcher::new(&[stop]).unwrap();
        let mut shown = 0;
        for _ in 0..300_000 {
            shown += matcher.push("a").show.len();
        }
        assert_eq!(shown, 200_000);
        assert_eq!(matcher.push("b"), Step { show: String::new(), stop: Some(0) });
    }
}
