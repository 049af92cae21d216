//! `lapwing tokenize`: the token ids of a text.

use super::model_args::{self, FileArgs};
use super::prompt_args::{ChatArgs, PromptArgs};
use super::{Outcome, inspect, output};
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::tokenizer::{Specials, TokenKind, Tokenizer};
use clap::Args;
use serde::Serialize;
use std::fmt::Write;

/// Show the token ids of a text.
///
/// Shows them one per line, each with the text it stands for. Needs the vocabulary only.
#[derive(Args)]
pub struct TokenizeArgs {
    #[command(flatten)]
    prompt: PromptArgs,
    /// Write the ids only, separated by commas (as `lapwing logits --ids` takes them).
    #[arg(long, conflicts_with = "json")]
    ids_only: bool,
    /// Write JSON.
    #[arg(long)]
    json: bool,
    /// Take control tokens written in the text as text.
    #[arg(long, conflicts_with = "chat")]
    no_special: bool,
    /// Take the text as a message and show the whole prompt that the chat template makes of it.
    #[arg(long)]
    chat: bool,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    template: ChatArgs,
}

/// A token of the text.
#[derive(Serialize)]
struct Row {
    id: u32,
    /// Bytes that are not UTF-8 of their own become U+FFFD.
    text: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<Vec<u8>>,
}

/// Runs the command.
pub fn tokenize(args: &TokenizeArgs) -> Outcome {
    if let Some(flag) = args.template.first_given().filter(|_| !args.chat) {
        return Err(Error::usage(format!("{flag} has a meaning with --chat only")).into());
    }
    let gguf = args.file.open()?;
    let tokenizer = model_args::tokenizer(&gguf)?;
    let ids = ids(args, &gguf, &tokenizer)?;
    let text = if args.ids_only {
        ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",") + "\n"
    } else if args.json {
        inspect::json(&ids.iter().map(|&id| row(&tokenizer, id)).collect::<Vec<_>>())?
    } else {
        lines(&tokenizer, &ids)
    };
    output::result(&text)
}

fn ids(args: &TokenizeArgs, gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    if args.chat {
        let request = args.template.request(&args.prompt.read_message()?);
        return tokenizer.encode_rendered(&args.template.render(gguf, tokenizer, &request)?);
    }
    let specials = if args.no_special { Specials::Literal } else { Specials::Parse };
    tokenizer.encode(&args.prompt.read()?, specials)
}

fn row(tokenizer: &Tokenizer, id: u32) -> Row {
    let bytes = tokenizer.bytes(id);
    let kind = match tokenizer.kind(id) {
        Some(TokenKind::Control) => "control",
        Some(TokenKind::UserDefined) => "user-defined",
        _ => "normal",
    };
    let part = std::str::from_utf8(bytes).is_err().then(|| bytes.to_vec());
    Row { id, text: String::from_utf8_lossy(bytes).into_owned(), kind, bytes: part }
}

/// A line for each token: the id, and its text in quotes, escaped; bytes that are no text by their numbers.
fn lines(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut out = String::new();
    for row in ids.iter().map(|&id| row(tokenizer, id)) {
        let mark = if row.kind == "normal" { String::new() } else { format!("  ({})", row.kind) };
        let text = match row.bytes {
            None => format!("\"{}\"", row.text.escape_debug()),
            Some(bytes) => bytes.iter().map(|b| format!("<{b:02X}>")).collect(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:>6}  {text}{mark}", row.id);
    }
    out
}
