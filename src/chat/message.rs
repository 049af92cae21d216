//! Messages and requests as the OpenAI API shapes them, kept in the order and with the extra fields they came with,
//! because templates may print any of it.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Names under which reasoning is passed; the first is the one that templates read.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// One message: an object with a `role` and a `content` that is a string, whatever else it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Message(Map<String, Value>);

impl Message {
    /// A message with a role and a text.
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        let mut fields = Map::new();
        fields.insert("role".into(), role.into());
        fields.insert("content".into(), Value::String(content.into()));
        Self(fields)
    }

    /// A message from JSON. A `content` that is null or missing becomes "", an array of text parts their texts joined
    /// by line breaks. Reasoning given as `thinking` or `reasoning` is seen as `reasoning_content` too.
    ///
    /// # Errors
    /// `Usage` when it is not an object, has no role, or its content, reasoning or tool calls have another shape.
    pub fn from_json(json: Value) -> Result<Self> {
        let Value::Object(mut fields) = json else {
            return Err(Error::usage(format!("a message is {}, not an object with role and content", kind_of(&json))));
        };
        if !fields.get("role").is_some_and(Value::is_string) {
            return Err(Error::usage("a message has no \"role\" (system, user, assistant or tool)"));
        }
        let content = text_of(fields.get("content"))?;
        fields.insert("content".into(), Value::String(content));
        check_tool_calls(fields.get("tool_calls"))?;
        let mut message = Self(fields);
        message.alias_reasoning()?;
        Ok(message)
    }

    /// The same reasoning under the first two names, as transformers gives it to templates.
    fn alias_reasoning(&mut self) -> Result<()> {
        let Some(reasoning) = REASONING.iter().filter_map(|name| self.0.get(*name)).find(|v| !v.is_null()) else {
            return Ok(());
        };
        if !reasoning.is_string() {
            return Err(Error::usage(format!("a message's reasoning_content is {}, not a string", kind_of(reasoning))));
        }
        let reasoning = reasoning.clone();
        if !self.0.contains_key("thinking") {
            self.0.shift_insert(0, "thinking".into(), reasoning.clone());
        }
        self.0.insert(REASONING[0].into(), reasoning);
        Ok(())
    }

    /// `system`, `user`, `assistant`, `tool` or what else the template knows.
    pub fn role(&self) -> &str {
        self.0.get("role").and_then(Value::as_str).unwrap_or_default()
    }

    /// The text.
    pub fn content(&self) -> &str {
        self.0.get("content").and_then(Value::as_str).unwrap_or_default()
    }

    /// The reasoning before the answer, if it was given apart.
    pub fn reasoning(&self) -> Option<&str> {
        self.0.get(REASONING[0]).and_then(Value::as_str)
    }

    /// Adds a field (`reasoning_content`, `tool_calls`, `tool_call_id`), replacing it if it is there.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.into(), value);
        self
    }

    /// Without its reasoning, under whatever name it came.
    #[must_use]
    pub fn without_reasoning(&self) -> Self {
        let mut fields = self.0.clone();
        REASONING.iter().for_each(|name| drop(fields.shift_remove(*name)));
        Self(fields)
    }

    /// All fields.
    pub fn json(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// What a value is, for errors.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn text_of(content: Option<&Value>) -> Result<String> {
    let parts = match content {
        None | Some(Value::Null) => return Ok(String::new()),
        Some(Value::String(text)) => return Ok(text.clone()),
        Some(Value::Array(parts)) => parts,
        Some(other) => {
            return Err(Error::usage(format!("a message's content is {}, not a string or text parts", kind_of(other))));
        }
    };
    let mut texts = Vec::with_capacity(parts.len());
    for part in parts {
        match (part, part.get("type").and_then(Value::as_str), part.get("text").and_then(Value::as_str)) {
            (Value::String(text), ..) => texts.push(text.as_str()),
            (_, Some("text" | "input_text" | "output_text") | None, Some(text)) => texts.push(text),
            (_, Some(kind), _) if kind != "text" => {
                return Err(Error::unsupported(format!(
                    "a message's content has a part of type {kind:?}; this program reads text parts only"
                )));
            }
            _ => return Err(Error::usage("a message's content has a part without \"text\"")),
        }
    }
    Ok(texts.join("\n"))
}

fn check_tool_calls(calls: Option<&Value>) -> Result<()> {
    let calls = match calls {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Array(calls)) => calls,
        Some(other) => return Err(Error::usage(format!("a message's tool_calls is {}, not an array", kind_of(other)))),
    };
    for call in calls {
        let function = call.get("function").unwrap_or(call);
        if !function.get("name").is_some_and(Value::is_string) {
            return Err(Error::usage("a tool call has no function with a \"name\""));
        }
        if !matches!(function.get("arguments"), Some(Value::String(_) | Value::Object(_))) {
            return Err(Error::usage("a tool call's \"arguments\" is neither a JSON string nor an object"));
        }
    }
    Ok(())
}

/// All that a template sees.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The conversation.
    pub messages: Vec<Message>,
    /// Tool definitions in OpenAI's shape; empty for none.
    pub tools: Vec<Value>,
    /// Whether the prompt ends where the assistant's answer begins.
    pub add_generation_prompt: bool,
    /// `enable_thinking`; `None` leaves it to the template (Qwen3: on).
    pub enable_thinking: Option<bool>,
    /// Further variables of the template (`chat_template_kwargs`).
    pub kwargs: Map<String, Value>,
    /// Seconds since 1970 in UTC which `strftime_now` shows; `None` reads the clock.
    pub now: Option<i64>,
}

impl Request {
    /// A request for an answer to `messages`.
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, add_generation_prompt: true, ..Self::default() }
    }

    /// The thinking switch in force: the request's own, else the one among the kwargs.
    pub fn thinking_switch(&self) -> Option<bool> {
        self.enable_thinking.or_else(|| self.kwargs.get("enable_thinking").and_then(Value::as_bool))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn content_becomes_one_string() {
        let content = |json: Value| Message::from_json(json).unwrap().content().to_string();
        assert_eq!(content(json!({"role": "user", "content": "a"})), "a");
        assert_eq!(content(json!({"role": "assistant", "content": null})), "");
        assert_eq!(content(json!({"role": "assistant"})), "");
        assert_eq!(content(json!({"role": "user", "content": []})), "");
        let parts = json!([{"type": "text", "text": "a"}, "b", {"type": "input_text", "text": "c"}]);
        assert_eq!(content(json!({"role": "user", "content": parts})), "a\nb\nc");
    }

    #[test]
    fn reasoning_is_found_under_its_three_names() {
        for name in REASONING {
            let message = Message::from_json(json!({"role": "assistant", "content": "x", name: "why"})).unwrap();
            assert_eq!(message.reasoning(), Some("why"), "{name}");
            assert_eq!(message.json()["thinking"], "why");
        }
        let both = json!({"role": "assistant", "reasoning_content": null, "reasoning": "r"});
        assert_eq!(Message::from_json(both).unwrap().reasoning(), Some("r"));
        assert_eq!(Message::new("user", "x").reasoning(), None);
    }

    #[test]
    fn other_shapes_are_refused() {
        let cases = [
            (json!("hi"), "a string, not an object"),
            (json!({"content": "x"}), "no \"role\""),
            (json!({"role": 1}), "no \"role\""),
            (json!({"role": "user", "content": 3}), "a number, not a string"),
            (json!({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}), "\"image_url\""),
            (json!({"role": "user", "content": [{"type": "text"}]}), "without \"text\""),
            (json!({"role": "user", "content": [7]}), "without \"text\""),
            (json!({"role": "assistant", "reasoning_content": ["x"]}), "an array, not a string"),
            (json!({"role": "assistant", "tool_calls": {}}), "tool_calls is an object"),
            (json!({"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}), "\"name\""),
            (
                json!({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": 1}}]}),
                "\"arguments\"",
            ),
        ];
        for (json, message) in cases {
            let error = Message::from_json(json.clone()).unwrap_err().to_string();
            assert!(error.contains(message), "{json}: {error}");
        }
    }
}
