//! The file as the parsing library is shown it: the mapped bytes with a few of them replaced.
//!
//! gguf-rs-lib reads version 3 only and refuses a whole file for one key with a hyphen or a capital. Version 2 has
//! the same layout, and a key's bytes mean nothing to the parser, so the view shows it "3" and a plain name of the
//! same length. Nothing is copied and nothing on disk changes; payload bytes are never patched.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::map::Map;

/// `bytes` shown in place of what the file holds at `at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) at: usize,
    pub(super) bytes: Vec<u8>,
}

/// A `Read + Seek` over a map with patches.
#[derive(Debug)]
pub(super) struct View {
    map: Arc<Map>,
    /// Sorted by position, not overlapping.
    patches: Vec<Patch>,
    pos: u64,
}

impl View {
    /// A view from the start of the file. `patches` are in file order and do not overlap.
    pub(super) fn new(map: Arc<Map>, patches: Vec<Patch>) -> View {
        debug_assert!(patches.windows(2).all(|w| w[0].at + w[0].bytes.len() <= w[1].at));
        View { map, patches, pos: 0 }
    }
}

impl Read for View {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let file = self.map.bytes();
        let start = usize::try_from(self.pos).unwrap_or(usize::MAX).min(file.len());
        let n = out.len().min(file.len() - start);
        let end = start + n;
        out[..n].copy_from_slice(&file[start..end]);
        let first = self.patches.partition_point(|p| p.at + p.bytes.len() <= start);
        for patch in self.patches[first..].iter().take_while(|p| p.at < end) {
            let from = patch.at.max(start);
            let to = (patch.at + patch.bytes.len()).min(end);
            out[from - start..to - start].copy_from_slice(&patch.bytes[from - patch.at..to - patch.at]);
        }
        self.pos += n as u64;
        Ok(n)
    }
}

impl Seek for View {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => (self.map.bytes().len() as u64).checked_add_signed(by),
            SeekFrom::Current(by) => self.pos.checked_add_signed(by),
        };
        self.pos = target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek before the start"))?;
        Ok(self.pos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn patches_show_through_reads_of_every_size() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"0123456789abcdef").unwrap();
        let map = Arc::new(Map::open(file.path()).unwrap());
        let patches = vec![Patch { at: 2, bytes: b"XY".to_vec() }, Patch { at: 9, bytes: b"Z__".to_vec() }];
        for step in 1..17 {
            let mut view = View::new(Arc::clone(&map), patches.clone());
            let mut all = Vec::new();
            let mut buffer = vec![0; step];
            loop {
                let n = view.read(&mut buffer).unwrap();
                if n == 0 {
                    break;
                }
                all.extend_from_slice(&buffer[..n]);
            }
            assert_eq!(all, b"01XY45678Z__cdef", "step {step}");
        }
        let mut view = View::new(map, patches);
        assert_eq!(view.seek(SeekFrom::End(-6)).unwrap(), 10);
        let mut rest = String::new();
        view.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "__cdef");
        assert!(view.seek(SeekFrom::Current(-100)).is_err());
    }
}
