//! The parts of answering that are no product of matrices: attention, sampling, tokenizing; and whole passes of a small
//! model, which show what a pass costs beside its arithmetic.
//!
//!     cargo bench --bench forward -- --save-baseline before
//!     cargo bench --bench forward -- --baseline before [FILTER]
//!
//! Names are `attend/ISA/KV TYPE/DEPTH/ROWS`, `sample/...`, `tokenize/...` and `pass/MODEL/...`. Attention has the heads
//! of Qwen3-0.6B (16 over 8, 128 values) and one thread; one row is a generated token's, several are a prompt's; its rate
//! counts the bytes of keys and values that are seen.

#![allow(missing_docs, reason = "criterion's macro writes a public function without any")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lapwing::batch::Role;
use lapwing::cli::model_args;
use lapwing::engine::{Engine, EngineOptions, Part};
use lapwing::gguf::{Gguf, OpenOptions};
use lapwing::kv::Sequence;
use lapwing::model::rope::RopeFlags;
use lapwing::sample::{Params, Rng, Sampler, Settings, Vocab};
use lapwing::tokenizer::Specials;
use lapwing_quant::attend::{self, Heads, KvType, PAGE, Places, Plane, QuerySpan};
use lapwing_quant::kernels::{self, Kernels};
use lapwing_quant::threads::Pool;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn values(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    (0..n).map(|_| (rng.next_u64() >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

fn attention(c: &mut Criterion) {
    let heads = Heads { n_heads: 16, n_kv_heads: 8, head_dim: 128 };
    let pool = Pool::new(1, &[]).expect("a thread");
    for kernels in kernels::available().filter(|k| k.name != "scalar") {
        attention_of(c, kernels, heads, &pool);
    }
}

fn attention_of(c: &mut Criterion, kernels: &'static Kernels, heads: Heads, pool: &Pool) {
    let width = heads.n_heads * heads.head_dim;
    for (name, dtype) in KvType::ALL {
        for depth in [512usize, 4096] {
            let pages: Vec<u32> = (0..depth.div_ceil(PAGE) as u32).collect();
            let floats = values(1, pages.len() * PAGE * heads.n_kv_heads * heads.head_dim);
            let mut bytes = vec![0; dtype.row_bytes(floats.len())];
            dtype.narrow(kernels, &floats, &mut bytes);
            let places = Places { first: 0, step: heads.page_bytes(dtype) };
            let plane = Plane { bytes: &bytes, dtype, places };
            let mut group = c.benchmark_group(format!("attend/{}/{name}/{depth}", kernels.name));
            group.throughput(Throughput::Bytes(2 * bytes.len() as u64));
            for (rows, generated) in [(1, true), (64, false), (512, false)] {
                let (q, mut out) = (values(2, rows * width), vec![0.0; rows * width]);
                let span = QuerySpan { first: 0, len: rows, past: depth - rows, pages: &pages, generated };
                group.bench_function(BenchmarkId::from_parameter(rows), |b| {
                    pool.enter(1, |team| {
                        b.iter(|| attend::attend(team, kernels, heads, (plane, plane), &[span], &q, &mut out));
                    });
                    black_box(&out);
                });
            }
            group.finish();
        }
    }
}

fn sampler(c: &mut Criterion) {
    /// Rows of Qwen3's output, of which the last are padding.
    const ROWS: usize = 151_936;
    let vocab = Arc::new(Vocab::new(ROWS, |id| id >= 151_669, |id| id == 151_645).expect("a sound vocabulary"));
    // Shaped like real logits: most far below a few.
    let logits: Vec<f32> = values(3, ROWS).iter().map(|v| 18.0 * v * v * v).collect();
    let plain = Settings::default();
    let cases = [
        ("greedy", Settings { temperature: 0.0, ..plain.clone() }),
        ("thinking", plain.clone()),
        ("top_p", Settings { top_k: 0, ..plain.clone() }),
        ("everything", Settings { top_k: 0, top_p: 1.0, ..plain.clone() }),
        ("penalties", Settings { presence_penalty: 1.5, repeat_penalty: 1.1, ..plain }),
    ];
    let mut group = c.benchmark_group("sample/151936");
    for (name, chain) in cases {
        let mut sampler =
            Sampler::new(Params { chain, seed: 7, ..Params::default() }, vocab.clone()).expect("in range");
        (0..200).for_each(|i| sampler.accept(i * 7));
        let mut row = logits.clone();
        group.bench_function(name, |b| {
            b.iter(|| {
                row.copy_from_slice(&logits);
                black_box(sampler.sample(&mut row).expect("a token"))
            });
        });
    }
    group.finish();
}

fn fixture(name: &str) -> Arc<Gguf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models").join(name);
    Gguf::open(&path, &OpenOptions::default()).expect("a committed model")
}

/// Qwen3's own vocabulary, where the data sets beside the repository are; else only the small one of a fixture.
fn tokenizer(c: &mut Criterion) {
    tokenizer_of(c, "fixture", &fixture("dense-bf16.gguf"));
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/vocab-qwen2.gguf");
    match Gguf::open(&real, &OpenOptions::default()) {
        Ok(gguf) => tokenizer_of(c, "qwen", &gguf),
        Err(e) => eprintln!("SKIPPED tokenize/qwen: {e}"),
    }
}

fn tokenizer_of(c: &mut Criterion, name: &str, gguf: &Gguf) {
    let tokenizer = model_args::tokenizer(gguf).expect("a sound vocabulary");
    let line = "The lapwing's call (\u{201c}pee-wit\u{201d}) costs nothing: 12,345 of them, \u{00fc}ber 90 % in \u{6771}\u{4eac}.\n";
    let mut group = c.benchmark_group(format!("tokenize/{name}"));
    for lines in [1, 1000] {
        let text = line.repeat(lines);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("encode", text.len()), |b| {
            b.iter(|| tokenizer.encode(black_box(&text), Specials::Literal).expect("ids"));
        });
        let ids = tokenizer.encode(&text, Specials::Literal).expect("ids");
        group.bench_function(BenchmarkId::new("decode", text.len()), |b| b.iter(|| tokenizer.decode(black_box(&ids))));
    }
    group.finish();
}

fn passes(c: &mut Criterion) {
    for name in ["dense-mixed", "moe-q8_0"] {
        let options = EngineOptions {
            kernels: kernels::best(),
            threads: 1,
            threads_batch: 1,
            cpus: Vec::new(),
            rope: RopeFlags::default(),
            n_ctx: 512,
            sequences: 1,
            keys: KvType::F16,
            values: KvType::F16,
            repack: true,
        };
        let gguf = fixture(&format!("{name}.gguf"));
        let mut engine = Engine::load(&gguf, options, &mut |_, _| {}).expect("a sound model");
        let mut group = c.benchmark_group(format!("pass/{name}"));
        for (n, role) in [(1u32, Role::Generated), (128, Role::Prompt)] {
            let tokens: Vec<u32> = (0..n).map(|i| i * 2 % 300).collect();
            group.throughput(Throughput::Elements(u64::from(n)));
            group.bench_function(BenchmarkId::from_parameter(n), |b| {
                let mut seq = Sequence::default();
                b.iter(|| {
                    seq.truncate(&mut engine.kv_mut().pages, 0);
                    let part = Part { seq: &mut seq, tokens: &tokens, role, wanted: 1 };
                    engine.forward(&mut [part]).map(|logits| logits.part(0)[0]).expect("there is room")
                });
                seq.truncate(&mut engine.kv_mut().pages, 0);
            });
        }
        group.finish();
    }
}

fn brief() -> Criterion {
    let (warm_up, measure) = (Duration::from_millis(100), Duration::from_millis(400));
    Criterion::default().sample_size(10).warm_up_time(warm_up).measurement_time(measure).without_plots()
}

criterion_group!(name = benches; config = brief(); targets = attention, sampler, tokenizer, passes);
criterion_main!(benches);
