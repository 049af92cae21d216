//! Everything between `lapwing chat` and the terminal: the line editor, the streaming display, keys during an answer.
//!
//! * [`reader`]: [`Reader`](reader::Reader) gives one message at a time, from the editor or from piped lines;
//! * [`keys`]: what is typed while an answer comes, and the key (Esc) that ends the thinking;
//! * [`render`]: text of an answer as a terminal shows it: Markdown styled, wrapped, harmless;
//! * [`reading`]: the status line while a prompt is read.
//!
//! The interface, for the chat command:
//!
//! ```text
//! use super::term::reader::{Reader, ReaderOptions, Line};
//! use super::term::complete::{Then, Word};
//! static COMMANDS: [Word; 2] = [
//!     Word { text: "/read", then: Then::File },
//!     Word { text: "/set", then: Then::Words(&[
//!         Word { text: "thinking", then: Then::Words(&[Word { text: "show", then: Then::Nothing }, ..]) }]) },
//! ];                                 // also Then::Names(fn() -> Vec<String>) for names known only at run time
//! let mut reader = Reader::new(ReaderOptions { prompt: ">>> ", vi: false, history: true, commands: &COMMANDS })?;
//! match reader.read()? {             // Result<Line>
//!     Line::Message(text) => ..,     // whole, with its line breaks; """ already taken off; may be blank
//!     Line::Interrupted => ..,       // Ctrl-C at an empty prompt: leave (a non-empty line is cleared by the editor)
//!     Line::Eof => ..,               // Ctrl-D or the end of the pipe: leave
//! }
//! reader.set_history(bool);          // /set history, /set nohistory
//! reader.set_vi(bool);
//! reader.prefill(String);            // the next read begins with this text (for /edit, and what was typed ahead)
//! reader.on_terminal() -> bool;      // false: piped, no prompt
//!
//! // One answer, as in `lapwing run` (src/cli/answer.rs); Target has further fields now:
//! let target = Target { wrap, thinking: Thinking::Summary, ..Target::stdout(false) };
//! let mut printer = Printer::new(target, Some(router));   // then .text(&piece.text) ONCE PER TOKEN, .finish()
//!
//! // Keys during an answer:
//! let mut keys = Keys::watch();      // guard: terminal without echo; does nothing when stdin is no terminal
//! if keys.end_thinking() { .. }      // ask before each token and in the prompt's progress callback; true once per Esc
//! reader.prefill(keys.finish());     // terminal as before; what was typed ahead (dropping does it too)
//!
//! // Before the first token:
//! let mut reading = Reading::new(ReadingOptions { total: 8214, cached: 6100, rate: Some(41.0) });  // rate: tokens/s if known
//! reading.update(done_of_the_new_tokens);   // drop it to clear the line
//! ```
