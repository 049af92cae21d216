//! Generation: from logits to tokens and text, one token at a time, until something ends it.
//!
//! Nothing is printed here and no mode is known. [`Generation`] can be driven over an engine ([`Generation::next`]), or
//! by whoever runs the forward passes itself and has logits from there ([`Generation::take`]). Invariants: the pieces'
//! texts joined are the detokenized tokens up to the first stop string; a finished generation stays finished; a token
//! is read into the sequence only when the one after it is wanted, so the last one is not in the cache.

use super::Engine;
use crate::error::Result;
use crate::kv::Sequence;
use crate::sample::stop::StopMatcher;
use crate::sample::{Sampler, Vocab};
use crate::tokenizer::{Detokenizer, TokenKind, Tokenizer};

/// What the sampler must know of a model with `rows` logits: padding (past the tokenizer's last token, or marked as
/// unused) and the tokens that end a generation.
///
/// # Errors
/// When nothing is left that could be drawn.
pub fn vocab(tokenizer: &Tokenizer, rows: usize) -> Result<Vocab> {
    let is_padding = |id| matches!(tokenizer.kind(id), None | Some(TokenKind::Unused));
    Vocab::new(rows, is_padding, |id| tokenizer.is_eog(id))
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it, with this token.
    Eog(u32),
    /// As many tokens as were asked for.
    Length,
    /// The stop string of this index came up.
    Stop(usize),
    /// No further token fits the context.
    ContextFull,
    /// The caller wanted no more.
    Interrupted,
}

/// What one step gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The token; `None` where a generation was ended without one.
    pub token: Option<u32>,
    /// Text that is certain now, often empty: characters are held back until whole, what may be the beginning of a stop
    /// string until it is known not to be.
    pub text: String,
    /// Set in the last piece.
    pub finish: Option<Finish>,
}

/// One answer in the making.
pub struct Generation<'t> {
    tokenizer: &'t Tokenizer,
    sampler: Sampler,
    detokenizer: Detokenizer<'t>,
    stops: StopMatcher,
    limit: Option<usize>,
    /// Logits of the next token, unless `unread` comes first.
    logits: Vec<f32>,
    /// A token that was given out but not read yet.
    unread: Option<u32>,
    tokens: usize,
    finish: Option<Finish>,
}

impl<'t> Generation<'t> {
    /// An answer of at most `limit` tokens.
    pub fn new(tokenizer: &'t Tokenizer, sampler: Sampler, stops: StopMatcher, limit: Option<usize>) -> Self {
        let (logits, unread, tokens, finish) = Default::default();
        let detokenizer = tokenizer.stream();
        Self { tokenizer, sampler, detokenizer, stops, limit, logits, unread, tokens, finish }
    }

    /// Whether control tokens that do not end the generation show as their text (for raw continuation).
    #[must_use]
    pub fn show_control(mut self, show: bool) -> Self {
        self.detokenizer = self.detokenizer.show_control(show);
        self
    }

    /// Begins with the logits after the prompt, `[vocab]`.
    pub fn start(&mut self, logits: Vec<f32>) {
        self.logits = logits;
        self.unread = None;
    }

    /// Tokens given out so far, one that ended the generation included.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Why it ended, once it has.
    pub fn finish(&self) -> Option<Finish> {
        self.finish
    }

    /// The sampler.
    pub fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    /// The next piece, over an engine and the sequence that holds the prompt; `None` after the last. Call
    /// [`Generation::start`] first.
    ///
    /// # Errors
    /// When the forward pass or the sampler fails.
    pub fn next(&mut self, engine: &mut Engine, seq: &mut Sequence) -> Result<Option<Piece>> {
        if self.finish.is_some() {
            return Ok(None);
        }
        if let Some(token) = self.unread.take() {
            self.logits = engine.step(seq, token)?;
        }
        let mut logits = std::mem::take(&mut self.logits);
        let piece = self.take(&mut logits, engine.n_ctx().saturating_sub(seq.len()))?;
        self.unread = piece.token.filter(|_| piece.finish.is_none());
        Ok(Some(piece))
    }

    /// One step from logits `[vocab]` (which it changes); `room` is how many tokens still fit the sequence. The piece's
    /// token is for the caller to read, unless it finishes the generation.
    ///
    /// # Errors
    /// When the sampler fails.
    pub fn take(&mut self, logits: &mut [f32], room: usize) -> Result<Piece> {
        let token = self.sampler.sample(logits)?;
        self.sampler.accept(token);
        self.tokens += 1;
        if self.tokenizer.is_eog(token) {
            return Ok(self.end(Some(token), String::new(), Finish::Eog(token)));
        }
        let step = self.stops.push(self.detokenizer.push(token));
        let text = step.show;
        let finish = match step.stop {
            Some(index) => Finish::Stop(index),
            None if self.limit.is_some_and(|n| self.tokens >= n) => Finish::Length,
            None if room == 0 => Finish::ContextFull,
            None => return Ok(Piece { token: Some(token), text, finish: None }),
        };
        Ok(self.end(Some(token), text, finish))
    }

    /// Ends it from outside; the piece has the text that was held back.
    pub fn interrupt(&mut self) -> Piece {
        match self.finish {
            None => self.end(None, String::new(), Finish::Interrupted),
            finish => Piece { token: None, text: String::new(), finish },
        }
    }

    /// The last piece, with what was held back.
    fn end(&mut self, token: Option<u32>, mut text: String, finish: Finish) -> Piece {
        let mut finish = finish;
        if !matches!(finish, Finish::Stop(_)) {
            let step = self.stops.push(self.detokenizer.finish());
            text.push_str(&step.show);
            match step.stop {
                Some(index) => finish = Finish::Stop(index),
                None => text.push_str(&self.stops.finish()),
            }
        }
        self.finish = Some(finish);
        Piece { token, text, finish: Some(finish) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Params, Settings};
    use crate::tokenizer::Vocab as Words;

    /// The 256 bytes in GPT-2's alphabet, an end (256), padding (257).
    fn tokenizer() -> Tokenizer {
        let plain = |b: u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
        let mut others = 256..;
        let mut letter = |b: u32| if plain(b) { Some(b) } else { others.next() };
        let letters = (0..256).map(|b| letter(b).and_then(char::from_u32).map(String::from).unwrap());
        let tokens = letters.chain(["<|im_end|>", "pad"].map(String::from)).collect();
        let vocab = Words {
            tokens,
            types: [vec![1; 256], vec![3, 5]].concat(),
            merges: vec![],
            pre: "qwen2".to_owned(),
            model: "gpt2".to_owned(),
            bos: None,
            eos: Some(256),
            eot: None,
            pad: None,
            add_bos: false,
        };
        Tokenizer::from_vocab(vocab).unwrap()
    }

    const A: u32 = 97;
    const B: u32 = 98;
    const C: u32 = 99;
    /// A byte that only begins a character.
    const E4: u32 = 0xE4;
    const END: u32 = 256;

    /// Greedy steps over logits that want `ids` in turn; `room` tokens fit.
    fn run(ids: &[u32], stops: &[&str], limit: Option<usize>, room: usize) -> (String, Vec<u32>, Option<Finish>) {
        let tokenizer = tokenizer();
        let greedy = Params { chain: Settings { temperature: 0.0, ..Settings::default() }, ..Params::default() };
        let sampler = Sampler::new(greedy, vocab(&tokenizer, 259).unwrap().into()).unwrap();
        let mut generation = Generation::new(&tokenizer, sampler, StopMatcher::new(stops).unwrap(), limit);
        let (mut text, mut tokens) = (String::new(), vec![]);
        for (i, &id) in ids.iter().enumerate() {
            let mut logits = [0.0; 259];
            logits[id as usize] = 1.0;
            (logits[257], logits[258]) = (9.0, 9.0);
            let piece = generation.take(&mut logits, room - i).unwrap();
            text += &piece.text;
            tokens.extend(piece.token);
            if piece.finish.is_some() {
                assert_eq!(piece.finish, generation.finish());
                return (text, tokens, piece.finish);
            }
        }
        let last = generation.interrupt();
        assert_eq!(generation.interrupt().text, "", "said once");
        (text + &last.text, tokens, last.finish)
    }

    #[test]
    fn ends_for_each_reason() {
        let of = |text: &str, tokens: &[u32], finish| (text.to_owned(), tokens.to_vec(), Some(finish));
        assert_eq!(run(&[A, B, END, C], &[], None, 9), of("ab", &[A, B, END], Finish::Eog(END)));
        assert_eq!(run(&[A, B, C, A], &[], Some(3), 9), of("abc", &[A, B, C], Finish::Length));
        assert_eq!(run(&[A, B, C, A], &["ba", "bc"], None, 9), of("a", &[A, B, C], Finish::Stop(1)));
        assert_eq!(run(&[A, B, C, A], &[], None, 1), of("ab", &[A, B], Finish::ContextFull));
        assert_eq!(run(&[A, B], &[], None, 9), of("ab", &[A, B], Finish::Interrupted));
    }

    #[test]
    fn held_back_text_comes_at_the_end() {
        assert_eq!(run(&[A, B], &["bx"], None, 9).0, "ab", "the beginning of a stop string");
        assert_eq!(run(&[A, E4], &[], Some(2), 9).0, "a\u{FFFD}", "part of a character");
        let stopped = run(&[A, E4, END], &["\u{FFFD}"], None, 9);
        assert_eq!((stopped.0.as_str(), stopped.2), ("a", Some(Finish::Stop(0))));
    }

    #[test]
    fn a_stop_string_beats_the_length() {
        assert_eq!(run(&[A, B], &["b"], Some(2), 1).2, Some(Finish::Stop(0)));
        assert_eq!(run(&[A, END], &[], Some(2), 1).2, Some(Finish::Eog(END)));
    }
}
