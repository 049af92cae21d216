//! The guards over a real (random) model.

use std::path::Path;
use std::sync::Arc;

use lapwing::cli::model_args;
use lapwing::engine::generate::{self, Finish, Generation};
use lapwing::engine::{Engine, EngineOptions, Sequence};
use lapwing::gguf::{Gguf, OpenOptions};
use lapwing::guard::closing::EARLY_STOP;
use lapwing::guard::{Control, Guards, Notice, Overflow, Start, Why};
use lapwing::sample::stop::StopMatcher;
use lapwing::sample::{LogitBias, Params, Sampler, Settings};
use lapwing::tokenizer::{Specials, Tokenizer};
use lapwing_quant::attend::KvType;
use lapwing_quant::kernels;

/// A model of a context of `n_ctx` tokens.
fn load(n_ctx: usize) -> (Tokenizer, Engine) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/dense-bf16.gguf");
    let gguf = Arc::new(Gguf::open(&path, &OpenOptions::default()).expect("opens"));
    let options = EngineOptions {
        kernels: kernels::best(),
        threads: 1,
        threads_batch: 1,
        cpus: vec![],
        rope: Default::default(),
        n_ctx,
        sequences: 2,
        keys: KvType::F32,
        values: KvType::F32,
        repack: true,
    };
    let tokenizer = model_args::tokenizer(&gguf).expect("a tokenizer");
    (tokenizer, Engine::load(&gguf, options, &mut |_, _| {}).expect("loads"))
}

/// A generation without end of its own.
fn endless<'t>(tokenizer: &'t Tokenizer, engine: &Engine, temperature: f32, limit: Option<usize>) -> Generation<'t> {
    let chain = Settings { temperature, ..Settings::default() };
    // Thinking does not end by itself either; what is forced is forced all the same.
    let never = |id| LogitBias { token: id, bias: f32::NEG_INFINITY };
    let logit_bias = tokenizer.id_of("</think>").map(never).into_iter().collect();
    let params = Params { chain, seed: 7, ignore_eos: true, logit_bias };
    let vocab = generate::vocab(tokenizer, engine.config().n_vocab).expect("a vocabulary");
    let sampler = Sampler::new(params, vocab.into()).expect("sound settings");
    Generation::new(tokenizer, sampler, StopMatcher::new::<&str>(&[]).expect("none"), limit)
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, Specials::Parse).expect("encodes")
}

/// Text, tokens, notices and end of a generation after the prompt "Hi<think>\n".
fn think(budget: Option<usize>, limit: Option<usize>, n_ctx: usize) -> (String, usize, Vec<Notice>, Option<Finish>) {
    let (tokenizer, mut engine) = load(n_ctx);
    let guards = Guards { control: Arc::new(Control::new(budget)), ..Guards::default() };
    let generation = endless(&tokenizer, &engine, 1.0, limit).starting(Start::Thinking);
    let mut generation = generation.guarded(guards).expect("guards");
    let mut seq = Sequence::default();
    generation.start(engine.read(&mut seq, &ids(&tokenizer, "Hi<think>\n"), 1, &mut |_| true).expect("reads"));
    let (mut text, mut notices) = (String::new(), vec![]);
    while let Some(piece) = generation.next(&mut engine, &mut seq).expect("generates") {
        text += &piece.text;
        notices.extend(piece.notices);
    }
    let read = ids(&tokenizer, "Hi<think>\n").len() + generation.tokens() - 1;
    assert_eq!(seq.len(), read, "what was forced was read like the rest");
    (text, generation.thinking_tokens(), notices, generation.finish())
}

#[test]
fn a_budget_ends_thinking_with_the_cards_sentence() {
    let (text, thought, notices, finish) = think(Some(30), Some(400), 1024);
    assert!((20..=30).contains(&thought), "{thought}");
    assert_eq!(notices, [Notice::ThinkingEnded { tokens: thought, why: Why::Budget }]);
    let (before, after) = text.split_once(EARLY_STOP).expect("the sentence");
    assert!(before.ends_with("\n\n") && after.starts_with("</think>\n\n") && after.len() > 40, "{text:?}");
    assert_eq!(finish, Some(Finish::Length));
    assert_eq!(think(Some(30), Some(400), 1024).0, text, "the same again");
}

#[test]
fn no_budget_is_an_empty_block() {
    let (text, thought, notices, _) = think(Some(0), Some(30), 1024);
    assert!(text.starts_with("\n</think>\n\n"), "{text:?}");
    assert_eq!((thought, notices.len()), (0, 1));
}

#[test]
fn the_context_keeps_room_for_the_answer_too() {
    let (text, thought, notices, finish) = think(None, None, 400);
    let why = Why::Reserve { limit: notices.iter().find_map(limit_of).expect("a notice") };
    assert_eq!(notices, [Notice::ThinkingEnded { tokens: thought, why }]);
    let (_, answer) = text.split_once("</think>\n\n").expect("an answer");
    assert!(!answer.trim().is_empty() && thought <= 300, "{thought}: {text:?}");
    assert_eq!(finish, Some(Finish::ContextFull));
}

fn limit_of(notice: &Notice) -> Option<usize> {
    match notice {
        Notice::ThinkingEnded { why: Why::Reserve { limit }, .. } => Some(*limit),
        _ => None,
    }
}

#[test]
fn a_limit_too_small_to_think_and_answer_is_said() {
    let (_, thought, notices, finish) = think(None, Some(4), 1024);
    assert_eq!((thought, notices, finish), (4, vec![Notice::NoReserve { limit: 4 }], Some(Finish::Length)));
}

/// After a shift the model is where reading what is left, as a prompt, would have brought it.
#[test]
fn a_full_context_is_shifted_and_stays_sound() {
    let (tokenizer, mut engine) = load(96);
    let prompt = ids(&tokenizer, "Once upon a time");
    let guards = Guards { overflow: Overflow::Shift, keep: prompt.len(), ..Guards::default() };
    let mut generation = endless(&tokenizer, &engine, 0.0, Some(300)).guarded(guards).expect("guards");
    let mut seq = Sequence::default();
    generation.start(engine.read(&mut seq, &prompt, 1, &mut |_| true).expect("reads"));
    let (mut shifts, mut tokens) = (0, 0);
    while let Some(piece) = generation.next(&mut engine, &mut seq).expect("generates") {
        tokens += 1;
        assert!(seq.len() <= 96);
        for notice in piece.notices {
            let Notice::Shifted { dropped, kept } = notice else { panic!("{notice:?}") };
            assert_eq!((kept, dropped), (prompt.len(), (96 - prompt.len()).div_ceil(2)));
            shifts += 1;
            let (last, before) = seq.tokens().split_last().expect("tokens");
            let mut anew = Sequence::default();
            engine.read(&mut anew, before, 1, &mut |_| true).expect("reads");
            let mut logits = engine.step(&mut anew, *last).expect("steps");
            let close = tokenizer.id_of("</think>");
            let never = tokenizer.eog().iter().copied().chain(tokenizer.unused()).chain(close);
            never.for_each(|id| logits[id as usize] = f32::NEG_INFINITY);
            let best = (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
            assert_eq!(piece.token, Some(best as u32));
            anew.truncate(&mut engine.kv_mut().pages, 0);
        }
    }
    assert_eq!((tokens, generation.finish()), (300, Some(Finish::Length)));
    assert!(shifts >= 4, "{shifts}");
}

#[test]
fn a_full_context_stops_where_nothing_may_be_forgotten() {
    let (tokenizer, mut engine) = load(64);
    for (overflow, keep, notices) in [
        (Overflow::Stop, 0, vec![]),
        (Overflow::DropOldest, 0, vec![]),
        (Overflow::Shift, 60, vec![Notice::CannotShift]),
    ] {
        let guards = Guards { overflow, keep, ..Guards::default() };
        let mut generation = endless(&tokenizer, &engine, 0.0, None).guarded(guards).expect("guards");
        let mut seq = Sequence::default();
        let prompt = ids(&tokenizer, "Once");
        generation.start(engine.read(&mut seq, &prompt, 1, &mut |_| true).expect("reads"));
        let mut said = vec![];
        while let Some(piece) = generation.next(&mut engine, &mut seq).expect("generates") {
            said.extend(piece.notices);
        }
        assert_eq!((seq.len(), said, generation.finish()), (64, notices, Some(Finish::ContextFull)));
        assert_eq!(generation.tokens(), 64 - prompt.len() + 1, "as many as fit, whatever the policy");
        seq.truncate(&mut engine.kv_mut().pages, 0);
    }
}
