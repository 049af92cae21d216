//! The golden checkpoints, where they are: as llama.cpp converts and mixes them, with transformers' logits.

use std::fs;
use std::path::Path;

use crate::common::{Figures, argmax, kl_divergence, loud, shared};
use crate::{open, path, program, quantize, said, table};

const CASES: [&str; 4] = ["dense-tied", "dense-untied", "moe", "yarn"];
/// The files of golden/formats whose weights are rounded in blocks.
const TYPES: [&str; 12] =
    ["Q8_0", "Q6_K", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_S", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS", "Q3_K_S", "Q2_K"];

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
            let got = logits(&out, &ids, want.rows(), &[]);
            let divergence = kl_divergence(&want.values, &got, want.cols());
            assert!(divergence < 1e-5, "{case} {prompt}: {divergence:.2e}");
            let best = |values: &[f32]| values.chunks(want.cols()).map(argmax).collect::<Vec<_>>();
            assert_eq!(best(&got), best(&want.values), "{case} {prompt}");
        }
    }
}

/// Files of one type: the KL divergence from the f32 model, summed over every row of the golden logits, is at most that
/// of llama.cpp's file. Scalar arithmetic, so that nothing but the weights differs from transformers.
#[test]
fn golden_divergence_of_each_type_is_at_most_llama_cpps() {
    let Some(golden) = shared("golden_divergence_of_each_type_is_at_most_llama_cpps").map(|d| d.join("golden")) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let figures = Figures::read(golden.join("dense-tied/golden.safetensors"));
    let total = |model: &Path| -> f64 {
        let of_prompt = |prompt: &str| {
            let (ids, want) = (figures.ids(&format!("{prompt}.ids")), figures.f32(&format!("{prompt}.logits")));
            let got = logits(model, &ids, want.rows(), &["--isa", "scalar"]);
            kl_divergence(&want.values, &got, want.cols()) * want.rows() as f64
        };
        ["p0", "p1", "p2"].into_iter().map(of_prompt).sum()
    };
    let mut worse = Vec::new();
    for kind in TYPES {
        let (ours, theirs) = (dir.path().join("ours.gguf"), golden.join(format!("formats/dense-tied-{kind}.gguf")));
        quantize(&[path(&golden.join("dense-tied/lcpp-f32.gguf")), path(&ours), kind, "--pure"]);
        assert_eq!(table(&open(&ours)), table(&open(&theirs)), "{kind}");
        let (a, b) = (total(&ours), total(&theirs));
        loud(&format!("{kind}: KL divergence {a:.4e}, llama.cpp's {b:.4e}, ratio {:.3}", a / b));
        if a > b {
            worse.push(kind);
        }
    }
    assert!(worse.is_empty(), "above llama.cpp's: {worse:?}");
}

/// Logits of the last `rows` tokens, with these further flags.
fn logits(model: &Path, ids: &[u32], rows: usize, flags: &[&str]) -> Vec<f32> {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("logits");
    let ids = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let rows = rows.to_string();
    let args =
        ["logits", "-m", path(model), "--ids", &ids, "--last", &rows, "-o", path(&out), "-ctk", "f32", "-ctv", "f32"];
    let done = program(&[&args, flags].concat()).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    Figures::read(&out).f32("logits").values
}
