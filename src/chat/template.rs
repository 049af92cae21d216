//! The chat template of a model, rendered as transformers renders it with jinja2.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::{Kwargs, Serde, Value as Jinja, from_args};
use minijinja::{Environment, ErrorKind, State, UndefinedBehavior};
use minijinja_contrib::pycompat;
use serde_json::{Map, Value};

use super::guard::{Guard, Scope, free_mark, strings};
use super::message::Request;
use super::rendered::Rendered;
use super::{clock, python};
use crate::error::{Error, Result};
use crate::tokenizer::{Segment, Tokenizer};

/// Longest template source.
const MAX_SOURCE: usize = 4 << 20;
/// Steps that a template may take, and steps more for each byte of the messages: a template that needs more is broken
/// or hostile. minijinja charges for the memory of strings too, not for lists added to themselves again and again.
const FUEL: u64 = 5_000_000;
const FUEL_PER_BYTE: u64 = 64;
/// Nesting of macros and blocks.
const MAX_RECURSION: usize = 200;
/// Bytes that a template may print, and bytes more for each byte of the messages.
const OUTPUT: u64 = 16 << 20;
const OUTPUT_PER_BYTE: u64 = 16;
const NAME: &str = "chat_template";

/// What a template needs to know of the vocabulary.
#[derive(Clone, Debug, Default)]
pub struct SpecialTexts {
    /// Control tokens, which messages must not be able to spell.
    pub control: Vec<String>,
    /// The template's variable `bos_token`.
    pub bos: Option<String>,
    /// The template's variable `eos_token`.
    pub eos: Option<String>,
    /// The template's variable `pad_token`.
    pub pad: Option<String>,
}

impl SpecialTexts {
    /// The texts of `tokenizer`.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        let text = |id: Option<u32>| id.and_then(|id| tokenizer.text(id)).map(String::from);
        Self {
            control: tokenizer.control_tokens().map(String::from).collect(),
            bos: text(tokenizer.bos()),
            eos: text(tokenizer.eos()),
            pad: text(tokenizer.pad()),
        }
    }
}

/// A compiled chat template. Immutable and `Sync`.
#[derive(Debug)]
pub struct Template {
    env: Environment<'static>,
    source: String,
    guard: Guard,
    named: Map<String, Value>,
}

impl Template {
    /// Compiles `source`. Where it comes from (a key of the file, a path) is for the caller to add to the error.
    ///
    /// # Errors
    /// `Limit` above 4 MiB, `File` for a syntax error, with its line.
    pub fn from_source(source: &str, specials: &SpecialTexts) -> Result<Self> {
        if source.len() > MAX_SOURCE {
            return Err(Error::limit(format!(
                "the chat template has {} bytes; the most is {MAX_SOURCE}",
                source.len()
            )));
        }
        let mut env = environment()?;
        env.add_template_owned(NAME, source.to_string())
            .map_err(|e| Error::file(format!("the chat template cannot be read: {}", describe(&e))))?;
        let mut named = Map::new();
        for (name, text) in [("bos_token", &specials.bos), ("eos_token", &specials.eos), ("pad_token", &specials.pad)] {
            if let Some(text) = text {
                named.insert(name.into(), text.as_str().into());
            }
        }
        Ok(Self { env, source: source.to_string(), guard: Guard::new(&specials.control)?, named })
    }

    /// The source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The prompt for `request`.
    ///
    /// # Errors
    /// `Usage` for kwargs that name the template's own variables; `Runtime` when the template refuses the conversation
    /// or fails; `Limit` when it takes too long.
    pub fn render(&self, request: &Request) -> Result<Rendered> {
        let inputs = self.inputs(request)?;
        let plain = self.run(&inputs, request)?;
        if !self.guard.finds(&inputs, Scope::WholeAndBegun) {
            return Ok(Rendered::new(vec![Segment { text: plain, trusted: true }]));
        }
        let mut texts = vec![self.source.as_str(), plain.as_str()];
        strings(&inputs, &mut |text| texts.push(text));
        let mark = free_mark(texts.into_iter())?;
        for scope in [Scope::WholeAndBegun, Scope::Whole] {
            let marked = self.run(&self.guard.marked(&inputs, scope, mark), request)?;
            let segments = self.guard.segments(&marked, mark);
            if segments.iter().map(|s| s.text.as_str()).eq_joined(&plain) {
                return Ok(Rendered::new(segments));
            }
        }
        Err(Error::runtime(
            "a message spells out a control token and the chat template acts upon it, so that text cannot be told from \
             structure; take the token out of the message",
        ))
    }

    /// What comes from outside: messages, tools and kwargs.
    fn inputs(&self, request: &Request) -> Result<Value> {
        const OWN: [&str; 4] = ["messages", "tools", "documents", "add_generation_prompt"];
        let mut inputs = Map::new();
        if let Some(name) = OWN.iter().find(|name| request.kwargs.contains_key(**name)) {
            return Err(Error::usage(format!(
                "the template argument {name:?} cannot be set by name; it has its own place"
            )));
        }
        inputs.extend(request.kwargs.clone());
        if let Some(on) = request.enable_thinking {
            inputs.insert("enable_thinking".into(), on.into());
        }
        let messages = request.messages.iter().map(|message| Value::Object(message.json().clone())).collect();
        inputs.insert("messages".into(), messages);
        let tools = (!request.tools.is_empty()).then(|| Value::Array(request.tools.clone()));
        inputs.insert("tools".into(), tools.unwrap_or(Value::Null));
        inputs.insert("documents".into(), Value::Null);
        Ok(Value::Object(inputs))
    }

    fn run(&self, inputs: &Value, request: &Request) -> Result<String> {
        let mut context = self.named.clone();
        if let Value::Object(inputs) = inputs {
            context.extend(inputs.clone());
        }
        context.insert("add_generation_prompt".into(), request.add_generation_prompt.into());
        let mut bytes = 0;
        strings(inputs, &mut |text| bytes += text.len() as u64);
        let mut env = self.env.clone();
        env.set_fuel(Some(FUEL.saturating_add(bytes.saturating_mul(FUEL_PER_BYTE))));
        limit_output(&mut env, OUTPUT.saturating_add(bytes.saturating_mul(OUTPUT_PER_BYTE)));
        let now = request.now.unwrap_or_else(unix_time);
        env.add_function("strftime_now", move |format: &str| clock::strftime(now, format));
        let template = env.get_template(NAME).map_err(|e| Error::runtime(describe(&e)))?;
        template.render(Jinja::from(Serde(&context))).map_err(|e| match e.kind() {
            ErrorKind::OutOfFuel => {
                Error::limit("the chat template takes too many steps or prints too much; it is broken or hostile")
            }
            _ => Error::runtime(format!("the chat template fails on this conversation: {}", describe(&e))),
        })
    }
}

/// Prints values as Python does, `limit` bytes of them in all.
fn limit_output(env: &mut Environment<'static>, limit: u64) {
    let printed = AtomicU64::new(0);
    env.set_formatter(move |out, _, value| {
        let other;
        let text = match value.as_str() {
            Some(text) => text,
            None => {
                other = python::str_of(value)?;
                &other
            }
        };
        let len = text.len() as u64;
        if printed.fetch_add(len, Ordering::Relaxed).saturating_add(len) > limit {
            return Err(minijinja::Error::new(ErrorKind::OutOfFuel, format!("more than {limit} bytes of text")));
        }
        Ok(out.write_str(text)?)
    });
}

/// Whether parts joined are a text.
trait EqJoined {
    fn eq_joined(self, text: &str) -> bool;
}

impl<'t, I: Iterator<Item = &'t str>> EqJoined for I {
    fn eq_joined(self, text: &str) -> bool {
        self.flat_map(str::bytes).eq(text.bytes())
    }
}

fn unix_time() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// The error with its line and its causes.
fn describe(error: &minijinja::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Jinja as transformers sets it up.
fn environment() -> Result<Environment<'static>> {
    let mut env = Environment::new();
    let syntax = minijinja::syntax::SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    env.set_syntax(syntax.map_err(|e| Error::runtime(describe(&e)))?);
    env.set_undefined_behavior(UndefinedBehavior::Lenient);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_recursion_limit(MAX_RECURSION);
    env.set_unknown_method_callback(method);
    env.add_filter("tojson", |value: Jinja, ascii: Option<Jinja>, kwargs: Kwargs| {
        python::tojson(&value, ascii, kwargs)
    });
    env.add_filter("string", |value: Jinja| python::str_of(&value));
    env.add_filter("trim", |value: Jinja, chars: Option<String>| {
        python::str_of(&value).map(|text| strip(&text, chars.as_deref(), true, true).to_string())
    });
    env.add_function("joiner", minijinja_contrib::globals::joiner);
    env.add_function("cycler", minijinja_contrib::globals::cycler);
    env.add_function("raise_exception", |message: Jinja| -> Result<Jinja, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, python::str_of(&message)?))
    });
    Ok(env)
}

fn strip<'t>(text: &'t str, chars: Option<&str>, start: bool, end: bool) -> &'t str {
    let off = |c: char| chars.map_or_else(|| python::is_space(c), |chars| chars.contains(c));
    let text = if start { text.trim_start_matches(off) } else { text };
    if end { text.trim_end_matches(off) } else { text }
}

/// Methods of Python's values that minijinja lacks, where pycompat differs from Python or lacks them too.
fn method(state: &mut State, value: &Jinja, name: &str, args: &[Jinja]) -> Result<Jinja, minijinja::Error> {
    let Some(text) = value.as_str() else {
        return pycompat::unknown_method_callback(state, value, name, args);
    };
    match name {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            Ok(strip(text, chars, name != "rstrip", name != "lstrip").into())
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(text.strip_prefix(prefix).unwrap_or(text).into())
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(text.strip_suffix(suffix).unwrap_or(text).into())
        }
        _ => pycompat::unknown_method_callback(state, value, name, args),
    }
}
