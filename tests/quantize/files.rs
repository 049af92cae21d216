//! Sound input of every kind: what is in the files that are written.

use std::fs;
use std::path::PathBuf;

use crate::checkpoint::{Checkpoint, SMALL, Shape};
use crate::{open, path, program, quantize, refused, said, table};
use lapwing::gguf::Gguf;
use lapwing_quant::DType;
use lapwing_quant::formats::dequantize;
use safetensors::Dtype;
use serde_json::json;

fn weights(gguf: &Gguf, name: &str) -> Vec<f32> {
    let tensor = gguf.tensor(name).unwrap_or_else(|| panic!("no tensor {name}"));
    let mut values = vec![0.0; tensor.elements()];
    dequantize(tensor.dtype().unwrap(), tensor.bytes(), &mut values);
    values
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

/// The whole chain: an importance matrix of the lossless file, a mix made with it, and the figures put into the result.
#[test]
fn with_an_importance_matrix_and_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let input = Checkpoint::new(SMALL, Dtype::BF16).write(&dir.path().join("in"));
    let file = |name: &str| dir.path().join(name);
    let text = crate::common::root().join("tests/fixtures/eval/text.txt");
    quantize(&[path(&input), path(&file("whole.gguf")), "COPY"]);
    let (whole, im) = (file("whole.gguf"), file("im.gguf"));
    let args = ["imatrix", "-m", path(&whole), "-f", path(&text), "-o", path(&im), "-c", "256", "--chunks", "2"];
    let done = program(&args).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));

    quantize(&[path(&input), path(&file("plain.gguf")), "Q4_K_M"]);
    let imatrix = ["--imatrix", path(&im)];
    quantize(&[&imatrix[..], &[path(&input), path(&file("weighted.gguf")), "Q4_K_M"]].concat());
    let (plain, weighted) = (open(&file("plain.gguf")), open(&file("weighted.gguf")));
    assert_eq!(table(&plain), table(&weighted));
    let bytes = |gguf: &Gguf, name: &str| gguf.tensor(name).unwrap().bytes().to_vec();
    assert_ne!(bytes(&plain, "blk.0.ffn_up.weight"), bytes(&weighted, "blk.0.ffn_up.weight"));
    assert_eq!(bytes(&plain, "blk.0.attn_norm.weight"), bytes(&weighted, "blk.0.attn_norm.weight"));
    let meta = weighted.meta();
    assert_eq!(meta.require_str("quantize.imatrix.file").unwrap(), path(&im));
    assert_eq!(meta.require_uint("quantize.imatrix.entries_count").unwrap(), 14);
    assert_eq!(meta.require_uint("quantize.imatrix.chunks_count").unwrap(), 2);
    let some = file("some.gguf");
    let only = ["--include-weights", "ffn_down", path(&input), path(&some), "Q4_K_M"];
    quantize(&[&imatrix[..], &only].concat());
    let some = open(&some);
    assert_eq!(bytes(&some, "blk.0.ffn_up.weight"), bytes(&plain, "blk.0.ffn_up.weight"));
    assert_eq!(bytes(&some, "blk.0.ffn_down.weight"), bytes(&weighted, "blk.0.ffn_down.weight"));

    quantize(&["--certify", path(&text), path(&input), path(&file("sure.gguf")), "Q4_K_M"]);
    let sure = open(&file("sure.gguf"));
    assert!(sure.tensors().all(|t| t.bytes() == bytes(&plain, t.name())), "the figures change no weight");
    let figure = |key: &str| sure.meta().require_float(&format!("lapwing.quality.{key}")).unwrap();
    assert!(figure("kld_mean") > 0.0 && figure("kld_mean") < 0.5, "{}", figure("kld_mean"));
    let shown = program(&["inspect", path(&file("sure.gguf"))]).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("quality"), "inspect shows them");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 7, "nothing else is left");
    quantize(&["--certify", path(&text), path(&file("whole.gguf")), path(&file("sure2.gguf")), "Q4_K_M"]);
    assert!(open(&file("sure2.gguf")).meta().contains("lapwing.quality.kld_mean"));
    let cut = ["--certify", path(&text), "--max-shard-size", "300K"];
    quantize(&[&cut[..], &[path(&input), path(&file("cut.gguf")), "Q4_K_M"]].concat());
    let names = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut shards: Vec<String> = names.filter(|n| n.starts_with("cut")).collect();
    shards.sort();
    assert!(shards.len() > 2 && shards.iter().all(|name| name.ends_with(".gguf")), "{shards:?}");
    let cut = open(&file(&shards[0]));
    let of_cut = cut.meta().require_float("lapwing.quality.kld_mean").unwrap();
    assert_eq!(of_cut, figure("kld_mean"), "the same weights lose the same, in several files or in one");
    let hidden = fs::read_dir(dir.path()).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(hidden, 1, "nothing but the input is a folder");
}
