//! The flags that give the prompt, and those that say how the chat template makes a conversation of it.

use super::model_args;
use super::read_text;
use crate::chat::{Rendered, Request};
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::session::{Conversation, Opening};
use crate::tokenizer::Tokenizer;
use clap::Args;
use serde_json::{Map, Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Where the prompt is.
#[derive(Args, Clone, Debug)]
pub struct PromptArgs {
    /// The prompt.
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with_all = ["file", "stdin"])]
    pub prompt: Option<String>,
    /// Read the prompt from a file.
    #[arg(short, long, value_name = "FILE", conflicts_with = "stdin")]
    pub file: Option<PathBuf>,
    /// Read the prompt from standard input (also without it, when nothing else is given and it is no terminal).
    #[arg(value_name = "-", value_parser = dash)]
    pub stdin: Option<Dash>,
}

/// `-`.
#[derive(Clone, Copy, Debug)]
pub struct Dash;

fn dash(text: &str) -> std::result::Result<Dash, String> {
    if text == "-" { Ok(Dash) } else { Err("only - may stand alone; give a prompt with -p TEXT".to_owned()) }
}

impl PromptArgs {
    /// The prompt, byte for byte.
    ///
    /// # Errors
    /// When there is none, or its file is not readable text.
    pub fn read(&self) -> Result<String> {
        match (&self.prompt, &self.file) {
            (Some(text), _) => Ok(text.clone()),
            (None, Some(path)) => read_text(path),
            (None, None) if self.stdin.is_some() || !std::io::stdin().is_terminal() => read_text(Path::new("-")),
            (None, None) => Err(Error::usage("there is no prompt: give -p TEXT, -f FILE, or - for standard input")),
        }
    }

    /// The prompt as a message: one line break at the end, which files and `echo` have, is not part of it.
    ///
    /// # Errors
    /// As [`PromptArgs::read`].
    pub fn read_message(&self) -> Result<String> {
        let mut text = self.read()?;
        if self.prompt.is_none() && text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

/// How the conversation is written for the model.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Conversation")]
pub struct ChatArgs {
    /// What the model is told before the prompt.
    #[arg(long, value_name = "TEXT", visible_alias = "sys", allow_hyphen_values = true)]
    pub system_prompt: Option<String>,
    /// Let the model think before it answers; the model's default.
    #[arg(long, conflicts_with = "no_think")]
    pub think: bool,
    /// Answer at once.
    #[arg(long)]
    pub no_think: bool,
    /// Tools that the model may call: a JSON file with an array of definitions in OpenAI's form.
    #[arg(long, value_name = "FILE", value_parser = tools)]
    pub tools: Option<Tools>,
    /// Use this Jinja template instead of the file's own.
    #[arg(long, value_name = "FILE")]
    pub chat_template_file: Option<PathBuf>,
    /// Further variables for the template, as a JSON object.
    #[arg(long, value_name = "JSON", value_parser = kwargs)]
    pub chat_template_kwargs: Option<Kwargs>,
}

/// Variables of a template.
#[derive(Clone, Debug)]
pub struct Kwargs(Map<String, Value>);

fn kwargs(text: &str) -> std::result::Result<Kwargs, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(Kwargs(map)),
        Ok(_) => Err("expected a JSON object, as in {\"enable_thinking\": false}".to_owned()),
        Err(e) => Err(format!("not JSON: {e}")),
    }
}

/// Definitions of tools.
#[derive(Clone, Debug, PartialEq)]
pub struct Tools(Vec<Value>);

/// Reads a file of definitions: `{"type": "function", "function": {..}}` each, or the inner object alone.
fn tools(path: &str) -> std::result::Result<Tools, String> {
    let text = read_text(Path::new(path)).map_err(|e| e.to_string())?;
    tools_of(&text).map(Tools)
}

fn tools_of(text: &str) -> std::result::Result<Vec<Value>, String> {
    let json: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
    let Value::Array(tools) = json else { return Err("expected an array of tool definitions".to_owned()) };
    let whole = |(i, tool): (usize, Value)| {
        let tool = if tool.get("function").is_some() { tool } else { json!({"type": "function", "function": tool}) };
        let named = tool["function"]["name"].is_string();
        if named { Ok(tool) } else { Err(format!("tool {} has no function with a \"name\"", i + 1)) }
    };
    tools.into_iter().enumerate().map(whole).collect()
}

impl ChatArgs {
    /// The switch that was given, if one was.
    pub fn thinking(&self) -> Option<bool> {
        (self.think || self.no_think).then_some(self.think)
    }

    /// The first flag given that means nothing without a template.
    pub fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.system_prompt.is_some(), "--system-prompt"),
            (self.think, "--think"),
            (self.no_think, "--no-think"),
            (self.tools.is_some(), "--tools"),
            (self.chat_template_file.is_some(), "--chat-template-file"),
            (self.chat_template_kwargs.is_some(), "--chat-template-kwargs"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, name)| name)
    }

    /// A conversation in which nothing was said yet.
    pub fn conversation(&self) -> Conversation {
        let opening = Opening {
            system: self.system_prompt.clone(),
            tools: self.tools.as_ref().map(|t| t.0.clone()).unwrap_or_default(),
            kwargs: self.chat_template_kwargs.as_ref().map(|k| k.0.clone()).unwrap_or_default(),
            thinking: self.thinking(),
        };
        opening.into()
    }

    /// A conversation of the system prompt and one message.
    pub fn request(&self, message: &str) -> Request {
        let mut conversation = self.conversation();
        conversation.ask(message);
        conversation.request()
    }

    /// The request as the template writes it.
    ///
    /// # Errors
    /// When there is no template or it fails.
    pub fn render(&self, gguf: &Gguf, tokenizer: &Tokenizer, request: &Request) -> Result<Rendered> {
        model_args::template(gguf, self.chat_template_file.as_deref(), tokenizer)?.render(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_come_with_or_without_their_shell() {
        let shell = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
        assert_eq!(tools_of(&shell.to_string()).unwrap(), *shell.as_array().unwrap());
        assert_eq!(tools_of("[{\"name\": \"f\", \"parameters\": {}}]").unwrap(), *shell.as_array().unwrap());
        for (bad, word) in
            [("{", "not JSON"), ("{}", "array"), ("[{\"name\": \"f\"}, {\"x\": 1}]", "tool 2"), ("[3]", "tool 1")]
        {
            assert!(tools_of(bad).unwrap_err().contains(word), "{bad}");
        }
    }
}
