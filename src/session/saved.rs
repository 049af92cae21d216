//! A conversation in a file, with the keys and values of its tokens, so that another process goes on at once.
//!
//! Layout, little endian: `LAPWCHAT`, version (u32), length of the header (u32), the header (JSON: conversation,
//! settings, which model and cache), the cached tokens (u32 each), their keys and values (see `kv::snapshot`), SHA-256
//! of all before it. A file is checked whole before anything of it is used, and every length is compared with the
//! file's before memory is taken for it. A cache made by another model or kept in other types is not used; the
//! conversation still is.

use super::{Conversation, fingerprint};
use crate::engine::{Engine, Sequence};
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

const MAGIC: &[u8; 8] = b"LAPWCHAT";
const VERSION: u32 = 1;
/// Longest header.
const MAX_HEADER: u32 = 256 << 20;
const SUM: u64 = 32;

/// How the cache was kept, and by which model: all must agree for it to be used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    model: String,
    keys: String,
    values: String,
}

impl Kept {
    fn now(engine: &Engine, gguf: &Gguf) -> Self {
        let (keys, values) = engine.kv_type_names();
        Self { model: fingerprint(gguf, engine.config()), keys: keys.to_owned(), values: values.to_owned() }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    /// Version of the program that wrote it, for people.
    program: String,
    /// Name of the model's file, for people.
    model_file: String,
    kept: Kept,
    /// Instruction set that computed the cache.
    isa: String,
    /// How many tokens are cached.
    tokens: u64,
    conversation: Value,
    settings: Value,
}

/// What is to be kept.
pub struct Saved<'a> {
    /// The conversation.
    pub conversation: &'a Conversation,
    /// Whatever else the caller wants back.
    pub settings: Value,
    /// The cache.
    pub sequence: &'a Sequence,
}

impl Saved<'_> {
    /// Writes it all to `path`, under a temporary name first; readable by the user only, where the system knows that.
    /// Returns the bytes written; `progress` hears bytes done of all.
    ///
    /// # Errors
    /// When the file cannot be written; the file of that name is as it was then.
    pub fn write(&self, path: &Path, engine: &Engine, gguf: &Gguf, progress: &mut dyn FnMut(u64, u64)) -> Result<u64> {
        let header = Header {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            model_file: gguf.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
            kept: Kept::now(engine, gguf),
            isa: engine.kernels().name.to_owned(),
            tokens: self.sequence.len() as u64,
            conversation: self.conversation.to_json(),
            settings: self.settings.clone(),
        };
        let header = serde_json::to_vec(&header).map_err(|e| Error::runtime(format!("no JSON can be made: {e}")))?;
        let length = u32::try_from(header.len()).ok().filter(|&n| n <= MAX_HEADER);
        let length = length.ok_or_else(|| Error::limit("the conversation is too long to be saved"))?;
        let failed = |e: std::io::Error| Error::file(format!("{}: cannot be written: {e}", path.display()));
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir).map_err(failed)?;
        let mut file = tempfile::Builder::new().prefix(".lapwing-chat").tempfile_in(dir).map_err(failed)?;
        let bytes = {
            let mut out =
                Summed { inner: BufWriter::with_capacity(1 << 20, file.as_file_mut()), hash: Sha256::new(), bytes: 0 };
            let all = engine.kv().snapshot_bytes(self.sequence.len()).unwrap_or(0);
            let mut write = || {
                out.write_all(MAGIC)?;
                out.write_all(&VERSION.to_le_bytes())?;
                out.write_all(&length.to_le_bytes())?;
                out.write_all(&header)?;
                self.sequence.tokens().iter().try_for_each(|t| out.write_all(&t.to_le_bytes()))?;
                engine.kv().write(self.sequence, &mut out, &mut |done| progress(done, all))?;
                let sum = out.hash.clone().finalize();
                out.write_all(&sum)?;
                out.flush()
            };
            write().map_err(failed)?;
            out.bytes
        };
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|e| failed(e.error))?;
        Ok(bytes)
    }
}

/// A writer that hashes what goes through it.
struct Summed<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// The cache of a file, as far as it can be used here.
pub enum SavedCache {
    /// It is in the engine again.
    Ready(Sequence),
    /// It cannot be used; why. The conversation must be read anew.
    Unusable(String),
}

/// A file that was opened and found whole.
pub struct SavedChat {
    header: Header,
    /// At the first cached token.
    file: BufReader<File>,
    /// Bytes of keys and values.
    payload: u64,
    shown: String,
}

impl SavedChat {
    /// Opens a file and checks it from beginning to end.
    ///
    /// # Errors
    /// When it cannot be read, is no saved chat, of a version that is not known, cut off or changed.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let failed = |e: std::io::Error| Error::file(format!("{shown}: cannot be read: {e}"));
        let broken = |what: String| Error::file(format!("{shown}: {what}"));
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut start = [0; 16];
        let whole = length >= start.len() as u64 + SUM && file.read_exact(&mut start).is_ok();
        if !whole || start[..8] != *MAGIC {
            return Err(broken("is no saved chat of this program".to_owned()));
        }
        let number = |at: usize| u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
        let (version, header_length) = (number(8), number(12));
        if version != VERSION {
            return Err(broken(format!("is a saved chat of version {version}; this program reads version {VERSION}")));
        }
        let rest = length - start.len() as u64 - SUM;
        if header_length > MAX_HEADER || u64::from(header_length) > rest {
            return Err(broken(format!("has a header of {header_length} bytes, which is more than the file")));
        }
        check_sum(&mut file, length).map_err(failed)?.then_some(()).ok_or_else(|| {
            broken("is damaged: its checksum is another; it was cut off or changed after it was saved".to_owned())
        })?;
        file.seek(SeekFrom::Start(start.len() as u64)).map_err(failed)?;
        let mut header = vec![0; header_length as usize];
        file.read_exact(&mut header).map_err(failed)?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|e| broken(format!("its header is not sound: {e}")))?;
        let rest = rest - u64::from(header_length);
        let payload = header.tokens.checked_mul(4).and_then(|ids| rest.checked_sub(ids));
        let payload = payload.ok_or_else(|| broken(format!("has no room for its {} tokens", header.tokens)))?;
        Ok(Self { header, file, payload, shown })
    }

    /// The conversation.
    ///
    /// # Errors
    /// When it is not sound.
    pub fn conversation(&self) -> Result<Conversation> {
        Conversation::from_json(self.header.conversation.clone()).map_err(|e| e.context(&self.shown))
    }

    /// What the caller gave to be kept.
    pub fn settings(&self) -> &Value {
        &self.header.settings
    }

    /// Something about the cache that changes no token but may change the last digits: told, not refused.
    pub fn caution(&self, engine: &Engine) -> Option<String> {
        let (was, is) = (&self.header.isa, engine.kernels().name);
        (was != is).then(|| format!("it was computed with {was}, not {is}: answers may differ in their last digits"))
    }

    /// Puts the cache back into the engine. `progress` hears bytes done of all.
    ///
    /// # Errors
    /// When the file fails while it is read, or has other tokens than it claims.
    pub fn cache(mut self, engine: &mut Engine, gguf: &Gguf, progress: &mut dyn FnMut(u64, u64)) -> Result<SavedCache> {
        let (was, is) = (&self.header.kept, Kept::now(engine, gguf));
        if was.model != is.model {
            return Ok(SavedCache::Unusable(format!("it is of another model ({})", self.header.model_file)));
        }
        if *was != is {
            return Ok(SavedCache::Unusable(format!(
                "it is kept as {} and {}, not as {} and {} (-ctk, -ctv)",
                was.keys, was.values, is.keys, is.values
            )));
        }
        let tokens = self.header.tokens;
        let count = usize::try_from(tokens).ok().filter(|&n| n <= engine.n_ctx());
        let Some(count) = count else {
            let n_ctx = engine.n_ctx();
            return Ok(SavedCache::Unusable(format!("it has {tokens} tokens, the context {n_ctx}; use -c {tokens}")));
        };
        let expected = engine.kv().snapshot_bytes(count);
        if expected != Some(self.payload) {
            let found = self.payload;
            return Err(Error::file(format!("{}: has {found} bytes of cache, not {expected:?}", self.shown)));
        }
        let mut ids = vec![0; 4 * count];
        self.file.read_exact(&mut ids).map_err(|e| Error::file(format!("{}: cannot be read: {e}", self.shown)))?;
        let ids: Vec<u32> = ids.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
        let vocab = engine.config().n_vocab;
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocab) {
            return Err(Error::file(format!("{}: token {id} is not in the vocabulary of {vocab} entries", self.shown)));
        }
        let payload = self.payload;
        let sequence = engine.kv_mut().read(&ids, &mut self.file, &mut |done| progress(done, payload));
        Ok(SavedCache::Ready(sequence.map_err(|e| e.context(&self.shown))?))
    }
}

/// Whether the last bytes are the sum of all before them.
fn check_sum(file: &mut BufReader<File>, length: u64) -> std::io::Result<bool> {
    file.seek(SeekFrom::Start(0))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut left = length - SUM;
    while left > 0 {
        let n = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut buffer[..n])?;
        hash.update(&buffer[..n]);
        left -= n as u64;
    }
    let mut sum = [0; SUM as usize];
    file.read_exact(&mut sum)?;
    Ok(hash.finalize()[..] == sum)
}
