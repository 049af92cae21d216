//! The program's logits against the golden figures, by its own command `logits`: exact files to 2e-3 with their argmax
//! continuations, quantized ones below llama.cpp's KL divergence, on every instruction set that this machine has.
//!
//! Committed models (tests/fixtures/README.md) always; the larger checkpoints of ../shared/golden where they are.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{
    Array, Figures, LLAMA_CPP, LLAMA_CPP_FORMATS, ROUNDED, argmax, fixture, kl_divergence, loud, max_abs_diff, shared,
};

/// Largest |difference| from exact arithmetic on files whose weights are exact.
const EXACT: f64 = 2e-3;
const F32_KV: [&str; 4] = ["-ctk", "f32", "-ctv", "f32"];
/// Every name that `--isa` takes; those this machine lacks are passed over, loudly.
const ISAS: [&str; 8] = ["scalar", "avx2", "avxvnni", "avx512", "amx", "neon", "neon-dotprod", "neon-i8mm"];

fn run(model: &Path, ids: &[u32], last: usize, flags: &[&str], out: &Path) -> Output {
    let ids = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    command.env_remove("LAPWING_ISA").arg("logits").arg("-m").arg(model).args(["--ids", &ids]);
    command.args(["--last", &last.to_string(), "-o"]).arg(out).args(flags);
    command.output().expect("the program starts")
}

/// The last rows of logits that the program computes for the ids.
fn logits(model: &Path, ids: &[u32], last: usize, flags: &[&str]) -> Array<f32> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = dir.path().join("logits.safetensors");
    let done = run(model, ids, last, flags, &out);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{} {flags:?}: {}\n{said}", model.display(), done.status);
    let figures = Figures::read(out);
    assert_eq!(figures.ids("ids"), ids, "the file says which ids it is of");
    let found = figures.f32("logits");
    assert_eq!(found.rows(), last, "as many rows as asked for");
    found
}

/// The instruction sets this machine runs, found by asking for each on a small model.
///
/// One that is refused must be refused as a wrong setting (exit code 2), and must not be in `LAPWING_REQUIRE_ISA`.
fn isas() -> Vec<&'static str> {
    let required = std::env::var("LAPWING_REQUIRE_ISA").unwrap_or_default();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let available = |isa: &&str| {
        let done = run(&fixture("dense-bf16.gguf"), &[1, 2], 1, &["--isa", isa], &dir.path().join("x.safetensors"));
        if done.status.success() {
            return true;
        }
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "--isa {isa}: {said}");
        assert!(!required.split(',').any(|r| r == *isa), "LAPWING_REQUIRE_ISA wants {isa}: {said}");
        loud(&format!("SKIPPED golden figures on {isa}: {}", said.trim()));
        false
    };
    let found: Vec<&str> = ISAS.into_iter().filter(available).collect();
    assert!(found.contains(&"scalar"), "the scalar table runs everywhere");
    found
}

/// Asserts that the prompt's last rows are exact, and that each token of the stored continuation is the argmax after
/// those before it: by induction, that greedy decoding gives this continuation.
fn assert_exact(model: &Path, figures: &Figures, prompt: &str, flags: &[&str]) {
    let what = format!("{} {prompt} {flags:?}", model.display());
    let flags = [flags, &F32_KV].concat();
    let (mut ids, greedy) = (figures.ids(&format!("{prompt}.ids")), figures.ids(&format!("{prompt}.greedy")));
    let want = figures.f32(&format!("{prompt}.logits"));
    let rows = want.rows();
    ids.extend(&greedy[..greedy.len() - 1]);
    let got = logits(model, &ids, rows + greedy.len() - 1, &flags);
    let diff = max_abs_diff(&got.values[..want.values.len()], &want.values);
    assert!(diff <= EXACT, "{what}: max |diff| {diff:.2e}, at most {EXACT:.0e}");
    let chosen: Vec<u32> = got.values.chunks(got.cols()).skip(rows - 1).map(|row| argmax(row) as u32).collect();
    assert_eq!(chosen, greedy, "{what}: continuation");
}

/// KL divergence of the program's rows from the stored ones.
fn divergence(model: &Path, ids: &[u32], want: &Array<f32>, flags: &[&str]) -> f64 {
    let got = logits(model, ids, want.rows(), flags);
    kl_divergence(&want.values, &got.values, want.cols())
}

#[test]
fn committed_exact_models() {
    for isa in isas() {
        for name in ["dense-bf16", "moe-bf16", "yarn-bf16"] {
            let figures = Figures::read(fixture(&format!("{name}.safetensors")));
            for prompt in ["p0", "p1", "p2"] {
                assert_exact(&fixture(&format!("{name}.gguf")), &figures, prompt, &["--isa", isa]);
            }
        }
    }
}

#[test]
fn committed_model_with_rope_scaling_by_flags() {
    let figures = Figures::read(fixture("dense-bf16.safetensors"));
    let ids = figures.ids("p2.ids");
    let plain = figures.f32("p2.logits");
    for scaling in ["linear", "yarn"] {
        let want = figures.f32(&format!("{scaling}.logits"));
        assert!(max_abs_diff(&want.values, &plain.values) > 0.1, "the figures tell {scaling} from none");
        let flags = [&["--rope-scaling", scaling, "--rope-scale", "4", "--yarn-orig-ctx", "32"], &F32_KV[..]].concat();
        let got = logits(&fixture("dense-bf16.gguf"), &ids, want.rows(), &flags);
        let diff = max_abs_diff(&got.values, &want.values);
        assert!(diff <= EXACT, "{scaling}: max |diff| {diff:.2e}");
    }
}

/// scripts/golden.py draws these models such that eight ways of rounding activations to 8 bits each cost less than
/// 5e-3. An engine that rounds may come to twice that; one that is wrong comes nowhere near.
#[test]
fn committed_quantized_models() {
    for isa in isas() {
        for name in ["dense-mixed", "moe-q8_0"] {
            let figures = Figures::read(fixture(&format!("{name}.safetensors")));
            let prompts = ["p0", "p1", "p2"].into_iter().filter(|p| figures.has(&format!("{p}.ids")));
            for prompt in prompts {
                let (ids, want) = (figures.ids(&format!("{prompt}.ids")), figures.f32(&format!("{prompt}.logits")));
                let found = divergence(&fixture(&format!("{name}.gguf")), &ids, &want, &["--isa", isa]);
                assert!(
                    found < ROUNDED,
                    "{name} {prompt} {isa}: KL divergence {found:.2e}, below {ROUNDED:.0e} expected"
                );
            }
        }
    }
}

fn case(golden: &Path, name: &str, file: &str) -> PathBuf {
    golden.join(name).join(file)
}

#[test]
fn golden_checkpoints_are_exact() {
    let Some(golden) = shared("golden_checkpoints_are_exact").map(|dir| dir.join("golden")) else { return };
    for name in ["dense-tied", "dense-untied", "moe", "yarn"] {
        let figures = Figures::read(case(&golden, name, "golden.safetensors"));
        for prompt in ["p0", "p1", "p2"] {
            assert_exact(&case(&golden, name, "lcpp-bf16.gguf"), &figures, prompt, &[]);
        }
    }
}

/// The cases dense-tied and yarn have the same weights, so flags on the first must give the second's figures.
#[test]
fn golden_yarn_by_flags() {
    let Some(golden) = shared("golden_yarn_by_flags").map(|dir| dir.join("golden")) else { return };
    let figures = Figures::read(case(&golden, "yarn", "golden.safetensors"));
    let flags = ["--rope-scaling", "yarn", "--rope-scale", "4", "--yarn-orig-ctx", "64"];
    for prompt in ["p0", "p1", "p2"] {
        assert_exact(&case(&golden, "dense-tied", "lcpp-bf16.gguf"), &figures, prompt, &flags);
    }
}

#[test]
fn golden_quantized_checkpoints_beat_llama_cpp() {
    let Some(golden) = shared("golden_quantized_checkpoints_beat_llama_cpp").map(|dir| dir.join("golden")) else {
        return;
    };
    let mut worse = Vec::new();
    for isa in isas() {
        for (name, quant, theirs) in LLAMA_CPP {
            let ids = Figures::read(case(&golden, name, "golden.safetensors"));
            let exact = Figures::read(case(&golden, name, &format!("lcpp-{quant}.golden.safetensors")));
            let model = case(&golden, name, &format!("lcpp-{quant}.gguf"));
            for (prompt, bound) in ["p0", "p1", "p2"].iter().zip(theirs) {
                let want = exact.f32(&format!("{prompt}.logits"));
                let ours = divergence(&model, &ids.ids(&format!("{prompt}.ids")), &want, &["--isa", isa]);
                if ours >= bound || ours.is_nan() {
                    worse.push(format!("{name} {quant} {prompt} {isa}: {ours:.2e}, llama.cpp {bound:.2e}"));
                }
            }
        }
    }
    assert!(worse.is_empty(), "not below llama.cpp's KL divergence:\n{}", worse.join("\n"));
}

/// Every format, against the scalar table with f32 keys and values, which is exact up to f32 rounding.
#[test]
fn golden_formats_beat_llama_cpp() {
    let Some(golden) = shared("golden_formats_beat_llama_cpp").map(|dir| dir.join("golden")) else { return };
    let ids = Figures::read(case(&golden, "dense-tied", "golden.safetensors")).ids("p2.ids");
    let isas: Vec<&str> = isas().into_iter().filter(|isa| *isa != "scalar").collect();
    let mut worse = Vec::new();
    for (format, bound) in LLAMA_CPP_FORMATS {
        let model = case(&golden, "formats", &format!("dense-tied-{format}.gguf"));
        let exact = logits(&model, &ids, ids.len(), &[&["--isa", "scalar"], &F32_KV[..]].concat());
        for isa in &isas {
            let ours = divergence(&model, &ids, &exact, &["--isa", isa]);
            if ours >= bound || ours.is_nan() {
                worse.push(format!("{format} {isa}: {ours:.2e}, llama.cpp {bound:.2e}"));
            }
        }
    }
    assert!(worse.is_empty(), "not below llama.cpp's KL divergence:\n{}", worse.join("\n"));
}
