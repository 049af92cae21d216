//! JSON files of a checkpoint: bounded in size, with errors that name file and key.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};

/// The tokenizer.json of a vocabulary of 260,000 takes 33 MB.
const MAX_BYTES: u64 = 256 << 20;

/// Reads a text file of a checkpoint.
pub fn text(path: &Path) -> Result<String> {
    let shown = path.display();
    let failed = |e: std::io::Error| Error::file(format!("{shown}: cannot be read: {e}"));
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > MAX_BYTES {
        return Err(Error::file(format!("{shown}: has {length} bytes, the limit is {MAX_BYTES}")));
    }
    fs::read_to_string(path).map_err(failed)
}

/// Reads a JSON file.
pub fn read(path: &Path) -> Result<Value> {
    let shown = path.display();
    serde_json::from_str(&text(path)?)
        .map_err(|e| Error::file(format!("{shown}: is no sound JSON: {e}; download it again")))
}

/// Reads a JSON file that may be absent.
pub fn read_optional(path: &Path) -> Result<Option<Value>> {
    if path.exists() { read(path).map(Some) } else { Ok(None) }
}

/// A JSON object with the file it is from.
pub struct Object<'a> {
    /// The file, for messages.
    pub path: &'a Path,
    /// The object.
    pub value: &'a Value,
}

impl Object<'_> {
    /// The value at `key`, null counting as none.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.value.get(key).filter(|v| !v.is_null())
    }

    fn wrong(&self, key: &str, found: &Value, expected: &str) -> Error {
        let found: String = found.to_string().chars().take(80).collect();
        Error::file(format!("{}: {key} is {found}, expected {expected}", self.path.display()))
    }

    fn missing(&self, key: &str, expected: &str) -> Error {
        Error::file(format!("{}: {key} is missing, expected {expected}", self.path.display()))
    }

    /// The count at `key`: a whole number from 0 to 2^31 - 1.
    pub fn count(&self, key: &str) -> Result<Option<usize>> {
        let expected = "a whole number of 0 or more, below 2147483648";
        self.get(key)
            .map(|v| {
                let n = v.as_u64().filter(|&n| n < 1 << 31);
                n.map(|n| n as usize).ok_or_else(|| self.wrong(key, v, expected))
            })
            .transpose()
    }

    /// The count at `key`, at least 1.
    pub fn require_count(&self, key: &str) -> Result<usize> {
        match self.count(key)? {
            None => Err(self.missing(key, "a whole number of 1 or more")),
            Some(0) => Err(self.wrong(key, &Value::from(0), "a whole number of 1 or more")),
            Some(n) => Ok(n),
        }
    }

    /// The number at `key`.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key)
            .map(|v| v.as_f64().filter(|x| x.is_finite()).ok_or_else(|| self.wrong(key, v, "a number")))
            .transpose()
    }

    /// The bool at `key`.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.get(key).map(|v| v.as_bool().ok_or_else(|| self.wrong(key, v, "true or false"))).transpose()
    }

    /// The string at `key`.
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        self.get(key).map(|v| v.as_str().ok_or_else(|| self.wrong(key, v, "a string"))).transpose()
    }
}
