//! The unfinished file as the stream writer sees it: takes bytes in order, leaves out those that an interrupted job wrote
//! already, and keeps the rest until they are written, so that writing can go on beside computing.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use sha2::{Digest, Sha256};

use super::journal::Journal;
use crate::error::{Error, Result};

/// Bytes that are kept before they are worth a write.
const WORTH: usize = 4 << 20;

/// An unfinished file.
pub struct Sink<'j> {
    file: Box<dyn Write + Send>,
    path: PathBuf,
    /// Its number in the journal.
    number: usize,
    journal: &'j Mutex<Journal>,
    /// Bytes taken so far, those left out included.
    at: u64,
    /// Bytes that are on disk already when the job begins.
    there: u64,
    /// Bytes on disk.
    written: u64,
    pending: Vec<u8>,
}

impl<'j> Sink<'j> {
    /// A sink for file `number`, open at `path` with its position at `there`, where it ends.
    pub fn new(
        file: Box<dyn Write + Send>,
        path: &Path,
        number: usize,
        there: u64,
        journal: &'j Mutex<Journal>,
    ) -> Self {
        Self { file, path: path.to_path_buf(), number, journal, at: 0, there, written: there, pending: Vec::new() }
    }

    /// Bytes that were there from the beginning.
    pub fn there(&self) -> u64 {
        self.there
    }

    /// Takes out what should be written now; little of it may wait, unless it is `all` that will come.
    pub fn ready(&mut self, all: bool) -> Vec<u8> {
        if all || self.pending.len() >= WORTH { std::mem::take(&mut self.pending) } else { Vec::new() }
    }

    /// Writes what [`Sink::ready`] gave, and notes it in the journal.
    pub fn commit(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.file.write_all(bytes).map_err(|e| write_error(&self.path, &e))?;
        self.written += bytes.len() as u64;
        lock(self.journal).note(self.number, self.written, &Sha256::digest(bytes))
    }
}

/// The `Write` that the stream writer gets; between its writes the sink can be used.
pub struct Handle<'a, 'j>(pub &'a Mutex<Sink<'j>>);

impl Write for Handle<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sink = lock(self.0);
        let old = usize::try_from(sink.there.saturating_sub(sink.at)).unwrap_or(usize::MAX).min(bytes.len());
        sink.pending.extend_from_slice(&bytes[old..]);
        sink.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Locks, whatever a panic in another thread has left: what is inside is not used after one.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// The error of a write to the unfinished file at `path`.
pub fn write_error(path: &Path, e: &io::Error) -> Error {
    let full =
        matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge);
    let hint =
        if full { "; what is written stays there: make room and run the same command with --resume" } else { "" };
    Error::runtime(format!("{}: cannot be written: {e}{hint}", path.display()))
}

/// Forces a directory's entries to disk, where the system can.
pub fn sync_directory(path: &Path) {
    #[cfg(unix)]
    if let Some(dir) = path.parent() {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        // The rename is done; where a file system cannot force it to disk, nothing better is left to do.
        let _best_effort = std::fs::File::open(dir).and_then(|d| d.sync_all());
    }
    #[cfg(not(unix))]
    let _ = path;
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Small(usize);

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.0);
            self.0 -= n;
            if n == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(n) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_said_with_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Mutex::new(Journal::open(&dir.path().join("log")).unwrap());
        let sink = Mutex::new(Sink::new(Box::new(Small(10)), Path::new("out.gguf.part"), 0, 0, &journal));
        Handle(&sink).write_all(&[1; 8]).unwrap();
        let bytes = lock(&sink).ready(true);
        lock(&sink).commit(&bytes).unwrap();
        Handle(&sink).write_all(&[1; 8]).unwrap();
        let bytes = lock(&sink).ready(true);
        let error = lock(&sink).commit(&bytes).unwrap_err().to_string();
        assert!(error.contains("out.gguf.part") && error.contains("--resume"), "{error}");
    }

    #[test]
    fn what_is_there_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Mutex::new(Journal::open(&dir.path().join("log")).unwrap());
        let sink = Mutex::new(Sink::new(Box::new(Vec::new()), Path::new("p"), 0, 5, &journal));
        for piece in [&b"abc"[..], b"def", b"g"] {
            Handle(&sink).write_all(piece).unwrap();
        }
        assert_eq!(lock(&sink).ready(true), b"fg");
        assert!(lock(&sink).ready(false).is_empty());
    }
}
