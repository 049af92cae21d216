//! The front matter of a checkpoint's README.md: license, tags, languages, base models.
//!
//! It is YAML, of which this reads what model cards use: `key: value`, and lists, on one line or one item a line.
//! What it cannot read it leaves out: nothing here changes what a model computes.

use std::collections::BTreeMap;
use std::path::Path;

use gguf_rs_lib::format::metadata::MetadataValue as V;

use super::json;
use super::model_name;
use super::source::strings;
use crate::error::Result;

/// Values by key; a single value is a list of one.
type Card = BTreeMap<String, Vec<String>>;

/// The metadata that README.md in `dir` gives for a model of `parameters` weights; none when there is no such file.
pub fn metadata(dir: &Path, parameters: u64) -> Result<Vec<(String, V)>> {
    let path = dir.join("README.md");
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let card = front_matter(&json::text(&path)?);
    let list = |keys: &[&str]| -> Vec<String> { keys.iter().filter_map(|k| card.get(*k)).flatten().cloned().collect() };
    let mut keys = Vec::new();
    for (theirs, ours) in [
        ("license", "general.license"),
        ("license_name", "general.license.name"),
        ("license_link", "general.license.link"),
    ] {
        let values = list(&[theirs]);
        if !values.is_empty() {
            keys.push((ours.to_owned(), V::String(values.join(","))));
        }
    }
    for (theirs, ours) in
        [(&["tags", "pipeline_tag"], "general.tags"), (&["languages", "language"], "general.languages")]
    {
        let values = list(theirs);
        if !values.is_empty() {
            keys.push((ours.to_owned(), strings(values)?));
        }
    }
    let bases = list(&["base_model"]);
    if !bases.is_empty() {
        keys.push(("general.base_model.count".to_owned(), V::U32(bases.len() as u32)));
    }
    for (n, id) in bases.iter().enumerate() {
        keys.extend(base_model(n, id, parameters));
    }
    Ok(keys)
}

fn base_model(n: usize, id: &str, parameters: u64) -> Vec<(String, V)> {
    let on_hub = id.strip_prefix("https://huggingface.co/").filter(|rest| rest.split('/').count() == 2);
    let mut keys = Vec::new();
    let mut put = |key: &str, text: String| keys.push((format!("general.base_model.{n}.{key}"), V::String(text)));
    if id.contains("://") {
        put("repo_url", id.to_owned());
    }
    if id.contains("://") && on_hub.is_none() {
        return keys;
    }
    let parts = model_name::parse(on_hub.unwrap_or(id), parameters);
    put("name", model_name::title(&parts.full));
    if let Some(organization) = &parts.organization {
        put("organization", model_name::title(organization));
        if !id.contains("://") {
            put("repo_url", format!("https://huggingface.co/{organization}/{}", parts.full));
        }
    }
    if let Some(version) = parts.version {
        put("version", version);
    }
    keys
}

fn front_matter(text: &str) -> Card {
    let mut card = Card::new();
    let mut lines = text.lines();
    if lines.next() != Some("---") {
        return card;
    }
    let mut current: Option<String> = None;
    for line in lines.take_while(|line| *line != "---") {
        let item = line.trim_start().strip_prefix("- ").or_else(|| line.trim_start().strip_prefix("-\t"));
        match (item, line.split_once(':')) {
            (Some(item), _) => {
                if let Some(values) = current.as_ref().and_then(|key| card.get_mut(key)) {
                    values.extend(scalar(item));
                }
            }
            (None, Some((key, value))) if !line.starts_with([' ', '\t', '#']) => {
                let value = value.trim();
                let values = match value.strip_prefix('[').and_then(|v| v.strip_suffix(']')) {
                    Some(list) => list.split(',').filter_map(scalar).collect(),
                    None => scalar(value).into_iter().collect(),
                };
                card.insert(key.trim().to_owned(), values);
                current = Some(key.trim().to_owned());
            }
            // Deeper levels (evaluation results) hold nothing that a GGUF has a key for.
            _ => current = None,
        }
    }
    card
}

fn scalar(text: &str) -> Option<String> {
    let text = text.trim();
    let inside = |q: char| text.strip_prefix(q).and_then(|t| t.strip_suffix(q));
    let text = inside('"').or_else(|| inside('\'')).unwrap_or(text);
    (!text.is_empty() && text != "null" && !text.starts_with(['|', '>', '{', '&', '*'])).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_card() {
        let card = front_matter(
            "---\nlibrary_name: transformers\nlicense: apache-2.0\nlicense_link: https://x/LICENSE\n\
             pipeline_tag: text-generation\nbase_model:\n- Qwen/Qwen3-4B-Base\nlanguage: [en, \"no\"]\n---\n# Qwen3\na: b\n",
        );
        assert_eq!(card["license"], ["apache-2.0"]);
        assert_eq!(card["license_link"], ["https://x/LICENSE"]);
        assert_eq!(card["base_model"], ["Qwen/Qwen3-4B-Base"]);
        assert_eq!(card["language"], ["en", "no"]);
        assert!(!card.contains_key("a"));
        assert!(front_matter("# Qwen3\nlicense: x\n").is_empty());
    }

    #[test]
    fn base_models_are_named() {
        let keys = base_model(0, "Qwen/Qwen3-4B-Base", 4_022_468_096);
        let get = |key: &str| keys.iter().find(|(k, _)| k.ends_with(key)).map(|(_, v)| v.clone());
        assert_eq!(get(".name"), Some(V::String("Qwen3 4B Base".into())));
        assert_eq!(get(".organization"), Some(V::String("Qwen".into())));
        assert_eq!(get(".repo_url"), Some(V::String("https://huggingface.co/Qwen/Qwen3-4B-Base".into())));
    }
}
