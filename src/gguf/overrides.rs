//! `--override-kv KEY=TYPE:VALUE`, with llama.cpp's syntax and types.

use gguf_rs_lib::format::metadata::MetadataValue;

use crate::error::{Error, Result};

const TYPES: [&str; 4] = ["int", "float", "bool", "str"];

/// One metadata value given by the user in place of the file's.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// The metadata key.
    pub key: String,
    pub(super) value: MetadataValue,
}

impl Override {
    /// The value as a file stores it: llama.cpp writes integers as u32 without their sign and floats as f32.
    pub fn stored(&self) -> MetadataValue {
        match &self.value {
            MetadataValue::I64(n) => MetadataValue::U32(n.unsigned_abs() as u32),
            MetadataValue::F64(x) => MetadataValue::F32(*x as f32),
            other => other.clone(),
        }
    }

    /// Parses one `KEY=TYPE:VALUE`; TYPE is int, float, bool or str.
    pub fn parse(text: &str) -> Result<Override> {
        let wrong = |why: &str| {
            let quoted = super::quoted(text);
            Error::usage(format!(
                "--override-kv {quoted}: {why}; expected KEY=TYPE:VALUE with TYPE one of int, float, bool, str"
            ))
        };
        let (key, rest) = text.split_once('=').ok_or_else(|| wrong("there is no '='"))?;
        if key.is_empty() {
            return Err(wrong("the key is empty"));
        }
        let (kind, value) = rest.split_once(':').ok_or_else(|| wrong("there is no ':' after the type"))?;
        let bad_value = || wrong(&format!("{} is not a value of type {kind}", super::quoted(value)));
        let value = match kind {
            "int" => MetadataValue::I64(value.parse().map_err(|_| bad_value())?),
            "float" => match value.parse::<f64>() {
                Ok(number) if number.is_finite() => MetadataValue::F64(number),
                _ => return Err(bad_value()),
            },
            "bool" => MetadataValue::Bool(value.parse().map_err(|_| bad_value())?),
            "str" => MetadataValue::String(value.to_owned()),
            other => return Err(wrong(&format!("unknown type {}", super::quoted(other)))),
        };
        Ok(Override { key: key.to_owned(), value })
    }

    /// Parses a comma-separated list, as llama.cpp takes it. A comma inside a string value is part of the value
    /// unless what follows it is itself of the form `KEY=TYPE:`.
    pub fn parse_list(text: &str) -> Result<Vec<Override>> {
        let mut found = Vec::new();
        let mut start = 0;
        for (comma, _) in text.match_indices(',') {
            if begins_override(&text[comma + 1..]) {
                found.push(Override::parse(&text[start..comma])?);
                start = comma + 1;
            }
        }
        found.push(Override::parse(&text[start..])?);
        Ok(found)
    }
}

fn begins_override(text: &str) -> bool {
    text.split_once('=').is_some_and(|(key, rest)| {
        !key.is_empty() && !key.contains(',') && rest.split_once(':').is_some_and(|(kind, _)| TYPES.contains(&kind))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_types() {
        let value = |text| Override::parse(text).unwrap().value;
        assert_eq!(value("a.b=int:-3"), MetadataValue::I64(-3));
        assert_eq!(value("a.b=float:1e6"), MetadataValue::F64(1e6));
        assert_eq!(value("a.b=bool:true"), MetadataValue::Bool(true));
        assert_eq!(value("a.b=str:x=y:z"), MetadataValue::String("x=y:z".into()));
        assert_eq!(Override::parse("a.b=str:").unwrap().key, "a.b");
    }

    #[test]
    fn mistakes_are_usage_errors() {
        for text in
            ["", "a", "=int:1", "a=1", "a=int:x", "a=int:1.5", "a=float:nan", "a=bool:yes", "a=uint:1", "a=int:"]
        {
            let error = Override::parse(text).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{text}");
            assert!(error.to_string().contains("--override-kv"), "{error}");
        }
    }

    #[test]
    fn lists_split_only_before_another_override() {
        let list = Override::parse_list("a=int:1,b=str:x,y=z,c.d=bool:false").unwrap();
        let keys: Vec<&str> = list.iter().map(|o| o.key.as_str()).collect();
        assert_eq!(keys, ["a", "b", "c.d"]);
        assert_eq!(list[1].value, MetadataValue::String("x,y=z".into()));
        assert!(Override::parse_list("a=int:1,").is_err());
    }
}
