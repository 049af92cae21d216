//! Ctrl-C: the first asks the command to end in good order, the second ends the program at once.

use super::output;
use super::term::keys;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// Exit code of a command ended by Ctrl-C, as shells have it: 128 and the signal's number.
pub const EXIT_CODE: u8 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);
static IDLE: AtomicBool = AtomicBool::new(false);
static WATCH: Once = Once::new();

/// From here on Ctrl-C is only noted. Where that cannot be had, Ctrl-C goes on to end the program, and this says so.
pub fn watch() {
    WATCH.call_once(|| {
        let handler = || {
            if ASKED.swap(true, Ordering::Relaxed) || IDLE.load(Ordering::Relaxed) {
                keys::restore();
                std::process::exit(i32::from(EXIT_CODE));
            }
        };
        if let Err(e) = ctrlc::set_handler(handler) {
            output::warn(&format!("Ctrl-C will end the program without a word: {e}"));
        }
    });
}

/// Whether Ctrl-C was pressed since the last [`clear`].
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Forgets it.
pub fn clear() {
    ASKED.store(false, Ordering::Relaxed);
}

/// Says that nothing is at work (input is waited for): the first Ctrl-C then ends the program.
pub fn idle(idle: bool) {
    IDLE.store(idle, Ordering::Relaxed);
}
