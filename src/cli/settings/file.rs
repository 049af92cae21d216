//! `config.toml`: where it is, and its values as flags have them.
//!
//! Its keys are the long names of flags, without the dashes (`ctx-size = 16384`; `_` is as good as `-`). What is not
//! such a name is an error: a setting that is silently not there is worse than none.

use crate::error::{Error, Result};
use etcetera::BaseStrategy;
use std::path::{Path, PathBuf};
use toml::Value;

/// A setting of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The flag's long name.
    pub name: String,
    /// Its value, or several for a flag that can be given several times.
    pub values: Vec<String>,
}

/// The file to read: the one that LAPWING_CONFIG names, else `lapwing/config.toml` in the folder for configuration.
/// `true`: it was named, so it must be there.
pub fn path() -> Option<(PathBuf, bool)> {
    if let Some(named) = std::env::var_os("LAPWING_CONFIG") {
        return (!named.is_empty()).then(|| (PathBuf::from(named), true));
    }
    let base = etcetera::choose_base_strategy().ok()?;
    Some((base.config_dir().join("lapwing").join("config.toml"), false))
}

/// Reads the file; none where it is not there and nobody named it.
///
/// # Errors
/// When it cannot be read, is no TOML, or has a key that is none of `names`.
pub fn read(path: &Path, must_be: bool, names: &[&str]) -> Result<Vec<Entry>> {
    let shown = path.display();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, names).map_err(|e| e.context(shown.to_string())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_be => Ok(Vec::new()),
        Err(e) => Err(Error::usage(format!("{shown}: the settings cannot be read: {e}"))),
    }
}

fn parse(text: &str, names: &[&str]) -> Result<Vec<Entry>> {
    let table: toml::Table = toml::from_str(text).map_err(|e| Error::usage(format!("is no TOML: {e}")))?;
    table.iter().map(|(key, value)| entry(key, value, names)).collect()
}

fn entry(key: &str, value: &Value, names: &[&str]) -> Result<Entry> {
    let name = key.replace('_', "-");
    if !names.contains(&name.as_str()) {
        let near = nearest(&name, names).map_or(String::new(), |near| format!("; did you mean {near}?"));
        return Err(Error::usage(format!(
            "there is no setting {key:?}{near} (`lapwing config` lists the settings and their origins)"
        )));
    }
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(n) => Ok(n.to_string()),
        Value::Float(n) => Ok(n.to_string()),
        Value::Boolean(on) => Ok(on.to_string()),
        other => Err(Error::usage(format!("{key} is {}, expected text, a number, true or false", other.type_str()))),
    };
    let values = match value {
        Value::Array(list) => list.iter().map(one).collect::<Result<_>>()?,
        value => vec![one(value)?],
    };
    Ok(Entry { name, values })
}

/// The name that is most like what was written, if any is.
pub fn nearest<'n>(written: &str, names: &[&'n str]) -> Option<&'n str> {
    let like = |name: &&&str| strsim::jaro_winkler(written, name);
    let best = names.iter().max_by(|a, b| like(a).total_cmp(&like(b)))?;
    (like(&best) > 0.7).then_some(*best)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["ctx-size", "temp", "stop"];

    #[test]
    fn values_as_flags_have_them() {
        let found = parse("ctx_size = 4096\ntemp = 0.5\nstop = [\"a\", \"b\"]\n", &NAMES).unwrap();
        let entry = |name: &str, values: &[&str]| Entry {
            name: name.into(),
            values: values.iter().map(|v| (*v).to_owned()).collect(),
        };
        assert_eq!(found, [entry("ctx-size", &["4096"]), entry("stop", &["a", "b"]), entry("temp", &["0.5"])]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("ctx-sise = 1", "did you mean ctx-size?"),
            ("[temp]\nx = 1", "temp is table"),
            ("temp = ", "is no TOML"),
            ("zzz = 1", "there is no setting \"zzz\" (`lapwing config`"),
        ] {
            let said = parse(text, &NAMES).unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
