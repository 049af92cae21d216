//! SHA-256 of files, and the one that a file's name promises.

use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The SHA-256 of a file as 64 hex digits; `None` when `progress` (bytes done, bytes in all) says to stop.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256_file(path: &Path, progress: &mut dyn FnMut(u64, u64) -> bool) -> Result<Option<String>> {
    let failed = |e: std::io::Error| Error::file(format!("{}: cannot be read: {e}", path.display()));
    let mut file = File::open(path).map_err(failed)?;
    let total = file.metadata().map_err(failed)?.len();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let n = file.read(&mut buffer).map_err(failed)?;
        if n == 0 {
            return Ok(Some(hex(&hash.finalize())));
        }
        hash.update(&buffer[..n]);
        done += n as u64;
        if !progress(done, total.max(done)) {
            return Ok(None);
        }
    }
}

/// The first 8 hex digits of a text's SHA-256, to tell a whole line from a torn one.
pub(super) fn short_hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..4])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether `text` is a SHA-256 in hex.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The SHA-256 that was checked when the file was downloaded, which the Hugging Face cache and Ollama call the file
/// by; `None` for a file that lies elsewhere.
pub fn recorded_sha256(path: &Path) -> Option<String> {
    let real = std::fs::canonicalize(path).ok()?;
    let name = real.file_name()?.to_str()?;
    let folder = real.parent()?.file_name()?;
    let digest = name.strip_prefix("sha256-").unwrap_or(name);
    (folder == "blobs" && is_sha256(digest)).then(|| digest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_hash() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = dir.path().join("blobs");
        std::fs::create_dir(&blobs).unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let path = blobs.join(abc);
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(sha256_file(&path, &mut |done, total| (done, total) == (3, 3)).unwrap().as_deref(), Some(abc));
        assert_eq!(sha256_file(&path, &mut |_, _| false).unwrap(), None);
        assert_eq!(recorded_sha256(&path).as_deref(), Some(abc));
        let other = dir.path().join(abc);
        std::fs::write(&other, "abc").unwrap();
        assert_eq!(recorded_sha256(&other), None);
    }
}
