//! How tokens reach the model must not show in its results: chunked, batched, on any number of threads, from shared
//! pages, forked or truncated, every logit is the same bit for bit, on every instruction set of this machine and with
//! every type of cache.
//!
//! Random tokens over more than three pages of 64, on the committed models.

mod common;

use common::{fixture, loud};
use lapwing::batch::Role;
use lapwing::engine::{Engine, EngineOptions, Part};
use lapwing::gguf::{Gguf, OpenOptions};
use lapwing::kv::Sequence;
use lapwing::model::rope::RopeFlags;
use lapwing::sample::Rng;
use lapwing_quant::attend::{KvType, PAGE};
use lapwing_quant::kernels::{self, Kernels};

const MODELS: [&str; 4] = ["dense-bf16", "moe-bf16", "moe-q8_0", "dense-mixed"];
/// Tokens of a prompt: three pages and a part of the fourth.
const PROMPT: usize = 3 * PAGE + 18;
/// Tokens generated after it; they reach into the next page.
const GENERATED: usize = PAGE - 8;

/// What an engine is set up with in these tests.
#[derive(Clone, Copy, Debug)]
struct Setup {
    model: &'static str,
    kernels: &'static Kernels,
    cache: KvType,
    threads: usize,
    repack: bool,
}

impl Setup {
    fn engine(self) -> Engine {
        let path = fixture(&format!("{}.gguf", self.model));
        let gguf = Gguf::open(&path, &OpenOptions::default()).expect("a committed model");
        let options = EngineOptions {
            kernels: self.kernels,
            threads: self.threads,
            threads_batch: self.threads,
            cpus: Vec::new(),
            rope: RopeFlags::default(),
            n_ctx: 512,
            sequences: 6,
            keys: self.cache,
            values: self.cache,
            repack: self.repack,
        };
        Engine::load(&gguf, options, &mut |_, _| {}).unwrap_or_else(|e| panic!("{self:?}: {e}"))
    }
}

/// Whether this cache type fits the model: q8_0 takes heads of whole blocks of 32.
fn fits(model: &str, cache: KvType) -> bool {
    let gguf = Gguf::open(&fixture(&format!("{model}.gguf")), &OpenOptions::default()).expect("a committed model");
    let config = lapwing::model::Config::read(&gguf, &RopeFlags::default()).expect("a sound model");
    cache != KvType::Q8_0 || config.heads.head_dim.is_multiple_of(32)
}

/// Calls `test` for every model and instruction set; on dense models with every cache type, too (the experts do not see
/// the cache); with f16 caches also with weights left as they are in the file. An emulated matrix unit is slow, and
/// differs from AVX-512 in the products with arranged integer weights only.
fn everywhere(test: impl Fn(Setup)) {
    let mut seen = Vec::new();
    if let Some(kernels) = kernels::emulated() {
        loud(&format!("EMULATED: instruction set {}; this machine lacks it", kernels.name));
        for model in ["moe-q8_0", "dense-mixed"] {
            test(Setup { model, kernels, cache: KvType::F16, threads: 2, repack: true });
        }
    }
    for model in MODELS {
        for kernels in kernels::available() {
            for (name, cache) in KvType::ALL {
                let dense = model.starts_with("dense");
                if !fits(model, cache) || !(dense || cache == KvType::F16) {
                    continue;
                }
                for repack in [true, false] {
                    // Where the weights are has nothing to do with the type of the cache.
                    if repack || cache == KvType::F16 {
                        test(Setup { model, kernels, cache, threads: 2, repack });
                        seen.push(name);
                    }
                }
            }
        }
    }
    for (name, _) in KvType::ALL {
        assert!(seen.contains(&name), "no committed model can be run with a cache of {name}");
    }
}

fn tokens(engine: &Engine, seed: u64, n: usize) -> Vec<u32> {
    let (mut rng, vocab) = (Rng::new(seed), engine.config().n_vocab as u64);
    (0..n).map(|_| rng.below(vocab) as u32).collect()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    assert!(logits.iter().all(|v| v.is_finite()), "logits are numbers");
    logits.iter().map(|v| v.to_bits()).collect()
}

/// Reads tokens in one forward pass; the bits of all their logits.
fn read(engine: &mut Engine, seq: &mut Sequence, tokens: &[u32], role: Role) -> Vec<u32> {
    let part = Part { seq, tokens, role, wanted: tokens.len() };
    bits(engine.forward(&mut [part]).expect("there is room").part(0))
}

/// Reads tokens one by one as generated ones; the bits of each one's logits.
fn generate(engine: &mut Engine, seq: &mut Sequence, tokens: &[u32]) -> Vec<u32> {
    tokens.iter().flat_map(|&token| bits(&engine.step(seq, token).expect("there is room"))).collect()
}

fn drop_sequence(engine: &mut Engine, mut seq: Sequence) {
    seq.truncate(&mut engine.kv_mut().pages, 0);
}

/// The prompt in one pass and then the generated tokens, in a sequence of its own.
fn alone(engine: &mut Engine, prompt: &[u32], generated: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut seq = Sequence::default();
    let first = read(engine, &mut seq, prompt, Role::Prompt);
    let then = generate(engine, &mut seq, generated);
    drop_sequence(engine, seq);
    (first, then)
}

fn assert_same(got: &[u32], want: &[u32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: as many logits");
    if let Some(at) = got.iter().zip(want).position(|(g, w)| g != w) {
        let different = got.iter().zip(want).filter(|(g, w)| g != w).count();
        let (g, w) = (f32::from_bits(got[at]), f32::from_bits(want[at]));
        panic!("{what}: {different} of {} logits differ, the first at {at}: {g:e} is not {w:e}", got.len());
    }
}

#[test]
fn chunked_prompts_equal_whole_ones() {
    everywhere(|setup| {
        let mut engine = setup.engine();
        let (prompt, generated) = (tokens(&engine, 1, PROMPT), tokens(&engine, 2, 4));
        let (whole, after) = alone(&mut engine, &prompt, &generated);
        for cuts in [&[1][..], &[7], &[63], &[64], &[65], &[1, 2, 66, 129], &[15, 16, 17, 31, 128, 192, PROMPT - 1]] {
            let mut seq = Sequence::default();
            let mut got = Vec::new();
            let mut start = 0;
            for &end in cuts.iter().chain([&PROMPT]) {
                got.extend(read(&mut engine, &mut seq, &prompt[start..end], Role::Prompt));
                start = end;
            }
            assert_same(&got, &whole, &format!("{setup:?}, cut at {cuts:?}"));
            let got = generate(&mut engine, &mut seq, &generated);
            assert_same(&got, &after, &format!("{setup:?}, after cuts at {cuts:?}"));
            drop_sequence(&mut engine, seq);
        }
        for size in [7, 64] {
            let mut seq = Sequence::default();
            let chunks = prompt.chunks(size);
            let got: Vec<u32> = chunks.flat_map(|c| read(&mut engine, &mut seq, c, Role::Prompt)).collect();
            assert_same(&got, &whole, &format!("{setup:?}, chunks of {size}"));
            drop_sequence(&mut engine, seq);
        }
    });
}

/// `Engine::read` chunks by itself, and computes only the logits that are wanted.
#[test]
fn wanted_rows_equal_those_of_all_rows() {
    everywhere(|setup| {
        let mut engine = setup.engine();
        let prompt = tokens(&engine, 3, PROMPT);
        let (whole, _) = alone(&mut engine, &prompt, &[]);
        let vocab = engine.config().n_vocab;
        for wanted in [1, 2, 65, PROMPT] {
            let mut seq = Sequence::default();
            let got = bits(&engine.read(&mut seq, &prompt, wanted, &mut |_| true).expect("there is room"));
            assert_same(&got, &whole[(PROMPT - wanted) * vocab..], &format!("{setup:?}, {wanted} rows"));
            drop_sequence(&mut engine, seq);
        }
    });
}

/// Prompts of several lengths and generated tokens share passes; each sequence is as if it were alone.
#[test]
fn batched_sequences_equal_lone_ones() {
    everywhere(|setup| {
        let mut engine = setup.engine();
        let lengths = [PROMPT, 1, PAGE, PAGE + 1];
        let prompts: Vec<Vec<u32>> = (0..4).map(|i| tokens(&engine, 10 + i, lengths[i as usize])).collect();
        let steps: Vec<Vec<u32>> = (0..4).map(|i| tokens(&engine, 20 + i, GENERATED)).collect();
        let want: Vec<_> = (0..4).map(|i| alone(&mut engine, &prompts[i], &steps[i])).collect();
        let mut seqs: Vec<Sequence> = (0..4).map(|_| Sequence::default()).collect();
        let mut got: Vec<Vec<u32>> = vec![Vec::new(); 4];
        // Sequence i begins at round i, so that prompts meet tokens that are being generated, in any order of parts.
        for round in 0..GENERATED + 4 {
            let mut indices = Vec::new();
            let mut parts = Vec::new();
            for (i, seq) in seqs.iter_mut().enumerate().filter(|(i, _)| (*i..=*i + GENERATED).contains(&round)) {
                let part = match round - i {
                    0 => Part { seq, tokens: &prompts[i], role: Role::Prompt, wanted: prompts[i].len() },
                    n => Part { seq, tokens: &steps[i][n - 1..n], role: Role::Generated, wanted: 1 },
                };
                indices.push(i);
                parts.push(part);
            }
            let logits = engine.forward(&mut parts).expect("there is room");
            for (part, &i) in indices.iter().enumerate() {
                got[i].extend(bits(logits.part(part)));
            }
        }
        for i in 0..4 {
            let want = [want[i].0.as_slice(), &want[i].1].concat();
            assert_same(&got[i], &want, &format!("{setup:?}, sequence {i} of a batch"));
        }
    });
}

/// Several drafted tokens in one pass are as the same tokens one after another.
#[test]
fn drafted_tokens_equal_single_ones() {
    everywhere(|setup| {
        let mut engine = setup.engine();
        let (prompt, generated) = (tokens(&engine, 4, PAGE - 3), tokens(&engine, 5, 20));
        let (_, want) = alone(&mut engine, &prompt, &generated);
        for size in [2, 5, 20] {
            let mut seq = Sequence::default();
            read(&mut engine, &mut seq, &prompt, Role::Prompt);
            let chunks = generated.chunks(size);
            let got: Vec<u32> = chunks.flat_map(|c| read(&mut engine, &mut seq, c, Role::Generated)).collect();
            assert_same(&got, &want, &format!("{setup:?}, {size} drafted tokens"));
            drop_sequence(&mut engine, seq);
        }
    });
}

#[test]
fn the_number_of_threads_does_not_matter() {
    everywhere(|setup| {
        let run = |threads| {
            let mut engine = Setup { threads, ..setup }.engine();
            let (prompt, generated) = (tokens(&engine, 6, PROMPT), tokens(&engine, 7, 8));
            alone(&mut engine, &prompt, &generated)
        };
        let want = run(1);
        for threads in [2, 3] {
            let got = run(threads);
            assert_same(&got.0, &want.0, &format!("{setup:?}, prompt with {threads} threads"));
            assert_same(&got.1, &want.1, &format!("{setup:?}, generated with {threads} threads"));
        }
    });
}

/// Pages that another sequence filled, whether it still lives or not, are as if they had been computed anew.
#[test]
fn shared_prefixes_equal_recomputed_ones() {
    everywhere(|setup| {
        let engine = setup.engine();
        let prefix = tokens(&engine, 8, 2 * PAGE + 30);
        let longer = |engine: &Engine, seed| [prefix.as_slice(), &tokens(engine, seed, PAGE)].concat();
        let (a, b) = (longer(&engine, 30), longer(&engine, 31));
        let vocab = engine.config().n_vocab;
        // In another engine, which has nothing to share.
        let (want, after) = alone(&mut setup.engine(), &b, &a[..8]);
        for first_lives in [true, false] {
            let mut engine = setup.engine();
            let mut first = Sequence::default();
            // Filled by chunks that end elsewhere than the pages.
            a.chunks(50).for_each(|chunk| drop(read(&mut engine, &mut first, chunk, Role::Prompt)));
            if !first_lives {
                first.truncate(&mut engine.kv_mut().pages, 0);
            }
            let mut second = Sequence::default();
            let found = second.adopt(&mut engine.kv_mut().pages, &b);
            assert_eq!(found, 2 * PAGE, "{setup:?}: the whole pages of the prefix are found");
            assert!(!first_lives || second.pages() == &first.pages()[..2], "{setup:?}: the pages are the same");
            let got = read(&mut engine, &mut second, &b[found..], Role::Prompt);
            assert_same(&got, &want[found * vocab..], &format!("{setup:?}, first lives: {first_lives}"));
            let got = generate(&mut engine, &mut second, &a[..8]);
            assert_same(&got, &after, &format!("{setup:?}, generated, first lives: {first_lives}"));
        }
    });
}

/// A fork and its origin go on in different ways, by turns; neither sees the other.
#[test]
fn forks_equal_separate_sequences() {
    everywhere(|setup| {
        let mut engine = setup.engine();
        let prompt = tokens(&engine, 9, PAGE + 20);
        let (left, right) = (tokens(&engine, 40, GENERATED), tokens(&engine, 41, GENERATED));
        let want = (alone(&mut engine, &prompt, &left).1, alone(&mut engine, &prompt, &right).1);
        let mut a = Sequence::default();
        read(&mut engine, &mut a, &prompt, Role::Prompt);
        let mut b = a.fork(&mut engine.kv_mut().pages);
        let (mut got_a, mut got_b) = (Vec::new(), Vec::new());
        for (&l, &r) in left.iter().zip(&right) {
            got_b.extend(generate(&mut engine, &mut b, &[r]));
            got_a.extend(generate(&mut engine, &mut a, &[l]));
        }
        assert_eq!(a.pages()[0], b.pages()[0], "{setup:?}: the page before the fork is still one");
        assert_ne!(a.pages()[1], b.pages()[1], "{setup:?}: the page that both wrote is two");
        assert_same(&got_a, &want.0, &format!("{setup:?}, origin"));
        assert_same(&got_b, &want.1, &format!("{setup:?}, fork"));
    });
}

/// After truncating anywhere, reading other tokens or the same ones again is as in a fresh sequence.
#[test]
fn truncated_sequences_equal_fresh_ones() {
    everywhere(|setup| {
        let mut engine = setup.engine();
        let (prompt, other) = (tokens(&engine, 50, PROMPT), tokens(&engine, 51, PAGE + 5));
        let vocab = engine.config().n_vocab;
        let (whole, _) = alone(&mut engine, &prompt, &[]);
        for len in [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, PROMPT - 1] {
            let text = [&prompt[..len], &other].concat();
            let (fresh, _) = alone(&mut setup.engine(), &text, &[]);
            let mut seq = Sequence::default();
            read(&mut engine, &mut seq, &prompt, Role::Prompt);
            seq.truncate(&mut engine.kv_mut().pages, len);
            let got = read(&mut engine, &mut seq, &other, Role::Prompt);
            assert_same(&got, &fresh[len * vocab..], &format!("{setup:?}, other tokens from {len} on"));
            seq.truncate(&mut engine.kv_mut().pages, len);
            let got = read(&mut engine, &mut seq, &prompt[len..], Role::Prompt);
            assert_same(&got, &whole[len * vocab..], &format!("{setup:?}, the same tokens from {len} on"));
            drop_sequence(&mut engine, seq);
        }
    });
}

/// A yardstick that finds everything equal would pass all of the above.
#[test]
fn different_tokens_give_different_bits() {
    everywhere(|setup| {
        let mut engine = setup.engine();
        let prompt = tokens(&engine, 60, 70);
        let mut other = prompt.clone();
        other[3] = (other[3] + 1) % engine.config().n_vocab as u32;
        let vocab = engine.config().n_vocab;
        let (a, b) = (alone(&mut engine, &prompt, &[]).0, alone(&mut engine, &other, &[]).0);
        assert_same(&a[..3 * vocab], &b[..3 * vocab], &format!("{setup:?}, before the difference"));
        assert_ne!(a[69 * vocab..], b[69 * vocab..], "{setup:?}: the last row depends on the fourth token");
    });
}
