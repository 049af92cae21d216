//! A model's vocabulary and chat template, against Qwen3's.

use super::Finding;
use crate::chat::{SpecialTexts, Template};
use crate::engine::Config;
use crate::error::Result;
use crate::gguf::Gguf;
use crate::tokenizer::{TokenKind, Tokenizer};
use sha2::{Digest, Sha256};

/// SHA-256 of Qwen3's own chat template.
const TEMPLATE: &str = "87a2728cb8dc9fe424d624542f6060ec05a1d285ebbec578bb078900e33396b5";
/// Qwen3's special tokens, with their numbers in its vocabulary.
const SPECIALS: [(&str, u32); 5] = [
    ("<|endoftext|>", 151_643),
    ("<|im_start|>", 151_644),
    ("<|im_end|>", 151_645),
    ("<think>", 151_667),
    ("</think>", 151_668),
];

/// The vocabulary.
pub fn vocabulary(gguf: &Gguf, config: &Config, tokenizer: &Tokenizer) -> Vec<Finding> {
    let mut found = Vec::new();
    specials(tokenizer, &mut found);
    ends(tokenizer, &mut found);
    let (tokens, rows) = (tokenizer.vocab_len(), config.n_vocab);
    if tokens > rows {
        let what = format!("the vocabulary has {tokens} tokens, the embedding {rows} rows");
        found.push(Finding::problem("vocabulary-too-long", what, "vocabulary and weights are of different models"));
    }
    let said = |key: &str| gguf.meta().str(&format!("tokenizer.ggml.{key}")).ok().flatten().map(str::to_owned);
    for (key, expected) in [("model", "gpt2"), ("pre", "qwen2")] {
        let is = said(key);
        if is.as_deref() != Some(expected) {
            let is = is.map_or("is not there".to_owned(), |is| format!("is {is:?}"));
            let what = format!("tokenizer.ggml.{key} {is}, Qwen3's is {expected:?}");
            let advice = "text would be split in another way than in training: take a file of another maker";
            found.push(Finding::problem("tokenizer-foreign", what, advice));
        }
    }
    if tokenizer.bos_to_add().is_some() {
        let what = "tokenizer.ggml.add_bos_token is true; Qwen3 has no token before a text";
        found.push(Finding::warning("bos-added", what, "use --override-kv tokenizer.ggml.add_bos_token=bool:false"));
    }
    found
}

fn specials(tokenizer: &Tokenizer, found: &mut Vec<Finding>) {
    let advice = "conversations would not be understood: take a file of another maker";
    for (text, number) in SPECIALS {
        let Some(id) = tokenizer.id_of(text) else {
            let what = format!("the vocabulary has no special token {text}");
            found.push(Finding::problem("special-missing", what, advice));
            continue;
        };
        if text.starts_with("<|") && tokenizer.kind(id) != Some(TokenKind::Control) {
            let what = format!("{text} is not a control token, so that any message could contain it");
            found.push(Finding::problem("special-not-control", what, advice));
        }
        if tokenizer.vocab_len() > 151_668 && id != number {
            let what = format!("{text} has number {id}, in Qwen3's vocabulary {number}");
            found.push(Finding::problem("special-moved", what, advice));
        }
    }
}

/// The file names the token that ends answers.
fn ends(tokenizer: &Tokenizer, found: &mut Vec<Finding>) {
    let Some(end) = tokenizer.id_of("<|im_end|>").filter(|&end| tokenizer.eos() != Some(end)) else { return };
    let eos = tokenizer.eos();
    let is =
        eos.map_or("is not there".to_owned(), |id| format!("is {id} ({})", tokenizer.text(id).unwrap_or("no token")));
    found.push(Finding::warning(
        "end-other",
        format!("tokenizer.ggml.eos_token_id {is}, Qwen3's is <|im_end|>"),
        format!("other programs may not end answers: --override-kv tokenizer.ggml.eos_token_id=int:{end}"),
    ));
}

/// The chat template.
///
/// # Errors
/// When the file's metadata cannot be read.
pub fn template(gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Option<Finding>> {
    let Some(source) = gguf.meta().str("tokenizer.chat_template")? else {
        let what = "the file has no chat template";
        let advice = "give one with --chat-template-file, or take a file of another maker";
        return Ok(Some(Finding::problem("template-missing", what, advice)));
    };
    if let Err(e) = Template::from_source(source, &SpecialTexts::of(tokenizer)) {
        let advice = "give another with --chat-template-file";
        return Ok(Some(Finding::problem("template-broken", e.to_string(), advice)));
    }
    let hash: String = Sha256::digest(source.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    if hash == TEMPLATE {
        return Ok(None);
    }
    let parts = ["<|im_start|>", "<|im_end|>"];
    if let Some(missing) = parts.iter().find(|part| !source.contains(**part)) {
        let what = format!("the chat template never writes {missing}: it is that of another model");
        let advice = "give Qwen3's with --chat-template-file, or take a file of another maker";
        return Ok(Some(Finding::problem("template-foreign", what, advice)));
    }
    let what = format!("the chat template is not Qwen3's first one (its SHA-256 is {})", &hash[..16]);
    let advice = "expected of later models (2507) and of corrected templates; else compare: lapwing inspect";
    Ok(Some(Finding::note("template-changed", what, advice)))
}
