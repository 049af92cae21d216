//! `lapwing plan` from outside, and what is said and refused before a model is loaded.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

fn model() -> String {
    format!("{}/tests/fixtures/models/dense-bf16.gguf", env!("CARGO_MANIFEST_DIR"))
}

fn lapwing(home: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    command.env("HOME", home).env("XDG_STATE_HOME", home).env("LOCALAPPDATA", home).env("USERPROFILE", home);
    command.env("LAPWING_CONFIG", "").env_remove("LAPWING_ISA").args(args).stdin(Stdio::null());
    let done = command.output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (done.status.code(), text(done.stdout), text(done.stderr))
}

fn json(home: &Path, args: &[&str]) -> (Value, String) {
    let (code, out, said) = lapwing(home, &[&["plan", "--json"], args].concat());
    assert_eq!(code, Some(0), "{said}");
    (serde_json::from_str(&out).expect("JSON"), said)
}

#[test]
fn the_measurement_is_kept_and_made_anew_on_request() {
    let home = tempfile::tempdir().expect("a folder");
    let (first, said) = json(home.path(), &[&model()]);
    assert!(said.contains("measuring"), "{said}");
    let (again, said) = json(home.path(), &[&model()]);
    assert!(!said.contains("measuring"), "{said}");
    assert_eq!(first["rates"], again["rates"]);
    let (_, said) = json(home.path(), &["-m", &model(), "--probe"]);
    assert!(said.contains("measuring"), "{said}");
    // Another instruction set is another machine.
    let (scalar, said) = json(home.path(), &["--isa", "scalar", "--no-probe"]);
    assert!(!said.contains("measuring") && scalar["rates"].is_null() && scalar["model"].is_null(), "{said}");
    let one = &first["model"];
    assert!(one["tokens_per_second"].as_f64().is_some_and(|r| r > 0.0) && one["fits"] == true, "{one}");
    let needs = &one["needs"];
    let sum: u64 = ["weights", "cache", "buffers"].iter().map(|k| needs[k].as_u64().expect("bytes")).sum();
    assert_eq!(one["total"].as_u64(), Some(sum));
    assert_eq!(first["table"].as_array().map(Vec::len), Some(35));
}

#[test]
fn six_lines_and_a_table() {
    let home = tempfile::tempdir().expect("a folder");
    let (code, out, said) = lapwing(home.path(), &["plan", &model(), "-c", "2048", "--no-probe"]);
    assert_eq!(code, Some(0), "{said}");
    let words: Vec<&str> = out.lines().take(6).map(|l| l.split(' ').next().unwrap_or("")).collect();
    assert_eq!(words, ["model", "memory", "weights", "cache", "total", "speed"], "{out}");
    assert!(out.contains("its 2048 tokens") && out.contains("Qwen3 with a context of 2048 tokens"), "{out}");
    for name in ["0.6B", "32B", "30B-A3B", "Q4_K_M", "Q8_0"] {
        assert!(out.contains(name), "{name} is not in: {out}");
    }
}

/// A context that no machine has memory for: refused with the command that fits, unless insisted on.
#[test]
fn what_does_not_fit_is_refused() {
    let home = tempfile::tempdir().expect("a folder");
    let huge = ["-c", "2000000000"];
    let (code, _, said) = lapwing(home.path(), &[&["plan", &model(), "--no-probe"][..], &huge].concat());
    assert!(code == Some(1) && said.contains("does not fit: use -c "), "{said}");
    let (code, out, said) = lapwing(home.path(), &[&["run", "-m", &model(), "-p", "Hi"][..], &huge].concat());
    assert_eq!((code, out.as_str()), (Some(1), ""), "{said}");
    assert!(said.contains("the model needs") && said.contains("use -c ") && said.contains("--force"), "{said}");
    let (code, out, said) = lapwing(home.path(), &[&["plan", &model(), "--no-probe", "--force"][..], &huge].concat());
    assert!(code == Some(0) && out.contains("does not fit"), "{said}");
}

#[test]
fn the_plan_is_told_before_loading_when_asked() {
    let home = tempfile::tempdir().expect("a folder");
    let (code, _, said) = lapwing(home.path(), &["run", "-m", &model(), "-p", "Hi", "-n", "1", "-v"]);
    assert_eq!(code, Some(0), "{said}");
    for words in ["context: ", "as -c is not given", "model    ", "memory   ", "total    "] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    let (_, _, said) = lapwing(home.path(), &["run", "-m", &model(), "-p", "Hi", "-n", "1"]);
    assert!(!said.contains("memory   "), "{said}");
}

#[test]
fn cpus_can_be_chosen() {
    let home = tempfile::tempdir().expect("a folder");
    let run = |flags: &[&str]| {
        lapwing(home.path(), &[&["run", "-m", &model(), "-p", "Hi", "-n", "1", "-v"][..], flags].concat())
    };
    for flags in [["--cpu-range", "0"], ["-Cr", "0-0"], ["-C", "0x1"], ["--cpu-mask", "1"]] {
        let (code, _, said) = run(&flags);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("1 threads"), "{flags:?}: {said}");
    }
    let bench = ["bench", "-m", &model(), "-p", "0", "-n", "1", "-r", "1", "--no-limits", "-o", "json", "-Cr", "0"];
    let (code, out, said) = lapwing(home.path(), &bench);
    let measured: Value = serde_json::from_str(&out).expect("JSON");
    assert!(code == Some(0) && measured[0]["n_threads"] == 1, "{said}");
    for flags in [["--cpu-range", "16000"], ["-C", "0"], ["--cpu-range", "x"]] {
        assert_eq!(run(&flags).0, Some(2), "{flags:?}");
    }
}

/// Where models are taken, they are taken from the hub, too.
#[test]
fn bench_knows_the_hub() {
    let home = tempfile::tempdir().expect("a folder");
    let (code, _, said) = lapwing(home.path(), &["bench", "-hf", "nobody/nothing:Q8_0", "--offline"]);
    assert!(code != Some(0) && said.contains("nobody/nothing"), "{said}");
    assert_eq!(lapwing(home.path(), &["bench", "-hf", "nobody/nothing", "-m", &model()]).0, Some(2));
}
