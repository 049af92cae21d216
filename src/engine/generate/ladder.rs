//! What is done about endless repetition, step by step: first a presence penalty for a while, then the end of the
//! thinking or of the answer.
//!
//! Invariants: thinking and answer are judged apart; the penalty is never lower than the user's own and is taken back
//! when the text has been calm for a while or its phase ends.

use crate::guard::PRESENCE;
use crate::guard::loops::{Detector, Repetition};
use crate::sample::Sampler;

/// How many tokens without repetition end the penalty.
const CALM: usize = 512;
/// How often a phase of the text gets a penalty before repetition ends it.
const MOST_PENALTIES: usize = 3;
/// How many of the last tokens the penalty looks at, at least and at most.
const WINDOW: (usize, usize) = (64, 1024);

/// A step that was taken.
pub(super) enum Rung {
    /// The presence penalty was raised.
    Penalized(Repetition),
    /// That did not help: the phase is to end.
    End(Repetition),
}

/// The state of one generation.
pub(super) struct Ladder {
    on: bool,
    detector: Detector,
    /// The sampler's own penalty and window, while they are changed.
    own: Option<(f32, i32)>,
    penalties: usize,
    /// Tokens since repetition was last found.
    calm: usize,
}

impl Ladder {
    pub fn new(on: bool, thinking: bool) -> Self {
        Self { on, detector: Detector::new(thinking), own: None, penalties: 0, calm: 0 }
    }

    /// Begins a new phase.
    pub fn restart(&mut self, thinking: bool, sampler: &mut Sampler) {
        self.relent(sampler);
        *self = Self::new(self.on, thinking);
    }

    /// Takes the penalty back.
    fn relent(&mut self, sampler: &mut Sampler) {
        if let Some((presence, window)) = self.own.take() {
            sampler.set_presence(presence, window);
        }
    }

    /// Takes a token that was generated and says what was done, if anything.
    pub fn push(&mut self, token: u32, text: &str, sampler: &mut Sampler) -> Option<Rung> {
        if !self.on {
            return None;
        }
        let Some(found) = self.detector.push(token, text) else {
            self.calm += 1;
            if self.calm >= CALM {
                self.relent(sampler);
            }
            return None;
        };
        self.calm = 0;
        self.detector.look_again();
        let chain = &sampler.params().chain;
        let (presence, window) = (chain.presence_penalty, chain.repeat_last_n);
        if self.own.is_some() || self.penalties == MOST_PENALTIES || presence >= PRESENCE {
            return Some(Rung::End(found));
        }
        self.penalties += 1;
        self.own = Some((presence, window));
        let wanted = (2 * found.span()).clamp(WINDOW.0, WINDOW.1) as i32;
        sampler.set_presence(PRESENCE, if window < 0 { window } else { window.max(wanted) });
        Some(Rung::Penalized(found))
    }
}
