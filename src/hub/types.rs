//! What a caller of the hub gives and gets: options, events, the model found.

use super::choose;
use super::digest::recorded_sha256;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach the hub, and where its cache is.
#[derive(Clone, Debug)]
pub struct HubOptions {
    /// `https://huggingface.co`, or a mirror with the same paths.
    pub endpoint: String,
    /// The folder of the cache.
    pub cache: PathBuf,
    /// Sent to the endpoint, and nowhere else.
    pub token: Option<String>,
    /// Use the cache only.
    pub offline: bool,
    /// Connections at once for one file.
    pub connections: usize,
    /// Tries in a row without progress before giving up.
    pub tries: u32,
    /// How long a connection may give nothing.
    pub stall: Duration,
    /// PEM certificates to trust in place of those built in.
    pub ca_file: Option<PathBuf>,
}

/// What happens during [`Hub::pull`](super::Hub::pull).
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A file begins.
    Start {
        /// Its path in the repository.
        name: &'a str,
        /// Its size.
        bytes: u64,
        /// How much of it is here from before.
        resumed: u64,
    },
    /// Bytes of the file that are here.
    Received {
        /// So many.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// Bytes of the file that are hashed.
    Checking {
        /// So many.
        done: u64,
        /// Of so many.
        total: u64,
    },
    /// The file is here, whole and checked.
    Finished {
        /// Its path in the repository.
        name: &'a str,
    },
    /// A moment of waiting.
    Waiting,
    /// Something the user should know.
    Note(&'a str),
}

/// Is told what happens; answers whether to go on.
pub type Watch<'a> = &'a mut dyn FnMut(Event<'_>) -> bool;

/// A model that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `user/repo:QUANT`.
    pub name: String,
    /// The commit it is of.
    pub commit: String,
    /// Its files, in the order of its shards; to open it, open the first.
    pub files: Vec<PathBuf>,
    /// The SHA-256 that each was checked by, where that is known.
    pub sha256: Vec<Option<String>>,
}

impl Found {
    pub(super) fn new(repo: &str, commit: &str, files: Vec<PathBuf>) -> Found {
        let sha256 = files.iter().map(|file| recorded_sha256(file)).collect();
        let stem = files.first().and_then(|f| f.file_stem()).and_then(|s| s.to_str()).unwrap_or_default();
        let name = choose::quant_of(stem).map_or_else(|| repo.to_owned(), |quant| format!("{repo}:{quant}"));
        Found { name, commit: commit.to_owned(), files, sha256 }
    }
}
