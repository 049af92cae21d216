//! Which troubles pass, and how often and how long to wait for that.

use super::refusal::Refusal;
use crate::error::Error;
use std::time::Duration;

/// Tries on a server that cannot be reached at all and has not been yet.
const TRIES_UNREACHABLE: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(300);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A trouble that may be over soon.
#[derive(Clone, Debug)]
pub(super) struct Passing {
    /// What happened, where.
    pub(super) what: String,
    /// How long the server asks to wait.
    pub(super) wait: Option<Duration>,
    /// Whether there was no connection at all.
    pub(super) unreachable: bool,
}

impl Passing {
    /// One that says nothing of when to come back.
    pub(super) fn new(what: impl Into<String>) -> Passing {
        Passing { what: what.into(), wait: None, unreachable: false }
    }
}

/// Why a request did not give what it was for.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Worth another try.
    Passing(Passing),
    /// The server will not; the caller knows what that means.
    Refused(Refusal),
    /// The server does not send parts of a file.
    NoRanges,
    /// The file is not the one that was begun.
    Changed(String),
    /// No use to try again.
    Final(Error),
}

/// Counts tries without progress.
#[derive(Debug)]
pub(super) struct Patience {
    tries: u32,
    failed: u32,
    reached: bool,
}

impl Patience {
    /// As many tries in a row.
    pub(super) fn new(tries: u32) -> Patience {
        Patience { tries: tries.max(1), failed: 0, reached: false }
    }

    /// Something came: counting starts anew.
    pub(super) fn progress(&mut self) {
        *self = Patience { tries: self.tries, failed: 0, reached: true };
    }

    /// How long to wait before the next try; the error when there is to be none.
    pub(super) fn wait(&mut self, trouble: &Passing) -> Result<Duration, Error> {
        self.failed += 1;
        self.reached |= !trouble.unreachable;
        let most = if self.reached { self.tries } else { self.tries.min(TRIES_UNREACHABLE) };
        if self.failed >= most {
            let times = if self.failed == 1 { String::new() } else { format!(" ({} times in a row)", self.failed) };
            return Err(Error::runtime(format!("{}{times}", trouble.what)));
        }
        let doubled = FIRST_WAIT * (1 << (self.failed - 1).min(10));
        Ok(doubled.min(LONGEST_WAIT).max(trouble.wait.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let mut patience = Patience::new(10);
        let slow = Passing::new("x: 500");
        let waits: Vec<u128> = (0..9).map(|_| patience.wait(&slow).unwrap().as_millis()).collect();
        assert_eq!(waits, [300, 600, 1200, 2400, 4800, 9600, 19200, 30000, 30000]);
        assert!(patience.wait(&slow).unwrap_err().to_string().contains("10 times"));
        patience.progress();
        let asked = Passing { wait: Some(Duration::from_secs(7)), ..slow };
        assert_eq!(patience.wait(&asked).unwrap().as_secs(), 7);
    }

    #[test]
    fn a_server_that_was_never_there_is_given_up_sooner() {
        let gone = Passing { unreachable: true, ..Passing::new("x: refused") };
        let mut patience = Patience::new(10);
        assert_eq!((0..10).take_while(|_| patience.wait(&gone).is_ok()).count(), 2);
        patience.progress();
        assert_eq!((0..20).take_while(|_| patience.wait(&gone).is_ok()).count(), 9);
    }
}
