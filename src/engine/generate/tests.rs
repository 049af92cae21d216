//! Generation over made-up logits: how it ends, what it holds back, what its guards do.

use super::*;
use crate::sample::{Params, Settings};
use crate::tokenizer::Vocab as Words;

/// The 256 bytes in GPT-2's alphabet, an end (256), padding (257).
fn tokenizer() -> Tokenizer {
    let plain = |b: u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let mut others = 256..;
    let mut letter = |b: u32| if plain(b) { Some(b) } else { others.next() };
    let letters = (0..256).map(|b| letter(b).and_then(char::from_u32).map(String::from).unwrap());
    let tokens = letters.chain(["<|im_end|>", "pad"].map(String::from)).collect();
    let vocab = Words {
        tokens,
        types: [vec![1; 256], vec![3, 5]].concat(),
        merges: vec![],
        pre: "qwen2".to_owned(),
        model: "gpt2".to_owned(),
        bos: None,
        eos: Some(256),
        eot: None,
        pad: None,
        add_bos: false,
    };
    Tokenizer::from_vocab(vocab).unwrap()
}

const A: u32 = 97;
const B: u32 = 98;
const C: u32 = 99;
/// A byte that only begins a character.
const E4: u32 = 0xE4;
const END: u32 = 256;

/// Greedy steps over logits that want `ids` in turn; `room` tokens fit.
fn run(ids: &[u32], stops: &[&str], limit: Option<usize>, room: usize) -> (String, Vec<u32>, Option<Finish>) {
    let tokenizer = tokenizer();
    let greedy = Params { chain: Settings { temperature: 0.0, ..Settings::default() }, ..Params::default() };
    let sampler = Sampler::new(greedy, vocab(&tokenizer, 259).unwrap().into()).unwrap();
    let mut generation = Generation::new(&tokenizer, sampler, StopMatcher::new(stops).unwrap(), limit);
    let (mut text, mut tokens) = (String::new(), vec![]);
    for (i, &id) in ids.iter().enumerate() {
        let mut logits = [0.0; 259];
        logits[id as usize] = 1.0;
        (logits[257], logits[258]) = (9.0, 9.0);
        let piece = generation.take(&mut logits, room - i).unwrap();
        text += &piece.text;
        tokens.extend(piece.token);
        if piece.finish.is_some() {
            assert_eq!(piece.finish, generation.finish());
            return (text, tokens, piece.finish);
        }
    }
    let last = generation.interrupt();
    assert_eq!(generation.interrupt().text, "", "said once");
    (text + &last.text, tokens, last.finish)
}

#[test]
fn ends_for_each_reason() {
    let of = |text: &str, tokens: &[u32], finish| (text.to_owned(), tokens.to_vec(), Some(finish));
    assert_eq!(run(&[A, B, END, C], &[], None, 9), of("ab", &[A, B, END], Finish::Eog(END)));
    assert_eq!(run(&[A, B, C, A], &[], Some(3), 9), of("abc", &[A, B, C], Finish::Length));
    assert_eq!(run(&[A, B, C, A], &["ba", "bc"], None, 9), of("a", &[A, B, C], Finish::Stop(1)));
    assert_eq!(run(&[A, B, C, A], &[], None, 1), of("ab", &[A, B], Finish::ContextFull));
    assert_eq!(run(&[A, B], &[], None, 9), of("ab", &[A, B], Finish::Interrupted));
}

#[test]
fn held_back_text_comes_at_the_end() {
    assert_eq!(run(&[A, B], &["bx"], None, 9).0, "ab", "the beginning of a stop string");
    assert_eq!(run(&[A, E4], &[], Some(2), 9).0, "a\u{FFFD}", "part of a character");
    let stopped = run(&[A, E4, END], &["\u{FFFD}"], None, 9);
    assert_eq!((stopped.0.as_str(), stopped.2), ("a", Some(Finish::Stop(0))));
}

#[test]
fn a_stop_string_beats_the_length() {
    assert_eq!(run(&[A, B], &["b"], Some(2), 1).2, Some(Finish::Stop(0)));
    assert_eq!(run(&[A, END], &[], Some(2), 1).2, Some(Finish::Eog(END)));
}

/// A generation over logits that want a token far more than any other; `after` changes it before it begins.
fn guarded(tokenizer: &Tokenizer, limit: Option<usize>, start: Start, guards: Guards) -> Generation<'_> {
    let greedy = Params { chain: Settings { temperature: 0.0, ..Settings::default() }, ..Params::default() };
    let sampler = Sampler::new(greedy, vocab(tokenizer, 259).unwrap().into()).unwrap();
    let generation = Generation::new(tokenizer, sampler, StopMatcher::new::<&str>(&[]).unwrap(), limit);
    generation.starting(start).guarded(guards).unwrap()
}

/// Runs it to its end, wanting `id` of the text so far, at most 5000 tokens; the text, all notices, how it ended.
fn drive(generation: &mut Generation<'_>, mut id: impl FnMut(&str) -> u32) -> (String, Vec<Notice>, Option<Finish>) {
    let (mut text, mut notices) = (String::new(), vec![]);
    for _ in 0..5000 {
        let mut logits = [0.0; 259];
        logits[id(&text) as usize] = 50.0;
        let piece = generation.take(&mut logits, 100_000).unwrap();
        text += &piece.text;
        notices.extend(piece.notices);
        if piece.finish.is_some() {
            return (text, notices, piece.finish);
        }
    }
    (text, notices, None)
}

fn on() -> Guards {
    Guards { loop_guard: true, ..Guards::default() }
}

#[test]
fn an_answer_that_repeats_itself_is_penalized_and_then_stopped() {
    let tokenizer = tokenizer();
    let mut generation = guarded(&tokenizer, None, Start::Answer, on());
    let (text, notices, finish) = drive(&mut generation, |_| A);
    assert_eq!(finish, Some(Finish::Loop));
    assert!(matches!(notices[..], [Notice::Penalized(_), Notice::LoopStopped(_)]), "{notices:?}");
    assert!(text.len() < 600, "{} tokens", text.len());
    assert_eq!(generation.sampler().params().chain.presence_penalty, crate::guard::PRESENCE);
    let mut off = guarded(&tokenizer, None, Start::Answer, Guards::default());
    assert_eq!(drive(&mut off, |_| A).2, None, "only when the guard is on");
}

#[test]
fn thinking_that_repeats_itself_is_ended_and_the_answer_begins_anew() {
    let tokenizer = tokenizer();
    let mut generation = guarded(&tokenizer, None, Start::Thinking, on());
    let wanted = |text: &str| if text.contains("</think>") { END } else { A };
    let (text, notices, finish) = drive(&mut generation, wanted);
    assert!(matches!(notices[..], [Notice::Penalized(_), Notice::ThinkingEnded { why: Why::Loop, .. }]), "{notices:?}");
    assert!(text.ends_with(&format!("{EARLY_STOP}{}", closing::CLOSE)), "{text}");
    assert_eq!(finish, Some(Finish::Eog(END)));
    assert_eq!(generation.sampler().params().chain.presence_penalty, 0.0, "the answer has no penalty");
}

#[test]
fn a_penalty_that_helped_is_taken_back() {
    let tokenizer = tokenizer();
    let mut generation = guarded(&tokenizer, Some(3000), Start::Answer, on());
    let mut r = 1_u32;
    let mut wanted = |text: &str| {
        r = r.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if text.len() < 400 { A } else { 97 + r % 0x1000_0000 / 0x1_0000 % 26 }
    };
    let (_, notices, finish) = drive(&mut generation, &mut wanted);
    assert_eq!((notices.len(), finish), (1, Some(Finish::Length)), "{notices:?}");
    assert_eq!(generation.sampler().params().chain.presence_penalty, 0.0);
}

#[test]
fn thinking_leaves_room_for_the_answer() {
    let tokenizer = tokenizer();
    let mut generation = guarded(&tokenizer, Some(1000), Start::Thinking, Guards::default());
    let (text, notices, finish) = drive(&mut generation, |_| B);
    assert!(matches!(notices[..], [Notice::ThinkingEnded { why: Why::Reserve { limit: 1000 }, .. }]), "{notices:?}");
    let (_, answer) = text.split_once("</think>\n\n").unwrap();
    assert_eq!((answer.len(), finish), (250, Some(Finish::Length)));
    assert_eq!(text.len(), 1000);
}

#[test]
fn a_turn_that_ends_within_thinking_is_made_to_answer() {
    let tokenizer = tokenizer();
    let mut generation = guarded(&tokenizer, None, Start::Thinking, Guards::default());
    let wanted = |text: &str| if text.is_empty() { A } else { END };
    let (text, notices, finish) = drive(&mut generation, wanted);
    assert_eq!(text, "a\n</think>\n\n");
    assert_eq!(notices, [Notice::ThinkingEnded { tokens: 1, why: Why::NoAnswer }]);
    assert_eq!(finish, Some(Finish::Eog(END)));
}

#[test]
fn a_request_and_a_changed_budget_end_thinking() {
    let tokenizer = tokenizer();
    for (budget, why) in [(None, Why::Asked), (Some(5), Why::Budget)] {
        let mut generation = guarded(&tokenizer, None, Start::Thinking, Guards::default());
        let control = generation.control().unwrap().clone();
        let wanted = |text: &str| {
            if text.len() == 10 && budget.is_none() {
                control.end_thinking();
            } else if text.len() == 10 {
                control.set_budget(budget);
            }
            if text.contains("</think>") { END } else { A }
        };
        let (text, notices, _) = drive(&mut generation, wanted);
        assert!(matches!(notices[..], [Notice::ThinkingEnded { why: w, .. }] if w == why), "{notices:?}");
        assert!(text.contains(EARLY_STOP) && !control.asked_to_end(), "{text}");
    }
}
