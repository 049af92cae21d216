//! `lapwing quantize` from outside: what it writes, that the same job writes the same bytes, that an interrupted one
//! leaves nothing half done under a final name and goes on, and what it says to files that are not as they should be.

#[path = "common/checkpoint.rs"]
mod checkpoint;
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use checkpoint::{Checkpoint, Random, SMALL, Shape};
use common::{Figures, argmax, kl_divergence, shared};
use lapwing::gguf::{Gguf, OpenOptions};
use lapwing_quant::DType;
use lapwing_quant::formats::dequantize;
use safetensors::Dtype;
use serde_json::json;

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    command.env_remove("LAPWING_ISA").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Quantizes, and must succeed; gives what was said.
fn quantize(args: &[&str]) -> String {
    let done = program(&[&["quantize"], args].concat()).output().unwrap();
    assert!(done.status.success(), "{args:?}: {}", said(&done));
    said(&done)
}

/// Quantizes, and must fail with this code and these words, leaving no file that was not there.
fn refused(args: &[&str], code: i32, words: &[&str]) {
    let done = program(&[&["quantize"], args].concat()).output().unwrap();
    let text = said(&done);
    assert_eq!(done.status.code(), Some(code), "{args:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    words.iter().for_each(|w| assert!(text.contains(w), "{w:?} is not in: {text}"));
}

fn path(p: &Path) -> &str {
    p.to_str().unwrap()
}

fn open(file: &Path) -> Arc<Gguf> {
    Gguf::open(file, &OpenOptions::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Names, shapes and types, sorted.
fn table(gguf: &Gguf) -> Vec<(String, Vec<usize>, &'static str)> {
    let mut rows: Vec<_> = gguf.tensors().map(|t| (t.name().to_owned(), t.shape().to_vec(), t.type_name())).collect();
    rows.sort();
    rows
}

fn weights(gguf: &Gguf, name: &str) -> Vec<f32> {
    let tensor = gguf.tensor(name).unwrap_or_else(|| panic!("no tensor {name}"));
    let mut values = vec![0.0; tensor.elements()];
    dequantize(tensor.dtype().unwrap(), tensor.bytes(), &mut values);
    values
}

const CASES: [&str; 4] = ["dense-tied", "dense-untied", "moe", "yarn"];

#[test]
fn golden_checkpoints_convert_as_llama_cpp_does() {
    let Some(golden) = shared("golden_checkpoints_convert_as_llama_cpp_does").map(|d| d.join("golden")) else { return };
    let dir = tempfile::tempdir().unwrap();
    for case in CASES {
        for (kind, theirs) in [("BF16", "lcpp-bf16.gguf"), ("F32", "lcpp-f32.gguf")] {
            let theirs = golden.join(case).join(theirs);
            if !theirs.exists() {
                continue;
            }
            let out = dir.path().join(format!("{case}-{kind}.gguf"));
            quantize(&[path(&golden.join(case)), path(&out), kind]);
            let (ours, theirs) = (open(&out), open(&theirs));
            assert_eq!(table(&ours), table(&theirs), "{case} {kind}");
            for tensor in theirs.tensors() {
                assert!(
                    ours.tensor(tensor.name()).unwrap().bytes() == tensor.bytes(),
                    "{case} {kind} {}",
                    tensor.name()
                );
            }
            let all = usize::MAX;
            let (a, b): (Vec<_>, Vec<_>) = (ours.meta().items(all).collect(), theirs.meta().items(all).collect());
            assert_eq!(a, b, "{case} {kind}: metadata");
        }
    }
}

#[test]
fn golden_mixes_and_plain_roundings_are_llama_cpps() {
    let Some(golden) = shared("golden_mixes_and_plain_roundings_are_llama_cpps").map(|d| d.join("golden")) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for case in CASES {
        for kind in ["Q4_K_M", "Q8_0"] {
            let out = dir.path().join(format!("{case}-{kind}.gguf"));
            quantize(&[path(&golden.join(case)), path(&out), kind, "1"]);
            let (ours, theirs) = (open(&out), open(&golden.join(case).join(format!("lcpp-{kind}.gguf"))));
            assert_eq!(table(&ours), table(&theirs), "{case} {kind}");
            if kind == "Q8_0" {
                let same = |t: lapwing::gguf::Tensor<'_>| ours.tensor(t.name()).unwrap().bytes() == t.bytes();
                assert!(theirs.tensors().all(same), "{case}: every byte of Q8_0");
            }
            // A mix from the GGUF that llama.cpp's converter wrote is the same as from the checkpoint.
            let again = dir.path().join("again.gguf");
            quantize(&[path(&golden.join(case).join("lcpp-bf16.gguf")), path(&again), kind, "2"]);
            assert!(
                fs::read(&again).unwrap() == fs::read(&out).unwrap(),
                "{case} {kind}: from checkpoint and from GGUF"
            );
        }
    }
}

#[test]
fn golden_logits_of_the_converted() {
    let Some(golden) = shared("golden_logits_of_the_converted").map(|d| d.join("golden")) else { return };
    let dir = tempfile::tempdir().unwrap();
    for case in CASES {
        let out = dir.path().join(format!("{case}.gguf"));
        quantize(&[path(&golden.join(case)), path(&out), "F32"]);
        let figures = Figures::read(golden.join(case).join("golden.safetensors"));
        for prompt in ["p0", "p1", "p2"] {
            let (ids, want) = (figures.ids(&format!("{prompt}.ids")), figures.f32(&format!("{prompt}.logits")));
            let got = logits(&out, &ids, want.rows(), &dir.path().join("logits"));
            let divergence = kl_divergence(&want.values, &got, want.cols());
            assert!(divergence < 1e-5, "{case} {prompt}: {divergence:.2e}");
            let best = |values: &[f32]| values.chunks(want.cols()).map(argmax).collect::<Vec<_>>();
            assert_eq!(best(&got), best(&want.values), "{case} {prompt}");
        }
    }
}

fn logits(model: &Path, ids: &[u32], rows: usize, out: &Path) -> Vec<f32> {
    let ids = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let rows = rows.to_string();
    let args =
        ["logits", "-m", path(model), "--ids", &ids, "--last", &rows, "-o", path(out), "-ctk", "f32", "-ctv", "f32"];
    let done = program(&args).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    Figures::read(out).f32("logits").values
}

/// The f32 weights of a checkpoint's tensor.
fn original(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let (dtype, _, bytes) = &checkpoint.tensors[name];
    let dtype = match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        _ => DType::BF16,
    };
    let mut values = vec![0.0; bytes.len() / dtype.block_bytes()];
    dequantize(dtype, bytes, &mut values);
    values
}

#[test]
fn a_small_checkpoint_in_every_type() {
    let dir = tempfile::tempdir().unwrap();
    let made = Checkpoint::new(SMALL, Dtype::BF16);
    let input = made.write(&dir.path().join("Tiny-2M-v1"));
    let want = original(&made, "model.layers.1.mlp.up_proj.weight");
    let power = want.iter().map(|x| x * x).sum::<f32>();
    // Relative error of normal weights, with room; floats are exact or nearly so.
    for (kind, bound) in [
        ("F32", 0.0),
        ("BF16", 0.0),
        ("F16", 1e-6),
        ("Q8_0", 1e-4),
        ("Q6_K", 1e-3),
        ("Q5_K_M", 3e-3),
        ("Q5_K_S", 3e-3),
        ("Q5_1", 3e-3),
        ("Q5_0", 3e-3),
        ("Q4_K_M", 1e-2),
        ("Q4_K_S", 1e-2),
        ("Q4_1", 1e-2),
        ("Q4_0", 1e-2),
        ("IQ4_NL", 1e-2),
        ("IQ4_XS", 1e-2),
        ("Q3_K_L", 4e-2),
        ("Q3_K_M", 4e-2),
        ("Q3_K_S", 4e-2),
        ("Q2_K", 0.15),
    ] {
        let out = dir.path().join("out.gguf");
        quantize(&[path(&input), path(&out), kind, "2"]);
        let gguf = open(&out);
        let got = weights(&gguf, "blk.1.ffn_up.weight");
        let error = got.iter().zip(&want).map(|(a, b)| (a - b) * (a - b)).sum::<f32>() / power;
        assert!(error <= bound, "{kind}: {error:.2e}, at most {bound:.0e}");
        let (text, meta) = (|key: &str| gguf.meta().require_str(key).unwrap().to_owned(), gguf.meta());
        assert_eq!((text("general.architecture"), text("general.basename")), ("qwen3".into(), "Tiny".into()), "{kind}");
        assert_eq!(meta.require_float("general.sampling.temp").unwrap() as f32, 0.6);
        let tokens = meta.require_strings("tokenizer.ggml.tokens").unwrap();
        assert_eq!((tokens.len(), tokens[1024], tokens[1029]), (1030, "[PAD1024]", "[PAD1029]"));
        assert_eq!(meta.require_ints("tokenizer.ggml.token_type").unwrap()[1023..1026], [4, 5, 5]);
        let done = program(&["tokenize", "-m", path(&out), "-p", "a < b <|im_end|>"]).output().unwrap();
        assert!(done.status.success(), "{kind}: {}", said(&done));
        assert!(fs::read_dir(dir.path()).unwrap().count() == 2, "{kind}: nothing else is left");
    }
}

#[test]
fn other_ways_to_store_the_same_model_give_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let shape = Shape { experts: Some((4, 2)), tied: false, ffn: 256, ..SMALL };
    let made = Checkpoint::new(shape, Dtype::F16);
    let out = |name: &str| dir.path().join(name);
    let bytes = |checkpoint: &Checkpoint, kind: &str, threads: &str| {
        let input = checkpoint.write(&dir.path().join("in"));
        quantize(&[path(&input), path(&out("o.gguf")), kind, threads]);
        fs::remove_dir_all(input).unwrap();
        fs::read(out("o.gguf")).unwrap()
    };
    let first = bytes(&made, "Q4_K_M", "1");
    assert!(bytes(&made, "Q4_K_M", "3") == first, "threads");
    assert!(bytes(&Checkpoint { shards: 3, ..made.clone() }, "Q4_K_M", "2") == first, "shards");

    let mut fused = made.clone();
    for layer in 0..shape.layers {
        let mlp = format!("model.layers.{layer}.mlp.experts");
        let (mut both, mut down) = (Vec::new(), Vec::new());
        for expert in 0..4 {
            for kind in ["gate", "up"] {
                both.extend(fused.tensors.remove(&format!("{mlp}.{expert}.{kind}_proj.weight")).unwrap().2);
            }
            down.extend(fused.tensors.remove(&format!("{mlp}.{expert}.down_proj.weight")).unwrap().2);
        }
        fused.tensors.insert(format!("{mlp}.gate_up_proj"), (Dtype::F16, vec![4, 512, 256], both));
        fused.tensors.insert(format!("{mlp}.down_proj"), (Dtype::F16, vec![4, 256, 256], down));
    }
    assert!(bytes(&fused, "Q4_K_M", "2") == first, "fused experts");

    let mut newer = made.clone();
    newer.config["rope_parameters"] = json!({"rope_theta": 1000000, "rope_type": "default"});
    newer.config.as_object_mut().unwrap().remove("rope_theta");
    assert!(bytes(&newer, "Q4_K_M", "2") == first, "rope_parameters");
}

#[test]
fn vocab_json_and_merges_txt_say_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = Checkpoint::new(SMALL, Dtype::BF16);
    let input = made.write(&dir.path().join("in"));
    let (a, b) = (dir.path().join("a.gguf"), dir.path().join("b.gguf"));
    quantize(&[path(&input), path(&a), "COPY"]);
    let decoder: serde_json::Map<_, _> = made.tokenizer["added_tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["id"].to_string(), json!({"content": t["content"], "special": t["special"]})))
        .collect();
    made.tokenizer_config["added_tokens_decoder"] = decoder.into();
    made.write(&input);
    fs::remove_file(input.join("tokenizer.json")).unwrap();
    fs::write(input.join("vocab.json"), made.tokenizer["model"]["vocab"].to_string()).unwrap();
    let merges = made.tokenizer["model"]["merges"].as_array().unwrap();
    let line = |m: &serde_json::Value| format!("{} {}\n", m[0].as_str().unwrap(), m[1].as_str().unwrap());
    let text: String = merges.iter().map(line).collect();
    fs::write(input.join("merges.txt"), format!("#version: 0.2\n{text}")).unwrap();
    quantize(&[path(&input), path(&b), "COPY"]);
    assert!(fs::read(a).unwrap() == fs::read(b).unwrap());

    made.tokenizer_config["tokenizer_class"] = "LlamaTokenizer".into();
    made.write(&input);
    fs::remove_file(input.join("tokenizer.json")).unwrap();
    refused(&[path(&input), path(&dir.path().join("c.gguf")), "COPY"], 1, &["unknown pre-tokenizer", "LlamaTokenizer"]);
}

#[test]
fn split_files_hold_the_same_tensors() {
    let dir = tempfile::tempdir().unwrap();
    let input = Checkpoint::new(SMALL, Dtype::F32).write(&dir.path().join("in"));
    let (whole, split) = (dir.path().join("whole.gguf"), dir.path().join("split.gguf"));
    quantize(&[path(&input), path(&whole), "F16"]);
    quantize(&["--max-shard-size", "1M", path(&input), path(&split), "F16"]);
    let shards: Vec<PathBuf> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).filter(|p| path(p).contains("-of-")).collect();
    assert!(shards.len() > 2 && shards.iter().all(|p| fs::metadata(p).unwrap().len() <= 1_000_000), "{shards:?}");
    let first = dir.path().join(format!("split-00001-of-{:05}.gguf", shards.len()));
    let same = |a: &Gguf, b: &Gguf| {
        assert_eq!(table(a), table(b));
        a.tensors().all(|t| t.bytes() == b.tensor(t.name()).unwrap().bytes())
    };
    assert!(same(&open(&whole), &open(&first)));

    let kept = dir.path().join("kept.gguf");
    quantize(&["--keep-split", path(&first), path(&kept), "COPY"]);
    let kept = dir.path().join(format!("kept-00001-of-{:05}.gguf", shards.len()));
    assert!(fs::read(&kept).unwrap() == fs::read(&first).unwrap(), "COPY with --keep-split changes nothing");
    let merged = dir.path().join("merged.gguf");
    quantize(&[path(&first), path(&merged), "COPY"]);
    assert!(fs::read(&merged).unwrap() == fs::read(&whole).unwrap(), "COPY of all shards is the whole file");
}

#[test]
fn options_reach_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let input = Checkpoint::new(SMALL, Dtype::BF16).write(&dir.path().join("in"));
    let out = dir.path().join("out.gguf");
    quantize(&[
        "--pure",
        "--tensor-type",
        "ffn_down=q8_0",
        "--token-embedding-type",
        "Q5_K",
        "--override-kv",
        "general.name=str:Other",
        "--override-kv",
        "qwen3.context_length=int:123",
        path(&input),
        path(&out),
        "Q4_K_M",
    ]);
    let gguf = open(&out);
    let kind = |name: &str| gguf.tensor(name).unwrap().type_name();
    assert_eq!(
        (kind("blk.0.ffn_down.weight"), kind("token_embd.weight"), kind("blk.1.attn_v.weight")),
        ("Q8_0", "Q5_K", "Q4_K")
    );
    assert_eq!(gguf.meta().require_str("general.name").unwrap(), "Other");
    assert_eq!(gguf.meta().require_uint("qwen3.context_length").unwrap(), 123);

    let done = program(&["quantize", "--dry-run", path(&input), "Q4_K_M"]).output().unwrap();
    let shown = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success() && shown.contains("bits per weight") && shown.contains("Q6_K"), "{shown}");
    assert!(!input.join("ggml-model-Q4_K_M.gguf").exists());
    quantize(&[path(&input), "Q4_K_M"]);
    let first = fs::read(input.join("ggml-model-Q4_K_M.gguf")).unwrap();

    // Quantized input: refused, allowed, and left alone where the type stays.
    let (q8, q4) = (dir.path().join("q8.gguf"), dir.path().join("q4.gguf"));
    quantize(&[path(&input), path(&q8), "Q8_0"]);
    refused(&[path(&q8), path(&q4), "Q4_K_M"], 2, &["Q8_0 already", "--allow-requantize"]);
    let text = quantize(&["--allow-requantize", path(&q8), path(&q4), "Q4_K_M"]);
    assert!(text.contains("warning"), "{text}");
    assert!(fs::read(&q4).unwrap().len() == first.len());
    refused(&[path(&q8), path(&q8), "COPY"], 2, &["is the model to be read"]);
    for wrong in [
        &["--tensor-type", "nothing=Q8_0", path(&input), "Q4_0"][..],
        &["--tensor-type", "[=Q8_0", path(&input), "Q4_0"],
        &["--tensor-type", "ffn=Q9", path(&input), "Q4_0"],
        &["--pure", path(&input), "F16"],
        &["--max-shard-size", "0", path(&input), "F16"],
        &[path(&input), "Q4_K_M", "0"],
        &[path(&input), "out.gguf"],
        &["--override-kv", "Bad-Key=int:1", path(&input), "F16"],
    ] {
        let done = program(&[&["quantize"], wrong].concat()).output().unwrap();
        assert_eq!(done.status.code(), Some(2), "{wrong:?}: {}", said(&done));
    }
}

#[test]
fn checkpoints_that_are_not_as_they_should_be() {
    let dir = tempfile::tempdir().unwrap();
    let sound = Checkpoint::new(Shape { layers: 1, tied: false, ..SMALL }, Dtype::BF16);
    let out = dir.path().join("out.gguf");
    let mut n = 0;
    let mut check = |spoil: &dyn Fn(&mut Checkpoint), damage: &dyn Fn(&Path), words: &[&str]| {
        n += 1;
        let mut made = sound.clone();
        spoil(&mut made);
        let input = made.write(&dir.path().join(format!("in{n}")));
        damage(&input);
        refused(&[path(&input), path(&out), "Q4_K_M"], 1, words);
        assert!(!out.exists() && !dir.path().join("out.gguf.part").exists(), "{words:?}");
    };
    let nothing = |_: &Path| ();
    let up = "model.layers.0.mlp.up_proj.weight";
    let poison = |c: &mut Checkpoint, name: &str, index: usize, bits: u16| {
        c.tensors.get_mut(name).unwrap().2[2 * index..2 * index + 2].copy_from_slice(&bits.to_le_bytes());
    };
    check(&|c| poison(c, up, 70_001, 0x7fc0), &nothing, &[up, "value 70001 (row 273, column 113)", "NaN"]);
    check(&|c| poison(c, up, 0, 0xff80), &nothing, &[up, "value 0 ", "-inf"]);
    check(&|c| poison(c, "model.norm.weight", 3, 0x7f80), &nothing, &["model.norm.weight", "value 3 ", "inf"]);
    check(&|c| drop(c.tensors.remove(up)), &nothing, &[up, "is missing"]);
    check(&|c| c.tensors.get_mut(up).unwrap().1 = vec![256, 512], &nothing, &[up, "[256, 512]", "[512, 256]"]);
    check(&|c| drop(c.tensors.insert("extra".into(), (Dtype::F32, vec![1], vec![0; 4]))), &nothing, &["\"extra\""]);
    check(&|c| c.tensors.get_mut(up).unwrap().0 = Dtype::I16, &nothing, &[up, "I16", "BF16"]);
    check(
        &|c| c.config["architectures"] = json!(["LlamaForCausalLM"]),
        &nothing,
        &["LlamaForCausalLM", "Qwen3ForCausalLM"],
    );
    check(&|c| c.config["num_hidden_layers"] = json!(-1), &nothing, &["num_hidden_layers is -1"]);
    check(&|c| c.config["hidden_act"] = json!("gelu"), &nothing, &["hidden_act", "gelu"]);
    check(&|c| c.config["quantization_config"] = json!({"quant_method": "fp8"}), &nothing, &["fp8", "original"]);
    check(&|c| c.config["vocab_size"] = json!(1000), &nothing, &["embed_tokens", "shape"]);
    check(&|c| c.config["rope_scaling"] = json!({"rope_type": "longrope", "factor": 2}), &nothing, &["longrope"]);
    check(
        &|c| c.tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!("."),
        &nothing,
        &["unknown pre-tokenizer"],
    );
    check(&|c| c.tokenizer["pre_tokenizer"] = json!({"type": "ByteLevel"}), &nothing, &["unknown pre-tokenizer"]);
    check(&|c| c.tokenizer["model"]["vocab"]["zzz"] = json!(5000), &nothing, &["\"zzz\" has id 5000"]);

    let file = |dir: &Path| dir.join("model.safetensors");
    let cut =
        |dir: &Path, keep: u64| fs::OpenOptions::new().write(true).open(file(dir)).unwrap().set_len(keep).unwrap();
    check(&|_| (), &|d| cut(d, 1_000_000), &["model.safetensors", "truncated"]);
    check(&|_| (), &|d| cut(d, 100), &["model.safetensors", "100 in all"]);
    check(&|_| (), &|d| cut(d, 3), &["3 bytes"]);
    check(&|_| (), &|d| cut(d, 0), &["is empty"]);
    check(&|_| (), &|d| fs::write(file(d), vec![0xff; 4096]).unwrap(), &["header"]);
    check(&|_| (), &|d| fs::remove_file(file(d)).unwrap(), &["has neither"]);
    check(&|_| (), &|d| fs::write(d.join("config.json"), "{").unwrap(), &["config.json", "no sound JSON"]);
    check(&|_| (), &|d| fs::remove_file(d.join("config.json")).unwrap(), &["no config.json"]);
    check(&|_| (), &|d| fs::remove_file(d.join("tokenizer.json")).unwrap(), &["neither tokenizer.json"]);
    let shards = |c: &mut Checkpoint| c.shards = 3;
    let second = "model-00002-of-00003.safetensors";
    check(&shards, &|d| fs::remove_file(d.join(second)).unwrap(), &[second, "is missing"]);
    let index = |d: &Path, text: &str| fs::write(d.join("model.safetensors.index.json"), text).unwrap();
    check(&shards, &|d| index(d, r#"{"weight_map": {"a": "../../x"}}"#), &["weight_map", "../../x"]);
    check(&shards, &|d| index(d, "[]"), &["weight_map"]);
}

#[test]
fn places_that_cannot_be_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let input = Checkpoint::new(SMALL, Dtype::BF16).write(&dir.path().join("in"));
    let nowhere = dir.path().join("no/such/out.gguf");
    refused(&[path(&input), path(&nowhere), "Q8_0"], 1, &["out.gguf", "no directory"]);
    refused(&[path(&input), path(dir.path()), "Q8_0"], 2, &["is a directory"]);
    refused(&[path(&dir.path().join("none")), path(&dir.path().join("o")), "Q8_0"], 1, &["none"]);
    #[cfg(unix)]
    {
        // A device that is always full, where the system has one.
        let (full, out) = (Path::new("/dev/full"), dir.path().join("full.gguf"));
        if full.exists() {
            std::os::unix::fs::symlink(full, dir.path().join("full.gguf.part.log")).unwrap();
            refused(&[path(&input), path(&out), "Q8_0"], 1, &["full.gguf", "cannot be written"]);
            assert!(!out.exists());
        }
    }
}

/// A file size limit is a full disk that needs no disk: writing ends in the middle, and --resume goes on from there.
#[cfg(unix)]
#[test]
fn a_full_disk_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let input = Checkpoint::new(Shape { ffn: 4096, layers: 4, ..SMALL }, Dtype::BF16).write(&dir.path().join("in"));
    let (whole, out) = (dir.path().join("whole.gguf"), dir.path().join("out.gguf"));
    quantize(&[path(&input), path(&whole), "F16"]);
    let script =
        format!("trap '' XFSZ; ulimit -f 12000; exec {} quantize ./in out.gguf F16", env!("CARGO_BIN_EXE_lapwing"));
    let done = Command::new("sh").args(["-c", &script]).current_dir(dir.path()).output().unwrap();
    let text = said(&done);
    assert!(done.status.code() == Some(1) && text.contains("out.gguf.part") && text.contains("--resume"), "{text}");
    assert!(!out.exists());
    let text = quantize(&["--resume", path(&input), path(&out), "F16"]);
    assert!(text.contains("MB of the result was there already"), "{text}");
    assert!(fs::read(&out).unwrap() == fs::read(&whole).unwrap());
    assert!(!dir.path().join("out.gguf.part").exists() && !dir.path().join("out.gguf.part.log").exists());
}

/// Kills the job at ten moments spread over its length, with pieces of its log and of its file spoilt in between.
#[test]
fn killed_at_any_moment_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let shape = Shape { ffn: 8192, hidden: 512, layers: 4, head_dim: 128, ..SMALL };
    let mut made = Checkpoint::new(SMALL, Dtype::BF16);
    // Weights repeat: making millions of numbers is not what is tested.
    let bigger = Checkpoint::new(Shape { vocab: 1024, ffn: 16, ..shape }, Dtype::BF16);
    made.config = bigger.config.clone();
    made.config["intermediate_size"] = shape.ffn.into();
    made.tensors = bigger.tensors;
    let block = Random(3).tensor(Dtype::BF16, &[1 << 16], 0.05, 0.0).2;
    for (name, tensor) in made.tensors.iter_mut().filter(|(name, _)| name.contains(".mlp.")) {
        tensor.1 = if name.contains("down") { vec![512, shape.ffn] } else { vec![shape.ffn, 512] };
        tensor.2 = block.repeat(512 * shape.ffn / (1 << 16));
    }
    let input = made.write(&dir.path().join("in"));
    let (whole, out) = (dir.path().join("whole.gguf"), dir.path().join("out.gguf"));
    let part = dir.path().join("out.gguf.part");
    let started = std::time::Instant::now();
    quantize(&[path(&input), path(&whole), "Q6_K", "2"]);
    let length = started.elapsed();
    let mut random = Random(11);
    let mut finished = 0;
    for round in 0..10u32 {
        let mut args = vec!["quantize", path(&input), path(&out), "Q6_K", "2"];
        if round > 0 {
            args.insert(1, "--resume");
        }
        let mut child = program(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(length.mul_f32(0.2 + (random.next() + 2.0) * 0.2));
        child.kill().unwrap();
        child.wait().unwrap();
        if out.exists() {
            assert!(fs::read(&out).unwrap() == fs::read(&whole).unwrap(), "round {round}: what has the name is whole");
            fs::remove_file(&out).unwrap();
            finished += 1;
        } else if round % 3 == 2 && part.exists() {
            // A crash of the machine may leave zeros where data was.
            let length = fs::metadata(&part).unwrap().len();
            let mut bytes = fs::read(&part).unwrap();
            bytes[length as usize * 3 / 4..].fill(0);
            fs::write(&part, bytes).unwrap();
        }
    }
    assert!(finished < 10, "it was never interrupted");
    quantize(&["--resume", path(&input), path(&out), "Q6_K", "1"]);
    assert!(fs::read(&out).unwrap() == fs::read(&whole).unwrap());
    assert!(!part.exists());
}
