//! Conversations over an engine: what was said, what of it the cache holds, and the file that keeps both.
//!
//! Nothing is printed here and no terminal is known, so that a REPL and a server can share it. [`Conversation`] is
//! plain data and makes the request of each turn; [`Cache`] reads no more of a prompt than the cache does not hold yet;
//! [`SavedChat`] is a file with both; [`overflow`] decides what is left out of a prompt that does not fit. Invariants:
//! the tokens in the cache always are a prefix of what was read last; a conversation never depends on the cache, so a
//! cache that is lost or does not fit costs time and nothing else.

mod cache;
mod conversation;
mod fingerprint;
pub mod overflow;
mod saved;

pub use cache::{Cache, Plan, Reading};
pub use conversation::{Conversation, Opening, Turn};
pub use fingerprint::fingerprint;
pub use saved::{Saved, SavedCache, SavedChat};
