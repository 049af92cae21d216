//! Input that is not as it should be, places that cannot be written to, full disks, and kills at any moment.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::checkpoint::{Checkpoint, Random, SMALL, Shape};
use crate::{path, program, quantize, refused, said};
use safetensors::Dtype;
use serde_json::json;

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
