//! `lapwing doctor`: each fault is planted and must be found, by its name; a healthy setup gives no finding.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lapwing::convert::FileType;
use lapwing::demo;
use lapwing::doctor::rope::{FileFacts, lint};
use lapwing::doctor::{Finding, machine};
use lapwing::engine::{RopeFlags, Scaling};
use lapwing::gguf::{Gguf, OpenOptions};
use lapwing::plan::Memory;
use lapwing::plan::context::Case;
use lapwing::plan::shapes::published;
use lapwing_quant::attend::KvType;
use lapwing_quant::cores::Cores;
use lapwing_quant::kernels;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What the doctor found: names of the findings, and their severities.
struct Found {
    code: Option<i32>,
    all: Vec<(String, String)>,
    out: String,
}

impl Found {
    fn names(&self) -> Vec<&str> {
        self.all.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// It found this, and its exit code says whether it is a problem.
    #[track_caller]
    fn has(&self, name: &str) {
        let found = self.all.iter().find(|(n, _)| n == name);
        assert!(found.is_some(), "{name} was not found: {}", self.out);
        let problem = self.all.iter().any(|(_, severity)| severity == "problem");
        assert_eq!(self.code, Some(i32::from(problem)), "{}", self.out);
    }
}

fn doctor(home: &Path, vars: &[(&str, &str)], args: &[&str]) -> Found {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    command.env("HOME", home).env("USERPROFILE", home).env("LAPWING_CONFIG", "").env_remove("LAPWING_ISA");
    command.envs(vars.iter().copied()).args(["doctor", "--json"]).args(args).stdin(Stdio::null());
    let done = command.output().expect("the program starts");
    let out = String::from_utf8(done.stdout).expect("UTF-8") + &String::from_utf8_lossy(&done.stderr);
    let json = out.rfind("\n}").map_or("{}", |end| &out[..end + 2]);
    let json: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {out}"));
    let text = |f: &Value, key: &str| f[key].as_str().expect("text").to_owned();
    let all = json["findings"].as_array().expect("findings").iter();
    let all = all.map(|f| (text(f, "check"), text(f, "severity"))).collect();
    Found { code: done.status.code(), all, out }
}

/// The built-in model as a file, changed by `spoil`.
fn file(dir: &Path, spoil: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = demo::bytes().to_vec();
    spoil(&mut bytes);
    let path = dir.join("model.gguf");
    std::fs::write(&path, bytes).expect("a file");
    path
}

/// What is found in the built-in model, changed.
fn spoiled(spoil: impl FnOnce(&mut Vec<u8>)) -> Found {
    let home = tempfile::tempdir().expect("a folder");
    let path = file(home.path(), spoil);
    doctor(home.path(), &[], &["-m", path.to_str().expect("UTF-8")])
}

/// What is found in the built-in model with metadata overruled.
fn overruled(values: &[&str]) -> Found {
    let home = tempfile::tempdir().expect("a folder");
    let flags: Vec<&str> = values.iter().flat_map(|v| ["--override-kv", *v]).collect();
    doctor(home.path(), &[], &[&["--quick"], &flags[..]].concat())
}

/// Replaces the first bytes `from` by as many others.
fn patch(bytes: &mut [u8], from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap_or_else(|| panic!("no {from}"));
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
}

/// Where the payload of a tensor lies.
fn payload(name: &str) -> std::ops::Range<usize> {
    let gguf = demo::open(&OpenOptions::default()).expect("it opens");
    let tensor = gguf.tensor(name).expect("it is there");
    tensor.offset()..tensor.offset() + tensor.bytes().len()
}

#[test]
fn silent_on_a_healthy_setup() {
    let home = tempfile::tempdir().expect("a folder");
    let found = doctor(home.path(), &[], &[]);
    assert_eq!((found.names(), found.code), (vec![], Some(0)), "{}", found.out);
    // As a file whose hash is recorded, with sensible flags and settings.
    let hash: String = Sha256::digest(demo::bytes()).iter().map(|b| format!("{b:02x}")).collect();
    let blobs = home.path().join("blobs");
    std::fs::create_dir(&blobs).expect("a folder");
    let path = blobs.join(hash);
    std::fs::write(&path, demo::bytes()).expect("a file");
    let config = home.path().join("config.toml");
    std::fs::write(&config, "ctx-size = 256\ntemp = 0.5\n").expect("a file");
    let vars = [("LAPWING_CONFIG", config.to_str().expect("UTF-8"))];
    let found = doctor(home.path(), &vars, &["-m", path.to_str().expect("UTF-8"), "-t", "1"]);
    assert_eq!((found.names(), found.code), (vec![], Some(0)), "{}", found.out);
    assert!(found.out.contains("SHA-256 is the recorded one") && found.out.contains("settings: 2 in"), "{}", found.out);
}

#[test]
fn broken_files() {
    spoiled(|b| b.truncate(b.len() * 3 / 4)).has("file-broken");
    spoiled(|b| b[0] = b'X').has("file-broken");
    spoiled(|b| b.truncate(100)).has("file-broken");
    spoiled(|b| b.clear()).has("file-broken");
    let home = tempfile::tempdir().expect("a folder");
    doctor(home.path(), &[], &["-m", "./not-there.gguf"]).has("file-broken");
    spoiled(|b| patch(b, "blk.0.attn_q.weight", "blk.0.attn_x.weight")).has("tensor-wrong");
    overruled(&["qwen3.feed_forward_length=int:64"]).has("tensor-wrong");
    overruled(&["general.architecture=str:llama"]).has("model-unknown");
    overruled(&["qwen3.attention.head_count_kv=int:7"]).has("model-unknown");
}

#[test]
fn broken_weights() {
    let norm = payload("blk.0.attn_norm.weight");
    spoiled(|b| b[norm.start..norm.start + 4].copy_from_slice(&f32::NAN.to_le_bytes())).has("weights-not-finite");
    let gate = payload("blk.0.ffn_gate.weight");
    spoiled(|b| b[gate.clone()].fill(0xff)).has("weights-not-finite");
    spoiled(|b| b[gate.clone()].fill(0)).has("weights-hole");
}

/// One changed byte in a file that a store named by its hash.
#[test]
fn edited_bytes_against_the_recorded_hash() {
    let home = tempfile::tempdir().expect("a folder");
    let hash: String = Sha256::digest(demo::bytes()).iter().map(|b| format!("{b:02x}")).collect();
    for name in [hash.clone(), format!("sha256-{hash}")] {
        let blobs = home.path().join(&name[..8]).join("blobs");
        std::fs::create_dir_all(&blobs).expect("a folder");
        let path = blobs.join(&name);
        let mut bytes = demo::bytes().to_vec();
        let at = payload("blk.0.ffn_gate.weight").end - 1;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).expect("a file");
        let found = doctor(home.path(), &[], &["-m", path.to_str().expect("UTF-8")]);
        assert_eq!(found.names(), ["hash-differs"], "{}", found.out);
        found.has("hash-differs");
    }
}

#[test]
fn vocabularies_and_templates() {
    // As the vocabulary has it: behind its length, not as the template has it.
    spoiled(|b| patch(b, "\x0a\0\0\0\0\0\0\0<|im_end|>", "\x0a\0\0\0\0\0\0\0<|im_eno|>")).has("special-missing");
    spoiled(|b| patch(b, "\x08\0\0\0\0\0\0\0</think>", "\x08\0\0\0\0\0\0\0</thonk>")).has("special-missing");
    overruled(&["tokenizer.ggml.eos_token_id=int:5"]).has("end-other");
    overruled(&["tokenizer.ggml.pre=str:llama-bpe"]).has("tokenizer-broken");
    overruled(&["tokenizer.ggml.model=str:llama"]).has("tokenizer-broken");
    overruled(&["tokenizer.ggml.add_bos_token=bool:true", "tokenizer.ggml.bos_token_id=int:3"]).has("bos-added");
    let llama = "tokenizer.chat_template=str:{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}";
    overruled(&[llama]).has("template-foreign");
    overruled(&["tokenizer.chat_template=str:{% for m in messages %}"]).has("template-broken");
    overruled(&["tokenizer.chat_template=str:<|im_start|>{{ messages[0].content }}<|im_end|>"]).has("template-changed");
    spoiled(|b| patch(b, "tokenizer.chat_template", "tokenizer.chat_templatf")).has("template-missing");
    overruled(&["qwen3.rope.freq_base=float:10000", "qwen3.context_length=int:40960"]).has("rope-base-of-file");
}

#[test]
fn settings_and_flags() {
    let home = tempfile::tempdir().expect("a folder");
    let config = home.path().join("config.toml");
    std::fs::write(&config, "no-such-thing = 1\n").expect("a file");
    let vars = [("LAPWING_CONFIG", config.to_str().expect("UTF-8"))];
    doctor(home.path(), &vars, &["--quick"]).has("settings-broken");
    doctor(home.path(), &[], &["--quick", "--isa", "mmx"]).has("isa-unknown");
    doctor(home.path(), &[], &["--quick", "-t", "1000"]).has("threads-beyond-cores");
    doctor(home.path(), &[], &["--quick", "-tb", "1000"]).has("threads-beyond-cores");
    doctor(home.path(), &[], &["--quick", "-c", "2000000000"]).has("memory-too-small");
    if kernels::best().name != "scalar" {
        doctor(home.path(), &[("LAPWING_ISA", "scalar")], &["--quick"]).has("isa-narrow");
    }
}

#[test]
fn threads_against_planted_cores() {
    let cores = |quota| Cores { perf: vec![0, 2], all_physical: vec![0, 2, 4, 5], logical: 6, quota };
    let found = |cores: Cores, n| {
        let found = machine::threads(&cores, &[("--threads", Some(n)), ("--threads-batch", None)]);
        found.iter().map(|f| f.check).collect::<Vec<_>>()
    };
    assert_eq!(found(cores(None), 4), Vec::<&str>::new());
    assert_eq!(found(cores(None), 5), ["threads-beyond-physical"]);
    assert_eq!(found(cores(None), 7), ["threads-beyond-cores"]);
    assert_eq!(found(cores(Some(1.5)), 3), ["threads-beyond-quota"]);
    assert_eq!(found(cores(Some(1.5)), 2), Vec::<&str>::new());
}

#[test]
fn memory_against_planted_machines() {
    let all = published();
    let shape = &all.iter().find(|p| p.name == "8B").expect("published").shape;
    let weights = shape.weights(FileType::Q4_K_M).expect("a mix");
    let found = |available: u64, group: Option<u64>| {
        let memory = Memory { total: 64 << 30, available: available << 20, group: group.map(|g| g << 20) };
        let case = Case { shape, weights: &weights, types: (KvType::F16, KvType::F16), ubatch: 512, memory };
        machine::memory(&case, 8192).map(|f| f.check)
    };
    assert_eq!(found(32 << 10, None), None);
    assert_eq!(found(4 << 10, None), Some("memory-too-small"));
    assert_eq!(found(32 << 10, Some(3 << 10)), Some("memory-too-small"), "the control group's limit counts");
    assert_eq!(found(6400, None), Some("memory-tight"));
}

#[test]
fn kernels_that_differ() {
    let tables: Vec<_> = kernels::available().collect();
    let (compared, found) = machine::self_test(&tables).expect("memory");
    assert!(compared >= 30 * tables.len() && found.is_empty(), "{found:?}");
    assert!(machine::distance(&[1.0, 2.0], &[1.0, 2.0]) < 1e-12);
    assert!(machine::distance(&[1.0, -2.0], &[1.0, 2.0]) > 1.0);
    assert!(machine::distance(&[f32::NAN], &[1.0]).is_nan());
}

/// Names of what is found in these flags and this file.
fn rope(file: &FileFacts, flags: &RopeFlags, ctx: Option<usize>) -> Vec<&'static str> {
    lint(file, flags, ctx).iter().map(|f: &Finding| f.check).collect()
}

/// Each of YaRN's traps alone, and the right way, in which nothing is found.
#[test]
fn flags_of_yarn() {
    let file = FileFacts { scaling: None, factor: None, orig_ctx: None, freq_base: Some(1e6), context: 40_960 };
    let none = RopeFlags::default();
    let yarn = RopeFlags { scaling: Some(Scaling::Yarn), scale: Some(4.0), orig_ctx: Some(32_768), ..none.clone() };
    assert_eq!(rope(&file, &none, None), [""; 0]);
    assert_eq!(rope(&file, &none, Some(40_960)), [""; 0]);
    assert_eq!(rope(&file, &yarn, Some(131_072)), [""; 0]);
    let long = Some(131_072);
    let scale_alone = RopeFlags { scale: Some(4.0), ..none.clone() };
    assert!(rope(&file, &scale_alone, long).contains(&"rope-scale-is-linear"));
    let kind_alone = RopeFlags { scaling: Some(Scaling::Yarn), ..none.clone() };
    assert!(rope(&file, &kind_alone, None).contains(&"yarn-without-scale"));
    let linear = RopeFlags { scaling: Some(Scaling::Linear), scale: Some(4.0), ..none.clone() };
    assert_eq!(rope(&file, &linear, long), ["rope-linear"]);
    let orphan = RopeFlags { orig_ctx: Some(32_768), beta_fast: Some(32.0), ..none.clone() };
    assert_eq!(rope(&file, &orphan, None), ["yarn-flags-without-yarn"]);
    let with = |change: fn(&mut RopeFlags)| {
        let mut flags = yarn.clone();
        change(&mut flags);
        flags
    };
    assert_eq!(rope(&file, &with(|f| f.orig_ctx = None), long), ["yarn-without-orig-ctx"]);
    assert_eq!(rope(&file, &with(|f| f.orig_ctx = Some(40_960)), long), ["yarn-orig-ctx-of-file"]);
    assert_eq!(rope(&file, &yarn, None), ["yarn-without-context"]);
    assert_eq!(rope(&file, &yarn, Some(0)), ["yarn-without-context"]);
    assert_eq!(rope(&file, &yarn, Some(16_384)), ["yarn-for-short-context"]);
    assert_eq!(rope(&file, &yarn, Some(200_000)), ["context-beyond-positions"]);
    assert_eq!(rope(&file, &none, Some(65_536)), ["context-beyond-positions"]);
    assert_eq!(rope(&file, &with(|f| f.scale = Some(8.0)), long), ["yarn-scale-beyond-four"]);
    assert!(rope(&file, &with(|f| f.scale = Some(0.25)), Some(65_536)).contains(&"rope-scale-below-one"));
    assert_eq!(rope(&file, &with(|f| f.attn_factor = Some(1.2)), long), ["yarn-attn-factor"]);
    assert_eq!(rope(&file, &with(|f| f.ext_factor = Some(0.0)), long), ["yarn-ext-factor-zero"]);
    assert_eq!(rope(&file, &with(|f| f.beta_fast = Some(0.5)), long), ["yarn-betas-swapped"]);
    let off = RopeFlags { scaling: Some(Scaling::None), scale: Some(4.0), ..none.clone() };
    assert_eq!(rope(&file, &off, None), ["rope-scale-without-effect"]);
    let base = RopeFlags { freq_base: Some(1e7), ..none.clone() };
    assert_eq!(rope(&file, &base, None), ["rope-base-overruled"]);
    // A file that has YaRN in it.
    let baked = FileFacts {
        scaling: Some(Scaling::Yarn),
        factor: Some(4.0),
        orig_ctx: Some(32_768),
        freq_base: Some(1e6),
        context: 131_072,
    };
    assert_eq!(rope(&baked, &none, Some(131_072)), [""; 0]);
    assert_eq!(rope(&baked, &yarn, Some(131_072)), ["rope-in-file-and-flags"]);
    assert_eq!(rope(&baked, &none, Some(8192)), ["yarn-for-short-context"]);
    assert_eq!(rope(&baked, &RopeFlags { scaling: Some(Scaling::None), ..none }, None), ["rope-of-file-switched-off"]);
}

/// The same traps are told by `run`.
#[test]
fn run_warns_of_yarn() {
    let model = format!("{}/tests/fixtures/models/dense-bf16.gguf", env!("CARGO_MANIFEST_DIR"));
    let done = Command::new(env!("CARGO_BIN_EXE_lapwing"))
        .args(["run", "-m", &model, "-p", "Hi", "-n", "1", "--rope-scaling", "yarn"])
        .env("LAPWING_CONFIG", "")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("changes nothing: the factor is 1"), "{said}");
    assert!(Gguf::open(Path::new(&model), &OpenOptions::default()).is_ok());
}
