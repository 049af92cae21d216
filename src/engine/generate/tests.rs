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
