//! The vocabulary of a checkpoint as a GGUF stores it: tokens by id, their types, merges, special ids, template.
//!
//! Read from tokenizer.json, or from vocab.json with merges.txt. Only the split of Qwen2 and Qwen3 is known: any other
//! pre-tokenizer is an error, because the same merges behind another split make other tokens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gguf_rs_lib::format::metadata::MetadataValue as V;
use gguf_rs_lib::format::types::GGUFValueType;
use serde_json::Value;

use super::json;
use super::source::{array, strings};
use crate::error::{Error, Result};
use crate::tokenizer::{SPLIT, TokenKind};

/// The name of that split in `tokenizer.ggml.pre`.
const PRE: &str = "qwen2";

/// The vocabulary files of a checkpoint.
pub struct VocabFiles {
    dir: PathBuf,
    /// Entries of the base vocabulary: text, id.
    base: Vec<(String, u64)>,
    merges: Vec<String>,
    added: Vec<Added>,
    /// tokenizer_config.json, or null.
    config: Value,
    /// `post_processor` of tokenizer.json, or null.
    post: Value,
}

struct Added {
    text: String,
    id: u64,
    special: bool,
}

impl VocabFiles {
    /// Reads the files in `dir`.
    pub fn read(dir: &Path) -> Result<VocabFiles> {
        let config = json::read_optional(&dir.join("tokenizer_config.json"))?.unwrap_or(Value::Null);
        let fast = dir.join("tokenizer.json");
        let mut files = if fast.exists() { from_tokenizer_json(&fast)? } else { from_vocab_and_merges(dir, &config)? };
        files.config = config;
        Ok(files)
    }

    /// The metadata under `tokenizer.`, for an embedding of `rows` rows. `ids` are special ids of config.json, which
    /// count where the tokenizer's own files name none. Adds to `notes` what the user should hear.
    pub fn metadata(
        &self,
        rows: usize,
        ids: &[(&'static str, u64)],
        notes: &mut Vec<String>,
    ) -> Result<Vec<(String, V)>> {
        let (tokens, types) = self.tokens(rows)?;
        let types = types.into_iter().map(V::I32).collect();
        let mut keys = vec![
            ("tokenizer.ggml.model".to_owned(), V::String("gpt2".to_owned())),
            ("tokenizer.ggml.pre".to_owned(), V::String(PRE.to_owned())),
            ("tokenizer.ggml.tokens".to_owned(), strings(tokens)?),
            ("tokenizer.ggml.token_type".to_owned(), array(GGUFValueType::I32, types)?),
            ("tokenizer.ggml.merges".to_owned(), strings(self.merges.iter().cloned())?),
        ];
        for (kind, id) in self.special_ids(rows, ids)? {
            keys.push((format!("tokenizer.ggml.{kind}_token_id"), V::U32(id)));
        }
        for (kind, add) in self.added_ends() {
            keys.push((format!("tokenizer.ggml.add_{kind}_token"), V::Bool(add)));
        }
        keys.extend(self.templates(notes)?);
        Ok(keys)
    }

    /// Texts and types of ids 0 to `rows`; rows that no token has are named `[PAD151669]` and never made.
    fn tokens(&self, rows: usize) -> Result<(Vec<String>, Vec<i32>)> {
        let mut tokens: Vec<Option<(&str, i32)>> = vec![None; rows];
        let dir = self.dir.display();
        let mut put = |text, id: u64, kind: i32| match usize::try_from(id).ok().and_then(|id| tokens.get_mut(id)) {
            Some(slot) => {
                *slot = Some((text, kind));
                Ok(())
            }
            None => Err(Error::file(format!(
                "{dir}: token {text:?} has id {id}, but vocab_size in config.json is {rows}; they are not of one model"
            ))),
        };
        for (text, id) in &self.base {
            put(text.as_str(), *id, 1)?;
        }
        for added in &self.added {
            let control = added.special || looks_special(&added.text);
            put(added.text.as_str(), added.id, if control { 3 } else { 4 })?;
        }
        let named = |(id, token): (usize, Option<(&str, i32)>)| match token {
            Some((text, kind)) => (text.to_owned(), kind),
            None => (format!("[PAD{id}]"), 5),
        };
        debug_assert_eq!(TokenKind::from_number(5), Some(TokenKind::Unused));
        Ok(tokens.into_iter().enumerate().map(named).unzip())
    }

    /// Special ids by kind, as tokenizer_config.json names their texts, else as config.json numbers them.
    fn special_ids(&self, rows: usize, ids: &[(&'static str, u64)]) -> Result<BTreeMap<&'static str, u32>> {
        let mut found = BTreeMap::new();
        for (short, kind) in SPECIALS {
            let entry = self.config.get(format!("{short}_token"));
            let text = entry.and_then(|e| e.as_str().or_else(|| e.get("content")?.as_str()));
            let named = text.and_then(|text| self.added.iter().find(|a| a.text == text)).map(|a| a.id);
            let Some(id) = named.or_else(|| ids.iter().find(|(k, _)| *k == short).map(|(_, id)| *id)) else { continue };
            if id >= rows as u64 {
                return Err(Error::file(format!(
                    "{}: the {short} token has id {id}, but there are {rows} tokens",
                    self.dir.display()
                )));
            }
            found.insert(kind, id as u32);
        }
        Ok(found)
    }

    /// Whether a beginning or end token is put around a text: the post-processor says it, else tokenizer_config.json.
    fn added_ends(&self) -> BTreeMap<&'static str, bool> {
        let mut ends = BTreeMap::new();
        let single = [&self.post];
        let processors: Vec<&Value> = match self.post.get("processors").and_then(Value::as_array) {
            Some(list) => list.iter().collect(),
            None => single.to_vec(),
        };
        for processor in processors {
            match processor.get("type").and_then(Value::as_str) {
                Some("ByteLevel") => {
                    ends.entry("bos").or_insert(false);
                    ends.entry("eos").or_insert(false);
                }
                Some("TemplateProcessing") => {
                    let parts = processor.get("single").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                    let special = |part: Option<&Value>| part.is_some_and(|p| p.get("SpecialToken").is_some());
                    if parts.len() > 1 {
                        ends.insert("bos", special(parts.first()));
                        ends.insert("eos", special(parts.last()));
                    }
                }
                _ => {}
            }
        }
        for kind in ["bos", "eos"] {
            if let Some(add) = self.config.get(format!("add_{kind}_token")).and_then(Value::as_bool) {
                ends.entry(kind).or_insert(add);
            }
        }
        ends
    }

    /// The chat template: of tokenizer_config.json (one, or several by name), else of chat_template.jinja or .json.
    fn templates(&self, notes: &mut Vec<String>) -> Result<Vec<(String, V)>> {
        const KEY: &str = "tokenizer.chat_template";
        let one = |text: &str| vec![(KEY.to_owned(), V::String(text.to_owned()))];
        match self.config.get("chat_template") {
            Some(Value::String(text)) => return Ok(one(text)),
            Some(Value::Array(list)) => return named_templates(list),
            _ => {}
        }
        let (jinja, json) = (self.dir.join("chat_template.jinja"), self.dir.join("chat_template.json"));
        if jinja.exists() {
            return Ok(one(&json::text(&jinja)?));
        }
        if let Some(text) = json::read_optional(&json)?.as_ref().and_then(|v| v.get("chat_template")?.as_str()) {
            return Ok(one(text));
        }
        notes.push(format!("{}: there is no chat template; the model can complete text, not chat", self.dir.display()));
        Ok(Vec::new())
    }
}

/// Kinds of special tokens: as checkpoints call them, as GGUF does.
const SPECIALS: [(&str, &str); 7] = [
    ("bos", "bos"),
    ("eos", "eos"),
    ("unk", "unknown"),
    ("sep", "seperator"),
    ("pad", "padding"),
    ("cls", "cls"),
    ("mask", "mask"),
];

fn named_templates(list: &[Value]) -> Result<Vec<(String, V)>> {
    let (mut keys, mut names) = (Vec::new(), Vec::new());
    for choice in list {
        let part = |key| choice.get(key).and_then(Value::as_str);
        let (Some(name), Some(text)) = (part("name"), part("template")) else { continue };
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        if name == "default" {
            keys.push(("tokenizer.chat_template".to_owned(), V::String(text.to_owned())));
        } else {
            keys.push((format!("tokenizer.chat_template.{name}"), V::String(text.to_owned())));
            names.push(name);
        }
    }
    if !names.is_empty() {
        keys.push(("tokenizer.chat_templates".to_owned(), strings(names)?));
    }
    Ok(keys)
}

/// Added tokens that are structure though their file does not say so, as llama.cpp's converter has them.
fn looks_special(text: &str) -> bool {
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&text)
        || [("<|", "|>"), ("<｜", "｜>"), ("<unused", ">")]
            .iter()
            .any(|(a, b)| text.starts_with(a) && text.ends_with(b))
}

fn from_tokenizer_json(path: &Path) -> Result<VocabFiles> {
    let parsed = json::read(path)?;
    let shown = path.display();
    let broken = |what: &str| Error::file(format!("{shown}: {what}; download it again"));
    check_split(path, &parsed)?;
    let model = &parsed["model"];
    if model.get("type").and_then(Value::as_str).is_some_and(|t| t != "BPE") {
        return Err(Error::unsupported(format!("{shown}: model.type is {}, expected \"BPE\"", model["type"])));
    }
    let vocab = model.get("vocab").and_then(Value::as_object).ok_or_else(|| broken("model.vocab is no object"))?;
    let base = entries(vocab).ok_or_else(|| broken("model.vocab holds something that is no id"))?;
    let merges = model.get("merges").and_then(Value::as_array).ok_or_else(|| broken("model.merges is no list"))?;
    let merges: Option<Vec<String>> = merges.iter().map(merge).collect();
    let merges = merges.ok_or_else(|| broken("model.merges holds something that is no pair of tokens"))?;
    let added = parsed.get("added_tokens").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let added: Option<Vec<Added>> = added.iter().map(|a| added_token(a, a.get("id")?.as_u64()?)).collect();
    let added = added.ok_or_else(|| broken("added_tokens holds something that is no token"))?;
    let dir = path.parent().unwrap_or(path).to_path_buf();
    let post = parsed.get("post_processor").cloned().unwrap_or(Value::Null);
    Ok(VocabFiles { dir, base, merges, added, config: Value::Null, post })
}

fn entries(vocab: &serde_json::Map<String, Value>) -> Option<Vec<(String, u64)>> {
    vocab.iter().map(|(text, id)| Some((text.clone(), id.as_u64()?))).collect()
}

/// A merge: "a b", or ["a", "b"], where a space inside a token is written as the byte-level alphabet has it.
fn merge(value: &Value) -> Option<String> {
    match value {
        Value::String(pair) => Some(pair.clone()),
        Value::Array(pair) if pair.len() == 2 => {
            let part = |i: usize| Some(pair[i].as_str()?.replace(' ', "\u{120}"));
            Some(format!("{} {}", part(0)?, part(1)?))
        }
        _ => None,
    }
}

fn added_token(value: &Value, id: u64) -> Option<Added> {
    let special = value.get("special").and_then(Value::as_bool).unwrap_or(false);
    Some(Added { text: value.get("content")?.as_str()?.to_owned(), id, special })
}

/// Fails unless text is normalized and split as Qwen2 and Qwen3 do it.
fn check_split(path: &Path, parsed: &Value) -> Result<()> {
    let unknown = |key: &str, found: &Value| {
        let found: String = found.to_string().chars().take(300).collect();
        Error::unsupported(format!(
            "{}: unknown pre-tokenizer: {key} is {found}, expected the one of Qwen2 and Qwen3 (NFC, then a split by \
             {SPLIT:?}, then bytes); a GGUF cannot name this one",
            path.display()
        ))
    };
    let normalizer = &parsed["normalizer"];
    let nfc = |v: &Value| v["type"] == "NFC";
    let list = normalizer["normalizers"].as_array();
    if !(normalizer.is_null() || nfc(normalizer) || list.is_some_and(|l| l.len() == 1 && nfc(&l[0]))) {
        return Err(unknown("normalizer", normalizer));
    }
    let pre = &parsed["pre_tokenizer"];
    let parts = pre["pretokenizers"].as_array().map_or(&[][..], Vec::as_slice);
    let known = match parts {
        [split, bytes] => {
            split["type"] == "Split"
                && split["pattern"]["Regex"] == SPLIT
                && split["behavior"] == "Isolated"
                && split["invert"] != true
                && bytes["type"] == "ByteLevel"
                && bytes["add_prefix_space"] != true
                && bytes["use_regex"] == false
        }
        _ => false,
    };
    if known { Ok(()) } else { Err(unknown("pre_tokenizer", pre)) }
}

/// The older form: vocab.json, merges.txt, and tokenizer_config.json for the added tokens and for what splits the text.
fn from_vocab_and_merges(dir: &Path, config: &Value) -> Result<VocabFiles> {
    let (vocab_path, merges_path) = (dir.join("vocab.json"), dir.join("merges.txt"));
    if !vocab_path.exists() || !merges_path.exists() {
        return Err(Error::file(format!(
            "{}: has neither tokenizer.json nor vocab.json with merges.txt; download them into it",
            dir.display()
        )));
    }
    let class = config.get("tokenizer_class").and_then(Value::as_str).unwrap_or("none");
    if !["Qwen2Tokenizer", "Qwen2TokenizerFast"].contains(&class) {
        return Err(Error::unsupported(format!(
            "{}: unknown pre-tokenizer: tokenizer_class in tokenizer_config.json is {class:?}, expected \"Qwen2Tokenizer\"; \
             give a tokenizer.json, which says how text is split",
            dir.display()
        )));
    }
    let vocab = json::read(&vocab_path)?;
    let base = vocab.as_object().and_then(entries).ok_or_else(|| {
        Error::file(format!("{}: is no object of tokens and ids; download it again", vocab_path.display()))
    })?;
    let merges = merges_txt(&merges_path)?;
    let mut added: BTreeMap<u64, Added> = BTreeMap::new();
    let extra = json::read_optional(&dir.join("added_tokens.json"))?;
    for (text, id) in extra.as_ref().and_then(Value::as_object).and_then(entries).unwrap_or_default() {
        added.insert(id, Added { text, id, special: false });
    }
    let decoder = config.get("added_tokens_decoder").and_then(Value::as_object);
    for (id, token) in decoder.into_iter().flatten() {
        let read = id.parse().ok().and_then(|id| added_token(token, id)).ok_or_else(|| {
            Error::file(format!("{}: tokenizer_config.json: added_tokens_decoder: {id:?} is no token", dir.display()))
        })?;
        added.insert(read.id, read);
    }
    let added = added.into_values().collect();
    Ok(VocabFiles { dir: dir.to_path_buf(), base, merges, added, config: Value::Null, post: Value::Null })
}

fn merges_txt(path: &Path) -> Result<Vec<String>> {
    let text = json::text(path)?;
    let lines =
        text.lines().enumerate().filter(|(n, line)| !(line.trim().is_empty() || (*n == 0 && line.starts_with('#'))));
    lines
        .map(|(n, line)| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [a, b] => Ok(format!("{a} {b}")),
            _ => {
                Err(Error::file(format!("{}: line {} is no pair of tokens; download it again", path.display(), n + 1)))
            }
        })
        .collect()
}
