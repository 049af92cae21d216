//! What the user gave as the form of the output.

use super::gbnf;
use crate::error::{Error, Result};
use llguidance::api::TopLevelGrammar;
use serde_json::{Map, Value, json};

/// White space that JSON may have between its parts: without a bound a model can go on with it for ever.
const JSON_SPACE: &str = r"[\x20\x0A\x0D\x09]{1,24}";

/// A form: read, but not compiled yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Schema(Value),
    Lark(String),
    /// GBNF, written as Lark.
    Gbnf(String),
}

impl Source {
    /// Any JSON object.
    pub fn json_object() -> Self {
        Self { kind: Kind::Schema(json!({ "type": "object" })) }
    }

    /// JSON that a schema, given as JSON text, allows.
    ///
    /// # Errors
    /// When it is not JSON, or neither an object nor a boolean; the message has line and column.
    pub fn json_schema(text: &str) -> Result<Self> {
        let schema = serde_json::from_str(text).map_err(|e| Error::usage(format!("JSON schema: not JSON: {e}")))?;
        Self::json_schema_value(schema)
    }

    /// JSON that a schema allows.
    ///
    /// # Errors
    /// When it is neither an object nor a boolean.
    pub fn json_schema_value(schema: Value) -> Result<Self> {
        match schema {
            Value::Object(_) => Ok(Self { kind: Kind::Schema(schema) }),
            Value::Bool(true) => Ok(Self { kind: Kind::Schema(json!({})) }),
            Value::Bool(false) => Err(Error::usage("JSON schema: false allows nothing")),
            _ => Err(Error::usage("JSON schema: it must be an object, as in {\"type\": \"object\"}")),
        }
    }

    /// Text of a grammar: GBNF if it has a rule with `::=`, else Lark.
    ///
    /// # Errors
    /// When it is empty, or GBNF that is broken or uses what is not supported; the message has line and column.
    pub fn grammar(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::usage("grammar: it is empty"));
        }
        if gbnf::is_gbnf(text) {
            return Ok(Self { kind: Kind::Gbnf(gbnf::to_lark(text)?) });
        }
        Ok(Self { kind: Kind::Lark(text.to_owned()) })
    }

    /// What it is, for messages.
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Schema(_) => "JSON schema",
            Kind::Lark(_) => "Lark grammar",
            Kind::Gbnf(_) => "GBNF grammar",
        }
    }

    pub(super) fn grammar_for_parser(&self) -> TopLevelGrammar {
        match &self.kind {
            Kind::Schema(schema) => TopLevelGrammar::from_json_schema(with_bounded_space(schema)),
            Kind::Lark(text) | Kind::Gbnf(text) => TopLevelGrammar::from_lark(text.clone()),
        }
    }
}

/// The schema with the parser's options for white space, unless it brings its own.
fn with_bounded_space(schema: &Value) -> Value {
    let mut fields = schema.as_object().cloned().unwrap_or_else(Map::new);
    fields.entry("x-guidance").or_insert_with(|| json!({ "whitespace_pattern": JSON_SPACE }));
    Value::Object(fields)
}
