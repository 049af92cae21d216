//! Files that are sound GGUF but no sound model: each is refused with its name and the key or tensor at fault, before
//! anything is computed.

#[path = "common/gguf_builder.rs"]
mod gguf_builder;

use gguf_builder::{Builder, Raw, Tensor, bool, f32, f32_tensor, i32, str, tensor, u32, u64};
use lapwing::engine::{Engine, EngineOptions, RopeFlags, Sequence};
use lapwing::error::{Error, Result};
use lapwing::gguf::{Gguf, OpenOptions};
use lapwing_quant::attend::KvType;
use lapwing_quant::kernels;
use std::path::Path;

const EMBD: u64 = 32;
const FF: u64 = 64;
const VOCAB: u64 = 40;

fn key(b: Builder, arch: &str, name: &str, value: Raw) -> Builder {
    b.key(format!("{arch}.{name}"), value)
}

/// A sound model of one block: 4 heads of 8 on 2 KV heads; with experts when `experts` is not 0.
fn model(arch: &str, experts: u64) -> Builder {
    let mut b = Builder::sound().with(|b| {
        b.tensors.clear();
        b.keys.clear();
    });
    b = b.key("general.architecture", str(arch));
    for (name, value) in [
        ("block_count", 1),
        ("embedding_length", EMBD as u32),
        ("feed_forward_length", FF as u32),
        ("context_length", 128),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("attention.key_length", 8),
        ("attention.value_length", 8),
    ] {
        b = key(b, arch, name, u32(value));
    }
    b = key(b, arch, "attention.layer_norm_rms_epsilon", f32(1e-6));
    b = key(b, arch, "rope.freq_base", f32(1e6));
    b = b.tensor(f32_tensor("token_embd.weight", &[EMBD, VOCAB])).tensor(f32_tensor("output_norm.weight", &[EMBD]));
    for (name, dims) in [
        ("attn_norm", vec![EMBD]),
        ("attn_q", vec![EMBD, 32]),
        ("attn_k", vec![EMBD, 16]),
        ("attn_v", vec![EMBD, 16]),
        ("attn_q_norm", vec![8]),
        ("attn_k_norm", vec![8]),
        ("attn_output", vec![32, EMBD]),
        ("ffn_norm", vec![EMBD]),
    ] {
        b = b.tensor(f32_tensor(&format!("blk.0.{name}.weight"), &dims));
    }
    let ffn = if experts == 0 {
        vec![("ffn_gate", vec![EMBD, FF]), ("ffn_up", vec![EMBD, FF]), ("ffn_down", vec![FF, EMBD])]
    } else {
        for (name, value) in
            [("expert_count", experts as u32), ("expert_used_count", 2), ("expert_feed_forward_length", FF as u32)]
        {
            b = key(b, arch, name, u32(value));
        }
        vec![
            ("ffn_gate_inp", vec![EMBD, experts]),
            ("ffn_gate_exps", vec![EMBD, FF, experts]),
            ("ffn_up_exps", vec![EMBD, FF, experts]),
            ("ffn_down_exps", vec![FF, EMBD, experts]),
        ]
    };
    for (name, dims) in ffn {
        b = b.tensor(f32_tensor(&format!("blk.0.{name}.weight"), &dims));
    }
    b
}

fn load(path: &Path) -> Result<Engine> {
    let gguf = Gguf::open(path, &OpenOptions::default())?;
    let options = EngineOptions {
        kernels: kernels::best(),
        threads: 2,
        threads_batch: 2,
        cpus: Vec::new(),
        rope: RopeFlags::default(),
        n_ctx: 64,
        sequences: 1,
        keys: KvType::F16,
        values: KvType::F16,
        repack: true,
    };
    Engine::load(&gguf, options, &mut |_, _| {})
}

fn load_bytes(bytes: &[u8]) -> Result<Engine> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hostile.gguf");
    std::fs::write(&path, bytes).unwrap();
    load(&path)
}

fn spoilt(mut b: Builder, name: &str, change: impl FnOnce(&mut Tensor)) -> Builder {
    let found = b.tensors.iter_mut().find(|t| t.name == name.as_bytes()).expect("a tensor of the sound model");
    change(found);
    b
}

fn without(b: Builder, name: &str) -> Builder {
    b.with(|b| b.tensors.retain(|t| t.name != name.as_bytes()))
}

fn set(b: Builder, name: &str, value: Raw) -> Builder {
    b.with(|b| {
        b.keys.retain(|(k, _)| k != name.as_bytes());
        b.keys.push((name.into(), value));
    })
}

fn drop_key(b: Builder, name: &str) -> Builder {
    b.with(|b| b.keys.retain(|(k, _)| k != name.as_bytes()))
}

fn dense() -> Builder {
    model("qwen3", 0)
}

fn moe() -> Builder {
    model("qwen3moe", 4)
}

/// Every case with what its error must name.
fn cases() -> Vec<(&'static str, Builder, &'static str)> {
    let mut cases = keys();
    for name in [
        "token_embd.weight",
        "output_norm.weight",
        "blk.0.attn_norm.weight",
        "blk.0.attn_q.weight",
        "blk.0.attn_k_norm.weight",
        "blk.0.attn_output.weight",
        "blk.0.ffn_up.weight",
        "blk.0.ffn_down.weight",
    ] {
        cases.push(("a tensor is missing", without(dense(), name), name));
    }
    for name in ["blk.0.ffn_gate_inp.weight", "blk.0.ffn_gate_exps.weight", "blk.0.ffn_down_exps.weight"] {
        cases.push(("an expert tensor is missing", without(moe(), name), name));
    }
    cases.extend(shapes());
    cases.extend(numbers());
    cases
}

fn keys() -> Vec<(&'static str, Builder, &'static str)> {
    vec![
        ("another architecture", set(dense(), "general.architecture", str("llama")), "llama"),
        ("no architecture", drop_key(dense(), "general.architecture"), "general.architecture"),
        ("architecture of the wrong type", set(dense(), "general.architecture", u32(3)), "general.architecture"),
        ("no block count", drop_key(dense(), "qwen3.block_count"), "block_count"),
        ("no blocks", set(dense(), "qwen3.block_count", u32(0)), "block_count"),
        ("a billion blocks", set(dense(), "qwen3.block_count", u32(1 << 30)), "block_count"),
        ("more blocks than tensors", set(dense(), "qwen3.block_count", u32(2)), "blk.1."),
        ("negative block count", set(dense(), "qwen3.block_count", i32(-1)), "block_count"),
        ("huge embedding", set(dense(), "qwen3.embedding_length", u64(1 << 60)), "embedding_length"),
        ("no heads", set(dense(), "qwen3.attention.head_count", u32(0)), "head_count"),
        ("heads not shared evenly", set(dense(), "qwen3.attention.head_count_kv", u32(3)), "4 heads"),
        ("more KV heads than heads", set(dense(), "qwen3.attention.head_count_kv", u32(8)), "head"),
        (
            "odd head size",
            set(set(dense(), "qwen3.attention.key_length", u32(7)), "qwen3.attention.value_length", u32(7)),
            "7",
        ),
        ("values unlike keys", set(dense(), "qwen3.attention.value_length", u32(16)), "value_length"),
        ("no context", set(dense(), "qwen3.context_length", u32(0)), "context_length"),
        ("epsilon of zero", set(dense(), "qwen3.attention.layer_norm_rms_epsilon", f32(0.0)), "epsilon"),
        ("epsilon NaN", set(dense(), "qwen3.attention.layer_norm_rms_epsilon", f32(f32::NAN)), "epsilon"),
        ("epsilon of text", set(dense(), "qwen3.attention.layer_norm_rms_epsilon", str("small")), "epsilon"),
        ("frequency base of zero", set(dense(), "qwen3.rope.freq_base", f32(0.0)), "base"),
        ("unknown scaling", dense().key("qwen3.rope.scaling.type", str("longrope")), "longrope"),
        (
            "YaRN backwards",
            dense().key("qwen3.rope.scaling.type", str("yarn")).key("qwen3.rope.scaling.factor", f32(-4.0)),
            "-4",
        ),
        (
            "YaRN over nothing",
            dense()
                .key("qwen3.rope.scaling.type", str("yarn"))
                .key("qwen3.rope.scaling.original_context_length", u32(0)),
            "context of 0",
        ),
        ("rotation of a part", dense().key("qwen3.rope.dimension_count", u32(4)), "dimension_count"),
        ("more experts used than there are", set(moe(), "qwen3moe.expert_used_count", u32(5)), "expert_used_count"),
        ("no experts used", set(moe(), "qwen3moe.expert_used_count", u32(0)), "expert_used_count"),
        ("weights not renormalized", moe().key("qwen3moe.expert_weights_norm", bool(0)), "expert_weights_norm"),
    ]
}

fn shapes() -> Vec<(&'static str, Builder, &'static str)> {
    let shaped = |b: Builder, name: &'static str, dims: &[u64]| {
        let new = f32_tensor(name, dims);
        (("a wrong shape"), spoilt(b, name, |t| *t = new), name)
    };
    vec![
        shaped(dense(), "token_embd.weight", &[EMBD + 32, VOCAB]),
        shaped(dense(), "blk.0.attn_q.weight", &[EMBD, 64]),
        shaped(dense(), "blk.0.attn_q.weight", &[32, EMBD, 2]),
        shaped(dense(), "blk.0.attn_k.weight", &[16, EMBD]),
        shaped(dense(), "blk.0.attn_q_norm.weight", &[16]),
        shaped(dense(), "blk.0.ffn_down.weight", &[EMBD, FF]),
        shaped(dense(), "output_norm.weight", &[1]),
        shaped(moe(), "blk.0.ffn_up_exps.weight", &[EMBD, FF, 3]),
        shaped(moe(), "blk.0.ffn_gate_inp.weight", &[EMBD, 5]),
        (
            "a type that cannot be computed with",
            spoilt(dense(), "blk.0.attn_v.weight", |t| (t.type_id, t.payload) = (24, vec![0; 512])),
            "I8",
        ),
    ]
}

fn numbers() -> Vec<(&'static str, Builder, &'static str)> {
    let at = |t: &mut Tensor, i: usize, v: f32| t.payload[4 * i..4 * i + 4].copy_from_slice(&v.to_le_bytes());
    let q8_0 = |scale: u16| {
        let mut rows = vec![0u8; 16 * 34];
        rows[5 * 34..5 * 34 + 2].copy_from_slice(&scale.to_le_bytes());
        tensor("blk.0.attn_k.weight", &[EMBD, 16], 8, rows)
    };
    vec![
        ("a NaN weight", spoilt(dense(), "blk.0.ffn_up.weight", |t| at(t, 100, f32::NAN)), "blk.0.ffn_up.weight"),
        ("an infinite weight", spoilt(dense(), "token_embd.weight", |t| at(t, 33, f32::INFINITY)), "row 1"),
        ("a NaN norm", spoilt(dense(), "blk.0.attn_norm.weight", |t| at(t, 7, f32::NAN)), "value 7"),
        ("a NaN expert", spoilt(moe(), "blk.0.ffn_down_exps.weight", |t| at(t, 5000, f32::NAN)), "blk.0.ffn_down_exps"),
        ("a NaN scale", spoilt(dense(), "blk.0.attn_k.weight", |t| *t = q8_0(0x7e00)), "row 5"),
        ("an infinite scale", spoilt(dense(), "blk.0.attn_k.weight", |t| *t = q8_0(0xfc00)), "row 5"),
    ]
}

#[test]
fn the_models_that_the_cases_spoil_are_sound() {
    for sound in [dense(), moe()] {
        let mut engine = load_bytes(&sound.bytes()).expect("a sound model");
        let logits = engine.read(&mut Sequence::default(), &[1, 2, 3], 1, &mut |_| true).unwrap();
        assert_eq!(logits.len(), VOCAB as usize);
        assert!(logits.iter().all(|l| l.is_finite()));
        let told = |e: Error, what: &str| assert!(e.to_string().contains(what), "{e}");
        told(engine.read(&mut Sequence::default(), &[1; 65], 1, &mut |_| true).unwrap_err(), "65 tokens");
        told(engine.read(&mut Sequence::default(), &[40], 1, &mut |_| true).unwrap_err(), "token 40");
    }
}

#[test]
fn each_broken_model_is_refused_by_name() {
    let cases = cases();
    assert!(cases.len() >= 50, "{} cases", cases.len());
    for (what, builder, named) in cases {
        let bytes = builder.bytes();
        let outcome = std::panic::catch_unwind(|| load_bytes(&bytes).map(|_| ()));
        let error = outcome.unwrap_or_else(|_| panic!("{what}: panicked")).expect_err(what).to_string();
        assert!(error.contains(named), "{what}: the error does not name '{named}': {error}");
        assert!(error.contains("hostile.gguf"), "{what}: the error does not name the file: {error}");
    }
}
