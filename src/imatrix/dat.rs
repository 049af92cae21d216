//! llama.cpp's older form, `imatrix.dat`, all little-endian: i32 entries; for each an i32 name length, the name, i32
//! calls, i32 values and that many f32 (mean squares times calls); then, in later files, i32 calls in all, an i32
//! length and the dataset's path. Calls are chunks; the tokens of a chunk are not told, nor the experts' own counts.

use std::path::Path;

use super::{DAT_CHUNK, Entry, Imatrix, MAX_ENTRIES};
use crate::error::{Error, Result};

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Imatrix> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|e| Error::file(format!("{shown}: cannot be read: {e}")))?;
    parse(&shown, &bytes)
}

/// What is left of the file.
struct Cursor<'a> {
    file: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn broken(&self, what: &str) -> Error {
        Error::file(format!(
            "{}: {what} at offset {}; this is no importance matrix, or a broken one: make one with `lapwing imatrix`",
            self.file, self.at
        ))
    }

    fn take(&mut self, n: usize, what: &str) -> Result<&'a [u8]> {
        let left = self.bytes.len() - self.at;
        if n > left {
            return Err(self.broken(&format!("{what} needs {n} bytes, {left} are left,")));
        }
        self.at += n;
        Ok(&self.bytes[self.at - n..self.at])
    }

    /// An i32 of at least `least`.
    fn count(&mut self, what: &str, least: i32, most: usize) -> Result<usize> {
        let bytes = self.take(4, what)?;
        let value = i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        match usize::try_from(value) {
            Ok(n) if value >= least && n <= most => Ok(n),
            _ => {
                self.at -= 4;
                Err(self.broken(&format!("{what} is {value}, expected {least} to {most},")))
            }
        }
    }

    fn text(&mut self, what: &str, most: usize) -> Result<String> {
        let length = self.count(&format!("the length of {what}"), 0, most)?;
        let bytes = self.take(length, what)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.broken(&format!("{what} is not UTF-8 text")))
    }
}

fn parse(file: &str, bytes: &[u8]) -> Result<Imatrix> {
    let mut c = Cursor { file, bytes, at: 0 };
    let mut imatrix = Imatrix { chunk_size: DAT_CHUNK, ..Imatrix::default() };
    for _ in 0..c.count("the number of entries", 1, MAX_ENTRIES)? {
        let name = c.text("a tensor's name", 4096)?;
        let calls = c.count("a number of calls", 0, i32::MAX as usize)? as u64;
        let values = c.count("a number of values", 1, (bytes.len() - c.at) / 4)?;
        let (values, _) = c.take(values * 4, "the values of a tensor")?.as_chunks::<4>();
        // Where nobody counted the calls, the values are taken as means.
        let (times, count) = if calls == 0 { (1.0, 1) } else { (DAT_CHUNK as f64, calls * DAT_CHUNK) };
        let sums = values.iter().map(|b| f64::from(f32::from_le_bytes(*b)) * times).collect();
        let entry = Entry::new(sums, vec![count]).map_err(|e| c.broken(&format!("{name}: {e},")))?;
        if imatrix.entry(&name).is_some() {
            return Err(c.broken(&format!("{name} occurs twice, again")));
        }
        imatrix.insert(&name, entry)?;
    }
    if c.at < bytes.len() {
        c.take(4, "the number of calls")?;
    }
    if c.at < bytes.len() {
        let dataset = c.text("the dataset's path", 65_536)?;
        imatrix.datasets.extend(Some(dataset).filter(|d| !d.is_empty()));
    }
    Ok(imatrix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(entries: i32, calls: i32, values: &[f32], tail: &[u8]) -> Vec<u8> {
        let mut out = entries.to_le_bytes().to_vec();
        for name in ["blk.0.attn_q.weight", "blk.0.ffn_up_exps.weight"] {
            out.extend((name.len() as i32).to_le_bytes());
            out.extend(name.as_bytes());
            out.extend(calls.to_le_bytes());
            out.extend((values.len() as i32).to_le_bytes());
            values.iter().for_each(|v| out.extend(v.to_le_bytes()));
        }
        out.extend(tail);
        out
    }

    #[test]
    fn means_are_recovered() {
        let mut tail = 7i32.to_le_bytes().to_vec();
        tail.extend(5i32.to_le_bytes());
        tail.extend(b"x.txt");
        for tail in [&tail[..], &[]] {
            let m = parse("f", &file(2, 4, &[2.0, 8.0, 4.0, 12.0], tail)).unwrap();
            assert_eq!(m.importance("blk.0.attn_q.weight", 4, None).unwrap(), Some(vec![0.5, 2.0, 1.0, 3.0]));
            assert_eq!(m.importance("blk.0.ffn_up_exps.weight", 2, Some(1)).unwrap(), Some(vec![1.0, 3.0]));
            assert_eq!((m.chunks(), m.datasets.len()), (4, usize::from(!tail.is_empty())));
        }
        let m = parse("f", &file(2, 0, &[2.0], &[])).unwrap();
        assert_eq!(m.importance("blk.0.attn_q.weight", 1, None).unwrap(), Some(vec![2.0]));
    }

    #[test]
    fn every_cut_and_every_lie_is_an_error() {
        let whole = file(2, 4, &[2.0, 8.0], &[]);
        for n in 0..whole.len() {
            let e = parse("f", &whole[..n]).unwrap_err().to_string();
            assert!(e.contains("f: ") && e.contains("offset"), "{n}: {e}");
        }
        let spoilt = |at: usize, with: i32| {
            let mut bytes = whole.clone();
            bytes[at..at + 4].copy_from_slice(&with.to_le_bytes());
            parse("f", &bytes).unwrap_err().to_string()
        };
        for (at, with, word) in [
            (0, 0, "number of entries is 0"),
            (0, i32::MAX, "number of entries"),
            (4, -1, "length of a tensor's name"),
            (4 + 4 + 19, -1, "number of calls"),
            (4 + 4 + 19 + 4, i32::MAX, "number of values"),
            (4 + 4 + 19 + 8, f32::NAN.to_bits() as i32, "sum 0"),
        ] {
            assert!(spoilt(at, with).contains(word), "{}", spoilt(at, with));
        }
        let twice = [&2i32.to_le_bytes()[..], &whole[4..4 + 4 + 19 + 8 + 8], &whole[4..4 + 4 + 19 + 8 + 8]].concat();
        assert!(parse("f", &twice).unwrap_err().to_string().contains("twice"));
    }
}
