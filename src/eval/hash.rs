//! SHA-256 of files, as `sha256sum` gives it.

use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

/// Bytes read at once.
const BUFFER: usize = 1 << 20;

/// The hash of bytes, in lower-case hexadecimal.
pub fn of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The hash of a file. `tick` hears how many more bytes were read.
///
/// # Errors
/// When the file cannot be read.
pub fn of_file(path: &Path, tick: &mut dyn FnMut(u64)) -> Result<String> {
    let failed = |e: std::io::Error| Error::file(format!("{}: cannot be read: {e}", path.display()));
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; BUFFER]);
    loop {
        let n = file.read(&mut buffer).map_err(failed)?;
        if n == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..n]);
        tick(n as u64);
    }
}

/// One hash for several files: of one its own; of more, that of the lines `HASH  NAME` which `sha256sum` prints for
/// their names in order.
///
/// # Errors
/// When a file cannot be read.
pub fn of_files(paths: &[&Path], tick: &mut dyn FnMut(u64)) -> Result<String> {
    if let [one] = paths {
        return of_file(one, tick);
    }
    let mut lines = Vec::with_capacity(paths.len());
    for path in paths {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        lines.push((name, of_file(path, tick)?));
    }
    lines.sort();
    Ok(of_bytes(lines.iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect::<String>().as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_bytes(b"abc"), abc);
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, b"abc").unwrap();
        std::fs::write(&b, b"").unwrap();
        let mut heard = 0;
        assert_eq!(of_files(&[&a], &mut |n| heard += n).unwrap(), abc);
        assert_eq!(heard, 3);
        let lines = format!("{abc}  a\n{}  b\n", of_bytes(b""));
        assert_eq!(of_files(&[&b, &a], &mut |_| ()).unwrap(), of_bytes(lines.as_bytes()));
        assert!(of_file(&dir.path().join("c"), &mut |_| ()).is_err());
    }
}
