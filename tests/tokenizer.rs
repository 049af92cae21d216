//! The real Qwen vocabulary, from ../shared: llama.cpp's test vectors, equality with the published tokenizer.json, and
//! the way there and back on 10 MB. Loudly skipped where ../shared is absent.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use gguf_rs_lib::format::metadata::MetadataValue;
use gguf_rs_lib::reader::file_reader::GGUFFileReader;
use lapwing::tokenizer::{Specials, Tokenizer, Vocab};

/// The shared data, if this machine has it.
fn shared(file: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("LAPWING_SHARED").map(PathBuf::from);
    let places = named.into_iter().chain([root.join("../shared"), root.join("../../shared")]);
    let found = places.map(|place| place.join(file)).find(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED: ../shared is absent ({file}); set LAPWING_SHARED to its path to run this test");
    }
    found
}

fn strings(value: &MetadataValue) -> Vec<String> {
    let MetadataValue::Array(array) = value else { panic!("not an array") };
    array.values.iter().map(|v| v.as_str().expect("a string").to_string()).collect()
}

/// The vocabulary of a GGUF file.
fn read_gguf(path: &Path) -> Vocab {
    let reader = GGUFFileReader::new(Cursor::new(std::fs::read(path).unwrap())).unwrap();
    let get = |key: &str| reader.metadata().get(&format!("tokenizer.ggml.{key}")).unwrap_or_else(|| panic!("{key}"));
    let MetadataValue::Array(types) = get("token_type") else { panic!("token_type") };
    let kind = |v: &MetadataValue| if let MetadataValue::I32(kind) = v { *kind } else { panic!("{v:?}") };
    Vocab {
        tokens: strings(get("tokens")),
        types: types.values.iter().map(kind).collect(),
        merges: strings(get("merges")),
        pre: get("pre").as_str().unwrap().into(),
        model: get("model").as_str().unwrap().into(),
        eos: get("eos_token_id").as_u64().map(|id| id as u32),
        ..Vocab::default()
    }
}

/// What a GGUF made from a published tokenizer.json holds, padded as the models are.
fn read_json(path: &Path) -> Vocab {
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut tokens = BTreeMap::new();
    for (text, id) in json["model"]["vocab"].as_object().unwrap() {
        tokens.insert(id.as_u64().unwrap(), (text.clone(), 1));
    }
    for token in json["added_tokens"].as_array().unwrap() {
        let kind = if token["special"] == true { 3 } else { 4 };
        tokens.insert(token["id"].as_u64().unwrap(), (token["content"].as_str().unwrap().to_string(), kind));
    }
    for id in tokens.len() as u64..151_936 {
        tokens.insert(id, (format!("[PAD{id}]"), 5));
    }
    let (tokens, types) = tokens.into_values().unzip();
    let merge = |m: &serde_json::Value| format!("{} {}", m[0].as_str().unwrap(), m[1].as_str().unwrap());
    Vocab {
        tokens,
        types,
        merges: json["model"]["merges"].as_array().unwrap().iter().map(merge).collect(),
        pre: "qwen2".into(),
        model: "gpt2".into(),
        eos: Some(151_645),
        ..Vocab::default()
    }
}

#[test]
fn llama_cpp_vectors() {
    let Some(path) = shared("data/vocab-qwen2.gguf") else { return };
    let tokenizer = Tokenizer::from_vocab(read_gguf(&path)).unwrap();
    let texts = std::fs::read_to_string(path.with_extension("inp")).unwrap();
    let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
    let ids = std::fs::read_to_string(path.with_extension("out")).unwrap();
    // Both files end with a separator: the last text is empty, and so are its ids.
    let ids: Vec<&str> = ids.split('\n').collect();
    assert_eq!((texts.len(), ids.len()), (47, 47));
    for (text, line) in texts.iter().zip(&ids) {
        let want: Vec<u32> = line.split_whitespace().map(|id| id.parse().unwrap()).collect();
        assert_eq!(tokenizer.encode(text, Specials::Literal).unwrap(), want, "{text:?}");
        assert_eq!(tokenizer.decode(&want), *text);
    }
    eprintln!("{} of {} vectors", ids.len(), ids.len());
}

/// A deterministic stream of numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.below(from.len())]
    }
}

const WORDS: [&str; 24] = [
    "the",
    "attention",
    "Token",
    "izer",
    "don't",
    "WE'LL",
    "naïve",
    "Straße",
    "façade",
    "Việt",
    "quick",
    "brown",
    "ΑΒΓ",
    "слово",
    "мир",
    "हिन्दी",
    "ภาษาไทย",
    "עברית",
    "العربية",
    "ქართული",
    "日本語",
    "한국어",
    "x86_64",
    "ﬁ",
];
const CODE: [&str; 12] = [
    "fn main() {\n\t",
    "    return x[i] += 1;\n",
    "}\n\n",
    "\"a\\n\"",
    "// no",
    "0xFF",
    " -> ",
    "::<Vec<_>>()",
    "```rust\n",
    "<div class='x'>",
    "#include <a.h>\r\n",
    "    \t  ",
];
const HAN: [&str; 8] = ["中文", "的", "分词器", "，", "。", "「是」", "人工智能", "\u{3000}"];
const MARKS: [&str; 10] = [
    "e\u{301}",
    "A\u{30a}",
    "\u{323}",
    "q\u{307}\u{323}",
    "ᄀ\u{1161}\u{11a8}",
    "\u{212b}",
    "\u{f900}",
    "o\u{31b}\u{301}",
    "\u{200d}",
    "\u{fe0f}",
];
const EMOJI: [&str; 7] = ["🦙", "👩‍👩‍👧‍👦", "🇩🇪", "👍🏽", "✅", "😶‍🌫️", "🚀🚀"];
const TAGS: [&str; 6] = ["<think>", "</think>\n\n", "<|im_end|>", "<|im_start|>", "<tool_call>", "<|im_"];

/// Markdown, code, Chinese, emoji, combining marks and random scalar values, about `len` bytes.
fn document(seed: u64, len: usize) -> String {
    let mut numbers = Numbers(seed);
    let mut out = String::with_capacity(len + 64);
    while out.len() < len {
        match numbers.below(64) {
            0..=23 => out.extend([numbers.pick(&WORDS), " "]),
            24..=31 => out.push_str(numbers.pick(&CODE)),
            32..=43 => out.push_str(numbers.pick(&HAN)),
            44..=47 => out.push_str(numbers.pick(&MARKS)),
            48..=49 => out.push_str(numbers.pick(&EMOJI)),
            50..=53 => out.push_str(numbers.pick(&["\n", "\n\n", "\n# ", "\n* **", "| - |\n", "  \n"])),
            54..=56 => out.push_str(&numbers.below(100_000).to_string()),
            57 => out.push_str(numbers.pick(&TAGS)),
            58 => out.extend((0..numbers.below(12)).map(|_| ' ')),
            _ => out.extend(char::from_u32(numbers.below(0x11_0000) as u32)),
        }
    }
    out
}

fn nfc(text: &str) -> String {
    let mut text = tokenizers::NormalizedString::from(text);
    text.nfc();
    text.get().to_string()
}

#[test]
fn ids_equal_those_of_the_published_tokenizer_json() {
    let Some(path) = shared("data/qwen3-hf/tokenizer.json") else { return };
    let tokenizer = Tokenizer::from_vocab(read_json(&path)).unwrap();
    let reference = tokenizers::Tokenizer::from_file(&path).unwrap();
    for seed in 0..24 {
        // Documents longer than a chunk are among them, and the reference encodes each at once.
        let text = document(seed, if seed % 8 == 0 { 200_000 } else { 3_000 });
        let want = reference.encode_fast(text.as_str(), false).unwrap();
        assert_eq!(tokenizer.encode(&text, Specials::Parse).unwrap(), want.get_ids(), "seed {seed}");
    }
    assert_eq!(tokenizer.eog(), [151_643, 151_645]);
    assert_eq!(tokenizer.unused().count(), 151_936 - 151_669);
}

#[test]
fn ten_megabytes_there_and_back() {
    let Some(path) = shared("data/qwen3-hf/tokenizer.json") else { return };
    let tokenizer = Tokenizer::from_vocab(read_json(&path)).unwrap();
    let (mut bytes, mut seed) = (0, 1000);
    while bytes < 10_000_000 {
        let text = document(seed, 250_000);
        let specials = if seed % 2 == 0 { Specials::Literal } else { Specials::Parse };
        let ids = tokenizer.encode(&text, specials).unwrap();
        // Added tokens part the text before it is normalized; none of them composes with a mark.
        let want = nfc(&text);
        assert_eq!(tokenizer.decode(&ids), want, "seed {seed}");
        let mut stream = tokenizer.stream().show_control(true);
        let mut out = String::with_capacity(want.len());
        for id in ids {
            out.push_str(stream.push(id));
        }
        out.push_str(stream.finish());
        assert_eq!(out, want, "seed {seed}, streamed");
        bytes += text.len();
        seed += 1;
    }
    eprintln!("{bytes} bytes there and back");
}
