//! A model file mapped into memory: the only `unsafe` outside `quant` (mapping it, and giving pages back). Or one that
//! is part of the program, which needs no map.
//!
//! Invariant: the map is read-only and lives as long as the [`Map`]; slices of it are handed out by borrow only.
//! [`Payload`] is a part of a map that keeps it alive: what a tensor's bytes are to those who only copy or quantize them.

use std::fmt;
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lapwing_quant::buffer::Aligned;
use memmap2::Mmap;

use crate::error::{Error, Result};

/// One mapped file and the path it was opened by.
#[derive(Debug)]
pub struct Map {
    path: PathBuf,
    bytes: Bytes,
}

/// Where the bytes are.
enum Bytes {
    Mapped(Mmap),
    /// In the program itself, which the system has mapped.
    Built(&'static [u8]),
    /// Made up, in memory of their own.
    Own(Aligned),
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bytes::Mapped(_) => "mapped",
            Bytes::Built(_) => "built in",
            Bytes::Own(_) => "own",
        })
    }
}

impl Map {
    /// Maps the GGUF file at `path`, as [`Map::open_as`] does.
    pub(super) fn open(path: &Path) -> Result<Map> {
        if path.is_dir() {
            let shown = path.display();
            return Err(Error::file(format!("{shown}: is a directory, expected a GGUF file{}", candidates(path))));
        }
        Map::open_as(path, "a GGUF file")
    }

    /// Maps the regular file at `path`, which should be `expected` ("a GGUF file").
    ///
    /// # Errors
    /// Anything but a regular file with content (directory, pipe, device, empty file) is refused by name: opening a pipe
    /// would wait for ever, and a directory has nothing to map.
    pub fn open_as(path: &Path, expected: &str) -> Result<Map> {
        let shown = path.display();
        let failed = |e: std::io::Error| Error::file(format!("{shown}: cannot be opened: {e}"));
        let found = fs::metadata(path).map_err(failed)?;
        if found.is_dir() {
            return Err(Error::file(format!("{shown}: is a directory, expected {expected}")));
        }
        if !found.is_file() {
            return Err(Error::file(format!(
                "{shown}: is not a regular file (a pipe or a device?), expected {expected}"
            )));
        }
        if found.len() == 0 {
            return Err(Error::file(format!("{shown}: is empty (0 bytes), expected {expected}; download it again")));
        }
        let file = File::open(path).map_err(failed)?;
        let mmap = map_file(&file).map_err(|e| Error::file(format!("{shown}: cannot be mapped into memory: {e}")))?;
        Ok(Map { path: path.to_path_buf(), bytes: Bytes::Mapped(mmap) })
    }

    /// A file that is part of the program; `name` is what messages call it.
    pub(super) fn built_in(name: &str, bytes: &'static [u8]) -> Map {
        Map { path: PathBuf::from(name), bytes: Bytes::Built(bytes) }
    }

    /// A file that was never on a disk.
    pub(super) fn own(name: &str, bytes: Aligned) -> Map {
        Map { path: PathBuf::from(name), bytes: Bytes::Own(bytes) }
    }

    /// The path the file was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(mmap) => mmap,
            Bytes::Built(bytes) => bytes,
            Bytes::Own(bytes) => bytes,
        }
    }

    /// Tells the system that `len` bytes from `start` are needed soon. Only a hint: where the system has no such
    /// call, or refuses it, reading the pages does the same more slowly, so a failure changes nothing.
    pub(super) fn will_need(&self, start: usize, len: usize) {
        #[cfg(unix)]
        if let Bytes::Mapped(mmap) = &self.bytes {
            let _hint_only = mmap.advise_range(memmap2::Advice::WillNeed, start, len);
        }
        #[cfg(not(unix))]
        let _ = (start, len);
    }

    /// Gives back the memory behind `len` bytes from `start`, which are read from the file again when needed. Only a
    /// hint, as above.
    #[allow(unsafe_code)]
    pub(super) fn release(&self, start: usize, len: usize) {
        #[cfg(unix)]
        if let Bytes::Mapped(mmap) = &self.bytes {
            // SAFETY: the map is read-only and backed by a file, so a page that is dropped comes back with the same
            // bytes.
            let _hint_only = unsafe { mmap.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
        }
        #[cfg(not(unix))]
        let _ = (start, len);
    }
}

/// A part of a mapped file, which stays mapped as long as this lives.
#[derive(Clone, Debug)]
pub struct Payload {
    map: Arc<Map>,
    range: Range<usize>,
}

impl Payload {
    /// The bytes `range` of the file.
    ///
    /// # Panics
    /// If they are not all inside the file.
    pub fn new(map: Arc<Map>, range: Range<usize>) -> Payload {
        assert!(range.start <= range.end && range.end <= map.bytes().len(), "a part of the file");
        Payload { map, range }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.map.bytes()[self.range.clone()]
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// The file they are in.
    pub fn path(&self) -> &Path {
        self.map.path()
    }

    /// A part of this part.
    ///
    /// # Panics
    /// If it reaches beyond this one.
    pub fn part(&self, part: Range<usize>) -> Payload {
        assert!(part.start <= part.end && part.end <= self.len(), "a part of the part");
        Payload { map: Arc::clone(&self.map), range: self.range.start + part.start..self.range.start + part.end }
    }

    /// Hints that the bytes are needed soon.
    pub fn will_need(&self) {
        self.map.will_need(self.range.start, self.range.len());
    }

    /// Gives back the memory behind the bytes, which are read from the file again when needed. A hint.
    pub fn release(&self) {
        self.map.release(self.range.start, self.range.len());
    }
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is private to `Map`, read-only, and only ever read through shared slices. What Rust cannot
    // exclude is another process that truncates or rewrites the file meanwhile; every program that maps its
    // weights has this limit, and nothing here writes to a model file in place (quantize writes a new file and renames it).
    unsafe { Mmap::map(file) }
}

/// "; it holds a.gguf, b.gguf": what the user may have meant.
fn candidates(dir: &Path) -> String {
    let Ok(entries) = fs::read_dir(dir) else { return String::new() };
    let mut names: Vec<String> = entries
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".gguf"))
        .collect();
    names.sort();
    if names.is_empty() {
        return "; there is none in it".to_owned();
    }
    let more = names.len().saturating_sub(4);
    names.truncate(4);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("; name one of the files in it: {}{tail}", names.join(", "))
}
