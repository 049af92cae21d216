//! Writes results to stdout as they come: a Markdown table with llama-bench's columns, CSV, JSON or a JSON object per
//! line. Behind the Markdown table stands a second one with what llama-bench does not measure.

use super::super::{Outcome, output};
use super::record::Record;
use serde_json::Value;
use std::fmt::Write;

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables for people and for issues.
    Md,
    /// One line of values per test, under one of names.
    Csv,
    /// An array of objects.
    Json,
    /// One object per line.
    Jsonl,
}

/// A report in the making.
pub struct Report {
    format: Format,
    records: Vec<Record>,
}

impl Report {
    /// An empty report.
    pub fn new(format: Format) -> Self {
        Self { format, records: Vec::new() }
    }

    /// Prints a result.
    pub fn add(&mut self, record: Record) -> Outcome {
        let text = self.piece(&record);
        self.records.push(record);
        output::result(&text)
    }

    /// Prints what follows the last result.
    pub fn finish(self) -> Outcome {
        output::result(&self.end())
    }

    /// The text of one more result, with what must stand before the first.
    fn piece(&self, record: &Record) -> String {
        let first = self.records.is_empty();
        match self.format {
            Format::Md if first => format!("{}{}", header(&COLUMNS), row(&COLUMNS, record)),
            Format::Md => row(&COLUMNS, record),
            Format::Csv if first => format!("{}\n{}", names(record), values(record)),
            Format::Csv => values(record),
            Format::Json => {
                let open = if first { "[\n" } else { ",\n" };
                let object = serde_json::to_string_pretty(record).unwrap_or_default();
                let lines: Vec<String> = object.lines().map(|line| format!("  {line}")).collect();
                format!("{open}{}", lines.join("\n"))
            }
            Format::Jsonl => serde_json::to_string(record).unwrap_or_default() + "\n",
        }
    }

    fn end(&self) -> String {
        match self.format {
            Format::Md => more(&self.records),
            Format::Json if self.records.is_empty() => "[]\n".into(),
            Format::Json => "\n]\n".into(),
            Format::Csv | Format::Jsonl => String::new(),
        }
    }
}

/// A column: name, width, whether it is aligned to the left, text of a record.
struct Column(&'static str, usize, bool, fn(&Record) -> String);

/// llama-bench's columns, in its order and widths.
const COLUMNS: [Column; 7] = [
    Column("model", 30, true, |r| r.model_type.clone()),
    Column("size", 10, false, |r| size(r.model_size)),
    Column("params", 10, false, |r| parameters(r.model_n_params)),
    Column("backend", 10, true, |r| r.backends.to_owned()),
    Column("threads", 7, false, |r| r.n_threads.to_string()),
    Column("test", 15, false, |r| r.test.clone()),
    Column("t/s", 20, false, |r| format!("{:.2} ± {:.2}", r.avg_ts, r.stddev_ts)),
];

/// What llama-bench does not tell. The model is named again, so that rows stand for themselves.
const MORE: [Column; 10] = [
    Column("model", 30, true, |r| r.model_type.clone()),
    Column("isa", 10, true, |r| r.isa.to_owned()),
    Column("threads", 7, false, |r| r.n_threads.to_string()),
    Column("n_ubatch", 8, false, |r| r.n_ubatch.min(r.n_batch).to_string()),
    Column("test", 15, false, |r| r.test.clone()),
    Column("median t/s", 10, false, |r| format!("{:.2}", r.median_ts)),
    Column("of memory", 9, false, |r| percent(r.bandwidth_share)),
    Column("of compute", 10, false, |r| percent(r.compute_share)),
    Column("load", 8, false, |r| format!("{:.2} s", r.load_ns as f64 / 1e9)),
    Column("peak RSS", 10, false, |r| r.peak_rss_bytes.map_or("-".into(), size)),
];

fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |s| format!("{:.0} %", 100.0 * s))
}

fn header(columns: &[Column]) -> String {
    let mut names = String::from("|");
    let mut rule = String::from("|");
    for Column(name, width, left, _) in columns {
        let dashes = "-".repeat(*width - 1);
        // Writing to a String cannot fail.
        let _ = if *left { write!(names, " {name:width$} |") } else { write!(names, " {name:>width$} |") };
        let _ = if *left { write!(rule, " {dashes}- |") } else { write!(rule, " {dashes}: |") };
    }
    format!("{names}\n{rule}\n")
}

fn row(columns: &[Column], record: &Record) -> String {
    let mut line = String::from("|");
    for Column(_, width, left, text) in columns {
        let text = text(record);
        let _ = if *left { write!(line, " {text:width$} |") } else { write!(line, " {text:>width$} |") };
    }
    line + "\n"
}

/// The second table, and what its figures rest on.
fn more(records: &[Record]) -> String {
    let Some(first) = records.first() else { return String::new() };
    let mut text = format!("\n{}", header(&MORE));
    records.iter().for_each(|r| text += &row(&MORE, r));
    let mut told = Vec::new();
    for r in records {
        let Some(line) = limits(r) else { continue };
        if !told.contains(&line) {
            told.push(line);
        }
    }
    let commit = first.build_commit;
    let _ = writeln!(text, "\nlapwing {} (commit {commit}), {}", first.build_version, first.cpu_info);
    told.iter().for_each(|line| text += &format!("{line}\n"));
    text
}

/// What the machine could do at most.
fn limits(r: &Record) -> Option<String> {
    let mut line = format!("limits of {} threads: {:.1} GB/s read", r.n_threads, r.memory_bandwidth? / 1e9);
    let peaks = [("bf16", r.peak_bf16), ("int8", r.peak_int8), ("f32", r.peak_f32)];
    for (name, peak) in peaks.iter().filter_map(|(name, peak)| Some((name, (*peak)?))) {
        // Writing to a String cannot fail.
        let _ = write!(line, ", {:.0} G multiply-adds/s of {name} ({})", peak / 1e9, r.isa);
    }
    Some(line)
}

/// As llama-bench: MiB below one GiB.
fn size(bytes: u64) -> String {
    let gib = bytes as f64 / f64::from(1 << 30);
    if gib < 1.0 { format!("{:.2} MiB", gib * 1024.0) } else { format!("{gib:.2} GiB") }
}

/// As llama-bench: millions below one billion.
fn parameters(n: u64) -> String {
    if n < 1_000_000_000 { format!("{:.2} M", n as f64 / 1e6) } else { format!("{:.2} B", n as f64 / 1e9) }
}

/// The fields of a record that hold one value; CSV has a column for each, empty where a record lacks it.
fn fields(record: &Record) -> Vec<(String, String)> {
    let mut whole = record.clone();
    // Optional fields keep their column.
    let mut absent = Vec::new();
    whole.peak_rss_bytes.get_or_insert_with(|| {
        absent.push("peak_rss_bytes");
        0
    });
    for (name, field) in [
        ("memory_bandwidth", &mut whole.memory_bandwidth),
        ("peak_bf16", &mut whole.peak_bf16),
        ("peak_int8", &mut whole.peak_int8),
        ("peak_f32", &mut whole.peak_f32),
        ("bandwidth_share", &mut whole.bandwidth_share),
        ("compute_share", &mut whole.compute_share),
    ] {
        field.get_or_insert_with(|| {
            absent.push(name);
            0.0
        });
    }
    let Ok(Value::Object(map)) = serde_json::to_value(&whole) else { return Vec::new() };
    let scalar = |(key, value): (String, Value)| {
        let empty = absent.contains(&key.as_str());
        let text = match value {
            Value::Array(_) => return None,
            _ if empty => String::new(),
            Value::String(text) => text,
            Value::Bool(b) => u8::from(b).to_string(),
            other => other.to_string(),
        };
        Some((key, text))
    };
    map.into_iter().filter_map(scalar).collect()
}

fn names(record: &Record) -> String {
    fields(record).into_iter().map(|(key, _)| key).collect::<Vec<_>>().join(",")
}

fn values(record: &Record) -> String {
    let quoted = |text: String| format!("\"{}\"", text.replace('"', "\"\""));
    fields(record).into_iter().map(|(_, text)| quoted(text)).collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::example;
    use super::*;

    fn written(format: Format) -> String {
        let mut report = Report::new(format);
        let mut text = String::new();
        for record in [example(10, 0), example(0, 10)] {
            text += &report.piece(&record);
            report.records.push(record);
        }
        text + &report.end()
    }

    #[test]
    fn markdown_as_llama_bench_prints_it() {
        let text = written(Format::Md);
        let lines: Vec<&str> = text.lines().collect();
        let want = [
            "| model                          |       size |     params | backend    | threads |            test |                  t/s |",
            "| ------------------------------ | ---------: | ---------: | ---------- | ------: | --------------: | -------------------: |",
            "| qwen3 0.6B Q8_0                |   3.00 GiB |   751.63 M | CPU        |       4 |            pp10 |          5.67 ± 4.04 |",
            "| qwen3 0.6B Q8_0                |   3.00 GiB |   751.63 M | CPU        |       4 |            tg10 |          5.67 ± 4.04 |",
        ];
        assert_eq!(lines[..4], want);
        assert!(text.contains("|         - |       62 % |   1.50 s |   1.00 GiB |"), "{text}");
        assert!(text.contains("|      60 % |          - |   1.50 s |   1.00 GiB |"), "{text}");
        let limits = "limits of 4 threads: 1.0 GB/s read, 4 G multiply-adds/s of int8 (scalar), 1 G multiply-adds/s of f32 (scalar)\n";
        assert!(text.ends_with(limits), "{text}");
    }

    #[test]
    fn json_reads_back_in_both_forms() {
        let array: Vec<Value> = serde_json::from_str(&written(Format::Json)).unwrap();
        let lines: Vec<Value> = written(Format::Jsonl).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(array, lines);
        assert_eq!(array[1]["samples_ts"], serde_json::json!([10.0, 5.0, 2.0]));
        assert_eq!(array[0]["model_filename"], "a \"b\".gguf");
        assert!(array[0].get("bandwidth_share").is_none());
        for name in
            ["build_commit", "build_number", "cpu_info", "model_type", "model_size", "model_n_params", "n_batch"]
        {
            assert!(array[0].get(name).is_some(), "{name}");
        }
        for name in ["n_ubatch", "n_threads", "type_k", "type_v", "n_prompt", "n_gen", "n_depth", "test_time", "avg_ns"]
        {
            assert!(array[0].get(name).is_some(), "{name}");
        }
        let empty: Vec<Value> = serde_json::from_str(&Report::new(Format::Json).end()).unwrap();
        assert!(empty.is_empty());
    }

    #[test]
    fn csv_has_as_many_values_as_names() {
        let text = written(Format::Csv);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let names: Vec<&str> = lines[0].split(',').collect();
        assert!(lines[1].contains("\"a \"\"b\"\".gguf\""), "{}", lines[1]);
        for line in &lines[1..] {
            assert_eq!(line.split("\",\"").count(), names.len());
        }
        assert!(names.contains(&"bandwidth_share") && !names.contains(&"samples_ns"));
    }
}
