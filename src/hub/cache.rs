//! The Hugging Face cache on disk, laid out as huggingface_hub, llama.cpp and others have it, so that a model is there
//! once for all of them (<https://huggingface.co/docs/hub/local-cache>):
//!
//! ```text
//! CACHE/models--USER--REPO/blobs/ETAG                 the bytes; ETAG is the SHA-256 of a large file
//!                          snapshots/COMMIT/PATH      a relative link to its blob
//!                          refs/main                  the commit, 40 hex digits
//! CACHE/.locks/models--USER--REPO/ETAG.lock           held while the blob is written
//! ```
//!
//! Where links cannot be made (Windows without developer mode) the snapshot's file is a hard link, else the file itself.

use super::partial::cannot_write;
use crate::error::{Error, Result};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// The cache folder.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    root: PathBuf,
}

/// A repository's folder in it.
#[derive(Clone, Debug)]
pub(super) struct Repo {
    folder: PathBuf,
    locks: PathBuf,
}

impl Cache {
    pub(super) fn new(root: &Path) -> Cache {
        Cache { root: root.to_path_buf() }
    }

    /// The folder of `user/repo`, there or not. One that differs by the case of its letters is it, since the hub does
    /// not tell them apart.
    pub(super) fn repo(&self, repo: &str) -> Repo {
        let name = format!("models--{}", repo.replace('/', "--"));
        let same = |entry: &fs::DirEntry| entry.file_name().to_str().is_some_and(|n| n.eq_ignore_ascii_case(&name));
        let exact = self.root.join(&name);
        let folder = if exact.is_dir() {
            exact
        } else {
            let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
            entries.into_iter().find(same).map_or(exact, |entry| entry.path())
        };
        Repo { folder, locks: self.root.join(".locks").join(name) }
    }

    /// All repositories of models: `user/repo` and folder, sorted.
    pub(super) fn repos(&self) -> Vec<(String, Repo)> {
        let mut found: Vec<(String, Repo)> = fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().to_str()?.strip_prefix("models--")?.replacen("--", "/", 1);
                Some((name, Repo { folder: entry.path(), locks: self.root.join(".locks").join(entry.file_name()) }))
            })
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }
}

impl Repo {
    /// Where a blob is or will be.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.blobs().join(etag)
    }

    /// The folder of the blobs.
    pub(super) fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    /// Where a file of a commit is or will be.
    pub(super) fn pointer(&self, commit: &str, path: &str) -> PathBuf {
        path.split('/').fold(self.folder.join("snapshots").join(commit), |folder, part| folder.join(part))
    }

    /// Makes the folder of the blobs.
    pub(super) fn create(&self) -> Result<()> {
        let blobs = self.blobs();
        fs::create_dir_all(&blobs).map_err(|e| cannot_write(&blobs, &e))
    }

    /// The lock on a blob, if nobody holds it; `Ok(None)` when another does. A file system without locks gives a
    /// file that locks nothing, and `warn` is told.
    pub(super) fn try_lock(&self, etag: &str, warn: &mut dyn FnMut(&str)) -> Result<Option<File>> {
        let path = self.locks.join(format!("{etag}.lock"));
        fs::create_dir_all(&self.locks).map_err(|e| cannot_write(&self.locks, &e))?;
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| cannot_write(&path, &e))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => {
                warn(&format!("{}: cannot be locked ({e}); do not download this file twice at once", path.display()));
                Ok(Some(file))
            }
        }
    }

    /// Links the snapshot's file to the blob.
    pub(super) fn link(&self, etag: &str, commit: &str, path: &str) -> Result<PathBuf> {
        let (blob, pointer) = (self.blob(etag), self.pointer(commit, path));
        if let Some(folder) = pointer.parent() {
            fs::create_dir_all(folder).map_err(|e| cannot_write(folder, &e))?;
        }
        if fs::symlink_metadata(&pointer).is_ok() {
            fs::remove_file(&pointer).map_err(|e| cannot_write(&pointer, &e))?;
        }
        let up = "../".repeat(path.split('/').count() + 1);
        let target = PathBuf::from(format!("{up}blobs/{etag}"));
        let linked = symlink(&target, &pointer)
            .or_else(|_| fs::hard_link(&blob, &pointer))
            .or_else(|_| fs::rename(&blob, &pointer));
        linked.map_err(|e| cannot_write(&pointer, &e))?;
        Ok(pointer)
    }

    /// The commit of a branch or tag as last seen; a commit is itself.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let path = self.folder.join("refs").join(revision);
        let small = fs::metadata(&path).is_ok_and(|m| m.len() < 200);
        let text = if small { fs::read_to_string(path).ok()? } else { return None };
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes the commit of a branch or tag.
    pub(super) fn set_commit(&self, revision: &str, commit: &str) -> Result<()> {
        if is_commit(revision) || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        let new = path.with_file_name(format!(".lapwing-{}.tmp", std::process::id()));
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
            fs::write(&new, commit)?;
            fs::rename(&new, &path)
        };
        write().map_err(|e| cannot_write(&path, &e))
    }

    /// The commits that have a folder: first the one that `revision` names, then the others, newest first.
    pub(super) fn commits(&self, revision: &str) -> Vec<String> {
        let current = self.commit(revision);
        if is_commit(revision) {
            return current.into_iter().collect();
        }
        let entries = fs::read_dir(self.folder.join("snapshots")).into_iter().flatten().flatten();
        let mut others: Vec<(std::time::SystemTime, String)> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok().filter(|name| is_commit(name))?;
                let time = entry.metadata().and_then(|m| m.modified()).unwrap_or(std::time::UNIX_EPOCH);
                (Some(&name) != current.as_ref()).then_some((time, name))
            })
            .collect();
        others.sort_by(|a, b| b.cmp(a));
        current.into_iter().chain(others.into_iter().map(|(_, name)| name)).collect()
    }

    /// Files of a commit, as paths in the repository, sorted; broken links too.
    pub(super) fn files(&self, commit: &str) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.folder.join("snapshots").join(commit), "", 0, &mut found);
        found.sort();
        found
    }
}

/// Folders deeper than this hold no models.
const MAX_DEPTH: usize = 5;
/// More files than this are not listed of one folder tree.
const MAX_FILES: usize = 20_000;

/// Names of the files below `folder`, joined by `/` and put behind `prefix`. Links to folders are not followed.
pub(super) fn walk(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = format!("{prefix}{name}");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => {
                walk(&entry.path(), &format!("{path}/"), depth + 1, found);
            }
            Ok(kind) if !kind.is_dir() && found.len() < MAX_FILES => found.push(path),
            _ => {}
        }
    }
}

/// Whether the text is a commit: 40 hex digits.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    // Windows wants its own separators in a link.
    std::os::windows::fs::symlink_file(target.to_string_lossy().replace('/', "\\"), link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// The room on the disk of `folder`, which need not be there yet.
pub(super) fn room(folder: &Path) -> Result<u64> {
    let there = folder.ancestors().find(|f| f.is_dir()).unwrap_or(Path::new("."));
    fs4::available_space(there)
        .map_err(|e| Error::file(format!("{}: the room on its disk cannot be told: {e}", there.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_links_and_refs_lie_where_others_look() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let repo = cache.repo("Qwen/Qwen3-8B-GGUF");
        repo.create().unwrap();
        let commit = "0123456789abcdef0123456789abcdef01234567";
        fs::write(repo.blob("e1"), "bytes").unwrap();
        for path in ["m.gguf", "Q8_0/deep/m.gguf"] {
            let pointer = repo.link("e1", commit, path).unwrap();
            assert_eq!(pointer, dir.path().join("models--Qwen--Qwen3-8B-GGUF/snapshots").join(commit).join(path));
            assert_eq!(fs::read_to_string(&pointer).unwrap(), "bytes");
            #[cfg(unix)]
            assert!(fs::read_link(&pointer).unwrap().starts_with("../.."), "relative: the cache may move");
            repo.link("e1", commit, path).unwrap();
        }
        assert_eq!(repo.files(commit), ["Q8_0/deep/m.gguf", "m.gguf"]);
        assert_eq!(repo.commit("main"), None);
        repo.set_commit("main", commit).unwrap();
        let main = dir.path().join("models--Qwen--Qwen3-8B-GGUF/refs/main");
        assert_eq!(fs::read_to_string(main).unwrap(), commit);
        assert_eq!(cache.repo("qwen/qwen3-8b-gguf").commits("main"), [commit]);
        assert_eq!(cache.repos()[0].0, "Qwen/Qwen3-8B-GGUF");
        assert_eq!(cache.repos().len(), 1);
    }

    #[test]
    fn one_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let repo = Cache::new(dir.path()).repo("a/b");
        let held = repo.try_lock("e", &mut |_| {}).unwrap();
        assert!(held.is_some() && repo.try_lock("e", &mut |_| {}).unwrap().is_none());
        assert!(repo.try_lock("other", &mut |_| {}).unwrap().is_some());
        drop(held);
        assert!(repo.try_lock("e", &mut |_| {}).unwrap().is_some());
        assert!(room(&dir.path().join("not/there")).unwrap() > 0);
    }
}
