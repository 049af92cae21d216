//! Generation: from logits to tokens and text, one token at a time, until something ends it.
//!
//! Nothing is printed here and no mode is known. [`Generation`] can be driven over an engine ([`Generation::next`]), or
//! by whoever runs the forward passes itself and has logits from there ([`Generation::take`]). Guards and a form of the
//! output are off until [`Generation::guarded`] and [`Generation::constrained`] put them on.
//!
//! Invariants: the pieces' texts joined are the detokenized tokens up to the first stop string; a finished generation
//! stays finished; a token is read into the sequence only when the one after it is wanted, so the last one is not in
//! the cache; a forced token (one that ends thinking) is read, counted and shown as one that was drawn.

mod ladder;
#[cfg(test)]
mod tests;

use super::Engine;
use crate::error::Result;
use crate::grammar::Constraint;
use crate::guard::closing::{Due, EARLY_STOP, Lengths, Limits, Thinking};
use crate::guard::phase::Phase;
use crate::guard::{Control, Guards, Notice, Overflow, Start, Why, closing};
use crate::kv::Sequence;
use crate::sample::stop::StopMatcher;
use crate::sample::{Sampler, Vocab};
use crate::tokenizer::{Detokenizer, Specials, TokenKind, Tokenizer};
use ladder::{Ladder, Rung};
use std::collections::VecDeque;
use std::sync::Arc;

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
    /// The output is all that its grammar or schema allows.
    Complete,
    /// It repeated itself without end.
    Loop,
    /// The caller wanted no more.
    Interrupted,
}

/// What one step gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The token; `None` where a generation was ended without one.
    pub token: Option<u32>,
    /// Text that is certain now, often empty: characters are held back until whole, what may be the beginning of a stop
    /// string until it is known not to be.
    pub text: String,
    /// What was done to the generation in this step, for the caller to say.
    pub notices: Vec<Notice>,
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
    phase: Phase,
    /// Set while the text is thinking.
    thinking: Option<Thinking>,
    /// Tokens of thinking that has ended.
    thought: usize,
    /// Tokens that come next whatever the logits say.
    forced: VecDeque<u32>,
    guard: Option<Guard>,
    constraint: Option<Constraint>,
    /// Whether the constraint has taken a token.
    constrained: bool,
    notices: Vec<Notice>,
}

/// The guards and what they have seen.
struct Guard {
    guards: Guards,
    ladder: Ladder,
    lengths: Lengths,
    /// Whether [`Notice::NoReserve`] was given.
    said_no_reserve: bool,
}

impl<'t> Generation<'t> {
    /// An answer of at most `limit` tokens.
    pub fn new(tokenizer: &'t Tokenizer, sampler: Sampler, stops: StopMatcher, limit: Option<usize>) -> Self {
        Self {
            tokenizer,
            sampler,
            detokenizer: tokenizer.stream(),
            stops,
            limit,
            logits: Vec::new(),
            unread: None,
            tokens: 0,
            finish: None,
            phase: Phase::new(Start::Answer),
            thinking: None,
            thought: 0,
            forced: VecDeque::new(),
            guard: None,
            constraint: None,
            constrained: false,
            notices: Vec::new(),
        }
    }

    /// Whether control tokens that do not end the generation show as their text (for raw continuation).
    #[must_use]
    pub fn show_control(mut self, show: bool) -> Self {
        self.detokenizer = self.detokenizer.show_control(show);
        self
    }

    /// Where the prompt leaves off; without this the whole text is taken for an answer.
    #[must_use]
    pub fn starting(mut self, start: Start) -> Self {
        self.phase = Phase::new(start);
        self.thinking = (start == Start::Thinking).then(Thinking::of_prompt);
        self
    }

    /// Puts guards on.
    ///
    /// # Errors
    /// Only if the tokenizer itself fails.
    pub fn guarded(mut self, guards: Guards) -> Result<Self> {
        let length = |words: &str| Ok(self.tokenizer.encode(words, Specials::Parse)?.len());
        let bare = length(&format!("\n\n{}", closing::CLOSE))?;
        let lengths = Lengths { sentence: length(&format!("\n\n{EARLY_STOP}{}", closing::CLOSE))?, bare };
        let ladder = Ladder::new(guards.loop_guard, self.phase.is_thinking());
        self.guard = Some(Guard { guards, ladder, lengths, said_no_reserve: false });
        Ok(self)
    }

    /// Keeps the answer (never the thinking before it) to a form.
    #[must_use]
    pub fn constrained(mut self, constraint: Constraint) -> Self {
        self.constraint = Some(constraint);
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

    /// Tokens of thinking among them, without those that ended it.
    pub fn thinking_tokens(&self) -> usize {
        self.thought + self.thinking.as_ref().map_or(0, Thinking::tokens)
    }

    /// Whether the text is thinking now.
    pub fn is_thinking(&self) -> bool {
        self.phase.is_thinking()
    }

    /// By which others change the budget or end the thinking while it runs; `None` without guards.
    pub fn control(&self) -> Option<&Arc<Control>> {
        self.guard.as_ref().map(|g| &g.guards.control)
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
            if seq.len() >= engine.n_ctx() && !self.shift(engine, seq)? {
                self.notices.push(Notice::CannotShift);
                return Ok(Some(self.end(None, String::new(), Finish::ContextFull)));
            }
            self.logits = engine.step(seq, token)?;
        }
        let mut logits = std::mem::take(&mut self.logits);
        let room = match &self.guard {
            Some(g) if g.guards.overflow == Overflow::Shift => usize::MAX,
            _ => engine.n_ctx().saturating_sub(seq.len()),
        };
        let piece = self.take(&mut logits, room)?;
        self.unread = piece.token.filter(|_| piece.finish.is_none());
        Ok(Some(piece))
    }

    /// Forgets the oldest half of what comes after the kept beginning and reads the rest anew, as a prompt: what the
    /// cache then holds is what reading the kept and the remaining tokens alone would give. Says whether it could.
    fn shift(&mut self, engine: &mut Engine, seq: &mut Sequence) -> Result<bool> {
        let kept = self.guard.as_ref().map_or(0, |g| g.guards.keep).min(seq.len());
        let rest = seq.len() - kept;
        // Less would have to be read anew every few tokens.
        if rest < (engine.n_ctx() / 4).max(2) {
            return Ok(false);
        }
        let dropped = rest.div_ceil(2);
        let tail = seq.tokens()[kept + dropped..].to_vec();
        seq.truncate(&mut engine.kv_mut().pages, kept);
        if !tail.is_empty() {
            engine.read(seq, &tail, 1, &mut |_| true)?;
        }
        self.notices.push(Notice::Shifted { dropped, kept });
        Ok(true)
    }

    /// One step from logits `[vocab]` (which it changes); `room` is how many tokens still fit the sequence. The piece's
    /// token is for the caller to read, unless it finishes the generation.
    ///
    /// # Errors
    /// When the sampler fails, or the form has become too complex to follow.
    pub fn take(&mut self, logits: &mut [f32], room: usize) -> Result<Piece> {
        self.watch_thinking(room)?;
        let mut forced = self.forced.pop_front();
        let mut token = match forced {
            Some(token) => token,
            None => self.choose(logits)?,
        };
        if self.tokenizer.is_eog(token) && self.answer_first(room)? {
            forced = self.forced.pop_front();
            token = forced.unwrap_or(token);
        }
        self.sampler.accept(token);
        self.tokens += 1;
        if self.tokenizer.is_eog(token) {
            return Ok(self.end(Some(token), String::new(), Finish::Eog(token)));
        }
        let text = self.detokenizer.push(token).to_owned();
        let ended = self.follow(token, &text, forced.is_some())?;
        let step = self.stops.push(&text);
        let finish = match (step.stop, ended) {
            (Some(index), _) => Finish::Stop(index),
            (None, Some(finish)) => finish,
            (None, None) if self.limit.is_some_and(|n| self.tokens >= n) => Finish::Length,
            (None, None) if room == 0 => Finish::ContextFull,
            (None, None) => {
                let notices = std::mem::take(&mut self.notices);
                return Ok(Piece { token: Some(token), text: step.show, notices, finish: None });
            }
        };
        Ok(self.end(Some(token), step.show, finish))
    }

    /// Tokens that the whole generation may have, if anything limits it.
    fn total(&self, room: usize) -> Option<usize> {
        let by_context = self.tokens.checked_add(room).and_then(|n| n.checked_add(1));
        self.limit.into_iter().chain(by_context).min()
    }

    /// Ends thinking when that is due.
    fn watch_thinking(&mut self, room: usize) -> Result<()> {
        let total = self.total(room);
        let Some(guard) = &mut self.guard else { return Ok(()) };
        let control = &guard.guards.control;
        let Some(thinking) = &mut self.thinking else {
            if !self.phase.is_open() {
                control.clear_end();
            }
            return Ok(());
        };
        if !self.forced.is_empty() {
            return Ok(());
        }
        let limits = Limits { budget: control.budget(), total, asked: control.asked_to_end() };
        match thinking.due(limits, guard.lengths) {
            Due::No => Ok(()),
            Due::NoReserve => {
                if let Some(limit) = total.filter(|_| !guard.said_no_reserve) {
                    guard.said_no_reserve = true;
                    self.notices.push(Notice::NoReserve { limit });
                }
                Ok(())
            }
            Due::Close { why, sentence } => self.close(why, sentence),
        }
    }

    /// Lets the words that close thinking come next.
    fn close(&mut self, why: Why, sentence: bool) -> Result<()> {
        let Some(thinking) = &self.thinking else { return Ok(()) };
        self.notices.push(Notice::ThinkingEnded { tokens: thinking.tokens(), why });
        self.forced = self.tokenizer.encode(&thinking.words(sentence), Specials::Parse)?.into();
        Ok(())
    }

    /// When the model is about to end its turn within thinking: lets it answer, if there is room. Says whether it does.
    fn answer_first(&mut self, room: usize) -> Result<bool> {
        let Some(guard) = self.guard.as_ref().filter(|_| self.thinking.is_some() && self.forced.is_empty()) else {
            return Ok(false);
        };
        let left = self.total(room).map_or(usize::MAX, |total| total.saturating_sub(self.tokens));
        if left <= guard.lengths.bare {
            return Ok(false);
        }
        self.close(Why::NoAnswer, false)?;
        Ok(true)
    }

    /// Draws a token that the form, if there is one, lets through.
    fn choose(&mut self, logits: &mut [f32]) -> Result<u32> {
        let Some(constraint) = &mut self.constraint else { return self.sampler.sample(logits) };
        if self.phase.is_thinking() {
            return self.choose_thinking(logits);
        }
        let opens = (self.phase.is_open() && !self.constrained).then(|| self.tokenizer.id_of("<think>")).flatten();
        constraint.mask(logits, opens)?;
        self.sampler.sample(logits)
    }

    /// Draws a token of thinking. One that would end it and begin the answer at once, past the form, is not taken.
    fn choose_thinking(&mut self, logits: &[f32]) -> Result<u32> {
        let mut banned = Vec::new();
        loop {
            let mut logits = logits.to_vec();
            banned.iter().for_each(|&id: &u32| logits[id as usize] = f32::NEG_INFINITY);
            let token = self.sampler.sample(&mut logits)?;
            let bytes = self.tokenizer.bytes(token);
            let suspect = bytes.len() > 1 && bytes.contains(&b'>');
            if !suspect || !self.phase.clone().push(self.detokenizer.clone().push(token)).answered_at_once {
                return Ok(token);
            }
            banned.push(token);
        }
    }

    /// Follows a token that is given out: phase, form, repetition. Returns why the generation ends with it, if it does.
    fn follow(&mut self, token: u32, text: &str, forced: bool) -> Result<Option<Finish>> {
        let masked = !forced && !self.phase.is_thinking();
        let step = self.phase.push(text);
        if let Some(thinking) = self.thinking.as_mut().filter(|_| !forced) {
            thinking.push(text);
        }
        if step.opened {
            self.thinking = Some(Thinking::of_model(self.tokens));
            self.change_phase(true);
        } else if step.closed {
            self.thought = self.thinking.take().map_or(0, |t| t.tokens());
            self.change_phase(false);
            if self.constraint.is_some() && self.forced.is_empty() && text.ends_with("</think>") {
                // The model would write these itself, but the form does not know them.
                self.forced = self.tokenizer.encode("\n\n", Specials::Literal)?.into();
            }
        } else if let Some(constraint) = self.constraint.as_mut().filter(|_| masked) {
            constraint.accept(token)?;
            self.constrained = true;
            // From here on a `<think>` that the form lets the model spell is part of the answer.
            self.phase = Phase::new(Start::Answer);
            return Ok(constraint.is_finished().then_some(Finish::Complete));
        }
        if forced || self.constraint.is_some() && !self.phase.is_thinking() {
            return Ok(None);
        }
        self.watch_repetition(token, text)
    }

    fn change_phase(&mut self, thinking: bool) {
        if let Some(guard) = &mut self.guard {
            guard.ladder.restart(thinking, &mut self.sampler);
        }
    }

    /// Looks for endless repetition and goes up the ladder of what is done about it.
    fn watch_repetition(&mut self, token: u32, text: &str) -> Result<Option<Finish>> {
        let Some(guard) = &mut self.guard else { return Ok(None) };
        match guard.ladder.push(token, text, &mut self.sampler) {
            None => Ok(None),
            Some(Rung::Penalized(what)) => {
                self.notices.push(Notice::Penalized(what));
                Ok(None)
            }
            Some(Rung::End(_)) if self.thinking.is_some() => {
                self.close(Why::Loop, true)?;
                Ok(None)
            }
            Some(Rung::End(what)) => {
                self.notices.push(Notice::LoopStopped(what));
                Ok(Some(Finish::Loop))
            }
        }
    }

    /// Ends it from outside; the piece has the text that was held back.
    pub fn interrupt(&mut self) -> Piece {
        match self.finish {
            None => self.end(None, String::new(), Finish::Interrupted),
            finish => Piece { finish, ..Piece::default() },
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
        if let Some(constraint) = self.constraint.as_mut().filter(|_| finish != Finish::Interrupted) {
            let whole = matches!(finish, Finish::Complete | Finish::Eog(_)) && self.constrained;
            if !(whole || self.constrained && constraint.is_complete()) {
                self.notices.push(Notice::Incomplete);
            }
        }
        self.finish = Some(finish);
        Piece { token, text, notices: std::mem::take(&mut self.notices), finish: Some(finish) }
    }
}
