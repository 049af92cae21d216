//! Quantized models by the library, once per kernel table that this machine runs: KL divergence of the logits from
//! exact arithmetic. Unlike tests/golden.rs it starts no program, so that it runs under an emulator as well.
//!
//! Committed models (tests/fixtures/README.md) always; the larger checkpoints of ../shared/golden where they are.

mod common;

use std::path::Path;

use common::{Figures, LLAMA_CPP, ROUNDED, fixture, kl_divergence, loud, shared};
use lapwing::engine::{Engine, EngineOptions};
use lapwing::gguf::{Gguf, OpenOptions};
use lapwing::kv::Sequence;
use lapwing::model::rope::RopeFlags;
use lapwing_quant::attend::KvType;
use lapwing_quant::kernels::{self, Kernels};

/// A file read by one table.
struct Model {
    engine: Engine,
    what: String,
}

impl Model {
    fn load(path: &Path, kernels: &'static Kernels) -> Self {
        let what = format!("{} on {}", path.display(), kernels.name);
        let options = EngineOptions {
            kernels,
            threads: 1,
            threads_batch: 1,
            cpus: Vec::new(),
            rope: RopeFlags::default(),
            n_ctx: 256,
            sequences: 1,
            keys: KvType::F16,
            values: KvType::F16,
            repack: true,
        };
        let gguf = Gguf::open(path, &OpenOptions::default()).unwrap_or_else(|e| panic!("{what}: {e}"));
        let engine = Engine::load(&gguf, options, &mut |_, _| {}).unwrap_or_else(|e| panic!("{what}: {e}"));
        Self { engine, what }
    }

    /// KL divergence of the prompt's last rows of logits from `exact`'s figures.
    fn divergence(&mut self, ids: &Figures, exact: &Figures, prompt: &str) -> f64 {
        let (ids, want) = (ids.ids(&format!("{prompt}.ids")), exact.f32(&format!("{prompt}.logits")));
        let mut seq = Sequence::default();
        let got = self.engine.read(&mut seq, &ids, want.rows(), &mut |_| true);
        let got = got.unwrap_or_else(|e| panic!("{} {prompt}: {e}", self.what));
        seq.truncate(&mut self.engine.kv_mut().pages, 0);
        kl_divergence(&want.values, &got, want.cols())
    }
}

/// The tables of this machine, and the matrix unit's where it can be emulated.
fn tables() -> impl Iterator<Item = &'static Kernels> {
    let emulated = kernels::emulated();
    if let Some(table) = emulated {
        loud(&format!("EMULATED: instruction set {}; this machine lacks it", table.name));
    }
    emulated.into_iter().chain(kernels::available())
}

#[test]
fn committed_quantized_models_on_every_table() {
    for kernels in tables() {
        for name in ["dense-mixed", "moe-q8_0"] {
            let figures = Figures::read(fixture(&format!("{name}.safetensors")));
            let mut model = Model::load(&fixture(&format!("{name}.gguf")), kernels);
            for prompt in ["p0", "p1", "p2"].into_iter().filter(|p| figures.has(&format!("{p}.ids"))) {
                let found = model.divergence(&figures, &figures, prompt);
                assert!(found < ROUNDED, "{} {prompt}: KL divergence {found:.2e}, below {ROUNDED:.0e}", model.what);
            }
        }
    }
}

#[test]
fn golden_quantized_checkpoints_beat_llama_cpp_on_every_table() {
    let test = "golden_quantized_checkpoints_beat_llama_cpp_on_every_table";
    let Some(golden) = shared(test).map(|dir| dir.join("golden")) else { return };
    let mut worse = Vec::new();
    for kernels in tables() {
        for (name, quant, theirs) in LLAMA_CPP {
            let dir = golden.join(name);
            let ids = Figures::read(dir.join("golden.safetensors"));
            let exact = Figures::read(dir.join(format!("lcpp-{quant}.golden.safetensors")));
            let mut model = Model::load(&dir.join(format!("lcpp-{quant}.gguf")), kernels);
            for (prompt, bound) in ["p0", "p1", "p2"].into_iter().zip(theirs) {
                let ours = model.divergence(&ids, &exact, prompt);
                eprintln!("{name} {quant} {prompt} {}: {ours:.2e}, llama.cpp {bound:.2e}", kernels.name);
                if ours >= bound || ours.is_nan() {
                    worse.push(format!("{} {prompt}: {ours:.2e}, llama.cpp {bound:.2e}", model.what));
                }
            }
        }
    }
    assert!(worse.is_empty(), "not below llama.cpp's KL divergence:\n{}", worse.join("\n"));
}
