//! Typed metadata: values by the type a caller wants, with errors that name file, key, found and expected.
//!
//! Writers disagree on integer widths and signs, so every integer type is read as any other that can hold the value.
//! Overrides lie on top of the file's values and are indistinguishable from them to callers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gguf_rs_lib::format::metadata::{MetadataArray, MetadataValue};

use super::shard::Source;
use super::{Override, cut, escaped, quoted};
use crate::error::{Error, Result};

/// The metadata of a model.
#[derive(Debug)]
pub struct Metadata {
    path: PathBuf,
    source: Source,
    /// Every key of the file by its real name, with the name the reader knows it by.
    names: BTreeMap<String, String>,
    overrides: BTreeMap<String, MetadataValue>,
}

/// A value as `inspect` shows it: arrays by length and their first elements.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// f32 or f64.
    Float(f64),
    /// true or false.
    Bool(bool),
    /// Text.
    Str(&'a str),
    /// An array: its element type, its length, and its first elements.
    Array(&'static str, usize, Vec<Value<'a>>),
}

/// A metadata entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Item<'a> {
    /// The key, by its real name.
    pub key: &'a str,
    /// GGUF's name of the type: `u32`, `string`, `array`.
    pub type_name: &'static str,
    /// The value.
    pub value: Value<'a>,
    /// Whether it was given by an override.
    pub overridden: bool,
}

impl Metadata {
    /// The metadata of the file at `path` with `overrides` on top, and what the user should hear about them.
    pub(super) fn new(path: &Path, source: Source, overrides: &[Override]) -> (Metadata, Vec<String>) {
        let shown = source.reader.metadata().data.keys();
        let real = |shown: &String| source.renamed.get(shown).unwrap_or(shown).clone();
        let names: BTreeMap<String, String> = shown.map(|key| (real(key), key.clone())).collect();
        let unknown = overrides.iter().filter(|o| !names.contains_key(&o.key));
        let warnings = unknown
            .map(|o| format!("--override-kv: {} has no metadata key {}; it is added", path.display(), quoted(&o.key)))
            .collect();
        let overrides = overrides.iter().map(|o| (o.key.clone(), o.value.clone())).collect();
        (Metadata { path: path.to_path_buf(), source, names, overrides }, warnings)
    }

    /// The file the metadata is from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is such a key.
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Number of keys, overrides included.
    pub fn len(&self) -> usize {
        self.keys().count()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.keys().next().is_none()
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let added = self.overrides.keys().filter(|key| !self.names.contains_key(*key));
        let mut all: Vec<&str> = self.names.keys().chain(added).map(String::as_str).collect();
        all.sort_unstable();
        all.into_iter()
    }

    /// All entries, sorted by key, with up to `preview` elements of each array.
    pub fn items(&self, preview: usize) -> impl Iterator<Item = Item<'_>> {
        self.keys().filter_map(move |key| {
            let value = self.get(key)?;
            let overridden = self.overrides.contains_key(key);
            Some(Item { key, type_name: value.value_type().name(), value: show(value, preview), overridden })
        })
    }

    /// The value at `key` as it is stored, for a program that writes it to another file.
    pub fn raw(&self, key: &str) -> Option<&MetadataValue> {
        self.get(key)
    }

    fn get(&self, key: &str) -> Option<&MetadataValue> {
        self.overrides.get(key).or_else(|| self.source.reader.metadata().get(self.names.get(key)?))
    }

    /// Reads `key` through `as_type`, which is `expected` in words.
    fn read<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        as_type: impl Fn(&'a MetadataValue) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        as_type(value).map(Some).ok_or_else(|| self.mismatch(key, value, expected))
    }

    fn mismatch(&self, key: &str, value: &MetadataValue, expected: &str) -> Error {
        let (shown, found) = (quoted(key), describe(value));
        if self.overrides.contains_key(key) {
            return Error::usage(format!(
                "--override-kv: metadata key {shown} is given as {found}, expected {expected}"
            ));
        }
        Error::file(format!(
            "{}: metadata key {shown} is {found}, expected {expected}; use another file, or --override-kv {key}=TYPE:VALUE",
            self.path.display()
        ))
    }

    fn require<T>(&self, key: &str, expected: &str, found: Result<Option<T>>) -> Result<T> {
        found?.ok_or_else(|| {
            Error::file(format!(
                "{}: metadata key {} is missing, expected {expected}; use another file, or --override-kv {key}=TYPE:VALUE",
                self.path.display(),
                quoted(key)
            ))
        })
    }

    fn array<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        element: impl Fn(&'a MetadataValue) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        self.read(key, expected, |value| match value {
            MetadataValue::Array(array) => array.values.iter().map(&element).collect(),
            _ => None,
        })
    }
}

macro_rules! getters {
    ($($get:ident, $require:ident -> $type:ty, $expected:literal, $how:expr, $doc:literal;)*) => {
        impl Metadata {
            $(
                #[doc = concat!($doc, " `None` when the key is absent; an error when it is of another type.")]
                pub fn $get(&self, key: &str) -> Result<Option<$type>> {
                    #[allow(clippy::redundant_closure_call)]
                    ($how)(self, key, $expected)
                }

                #[doc = concat!($doc, " An error when the key is absent or of another type.")]
                pub fn $require(&self, key: &str) -> Result<$type> {
                    self.require(key, $expected, self.$get(key))
                }
            )*
        }
    };
}

getters! {
    uint, require_uint -> u64, "an integer of 0 or more",
        |m: &Metadata, key, expected| m.read(key, expected, unsigned), "The integer at `key`, of any width, not negative.";
    size, require_size -> usize, "an integer of 0 or more that this machine can address",
        |m: &Metadata, key, expected| m.read(key, expected, |v| usize::try_from(unsigned(v)?).ok()),
        "The integer at `key` as a count or size.";
    int, require_int -> i64, "an integer",
        |m: &Metadata, key, expected| m.read(key, expected, signed), "The integer at `key`, of any width.";
    float, require_float -> f64, "a finite number",
        |m: &Metadata, key, expected| m.read(key, expected, number), "The number at `key`: a finite float, or an integer.";
    bool, require_bool -> bool, "a bool",
        |m: &Metadata, key, expected| m.read(key, expected, MetadataValue::as_bool), "The bool at `key`.";
    uints, require_uints -> Vec<u64>, "an array of integers of 0 or more",
        |m: &Metadata, key, expected| m.array(key, expected, unsigned), "The array of integers at `key`, none negative.";
    ints, require_ints -> Vec<i64>, "an array of integers",
        |m: &Metadata, key, expected| m.array(key, expected, signed), "The array of integers at `key`.";
    floats, require_floats -> Vec<f64>, "an array of finite numbers",
        |m: &Metadata, key, expected| m.array(key, expected, number), "The array of numbers at `key`.";
}

impl Metadata {
    /// The string at `key`. `None` when the key is absent; an error when it is of another type.
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        self.read(key, "a string", MetadataValue::as_str)
    }

    /// The string at `key`. An error when the key is absent or of another type.
    pub fn require_str(&self, key: &str) -> Result<&str> {
        self.require(key, "a string", self.str(key))
    }

    /// The array of strings at `key`. `None` when the key is absent; an error when it is of another type.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<&str>>> {
        self.array(key, "an array of strings", MetadataValue::as_str)
    }

    /// The array of strings at `key`. An error when the key is absent or of another type.
    pub fn require_strings(&self, key: &str) -> Result<Vec<&str>> {
        self.require(key, "an array of strings", self.strings(key))
    }
}

/// Any integer that is not negative.
pub(super) fn unsigned(value: &MetadataValue) -> Option<u64> {
    value.as_u64().or_else(|| u64::try_from(value.as_i64()?).ok())
}

fn signed(value: &MetadataValue) -> Option<i64> {
    value.as_i64().or_else(|| i64::try_from(value.as_u64()?).ok())
}

fn number(value: &MetadataValue) -> Option<f64> {
    let number =
        value.as_f64().or_else(|| value.as_u64().map(|n| n as f64)).or_else(|| value.as_i64().map(|n| n as f64));
    number.filter(|n| n.is_finite())
}

/// The value for a message: `the string "llama"`, `-3 (i32)`, `an array of 5 f32`.
pub(super) fn describe(value: &MetadataValue) -> String {
    match value {
        MetadataValue::String(text) => format!("the string \"{}\"", cut(&escaped(text), 40)),
        MetadataValue::Array(array) => format!("an array of {} {}", array.values.len(), array.element_type.name()),
        scalar => format!("{} ({})", scalar.to_string_representation(), scalar.value_type().name()),
    }
}

fn show(value: &MetadataValue, preview: usize) -> Value<'_> {
    match value {
        MetadataValue::String(text) => Value::Str(text),
        MetadataValue::Bool(b) => Value::Bool(*b),
        MetadataValue::F32(x) => Value::Float(shortest(*x)),
        MetadataValue::F64(x) => Value::Float(*x),
        MetadataValue::Array(array) => show_array(array, preview),
        integer => {
            integer.as_u64().map_or_else(|| Value::Signed(integer.as_i64().unwrap_or_default()), Value::Unsigned)
        }
    }
}

fn show_array(array: &MetadataArray, preview: usize) -> Value<'_> {
    let first = array.values.iter().take(preview).map(|v| show(v, preview)).collect();
    Value::Array(array.element_type.name(), array.values.len(), first)
}

/// The f64 that prints as the f32 does: 1e-6, not 9.999999974752427e-7.
fn shortest(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}
