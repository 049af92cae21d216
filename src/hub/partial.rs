//! A file that is not all there yet: its bytes so far, and a journal of which they are.
//!
//! Two files lie beside the one to be: `NAME.lapwing.incomplete`, as long as the whole from the start, and
//! `NAME.lapwing.journal`, text: four lines that say which file it is, then a line `START END CHECK` for each range
//! that is there. (The name is our own: other programs take a plain `NAME.incomplete` for a file without holes.)
//! The order makes it safe to be killed at any moment, power loss included: a range is written to the data file, the
//! data file is synced, and only then is its line written and synced. So what the journal names is there; what it does
//! not name yet is fetched again, which is at most [`COMMIT_BYTES`] or [`COMMIT_AFTER`] of work. A line torn by a power
//! loss fails its check and ends the journal. The whole is hashed at the end all the same.

use super::digest::short_hash;
use super::extents::Extents;
use crate::error::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FIRST_LINE: &str = "lapwing download 1";
/// Most bytes written but not in the journal.
const COMMIT_BYTES: u64 = 32 << 20;
const COMMIT_BYTES_LEAST: u64 = 64 << 10;
const COMMIT_AFTER: Duration = Duration::from_secs(1);
/// A journal has a line for each commit of each connection; one beyond this is none of ours.
const MAX_JOURNAL_BYTES: u64 = 64 << 20;

/// Which file it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The hub's tag: of large files their SHA-256.
    pub(super) etag: String,
    /// Bytes of the whole.
    pub(super) size: u64,
    /// Path in the repository.
    pub(super) path: String,
}

impl Identity {
    fn header(&self) -> String {
        format!("{FIRST_LINE}\n{}\n{}\n{}\n", self.etag, self.size, self.path)
    }
}

/// The incomplete file.
#[derive(Debug)]
pub(super) struct Partial {
    identity: Identity,
    data_path: PathBuf,
    journal_path: PathBuf,
    data: File,
    journal: File,
    there: Extents,
    /// Written, not yet synced and in the journal.
    pending: Extents,
    last_commit: Instant,
    resumed: u64,
}

impl Partial {
    /// Goes on with what is there for `dest`, when it is the same file; else starts from nothing.
    pub(super) fn open(dest: &Path, identity: Identity) -> Result<Partial> {
        let (data_path, journal_path) = (beside(dest, ".incomplete"), beside(dest, ".journal"));
        let there = resume(&data_path, &journal_path, &identity).unwrap_or_default();
        let failed = |e| cannot_write(&data_path, &e);
        let data = if there.bytes() > 0 {
            OpenOptions::new().read(true).write(true).open(&data_path).map_err(failed)?
        } else {
            let data = File::create(&data_path).map_err(failed)?;
            data.set_len(identity.size).and_then(|()| data.sync_all()).map_err(failed)?;
            data
        };
        let journal = write_journal(&journal_path, &identity, &there)?;
        let (pending, resumed) = (Extents::default(), there.bytes());
        let last_commit = Instant::now();
        Ok(Partial { identity, data_path, journal_path, data, journal, there, pending, last_commit, resumed })
    }

    /// Another handle to write the data with.
    pub(super) fn writer(&self) -> Result<File> {
        OpenOptions::new().write(true).open(&self.data_path).map_err(|e| cannot_write(&self.data_path, &e))
    }

    /// Which file it is.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the data is.
    pub(super) fn data_path(&self) -> &Path {
        &self.data_path
    }

    /// Bytes that were there when it was opened.
    pub(super) fn resumed(&self) -> u64 {
        self.resumed
    }

    /// Bytes that are there.
    pub(super) fn done(&self) -> u64 {
        self.there.bytes() + self.pending.bytes()
    }

    /// Ranges that are not there.
    pub(super) fn missing(&self) -> Vec<Range<u64>> {
        let mut all = self.there.clone();
        self.pending.iter().for_each(|range| all.insert(range));
        all.missing(self.identity.size)
    }

    /// The range was written to the data file.
    pub(super) fn add(&mut self, range: Range<u64>) -> Result<()> {
        self.pending.insert(range);
        let enough = (self.identity.size / 64).clamp(COMMIT_BYTES_LEAST, COMMIT_BYTES);
        if self.pending.bytes() >= enough || self.last_commit.elapsed() >= COMMIT_AFTER {
            self.commit()?;
        }
        Ok(())
    }

    /// Makes what was written last.
    pub(super) fn commit(&mut self) -> Result<()> {
        self.last_commit = Instant::now();
        if self.pending.bytes() == 0 {
            return Ok(());
        }
        self.data.sync_data().map_err(|e| cannot_write(&self.data_path, &e))?;
        let lines: String = self.pending.iter().map(|range| line(&self.identity, &range)).collect();
        let written = self.journal.write_all(lines.as_bytes()).and_then(|()| self.journal.sync_data());
        written.map_err(|e| cannot_write(&self.journal_path, &e))?;
        for range in std::mem::take(&mut self.pending).iter() {
            self.there.insert(range);
        }
        Ok(())
    }

    /// Forgets all bytes: the next start from nothing.
    pub(super) fn clear(&mut self) -> Result<()> {
        (self.there, self.pending, self.resumed) = (Extents::default(), Extents::default(), 0);
        self.journal = write_journal(&self.journal_path, &self.identity, &self.there)?;
        Ok(())
    }

    /// Gives the whole file its name; it must be all there and right.
    pub(super) fn finish(mut self, dest: &Path) -> Result<()> {
        self.commit()?;
        let Partial { identity, data_path, journal_path, data, journal, there, .. } = self;
        assert!(there.missing(identity.size).is_empty(), "only a whole file is given its name");
        data.sync_all().map_err(|e| cannot_write(&data_path, &e))?;
        drop((data, journal)); // Windows does not rename or remove open files
        fs::rename(&data_path, dest).map_err(|e| cannot_write(dest, &e))?;
        sync_folder(dest);
        // A journal without its data means nothing, so one that stays is only untidy.
        let _untidy_only = fs::remove_file(journal_path);
        Ok(())
    }

    /// Removes data and journal.
    pub(super) fn discard(self) {
        let Partial { data_path, journal_path, data, journal, .. } = self;
        drop((data, journal));
        // The journal first: without it the data counts as nothing, so a file that stays does no harm.
        let _gone = fs::remove_file(journal_path);
        let _gone = fs::remove_file(data_path);
    }
}

/// `DEST.lapwingSUFFIX`.
fn beside(dest: &Path, suffix: &str) -> PathBuf {
    let mut name = dest.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".lapwing{suffix}"));
    dest.with_file_name(name)
}

/// Bytes that the unfinished file for `dest` holds, by its journal.
pub(super) fn bytes_on_disk(dest: &Path) -> u64 {
    let read = || {
        let size = fs::metadata(beside(dest, ".incomplete")).ok()?.len();
        let journal = fs::read_to_string(beside(dest, ".journal")).ok().filter(|_| size > 0)?;
        let mut lines = journal.lines().skip(1);
        let (etag, _, path) = (lines.next()?, lines.next()?, lines.next()?);
        let identity = Identity { etag: etag.to_owned(), size, path: path.to_owned() };
        resume(&beside(dest, ".incomplete"), &beside(dest, ".journal"), &identity)
    };
    read().map_or(0, |there| there.bytes())
}

fn line(identity: &Identity, range: &Range<u64>) -> String {
    let text = format!("{} {}", range.start, range.end);
    format!("{text} {}\n", short_hash(&format!("{} {text}", identity.etag)))
}

/// What the journal says is there, if both files are there and of this file.
fn resume(data: &Path, journal: &Path, identity: &Identity) -> Option<Extents> {
    if fs::metadata(data).ok()?.len() != identity.size || fs::metadata(journal).ok()?.len() > MAX_JOURNAL_BYTES {
        return None;
    }
    let bytes = fs::read(journal).ok()?;
    let text = bytes.strip_prefix(identity.header().as_bytes())?;
    let mut there = Extents::default();
    for raw in text.split_inclusive(|&b| b == b'\n') {
        let Some(range) = std::str::from_utf8(raw).ok().and_then(|raw| parse_line(raw, identity)) else { break };
        there.insert(range);
    }
    Some(there)
}

fn parse_line(raw: &str, identity: &Identity) -> Option<Range<u64>> {
    let mut words = raw.split(' ');
    let range = words.next()?.parse().ok()?..words.next()?.parse().ok()?;
    let sound = range.start < range.end && range.end <= identity.size && line(identity, &range) == raw;
    sound.then_some(range)
}

/// Writes the journal anew, with the ranges joined, and opens it at its end.
fn write_journal(path: &Path, identity: &Identity, there: &Extents) -> Result<File> {
    let new = path.with_extension("journal.new");
    let lines: String = there.iter().map(|range| line(identity, &range)).collect();
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all((identity.header() + &lines).as_bytes())?;
        file.sync_all()?;
        drop(file);
        fs::rename(&new, path)?;
        sync_folder(path);
        OpenOptions::new().append(true).open(path)
    };
    write().map_err(|e| cannot_write(path, &e))
}

/// Makes a rename in the folder of `path` last. Only some systems can and need it.
fn sync_folder(path: &Path) {
    #[cfg(unix)]
    if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
        let _best_effort = folder.sync_all();
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Removes what is left beside a file that is whole: a kill came between giving it its name and tidying up.
pub(super) fn remove_leftovers(dest: &Path) {
    let _gone_or_never_there = fs::remove_file(beside(dest, ".journal"));
    let _gone_or_never_there = fs::remove_file(beside(dest, ".incomplete"));
}

/// Removes what other, older versions of the repository's file `path` left unfinished in `folder`; returns the bytes
/// that they took. `keep` is the name of the one in use.
pub(super) fn remove_stale(folder: &Path, path: &str, keep: &str) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let mut freed = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(stem) = name.to_str().and_then(|n| n.strip_suffix(".lapwing.journal")) else { continue };
        let is_small = entry.metadata().is_ok_and(|m| m.len() <= MAX_JOURNAL_BYTES);
        let Some(text) = fs::read(entry.path()).ok().filter(|_| stem != keep && is_small) else { continue };
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.lines();
        if lines.next() == Some(FIRST_LINE) && lines.nth(2) == Some(path) {
            let data = folder.join(format!("{stem}.lapwing.incomplete"));
            let _gone = fs::remove_file(entry.path());
            let bytes = fs::metadata(&data).map_or(0, |m| m.len());
            if fs::remove_file(&data).is_ok() {
                freed += bytes;
            }
        }
    }
    freed
}

/// The error of a failed write, with what to do when the disk is full.
pub(super) fn cannot_write(path: &Path, e: &std::io::Error) -> Error {
    let hint = if e.kind() == std::io::ErrorKind::StorageFull {
        "; make room and give the command again, what is there is kept"
    } else {
        ""
    };
    Error::file(format!("{}: cannot be written: {e}{hint}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, SeekFrom};

    const SIZE: u64 = 1 << 20;

    fn identity() -> Identity {
        Identity { etag: "abc".into(), size: SIZE, path: "d/m.gguf".into() }
    }

    fn write(partial: &mut Partial, range: Range<u64>) {
        let mut file = partial.writer().unwrap();
        file.seek(SeekFrom::Start(range.start)).unwrap();
        file.write_all(&vec![7; (range.end - range.start) as usize]).unwrap();
        partial.add(range).unwrap();
    }

    #[test]
    fn what_was_committed_is_there_again() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("abc");
        let mut partial = Partial::open(&dest, identity()).unwrap();
        assert_eq!((partial.resumed(), partial.missing().first()), (0, Some(&(0..SIZE))));
        write(&mut partial, 1000..101_000); // more than a commit's bytes
        write(&mut partial, 300_000..300_100); // less
        assert_eq!(partial.done(), 100_100);
        drop(partial); // as if killed
        let mut partial = Partial::open(&dest, identity()).unwrap();
        assert_eq!((partial.resumed(), partial.missing()), (100_000, vec![0..1000, 101_000..SIZE]));
        write(&mut partial, 0..1000);
        write(&mut partial, 101_000..SIZE);
        assert!(partial.missing().is_empty());
        partial.finish(&dest).unwrap();
        assert_eq!(fs::read(&dest).unwrap(), vec![7; SIZE as usize]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no journal, no incomplete file");
        Partial::open(&dest, identity()).unwrap();
        remove_leftovers(&dest);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn another_file_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("abc");
        let fill = || {
            let mut partial = Partial::open(&dest, identity()).unwrap();
            write(&mut partial, 0..100_000);
        };
        fill();
        let other = Identity { etag: "other".into(), ..identity() };
        assert_eq!(Partial::open(&dest, other).unwrap().resumed(), 0);
        fill();
        fs::remove_file(dir.path().join("abc.lapwing.journal")).unwrap();
        assert_eq!(Partial::open(&dest, identity()).unwrap().resumed(), 0);
        fill();
        OpenOptions::new().write(true).open(dir.path().join("abc.lapwing.incomplete")).unwrap().set_len(5).unwrap();
        assert_eq!(Partial::open(&dest, identity()).unwrap().resumed(), 0);
        fill();
        assert_eq!(remove_stale(dir.path(), "d/m.gguf", "abc"), 0);
        assert_eq!(remove_stale(dir.path(), "d/other.gguf", "new"), 0);
        assert_eq!(remove_stale(dir.path(), "d/m.gguf", "new"), SIZE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// Whatever a power loss leaves of the journal, only ranges that were written are believed.
    #[test]
    fn a_torn_journal_is_believed_up_to_the_tear() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("abc");
        let journal = dir.path().join("abc.lapwing.journal");
        let mut partial = Partial::open(&dest, identity()).unwrap();
        let ranges = [0..70_000, 100_000..170_000, 900_000..SIZE];
        ranges.iter().for_each(|range| write(&mut partial, range.clone()));
        drop(partial);
        let whole = fs::read(&journal).unwrap();
        let sums: Vec<u64> = (0..=3).map(|n| ranges[..n].iter().map(|r| r.end - r.start).sum()).collect();
        for cut in 0..=whole.len() {
            for tail in [&b""[..], b"\0\0\0\0", b"0 1048576 deadbeef\n"] {
                fs::write(&journal, [&whole[..cut], tail].concat()).unwrap();
                let found = resume(&dir.path().join("abc.lapwing.incomplete"), &journal, &identity());
                let bytes = found.map_or(0, |f| f.bytes());
                assert!(sums.contains(&bytes), "{cut}: {bytes}");
                assert_eq!(bytes == sums[3], cut == whole.len(), "{cut}");
            }
        }
    }
}
