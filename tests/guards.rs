//! The loop guard on whole texts, and the guards over real models: budgets, the reserve, a full context.

#[path = "guards/looping.rs"]
mod looping;
#[path = "guards/models.rs"]
mod models;
#[path = "guards/ordinary.rs"]
mod ordinary;
#[path = "guards/words.rs"]
mod words;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use lapwing::guard::loops::Detector;
use lapwing::tokenizer::{Specials, Tokenizer, Vocab};
use looping::Looping;
use words::Numbers;

/// Most tokens of Qwen's vocabulary from the beginning of a loop until it is found: of any loop but lists that count
/// on, and of those. Thinking has less.
const BOUND: usize = 2048;
const LIST_BOUND: usize = 10_240;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A tokenizer from a tokenizer.json.
fn tokenizer(path: &Path) -> Tokenizer {
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON");
    let mut tokens = BTreeMap::new();
    for (text, id) in json["model"]["vocab"].as_object().expect("a vocabulary") {
        tokens.insert(id.as_u64().expect("an id"), (text.clone(), 1));
    }
    for token in json["added_tokens"].as_array().expect("added tokens") {
        let kind = if token["special"] == true { 3 } else { 4 };
        tokens
            .insert(token["id"].as_u64().expect("an id"), (token["content"].as_str().expect("text").to_owned(), kind));
    }
    let (tokens, types) = tokens.into_values().unzip();
    let merge = |m: &serde_json::Value| match m.as_str() {
        Some(pair) => pair.to_owned(),
        None => format!("{} {}", m[0].as_str().expect("text"), m[1].as_str().expect("text")),
    };
    let merges = json["model"]["merges"].as_array().expect("merges").iter().map(merge).collect();
    let vocab = Vocab { tokens, types, merges, pre: "qwen2".into(), model: "gpt2".into(), ..Vocab::default() };
    Tokenizer::from_vocab(vocab).expect("a sound vocabulary")
}

/// The small vocabulary of the fixtures, and Qwen's where it is.
fn tokenizers(test: &str) -> Vec<(&'static str, Tokenizer)> {
    let mut all = vec![("small", tokenizer(&root().join("tests/fixtures/tokenizer/small.json")))];
    let named = std::env::var_os("LAPWING_SHARED").map(PathBuf::from);
    let places = named.into_iter().chain(["../shared", "../../shared"].map(|up| root().join(up)));
    match places.map(|p| p.join("data/qwen3-hf/tokenizer.json")).find(|p| p.exists()) {
        Some(path) => all.push(("qwen", tokenizer(&path))),
        None => {
            let mut out = std::io::stderr().lock();
            writeln!(out, "\nSKIPPED {test} with Qwen's vocabulary: ../shared is absent").expect("stderr is open");
        }
    }
    all
}

/// The token at which the guard speaks up, and what it says.
fn found(tokenizer: &Tokenizer, thinking: bool, text: &str) -> Option<(usize, String)> {
    let (mut detector, mut stream) = (Detector::new(thinking), tokenizer.stream());
    let ids = tokenizer.encode(text, Specials::Literal).expect("encodes");
    let mut push = |(i, &id): (usize, &u32)| Some((i, detector.push(id, stream.push(id))?.to_string()));
    ids.iter().enumerate().find_map(&mut push)
}

/// Characters of a text that goes round without end, in which it is looked for first, and in all.
const LOOKED_AT: [usize; 2] = [12_000, 60_000];

/// The token at which the guard speaks up in a text that begins with `lead` and then goes round.
fn found_in_loop(tokenizer: &Tokenizer, lead: &str, l: &mut Looping) -> Option<(usize, String)> {
    let (mut text, mut turn) = (lead.to_owned(), 0);
    LOOKED_AT.iter().find_map(|&enough| {
        while text.len() <= enough {
            text += &(l.turn)(turn);
            turn += 1;
        }
        found(tokenizer, l.thinking, &text)
    })
}

/// How many tokens after its beginning each loop is found, with those found early or late or never as complaints.
fn check_loops(name: &str, tokenizer: &Tokenizer, loops: Vec<Looping>) -> (usize, Vec<String>) {
    let (mut worst, mut wrong) = (0, vec![]);
    for (i, mut l) in loops.into_iter().enumerate() {
        let lead = looping::lead(i as u64);
        let begins = tokenizer.encode(&lead, Specials::Literal).expect("encodes").len();
        // The small vocabulary has two to three times as many tokens for a text.
        let scale = if name == "qwen" { 1 } else { 3 };
        match found_in_loop(tokenizer, &lead, &mut l) {
            None => wrong.push(format!("{name}: {} is not found", l.name)),
            Some((at, what)) if at < begins => {
                wrong.push(format!("{name}: {} is found before it begins: {what}", l.name))
            }
            Some((at, what)) => {
                let bound = if what.contains("count") { LIST_BOUND } else { BOUND } * scale;
                worst = worst.max(at - begins);
                if at - begins > bound {
                    wrong.push(format!("{name}: {} is found after {} tokens only: {what}", l.name, at - begins));
                }
                if std::env::var_os("SHOW").is_some() {
                    eprintln!("{name} {}: {} tokens: {what}", l.name, at - begins);
                }
            }
        }
    }
    (worst, wrong)
}

#[test]
fn loops_are_found() {
    let count = looping::known().len();
    assert!(count >= 30, "{count}");
    for (name, tokenizer) in tokenizers("loops_are_found") {
        let (worst, wrong) = check_loops(name, &tokenizer, looping::known());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        eprintln!("{name}: {count} loops found, the last after {worst} tokens");
    }
}

#[test]
fn loops_not_tuned_on_are_found() {
    let count = looping::held_out().len();
    for (name, tokenizer) in tokenizers("loops_not_tuned_on_are_found") {
        let (worst, wrong) = check_loops(name, &tokenizer, looping::held_out());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        eprintln!("{name}: {count} loops found, the last after {worst} tokens");
    }
}

/// Texts of `kinds` for which the guard speaks up, taken for an answer; how many there were, and their tokens.
fn check_ordinary(name: &str, tokenizer: &Tokenizer, kinds: &[ordinary::Kind], seeds: u64) -> (usize, Vec<String>) {
    let mut wrong = vec![];
    for (kind, make) in kinds {
        for seed in 0..seeds {
            let text = make(&mut Numbers(seed * 1000 + 1));
            assert!(text.len() > 300, "{kind} {seed} is short");
            if let Some((at, what)) = found(tokenizer, false, &text) {
                wrong.push(format!("{name}: {kind} {seed}: {what} at token {at}"));
            }
        }
    }
    (kinds.len() * seeds as usize, wrong)
}

#[test]
fn ordinary_texts_are_let_be() {
    for (name, tokenizer) in tokenizers("ordinary_texts_are_let_be") {
        let (count, wrong) = check_ordinary(name, &tokenizer, &ordinary::KNOWN, 8);
        assert!(count >= 200);
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
        eprintln!("{name}: {count} ordinary texts, none touched");
    }
}

#[test]
fn ordinary_texts_not_tuned_on_are_let_be() {
    for (name, tokenizer) in tokenizers("ordinary_texts_not_tuned_on_are_let_be") {
        let (count, wrong) = check_ordinary(name, &tokenizer, &ordinary::HELD_OUT, 10);
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
        eprintln!("{name}: {count} ordinary texts, none touched");
    }
}

/// The sources of this program, each file an answer.
#[test]
fn this_programs_sources_are_let_be() {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = ["src", "quant", "tests", "benches", "scripts"].map(|d| root().join(d)).into();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match path.extension().and_then(|e| e.to_str()) {
                // Test data may well repeat itself.
                _ if path.ends_with("fixtures") => {}
                _ if path.is_dir() => folders.push(path),
                Some("rs" | "py" | "md" | "toml" | "sh" | "tsv" | "jinja" | "json") => files.push(path),
                _ => {}
            }
        }
    }
    assert!(files.len() > 100, "{} files", files.len());
    for (name, tokenizer) in tokenizers("this_programs_sources_are_let_be") {
        for path in &files {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let text: String = text.chars().take(60_000).collect();
            let found = found(&tokenizer, false, &text);
            assert_eq!(found, None, "{name}: {}", path.display());
        }
    }
}
