//! What `lapwing inspect` shows: metadata, tensors, totals; as data for `--json` and as plain text.
//!
//! Text from the file is escaped in the plain form, so a file cannot send control codes to the terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::{Certificate, Gguf, Value, cut, escaped};

/// Elements of each array that are shown.
const PREVIEW: usize = 5;
/// Characters of a string value that are shown in the plain form.
const SHOWN_CHARS: usize = 80;

/// A model file in numbers and names. Serializes to the JSON of `inspect --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Paths of all shards, in order.
    pub files: Vec<String>,
    /// Bytes of all shards.
    pub file_bytes: u64,
    /// GGUF version of the first shard.
    pub version: u32,
    /// Alignment of payload in bytes.
    pub alignment: u64,
    /// All metadata, sorted by key.
    pub metadata: Vec<MetadataRow>,
    /// All tensors, in file order.
    pub tensors: Vec<TensorRow>,
    /// Totals by type, sorted by bytes, largest first.
    pub types: Vec<TypeRow>,
    /// Weights in all tensors.
    pub parameters: u64,
    /// Bytes of all tensors.
    pub tensor_bytes: u64,
    /// Mean bits per weight.
    pub bits_per_weight: f64,
    /// What quantizing cost, where the file says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Certificate>,
}

/// A metadata entry.
#[derive(Clone, Debug, Serialize)]
pub struct MetadataRow {
    /// The key.
    pub key: String,
    /// GGUF's name of the type; of an array `array of` its elements' type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The value; of an array the first elements.
    pub value: serde_json::Value,
    /// Elements of an array.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// Whether it was given by `--override-kv`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub overridden: bool,
}

/// A tensor.
#[derive(Clone, Debug, Serialize)]
pub struct TensorRow {
    /// The name.
    pub name: String,
    /// The type's name.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// Whether lapwing can compute with the type.
    pub supported: bool,
    /// Dimensions, the contiguous one first.
    pub shape: Vec<usize>,
    /// Bytes of payload.
    pub bytes: usize,
    /// Offset of the payload in its file.
    pub offset: usize,
    /// Index into `files`.
    pub shard: usize,
}

/// Totals of one type.
#[derive(Clone, Debug, Serialize)]
pub struct TypeRow {
    /// The type's name.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of weights.
    pub parameters: u64,
    /// Bytes of payload.
    pub bytes: u64,
}

impl Summary {
    /// The summary of an open model.
    pub fn of(gguf: &Gguf) -> Summary {
        let tensors: Vec<TensorRow> = gguf
            .tensors()
            .map(|t| TensorRow {
                name: t.name().to_owned(),
                type_name: t.type_name(),
                supported: t.dtype().is_ok(),
                shape: t.shape().to_vec(),
                bytes: t.bytes().len(),
                offset: t.offset(),
                shard: t.shard(),
            })
            .collect();
        Summary {
            files: gguf.files().map(|f| f.display().to_string()).collect(),
            file_bytes: gguf.file_bytes(),
            version: gguf.version(),
            alignment: gguf.alignment(),
            metadata: metadata_rows(gguf),
            types: type_rows(&tensors),
            tensors,
            parameters: gguf.total_parameters(),
            tensor_bytes: gguf.tensor_bytes(),
            bits_per_weight: gguf.bits_per_weight(),
            // A key of the wrong type is shown with the metadata, as any other.
            quality: Certificate::read(gguf.meta()).ok().flatten(),
        }
    }

    /// The summary as plain text, with a line for each key and tensor.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_text(&mut out);
        out
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        for file in &self.files {
            writeln!(out, "file        {}", escaped(file))?;
        }
        let shards = if self.files.len() > 1 { format!(" in {} shards", self.files.len()) } else { String::new() };
        writeln!(out, "size        {} ({} bytes){shards}", human(self.file_bytes), self.file_bytes)?;
        writeln!(out, "format      GGUF v{}, alignment {}", self.version, self.alignment)?;
        let (parameters, bits) = (self.parameters, self.bits_per_weight);
        writeln!(out, "parameters  {parameters} in {} tensors, {bits:.3} bits per weight", self.tensors.len())?;
        if let Some(quality) = &self.quality {
            write_quality(out, quality)?;
        }
        writeln!(out, "\nmetadata ({} keys)", self.metadata.len())?;
        let width = self.metadata.iter().map(|row| row.key.chars().count()).max().unwrap_or(0).min(48);
        for row in &self.metadata {
            let mark = if row.overridden { "  (by --override-kv)" } else { "" };
            writeln!(out, "  {:width$}  {}{mark}", escaped(&row.key), shown(row))?;
        }
        writeln!(out, "\ntypes")?;
        for row in &self.types {
            writeln!(out, "  {:8} {:5} tensors  {:>10}", row.type_name, row.tensors, human(row.bytes))?;
        }
        writeln!(out, "\ntensors ({})", self.tensors.len())?;
        self.write_tensors(out)
    }

    /// The tensors alone as plain text, a line for each.
    pub fn tensors_text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_tensors(&mut out);
        out
    }

    fn write_tensors(&self, out: &mut String) -> std::fmt::Result {
        let width = self.tensors.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        for row in &self.tensors {
            let name = escaped(&row.name);
            let shape: Vec<String> = row.shape.iter().map(usize::to_string).collect();
            let shard = if self.files.len() > 1 { format!("  shard {}", row.shard + 1) } else { String::new() };
            let note = if row.supported { "" } else { "  (cannot be computed with)" };
            let (kind, bytes, offset) = (row.type_name, human(row.bytes as u64), row.offset);
            writeln!(out, "  {name:width$}  {kind:8} {:24} {bytes:>10}  at {offset}{shard}{note}", shape.join(" x "))?;
        }
        Ok(())
    }
}

fn write_quality(out: &mut String, q: &Certificate) -> std::fmt::Result {
    writeln!(out, "\nquality (against its source, measured by {})", escaped(&q.tool))?;
    writeln!(
        out,
        "  KL divergence  mean {:.6}, 99% below {:.6}, largest {:.6} nats",
        q.kld_mean, q.kld_p99, q.kld_max
    )?;
    writeln!(out, "  same top token {:.3} %", q.top1 * 100.0)?;
    let percent = (q.ppl / q.ppl_reference - 1.0) * 100.0;
    writeln!(out, "  perplexity     {:.4}, source {:.4} ({percent:+.3} %)", q.ppl, q.ppl_reference)?;
    writeln!(out, "  measured over  {} tokens, context {}", q.tokens, q.context)?;
    writeln!(out, "  text sha256    {}", escaped(&q.text_sha256))?;
    writeln!(out, "  source sha256  {}", escaped(&q.source_sha256))
}

fn metadata_rows(gguf: &Gguf) -> Vec<MetadataRow> {
    let row = |item: super::Item<'_>| {
        let (type_name, length) = match &item.value {
            Value::Array(element, length, _) => (format!("array of {element}"), Some(*length)),
            _ => (item.type_name.to_owned(), None),
        };
        MetadataRow {
            key: item.key.to_owned(),
            type_name,
            value: json(&item.value),
            length,
            overridden: item.overridden,
        }
    };
    gguf.meta().items(PREVIEW).map(row).collect()
}

/// Floats that JSON has no form for (infinite, NaN) become text.
fn json(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Unsigned(n) => (*n).into(),
        Value::Signed(n) => (*n).into(),
        Value::Float(x) => serde_json::Number::from_f64(*x).map_or_else(|| x.to_string().into(), Into::into),
        Value::Bool(b) => (*b).into(),
        Value::Str(text) => (*text).into(),
        Value::Array(_, _, first) => first.iter().map(json).collect(),
    }
}

fn type_rows(tensors: &[TensorRow]) -> Vec<TypeRow> {
    let mut by_name: BTreeMap<&'static str, TypeRow> = BTreeMap::new();
    for t in tensors {
        let empty = TypeRow { type_name: t.type_name, tensors: 0, parameters: 0, bytes: 0 };
        let row = by_name.entry(t.type_name).or_insert(empty);
        row.tensors += 1;
        row.parameters += t.shape.iter().product::<usize>() as u64;
        row.bytes += t.bytes as u64;
    }
    let mut rows: Vec<TypeRow> = by_name.into_values().collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.bytes));
    rows
}

/// A value on one line: JSON's notation, control characters escaped, cut when long.
fn shown(row: &MetadataRow) -> String {
    let one = |value: &serde_json::Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), |s| format!("\"{}\"", escaped(s)));
        cut(&text, SHOWN_CHARS)
    };
    match (&row.value, row.length) {
        (serde_json::Value::Array(first), Some(length)) => {
            let first_shown: Vec<String> = first.iter().map(one).collect();
            let rest = if length > first.len() { ", ..." } else { "" };
            format!("{length} {}: [{}{rest}]", row.type_name.trim_start_matches("array of "), first_shown.join(", "))
        }
        (value, _) => one(value),
    }
}

/// `1.23 GiB`, for people.
fn human(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if amount < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{amount:.2} {unit}") };
        }
        amount /= 1024.0;
    }
    format!("{amount:.2} GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        assert_eq!(human(0), "0 B");
        assert_eq!(human(1023), "1023 B");
        assert_eq!(human(1536), "1.50 KiB");
        assert_eq!(human(5_027_783_328), "4.68 GiB");
    }
}
