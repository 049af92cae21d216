//! Sound files: what the loader makes of them, with odd keys, old versions, overrides, shards and unknown types.

#[path = "common/gguf_builder.rs"]
mod gguf_builder;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gguf_builder::{Builder, array, bool, f32, f32_tensor, i32, str, tensor, u16, u32, u64};
use lapwing::error::{ErrorKind, Result};
use lapwing::gguf::{Gguf, OpenOptions, Override, Summary};
use lapwing_quant::DType;

struct Opened {
    gguf: Arc<Gguf>,
    _dir: tempfile::TempDir,
}

fn try_open(builder: &Builder, overrides: &[&str]) -> Result<Opened> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    fs::write(&path, builder.bytes()).unwrap();
    let overrides = overrides.iter().map(|o| Override::parse(o)).collect::<Result<_>>()?;
    Ok(Opened { gguf: Gguf::open(&path, &OpenOptions { overrides })?, _dir: dir })
}

fn open(builder: &Builder) -> Opened {
    try_open(builder, &[]).unwrap()
}

fn text<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn version_2_reads_as_version_3() {
    let opened = open(&Builder::sound().with(|b| b.version = 2));
    assert_eq!(opened.gguf.version(), 2);
    assert_eq!(opened.gguf.meta().require_str("general.architecture").unwrap(), "qwen3");
}

#[test]
fn odd_keys_are_read_under_their_own_names() {
    let b = Builder::sound()
        .key("My-Key", u32(1))
        .key("command-r.rope.freq_base", f32(1e6))
        .key("Ключ", str("значение"))
        .key("a..b", u32(2))
        .key("000000", u32(3)) // the name that My-Key would be given first
        .with(|b| b.version = 2);
    let opened = open(&b);
    let meta = opened.gguf.meta();
    assert_eq!(meta.require_uint("My-Key").unwrap(), 1);
    assert_eq!(meta.require_float("command-r.rope.freq_base").unwrap(), 1e6);
    assert_eq!(meta.require_str("Ключ").unwrap(), "значение");
    assert_eq!(meta.require_uint("a..b").unwrap(), 2);
    assert_eq!(meta.require_uint("000000").unwrap(), 3);
    let keys: Vec<&str> = meta.keys().collect();
    let expected =
        ["000000", "My-Key", "a..b", "command-r.rope.freq_base", "general.architecture", "qwen3.block_count", "Ключ"];
    assert_eq!(keys, expected);
}

#[test]
fn integers_of_any_width_and_sign() {
    let opened = open(
        &Builder::sound().key("a", u16(7)).key("b", i32(7)).key("c", u64(7)).key("d", i32(-7)).key("e", u64(u64::MAX)),
    );
    let meta = opened.gguf.meta();
    for key in ["a", "b", "c"] {
        assert_eq!(meta.require_uint(key).unwrap(), 7);
        assert_eq!(meta.require_int(key).unwrap(), 7);
        assert_eq!(meta.require_size(key).unwrap(), 7);
        assert_eq!(meta.require_float(key).unwrap(), 7.0);
    }
    assert_eq!(meta.require_int("d").unwrap(), -7);
    assert!(text(meta.uint("d")).contains("-7 (i32)"));
    assert!(text(meta.int("e")).contains("u64"));
    assert_eq!(meta.uint("absent").unwrap(), None);
}

#[test]
fn errors_name_file_key_found_and_expected() {
    let opened = open(&Builder::sound().key("x.nan", f32(f32::NAN)).key("x.list", array(&[u32(1), u32(2)])));
    let meta = opened.gguf.meta();
    let message = text(meta.uint("general.architecture"));
    for part in ["m.gguf", "\"general.architecture\"", "the string \"qwen3\"", "expected an integer", "--override-kv"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(text(meta.require_bool("x.absent")).contains("\"x.absent\" is missing, expected a bool"));
    assert!(text(meta.float("x.nan")).contains("expected a finite number"));
    assert!(text(meta.strings("x.list")).contains("an array of 2 u32, expected an array of strings"));
    assert!(text(meta.str("x.list")).contains("an array of 2 u32"));
}

#[test]
fn arrays() {
    let opened = open(
        &Builder::sound()
            .key("s", array(&[str("a"), str("")]))
            .key("i", array(&[i32(-1), i32(2)]))
            .key("f", array(&[f32(0.5)]))
            .key("none", array(&[])),
    );
    let meta = opened.gguf.meta();
    assert_eq!(meta.require_strings("s").unwrap(), ["a", ""]);
    assert_eq!(meta.require_ints("i").unwrap(), [-1, 2]);
    assert!(meta.uints("i").is_err());
    assert_eq!(meta.require_floats("f").unwrap(), [0.5]);
    assert!(meta.require_ints("none").unwrap().is_empty());
}

#[test]
fn overrides_lie_on_top() {
    let overrides = ["qwen3.block_count=int:5", "x.new=str:v", "x.f=float:2.5", "x.b=bool:false", "x.b=bool:true"];
    let opened = try_open(&Builder::sound(), &overrides).unwrap();
    let meta = opened.gguf.meta();
    assert_eq!(meta.require_size("qwen3.block_count").unwrap(), 5);
    assert_eq!(meta.require_str("x.new").unwrap(), "v");
    assert_eq!(meta.require_float("x.f").unwrap(), 2.5);
    assert!(meta.require_bool("x.b").unwrap(), "the last one counts");
    assert!(opened.gguf.warnings().iter().any(|w| w.contains("x.new")), "an unknown key is said");
    assert!(!opened.gguf.warnings().iter().any(|w| w.contains("block_count")));
    let error = meta.str("qwen3.block_count").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("--override-kv"));
}

#[test]
fn tensors_are_the_bytes_of_the_file() {
    let payload: Vec<u8> = (0..68u8).collect();
    let b = Builder::sound().tensor(tensor("q", &[32, 2], 8, payload.clone())).tensor(f32_tensor("last", &[1]));
    for alignment in [8, 64, 4096] {
        let b = b.clone().key("general.alignment", u32(alignment)).with(|b| b.alignment = alignment as usize);
        let opened = open(&b);
        let t = opened.gguf.require("q", &[32, 2, 1]).unwrap();
        assert_eq!((t.bytes(), t.dtype().unwrap(), t.elements()), (payload.as_slice(), DType::Q8_0, 64));
        assert_eq!(t.offset() % alignment as usize, 0);
        assert_eq!(opened.gguf.alignment(), u64::from(alignment));
        let names: Vec<&str> = opened.gguf.tensors().map(|t| t.name()).collect();
        assert_eq!(names, ["a.weight", "b.weight", "q", "last"]);
        assert_eq!(opened.gguf.total_parameters(), 32 + 16 + 64 + 1);
        assert_eq!(opened.gguf.tensor_bytes(), 128 + 64 + 68 + 4);
    }
    let opened = open(&b);
    assert!(text(opened.gguf.require("q", &[2, 32])).contains("shape [32, 2], expected [2, 32]"));
    assert!(text(opened.gguf.require("z", &[2])).contains("\"z\" is missing"));
    assert!(text(opened.gguf.tensor("q").unwrap().expect_dtype(&[DType::F32])).contains("Q8_0, expected F32"));
    assert!(opened.gguf.tensor("z").is_none());
}

#[test]
fn types_without_kernels_can_be_inspected_only() {
    let b =
        Builder::sound().tensor(tensor("t.iq", &[256], 16, vec![0; 66])).tensor(tensor("t.mx", &[32], 39, vec![0; 17]));
    let opened = open(&b);
    let error = opened.gguf.require("t.iq", &[256]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    for part in ["m.gguf", "\"t.iq\"", "IQ2_XXS", "llama.cpp"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(opened.gguf.tensor("t.mx").unwrap().type_name(), "MXFP4");
    let summary = Summary::of(&opened.gguf);
    assert!(!summary.tensors[2].supported && summary.tensors[0].supported);
    assert!(summary.to_text().contains("cannot be computed with"));
}

#[test]
fn the_summary_shows_all_and_sends_no_control_codes() {
    let many: Vec<gguf_builder::Raw> = (0..9).map(u32).collect();
    let b = Builder::sound()
        .key("x.evil", str("red \x1b[31m\r\nnext"))
        .key("x.many", array(&many))
        .key("x.flag", bool(1))
        .key("x.eps", f32(1e-6))
        .key("x.inf", f32(f32::INFINITY))
        .tensor(f32_tensor("t\x1b[2J", &[8]));
    let opened = try_open(&b, &["x.flag=bool:false"]).unwrap();
    let summary = Summary::of(&opened.gguf);
    let shown = summary.to_text();
    assert!(!shown.contains('\x1b') && !shown.contains('\r'), "{shown}");
    for part in ["9 u32: [0, 1, 2, 3, 4, ...]", "\"qwen3\"", "by --override-kv", "a.weight", "8 x 4", "F32", "GGUF v3"]
    {
        assert!(shown.contains(part), "no {part:?} in:\n{shown}");
    }
    let json: serde_json::Value = serde_json::to_value(&summary).unwrap();
    let row = |key: &str| json["metadata"].as_array().unwrap().iter().find(|r| r["key"] == key).unwrap().clone();
    assert_eq!(row("x.many")["length"], 9);
    assert_eq!(row("x.many")["value"], serde_json::json!([0, 1, 2, 3, 4]));
    assert_eq!(row("x.many")["type"], "array of u32");
    assert_eq!(row("x.eps")["value"], 1e-6);
    assert_eq!(row("x.inf")["value"], "inf");
    assert_eq!(row("x.flag")["overridden"], true);
    assert_eq!(json["tensors"][0]["shape"], serde_json::json!([8, 4]));
    assert_eq!(json["parameters"], 32 + 16 + 8);
}

#[test]
fn pages_come_in_with_progress_to_the_end() {
    let b = Builder::sound().tensor(f32_tensor("big", &[1 << 20, 5]));
    let opened = open(&b);
    let mut reports = Vec::new();
    opened.gguf.page_in(&mut |p| reports.push(p));
    assert!(reports.len() > 1 && reports.windows(2).all(|w| w[0].bytes_done < w[1].bytes_done));
    let last = reports.last().unwrap();
    assert_eq!((last.bytes_done, last.bytes_total), (opened.gguf.payload_bytes(), opened.gguf.payload_bytes()));
    match opened.gguf.residency() {
        Some(bytes) => assert!(bytes * 10 >= opened.gguf.payload_bytes() * 9, "{bytes} bytes just read are resident"),
        None => eprintln!("SKIPPED: this system does not tell which pages are resident"),
    }
}

/// The folder of shared test data beside the repository, when it is there.
fn shared() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let given = std::env::var_os("LAPWING_SHARED").map(PathBuf::from);
    let found = given.into_iter().chain([root.join("../shared"), root.join("../../shared")]).find(|p| p.is_dir());
    if found.is_none() {
        eprintln!("SKIPPED: ../shared is absent, files written by llama.cpp are not read");
    }
    found
}

#[test]
fn files_written_by_llama_cpp() {
    let Some(shared) = shared() else { return };
    let vocabulary = Gguf::open(&shared.join("data/vocab-qwen2.gguf"), &OpenOptions::default()).unwrap();
    let tokens = vocabulary.meta().require_strings("tokenizer.ggml.tokens").unwrap();
    assert_eq!((tokens.len(), vocabulary.tensors().len()), (151_936, 0));
    let mut read = 0;
    for folder in ["dense-tied", "dense-untied", "moe", "yarn", "formats"] {
        for entry in fs::read_dir(shared.join("golden").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "gguf") {
                let gguf = Gguf::open(&path, &OpenOptions::default()).unwrap();
                assert!(gguf.tensors().all(|t| t.dtype().is_ok()), "{}", path.display());
                assert!(gguf.meta().require_str("general.architecture").unwrap().starts_with("qwen3"));
                read += 1;
            }
        }
    }
    assert!(read >= 20, "{read} files");
}
