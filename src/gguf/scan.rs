//! A first walk over header, metadata and tensor table, before the parsing library sees the file.
//!
//! It allocates nothing that the file has the size of, checks every length against what is left of the file, and so
//! can say *which* key or tensor is cut off, at which offset; the library's own errors name neither. It also finds
//! what the library must not see ([`Patch`]) and how much memory decoding would take. Values themselves, duplicate
//! names, alignment and overlap of tensors are the library's to check.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::brief::Fact;
use super::magic::{self, HEADER_BYTES};
use super::quoted;
use super::view::Patch;
use crate::error::{Error, Result};

/// Serialized metadata: real files hold up to 20 MB of it (vocabularies of 260,000 tokens).
pub(super) const MAX_METADATA_BYTES: usize = 64 << 20;
/// Metadata as decoded: 24 bytes for each array element, and the strings.
pub(super) const MAX_DECODED_BYTES: usize = 128 << 20;
/// Bytes of a decoded array element or value, whatever it is.
const DECODED_VALUE: usize = 24;
/// Decoded cost of a key beside its bytes and its value.
const DECODED_KEY: usize = 48;
/// Decoded cost of an array beside its elements: a box of its own.
const DECODED_ARRAY: usize = 64;
const MAX_KEYS: u64 = 65_536;
const MAX_TENSORS: u64 = 65_536;
const MAX_KEY_BYTES: u64 = 65_535;
const MAX_NAME_BYTES: u64 = 64;
const MAX_NESTING: usize = 8;
/// The smallest key: length, one byte, type, one byte of value.
const MIN_KEY_BYTES: u64 = 8 + 1 + 4 + 1;
/// The smallest tensor entry: name length, one byte, rank, one dimension, type, offset.
const MIN_TENSOR_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// Keys whose values are kept for [`super::Brief`], if they are short.
const FACTS: [&str; 4] = ["general.architecture", "general.file_type", "general.alignment", "split.count"];
const MAX_FACT_BYTES: usize = 256;

/// What the walk found.
#[derive(Debug)]
pub(super) struct Scan {
    /// 2 or 3.
    pub(super) version: u32,
    /// What the library is shown in place of the file's bytes.
    pub(super) patches: Vec<Patch>,
    /// Real name of each key that the library is shown under another: shown name, real name.
    pub(super) renamed: BTreeMap<String, String>,
    /// The tensor table, in file order.
    pub(super) tensors: Vec<RawTensor>,
    /// Where the tensor table ends.
    pub(super) end: usize,
    /// Short values of keys that say what the file is.
    pub(super) facts: BTreeMap<String, Fact>,
}

/// An entry of the tensor table.
#[derive(Debug)]
pub(super) struct RawTensor {
    pub(super) name: String,
    pub(super) dims: Vec<u64>,
    pub(super) type_id: u32,
    /// From the start of the data section.
    pub(super) offset: u64,
}

/// Where a metadata value is in the file.
#[derive(Debug)]
pub(super) struct ValueAt<'a> {
    pub(super) key: &'a str,
    /// The type's four bytes and those of the value.
    pub(super) bytes: Range<usize>,
}

/// Where the metadata values of a file are, in file order.
pub(super) fn values<'a>(file: &'a str, bytes: &'a [u8]) -> Result<Vec<ValueAt<'a>>> {
    magic::check(file, bytes)?;
    let mut walk = Walk { file, bytes, pos: 8, decoded: 0, facts: BTreeMap::new() };
    walk.count("tensor", MAX_TENSORS)?;
    let key_count = walk.count("metadata key", MAX_KEYS)?;
    walk.fits("metadata key", key_count, MIN_KEY_BYTES)?;
    let value = |_| {
        let (at, key) = walk.key_value()?;
        Ok(ValueAt { key, bytes: at + key.len()..walk.pos })
    };
    (0..key_count).map(value).collect()
}

/// Walks `bytes`, the whole of the file called `file` in messages.
pub(super) fn scan(file: &str, bytes: &[u8]) -> Result<Scan> {
    let version = magic::check(file, bytes)?;
    let mut walk = Walk { file, bytes, pos: 8, decoded: 0, facts: BTreeMap::new() };
    let tensor_count = walk.count("tensor", MAX_TENSORS)?;
    let key_count = walk.count("metadata key", MAX_KEYS)?;
    debug_assert_eq!(walk.pos, HEADER_BYTES);
    walk.fits("metadata key", key_count, MIN_KEY_BYTES)?;
    let mut keys = Vec::new();
    for _ in 0..key_count {
        keys.push(walk.key_value()?);
    }
    walk.fits("tensor", tensor_count, MIN_TENSOR_BYTES)?;
    let mut tensors = Vec::new();
    for index in 0..tensor_count {
        tensors.push(walk.tensor(index)?);
    }
    let (end, facts) = (walk.pos, walk.facts);
    let (mut patches, renamed) = mask_keys(file, &keys)?;
    if version == 2 {
        patches.insert(0, Patch { at: 4, bytes: 3u32.to_le_bytes().to_vec() });
    }
    Ok(Scan { version, patches, renamed, tensors, end, facts })
}

struct Walk<'a> {
    file: &'a str,
    bytes: &'a [u8],
    pos: usize,
    decoded: usize,
    facts: BTreeMap<String, Fact>,
}

impl<'a> Walk<'a> {
    fn broken(&self, what: &str) -> Error {
        Error::file(format!("{}: {what}; the file is broken, download it again", self.file))
    }

    /// The next `n` bytes; `what` names them in the error when the file ends before.
    fn take(&mut self, n: u64, what: &str) -> Result<&'a [u8]> {
        let left = self.bytes.len() - self.pos;
        match usize::try_from(n).ok().filter(|&n| n <= left) {
            Some(n) => {
                self.pos += n;
                Ok(&self.bytes[self.pos - n..self.pos])
            }
            None => Err(Error::file(format!(
                "{}: is truncated or broken: {what} at offset {} needs {n} bytes, but {left} are left; download it again",
                self.file, self.pos
            ))),
        }
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        self.take(4, what).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        self.take(8, what).map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
    }

    fn count(&mut self, of: &str, limit: u64) -> Result<u64> {
        let count = self.u64(&format!("the {of} count"))?;
        if count > limit {
            return Err(self.broken(&format!("the header claims a {of} count of {count}, the limit is {limit}")));
        }
        Ok(count)
    }

    fn fits(&self, of: &str, count: u64, each: u64) -> Result<()> {
        let left = (self.bytes.len() - self.pos) as u64;
        if count * each > left {
            return Err(Error::file(format!(
                "{}: is truncated or broken: the header claims a {of} count of {count}, which takes at least {} bytes from \
                 offset {}, but {left} are left; download it again",
                self.file,
                count * each,
                self.pos
            )));
        }
        Ok(())
    }

    /// One key with its value; returns where the key's bytes are and the key.
    fn key_value(&mut self) -> Result<(usize, &'a str)> {
        let length = self.u64("the length of a metadata key")?;
        if length == 0 || length > MAX_KEY_BYTES {
            let at = self.pos - 8;
            let what =
                format!("the metadata key at offset {at} has a length of {length}, expected 1 to {MAX_KEY_BYTES}");
            return Err(self.broken(&what));
        }
        let at = self.pos;
        let key = self.take(length, "a metadata key")?;
        let key = std::str::from_utf8(key)
            .map_err(|_| self.broken(&format!("the metadata key at offset {at} is not UTF-8")))?;
        self.decode(key.len() + DECODED_KEY + DECODED_VALUE, key)?;
        let type_id = self.u32(&format!("the type of metadata key {}", quoted(key)))?;
        let value_at = self.pos;
        self.value(key, type_id, 0)?;
        if key == "general.alignment" {
            self.check_alignment(type_id, &self.bytes[value_at..self.pos])?;
        }
        let bytes = &self.bytes[value_at..self.pos];
        if FACTS.contains(&key) && bytes.len() <= MAX_FACT_BYTES {
            self.facts.insert(key.to_owned(), Fact { type_id, bytes: bytes.to_vec() });
        }
        if self.pos > MAX_METADATA_BYTES {
            let what = format!(
                "metadata up to key {} takes {} bytes, the limit is {MAX_METADATA_BYTES}",
                quoted(key),
                self.pos
            );
            return Err(self.broken(&what));
        }
        Ok((at, key))
    }

    fn value(&mut self, key: &str, type_id: u32, depth: usize) -> Result<()> {
        let what = || format!("the value of metadata key {}", quoted(key));
        match type_id {
            7 => {
                let at = self.pos;
                let byte = self.take(1, &what())?[0];
                self.check_bools(key, at, &[byte])
            }
            8 => self.string(key),
            9 => self.array(key, depth),
            _ => match scalar_bytes(type_id) {
                Some(size) => self.take(size, &what()).map(drop),
                None => {
                    let at = self.pos - 4;
                    let what = format!(
                        "metadata key {} has value type {type_id} at offset {at}, expected 0 to 12",
                        quoted(key)
                    );
                    Err(self.broken(&what))
                }
            },
        }
    }

    fn string(&mut self, key: &str) -> Result<()> {
        let length = self.u64(&format!("a string length in metadata key {}", quoted(key)))?;
        let at = self.pos;
        let text = self.take(length, &format!("a string in metadata key {}", quoted(key)))?;
        if let Err(e) = std::str::from_utf8(text) {
            let at = at + e.valid_up_to();
            return Err(
                self.broken(&format!("metadata key {} holds text that is not UTF-8 at offset {at}", quoted(key)))
            );
        }
        self.decode(text.len(), key)
    }

    fn array(&mut self, key: &str, depth: usize) -> Result<()> {
        let shown = quoted(key);
        if depth == MAX_NESTING {
            return Err(self.broken(&format!("metadata key {shown} nests arrays deeper than {MAX_NESTING}")));
        }
        let element = self.u32(&format!("the element type of metadata array {shown}"))?;
        let count = self.u64(&format!("the length of metadata array {shown}"))?;
        let smallest = match element {
            8 => 8,
            9 => 12,
            _ => scalar_bytes(element).ok_or_else(|| {
                self.broken(&format!("metadata array {shown} has element type {element}, expected 0 to 12"))
            })?,
        };
        let left = (self.bytes.len() - self.pos) as u64;
        if count > left / smallest {
            return Err(Error::file(format!(
                "{}: is truncated or broken: metadata array {shown} at offset {} claims {count} elements, but only {left} \
                 bytes are left; download it again",
                self.file, self.pos
            )));
        }
        let count = count as usize; // at most the file's length, which is in the address space
        self.decode(count.saturating_mul(DECODED_VALUE).saturating_add(DECODED_ARRAY), key)?;
        match element {
            8 => (0..count).try_for_each(|_| self.string(key)),
            9 => (0..count).try_for_each(|_| self.array(key, depth + 1)),
            _ => {
                let at = self.pos;
                let bytes = self.take(count as u64 * smallest, &format!("metadata array {shown}"))?;
                if element == 7 { self.check_bools(key, at, bytes) } else { Ok(()) }
            }
        }
    }

    fn check_bools(&self, key: &str, at: usize, bytes: &[u8]) -> Result<()> {
        match bytes.iter().position(|&b| b > 1) {
            None => Ok(()),
            Some(i) => {
                let (shown, value, at) = (quoted(key), bytes[i], at + i);
                Err(self.broken(&format!(
                    "metadata key {shown} holds a bool of value {value} at offset {at}, expected 0 or 1"
                )))
            }
        }
    }

    /// A power of two, as llama.cpp wants it, and at least 8: the library takes 24 and so misplaces the payload.
    fn check_alignment(&self, type_id: u32, value: &[u8]) -> Result<()> {
        match (type_id, value.try_into().map(u32::from_le_bytes)) {
            (4, Ok(n)) if n >= 8 && n.is_power_of_two() => Ok(()),
            (4, Ok(n)) => Err(self.broken(&format!("general.alignment is {n}, expected a power of two from 8 on"))),
            _ => Err(self.broken(&format!("general.alignment has value type {type_id}, expected 4 (u32)"))),
        }
    }

    /// Counts what decoding will allocate, before anything is decoded.
    fn decode(&mut self, bytes: usize, key: &str) -> Result<()> {
        self.decoded = self.decoded.saturating_add(bytes);
        if self.decoded > MAX_DECODED_BYTES {
            return Err(self.broken(&format!(
                "metadata would take more than {} MiB of memory, passed at key {}",
                MAX_DECODED_BYTES >> 20,
                quoted(key)
            )));
        }
        Ok(())
    }

    fn tensor(&mut self, index: u64) -> Result<RawTensor> {
        let length = self.u64(&format!("the name length of tensor {index}"))?;
        if length == 0 || length > MAX_NAME_BYTES {
            let at = self.pos - 8;
            let what = format!(
                "the name of tensor {index} at offset {at} has a length of {length}, expected 1 to {MAX_NAME_BYTES}"
            );
            return Err(self.broken(&what));
        }
        let at = self.pos;
        let name = self.take(length, &format!("the name of tensor {index}"))?;
        let name = std::str::from_utf8(name)
            .map_err(|_| self.broken(&format!("the name of tensor {index} at offset {at} is not UTF-8")))?;
        let shown = quoted(name);
        let rank = self.u32(&format!("the rank of tensor {shown}"))?;
        if !(1..=4).contains(&rank) {
            return Err(self.broken(&format!("tensor {shown} has {rank} dimensions, expected 1 to 4")));
        }
        let mut dims = Vec::with_capacity(4);
        for _ in 0..rank {
            dims.push(self.u64(&format!("the dimensions of tensor {shown}"))?);
        }
        if let Some(zero) = dims.iter().position(|&d| d == 0) {
            return Err(self.broken(&format!("tensor {shown} has shape {dims:?}: dimension {zero} is zero")));
        }
        let elements = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).filter(|&n| n <= i64::MAX as u64);
        if elements.is_none() {
            return Err(self.broken(&format!("tensor {shown} has shape {dims:?}, whose product overflows")));
        }
        let type_id = self.u32(&format!("the type of tensor {shown}"))?;
        let offset = self.u64(&format!("the offset of tensor {shown}"))?;
        Ok(RawTensor { name: name.to_owned(), dims, type_id, offset })
    }
}

/// Bytes of a scalar metadata type; `None` for strings, arrays and ids that do not exist.
fn scalar_bytes(type_id: u32) -> Option<u64> {
    match type_id {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Finds duplicate keys, and gives each key that the library would refuse a plain name of the same length.
fn mask_keys(file: &str, keys: &[(usize, &str)]) -> Result<(Vec<Patch>, BTreeMap<String, String>)> {
    let mut taken: HashSet<&str> = HashSet::with_capacity(keys.len());
    for (at, key) in keys {
        if !taken.insert(key) {
            let shown = quoted(key);
            return Err(Error::file(format!(
                "{file}: metadata key {shown} occurs twice, again at offset {at}; the file is broken, download it again"
            )));
        }
    }
    let (mut patches, mut renamed) = (Vec::new(), BTreeMap::new());
    let mut next = 0u64;
    for &(at, key) in keys.iter().filter(|(_, key)| !is_plain(key)) {
        let shown = loop {
            let candidate = base36(next, key.len()).ok_or_else(|| {
                let shown = quoted(key);
                Error::unsupported(format!(
                    "{file}: metadata key {shown} is one of too many with odd names, and cannot be read"
                ))
            })?;
            next += 1;
            if !taken.contains(candidate.as_str()) && !renamed.contains_key(&candidate) {
                break candidate;
            }
        };
        patches.push(Patch { at, bytes: shown.clone().into_bytes() });
        renamed.insert(shown, key.to_owned());
    }
    Ok((patches, renamed))
}

/// The library's rule for keys: words of lower-case letters and digits, joined by dots and single underscores.
fn is_plain(key: &str) -> bool {
    key.split(['.', '_'])
        .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

/// `n` in base 36, padded with zeros to `length`; `None` when it does not fit.
fn base36(mut n: u64, length: usize) -> Option<String> {
    let mut text = vec![b'0'; length];
    for place in text.iter_mut().rev() {
        *place = b"0123456789abcdefghijklmnopqrstuvwxyz"[(n % 36) as usize];
        n /= 36;
    }
    if n > 0 {
        return None;
    }
    String::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_keys_get_distinct_plain_names_of_the_same_length() {
        let keys =
            [(0, "a"), (1, "0"), (2, "B"), (3, "my-key"), (10, "My.Key"), (20, "a.b_c"), (30, "é"), (40, "x__y")];
        let (patches, renamed) = mask_keys("f", &keys).unwrap();
        assert_eq!(patches.len(), 5);
        assert_eq!(renamed.len(), 5);
        for patch in &patches {
            let shown = std::str::from_utf8(&patch.bytes).unwrap();
            let real = keys.iter().find(|(at, _)| *at == patch.at).unwrap().1;
            assert_eq!(renamed[shown], real);
            assert_eq!(shown.len(), real.len());
            assert!(is_plain(shown) && keys.iter().all(|(_, k)| *k != shown));
        }
    }

    #[test]
    fn one_letter_keys_can_run_out() {
        let names: Vec<String> = (b'A'..=b'Z').chain(b'!'..=b'/').map(|b| char::from(b).to_string()).collect();
        let keys: Vec<(usize, &str)> = names.iter().enumerate().map(|(i, n)| (i, n.as_str())).collect();
        assert!(mask_keys("f", &keys[..36]).is_ok());
        assert!(mask_keys("f", &keys).unwrap_err().to_string().contains("odd names"));
    }
}
