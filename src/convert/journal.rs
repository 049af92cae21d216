//! What an interrupted job leaves beside its unfinished files, so that it can go on: which bytes were written, with
//! their hashes.
//!
//! The journal is a text file: a line with the number of the job ([`super::Plan::id`]), then for each stretch that was
//! written a line `FILE END SHA256`. Nothing is trusted when a job goes on: a stretch counts only if the bytes in the
//! unfinished file have that hash, and so do all before it. A line cut off by a crash is none. While a job runs it
//! holds a lock on its journal.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::plan::hex;
use crate::error::{Error, Result};

const MAGIC: &str = "lapwing-quantize-1";
/// Bytes of a journal that are read: a line of some 85 bytes for every few megabytes written.
const MAX_BYTES: u64 = 64 << 20;

/// An open, locked journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

/// A stretch of a file, from the end of the one before.
#[derive(Debug, PartialEq, Eq)]
struct Stretch {
    file: usize,
    end: u64,
    hash: String,
}

impl Journal {
    /// Opens the journal at `path`, making it where there is none, and locks it.
    pub fn open(path: &Path) -> Result<Journal> {
        let shown = path.display();
        let failed = |e: std::io::Error| Error::file(format!("{shown}: cannot be written: {e}"));
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::file(format!(
                    "{shown}: another lapwing quantize is writing this model; let it finish"
                )));
            }
            // Some network file systems have no locks; then nothing guards against a second job.
            Err(TryLockError::Error(_)) => {}
        }
        Ok(Journal { path: path.to_path_buf(), file })
    }

    /// Forgets what is written in it and begins job `id`.
    pub fn begin(&mut self, id: &str) -> Result<()> {
        self.file.set_len(0).map_err(|e| self.failed(&e))?;
        self.append(&format!("{MAGIC} {id}\n"))
    }

    /// Notes that file number `file` is written up to `end`, the last part of which has this hash.
    pub fn note(&mut self, file: usize, end: u64, hash: &[u8]) -> Result<()> {
        self.append(&format!("{file} {end} {}\n", hex(hash)))
    }

    fn append(&mut self, line: &str) -> Result<()> {
        self.file.write_all(line.as_bytes()).map_err(|e| self.failed(&e))
    }

    fn failed(&self, e: &std::io::Error) -> Error {
        Error::file(format!("{}: cannot be written: {e}", self.path.display()))
    }

    /// How much of each of `parts` was written by job `id` and is still there; `None` when the journal is of no or of
    /// another job.
    pub fn verified(&mut self, id: &str, parts: &[PathBuf]) -> Result<Option<Vec<u64>>> {
        let mut text = Vec::new();
        let read = self.file.seek(SeekFrom::Start(0)).and_then(|_| (&self.file).take(MAX_BYTES).read_to_end(&mut text));
        read.map_err(|e| Error::file(format!("{}: cannot be read: {e}", self.path.display())))?;
        let Some(stretches) = parse(&String::from_utf8_lossy(&text), id) else { return Ok(None) };
        let found = |(file, part): (usize, &PathBuf)| {
            let of_this = stretches.iter().filter(|s| s.file == file);
            Ok(File::open(part).map_or(0, |part| sound_prefix(part, of_this)))
        };
        parts.iter().enumerate().map(found).collect::<Result<Vec<u64>>>().map(Some)
    }

    /// The journal's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The stretches of a journal of job `id`.
fn parse(text: &str, id: &str) -> Option<Vec<Stretch>> {
    let mut lines = text.split_inclusive('\n');
    if lines.next()?.strip_suffix('\n')? != format!("{MAGIC} {id}") {
        return None;
    }
    let stretch = |line: &str| {
        let mut words = line.strip_suffix('\n')?.split(' ');
        let (file, end, hash) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.to_owned());
        (words.next().is_none() && hash.len() == 64).then_some(Stretch { file, end, hash })
    };
    Some(lines.map_while(stretch).collect())
}

/// Bytes at the start of `file` that are as the stretches say. A file that cannot be read has none.
fn sound_prefix<'a>(mut file: File, stretches: impl Iterator<Item = &'a Stretch>) -> u64 {
    let mut at = 0;
    let mut buffer = vec![0; 1 << 20];
    for stretch in stretches {
        let mut left = stretch.end.saturating_sub(at);
        let mut hash = Sha256::new();
        while left > 0 {
            let n = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if file.read_exact(&mut buffer[..n]).is_err() {
                return at;
            }
            hash.update(&buffer[..n]);
            left -= n as u64;
        }
        if hex(&hash.finalize()) != stretch.hash {
            return at;
        }
        at = at.max(stretch.end);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal_of(dir: &Path, stretches: &[&[u8]]) -> Journal {
        let mut journal = Journal::open(&dir.join("log")).unwrap();
        journal.begin("job").unwrap();
        let mut end = 0;
        for bytes in stretches {
            end += bytes.len() as u64;
            journal.note(0, end, &Sha256::digest(bytes)).unwrap();
        }
        journal
    }

    #[test]
    fn only_what_is_really_there_counts() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("part");
        let mut journal = journal_of(dir.path(), &[b"hello ", b"world", b"!"]);
        let mut found = |bytes: &[u8]| {
            std::fs::write(&part, bytes).unwrap();
            journal.verified("job", std::slice::from_ref(&part)).unwrap().unwrap()[0]
        };
        assert_eq!(found(b"hello world!"), 12);
        assert_eq!(found(b"hello world! and more"), 12);
        assert_eq!(found(b"hello worl"), 6);
        assert_eq!(found(b"hello\0world!"), 0);
        assert_eq!(found(b"hello w0rld!"), 6);
        assert_eq!(journal.verified("another job", &[part]).unwrap(), None);
    }

    #[test]
    fn a_line_cut_off_is_none() {
        let text = format!("{MAGIC} job\n0 6 {}\n0 11 {}", "a".repeat(64), "b".repeat(64));
        assert_eq!(parse(&text, "job").unwrap().len(), 1);
        assert_eq!(parse(&text[..10], "job"), None);
        assert_eq!(parse("", "job"), None);
        assert_eq!(parse(&format!("{MAGIC} job\n0 x y\n"), "job").unwrap(), []);
    }

    #[test]
    fn a_second_job_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let first = Journal::open(&dir.path().join("log")).unwrap();
        let error = Journal::open(&dir.path().join("log")).unwrap_err().to_string();
        assert!(error.contains("another lapwing quantize"), "{error}");
        drop(first);
        Journal::open(&dir.path().join("log")).unwrap();
    }
}
