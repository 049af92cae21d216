//! Tests with the small committed vocabulary; `tests/tokenizer.rs` has those with the real one.

use serde_json::Value;

use super::*;
use crate::error::ErrorKind;

const SMALL: &str = include_str!("../../tests/fixtures/tokenizer/small.json");
const VECTORS: &str = include_str!("../../tests/fixtures/tokenizer/vectors.json");

/// The arrays that a GGUF made from small.json has.
fn small_vocab() -> Vocab {
    let json: Value = serde_json::from_str(SMALL).unwrap();
    let mut tokens = vec![];
    for (text, id) in json["model"]["vocab"].as_object().unwrap() {
        tokens.push((id.as_u64().unwrap(), text.clone(), 1));
    }
    for token in json["added_tokens"].as_array().unwrap() {
        let kind = if token["special"] == true { 3 } else { 4 };
        tokens.push((token["id"].as_u64().unwrap(), token["content"].as_str().unwrap().to_string(), kind));
    }
    tokens.sort();
    tokens.dedup_by_key(|(id, ..)| *id);
    let merges = json["model"]["merges"].as_array().unwrap().iter();
    let pads = ["[PAD0]", "[PAD1]", "[PAD1]"].map(|pad| (pad.to_string(), 5));
    let (tokens, types) = tokens.into_iter().map(|(_, text, kind)| (text, kind)).chain(pads).unzip();
    Vocab {
        tokens,
        types,
        merges: merges.map(|m| format!("{} {}", m[0].as_str().unwrap(), m[1].as_str().unwrap())).collect(),
        pre: "qwen2".into(),
        model: "gpt2".into(),
        eos: Some(1017),
        pad: Some(1015),
        ..Vocab::default()
    }
}

/// The small tokenizer, for other modules' tests too.
pub(crate) fn small() -> Tokenizer {
    Tokenizer::from_vocab(small_vocab()).unwrap()
}

#[test]
fn ids_equal_those_of_the_python_package() {
    let tokenizer = small();
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.len() >= 40);
    for vector in &vectors {
        let text = vector["text"].as_str().unwrap();
        let want: Vec<u32> = serde_json::from_value(vector["ids"].clone()).unwrap();
        assert_eq!(tokenizer.encode(text, Specials::Parse).unwrap(), want, "{text:?}");
    }
}

#[test]
fn control_tokens_come_only_from_trusted_text() {
    let tokenizer = small();
    let control = |ids: &[u32]| ids.iter().filter(|id| tokenizer.kind(**id) == Some(TokenKind::Control)).count();
    for text in ["<|im_end|>", "x<|im_start|>system\n<|endoftext|>y", "<|im_end|><think>", "<<|im_end|>"] {
        let literal = tokenizer.encode(text, Specials::Literal).unwrap();
        assert_eq!(control(&literal), 0, "{text}");
        assert_eq!(tokenizer.decode(&literal), text);
        assert!(control(&tokenizer.encode(text, Specials::Parse).unwrap()) > 0);
    }
    let think = tokenizer.id_of("<think>").unwrap();
    assert!(tokenizer.encode("<|im_end|><think>", Specials::Literal).unwrap().contains(&think), "user-defined: a word");
}

#[test]
fn segments_give_the_ids_of_the_whole_text() {
    let tokenizer = small();
    let segment = |text: &str, trusted| Segment { text: text.into(), trusted };
    let ids = |parts: &[Segment]| tokenizer.encode_segments(parts).unwrap();
    let parse = |text| tokenizer.encode(text, Specials::Parse).unwrap();
    let end = tokenizer.id_of("<|im_end|>").unwrap();

    assert_eq!(
        ids(&[segment("user\n", true), segment("\n\nhel", false), segment("lo", true)]),
        parse("user\n\n\nhello")
    );
    let typed = ids(&[segment("a", true), segment("<|im_end|>", false), segment("b<|im_end|>", true)]);
    assert_eq!(typed.iter().filter(|id| **id == end).count(), 1);
    assert_eq!(typed.last(), Some(&end));
    assert_eq!(tokenizer.decode(&typed), "a<|im_end|>b<|im_end|>");
    let halves =
        ids(&[segment("<|im_", false), segment("end|>", true), segment("", false), segment("<|im_end|>", true)]);
    assert_eq!(halves.iter().filter(|id| **id == end).count(), 1, "partly typed: text");
    assert!(ids(&[]).is_empty());
}

/// Deterministic text in which every kind of border occurs.
fn mixed(seed: u64, len: usize) -> String {
    const PARTS: [&str; 32] = [
        " ",
        " ",
        " ",
        "\n",
        "\n",
        "\r\n",
        "\t",
        "a",
        "the",
        "Zebra",
        "'s",
        "'LL",
        "'",
        "7",
        "2026",
        ".",
        "!?",
        "(",
        "中",
        "文字",
        "，",
        "。",
        "\u{3000}",
        "é",
        "e\u{301}",
        "\u{301}",
        "🦙",
        "\u{200d}",
        "Привет",
        "각",
        "ᄀ\u{1161}",
        "\u{a0}",
    ];
    let mut state = seed;
    let mut out = String::new();
    while out.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pick = (state >> 33) as usize;
        match pick % 40 {
            39 => out.extend(char::from_u32((pick as u32 / 40) % 0x11_0000)),
            n => out.push_str(PARTS[n % PARTS.len()]),
        }
    }
    out
}

#[test]
fn chunked_encoding_equals_one_shot() {
    let tokenizer = small();
    for seed in 0..60 {
        let text = mixed(seed, 3000);
        let mut whole = vec![];
        tokenizer.encode_chunked(&text, usize::MAX, &mut whole).unwrap();
        for limit in [0, 1, 2, 5, 16, 100, 1000] {
            let mut ids = vec![];
            tokenizer.encode_chunked(&text, limit, &mut ids).unwrap();
            assert_eq!(ids, whole, "seed {seed}, limit {limit}");
        }
    }
}

#[test]
fn decoding_gives_the_nfc_form_and_streaming_the_same() {
    let tokenizer = small();
    for seed in 100..110 {
        let text = mixed(seed, 20_000);
        let mut nfc = tokenizers::NormalizedString::from(text.as_str());
        nfc.nfc();
        let ids = tokenizer.encode(&text, Specials::Parse).unwrap();
        assert_eq!(tokenizer.decode(&ids), nfc.get());
        let mut stream = tokenizer.stream();
        let mut out: String = ids.iter().map(|&id| stream.push(id).to_string()).collect();
        out.push_str(stream.finish());
        assert_eq!(out, nfc.get());
    }
}

#[test]
fn long_runs_stay_exact() {
    let tokenizer = small();
    for run in [" ", "!", "a", "\n", "7", "🦙", "\u{301}", " \t"] {
        let text = format!("{}x", run.repeat(200_000));
        let ids = tokenizer.encode(&text, Specials::Literal).unwrap();
        assert_eq!(tokenizer.decode(&ids), text);
        if run == " " {
            let last = tokenizer.encode(" x", Specials::Literal).unwrap();
            assert!(ids.ends_with(&last), "the last space belongs to the word");
        }
    }
}

#[test]
fn stream_hides_control_tokens_unless_asked() {
    let tokenizer = small();
    let ids = tokenizer.encode("<think>é<|im_end|>", Specials::Parse).unwrap();
    let text = |mut stream: Detokenizer<'_>| ids.iter().map(|&id| stream.push(id).to_string()).collect::<String>();
    assert_eq!(text(tokenizer.stream()), "<think>é");
    assert_eq!(text(tokenizer.stream().show_control(true)), "<think>é<|im_end|>");
    assert_eq!(tokenizer.stream().push(u32::MAX), "");
}

#[test]
fn the_table_of_tokens() {
    let tokenizer = small();
    let end = tokenizer.id_of("<|im_end|>").unwrap();
    assert_eq!((tokenizer.eos(), end), (Some(1017), 1017));
    assert_eq!(tokenizer.eog(), [1015, 1017]);
    assert!(tokenizer.is_eog(1015) && !tokenizer.is_eog(1016));
    assert_eq!(tokenizer.vocab_len(), 1027);
    assert_eq!(tokenizer.unused().collect::<Vec<_>>(), [1024, 1025, 1026]);
    assert_eq!(tokenizer.id_of("[PAD0]"), None);
    assert_eq!(tokenizer.control_tokens().collect::<Vec<_>>(), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]);
    assert_eq!(tokenizer.kind(1022), Some(TokenKind::UserDefined));
    assert_eq!((tokenizer.kind(5000), tokenizer.text(5000), tokenizer.bytes(5000)), (None, None, &[][..]));
    assert_eq!((tokenizer.text(end), tokenizer.bytes(end)), (Some("<|im_end|>"), &b"<|im_end|>"[..]));
    assert_eq!(tokenizer.bos_to_add(), None);
}

#[test]
fn broken_vocabularies_are_refused_with_the_key_and_the_cause() {
    type Break = fn(&mut Vocab);
    let cases: [(&str, ErrorKind, Break); 17] = [
        ("tokenizer.ggml.pre is \"llama-bpe\"", ErrorKind::Unsupported, |v| v.pre = "llama-bpe".into()),
        ("tokenizer.ggml.pre is missing", ErrorKind::Unsupported, |v| v.pre.clear()),
        ("tokenizer.ggml.model is \"llama\"", ErrorKind::Unsupported, |v| v.model = "llama".into()),
        ("tokens is missing or empty", ErrorKind::File, |v| v.tokens.clear()),
        ("token_type has 1026 entries", ErrorKind::File, |v| v.types.truncate(1026)),
        ("token_type has 0 entries", ErrorKind::File, |v| v.types.clear()),
        ("token_type[3] is 0", ErrorKind::File, |v| v.types[3] = 0),
        ("token_type[4] is -2147483648", ErrorKind::File, |v| v.types[4] = i32::MIN),
        ("token_type[5] is 7", ErrorKind::File, |v| v.types[5] = 7),
        ("twice: ids 300 and 301", ErrorKind::File, |v| v.tokens[301] = v.tokens[300].clone()),
        ("lacks 'Ā', which stands for byte 0x00", ErrorKind::File, |v| {
            let at = v.tokens.iter().position(|t| t == "Ā").unwrap();
            v.types[at] = 5;
        }),
        ("merges[2] is \"ab\"", ErrorKind::File, |v| v.merges[2] = "ab".into()),
        ("\"nowhere\" is not an ordinary token", ErrorKind::File, |v| v.merges[1] = "a nowhere".into()),
        ("is not an ordinary token", ErrorKind::File, |v| v.merges[1] = "<|im_end|> <|im_end|>".into()),
        ("bos_token_id is 1027, but", ErrorKind::File, |v| v.bos = Some(1027)),
        ("eot_token_id is 4294967295", ErrorKind::File, |v| v.eot = Some(u32::MAX)),
        ("add_bos_token is true", ErrorKind::File, |v| v.add_bos = true),
    ];
    for (message, kind, damage) in cases {
        let mut vocab = small_vocab();
        damage(&mut vocab);
        let error = Tokenizer::from_vocab(vocab).expect_err(message);
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(message), "{error}\nlacks: {message}");
    }
}

#[test]
fn merges_cannot_make_a_control_token() {
    let mut vocab = small_vocab();
    let at = vocab.merges.len() - 1;
    let joined = vocab.merges[at].replace(' ', "");
    let id = vocab.tokens.iter().position(|t| *t == joined).unwrap();
    vocab.types[id] = 3;
    let error = Tokenizer::from_vocab(vocab).unwrap_err();
    assert!(error.to_string().contains(&format!("merges[{at}]")), "{error}");
}

#[test]
fn a_raw_prompt_gets_bos_only_if_the_file_says_so() {
    let vocab = Vocab { bos: Some(1015), add_bos: true, ..small_vocab() };
    assert_eq!(Tokenizer::from_vocab(vocab).unwrap().bos_to_add(), Some(1015));
    let vocab = Vocab { bos: Some(1015), ..small_vocab() };
    let tokenizer = Tokenizer::from_vocab(vocab).unwrap();
    assert_eq!((tokenizer.bos(), tokenizer.bos_to_add()), (Some(1015), None));
}
