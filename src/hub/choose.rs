//! Which files of a repository are one model, and which model is meant.
//!
//! A file's quantization is read off its name (`Qwen3-8B-Q4_K_M.gguf`, `qwen3-8b.q8_0.gguf`, `-UD-Q4_K_XL`), as every
//! other program does: what is inside is known only once it is here. Shards of one model are one group.

use super::spec::Wanted;
use std::collections::BTreeMap;

/// What is taken when no quantization is named.
pub const DEFAULT_QUANT: &str = "Q4_K_M";

/// The files of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The path without `-00001-of-00003` and `.gguf`.
    pub stem: String,
    /// The quantization in its name, in capitals.
    pub quant: Option<String>,
    /// Indices into the list of paths, by number of shard.
    pub parts: Vec<usize>,
    /// How many files there should be.
    pub count: u64,
}

impl Group {
    /// Whether all shards are listed.
    pub fn is_whole(&self) -> bool {
        self.parts.len() as u64 == self.count
    }

    /// The last part of the path.
    pub fn file_stem(&self) -> &str {
        self.stem.rsplit('/').next().unwrap_or(&self.stem)
    }

    /// What to call it behind a colon: the quantization, else the file's name.
    pub fn label(&self) -> &str {
        self.quant.as_deref().unwrap_or(self.file_stem())
    }
}

/// Groups the models among `paths`; other files (projectors, importance matrices, text) are left out.
pub fn groups(paths: &[String]) -> Vec<Group> {
    let mut found: BTreeMap<(String, u64), BTreeMap<u64, usize>> = BTreeMap::new();
    for (index, path) in paths.iter().enumerate() {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let Some(stem) = strip_gguf(path) else { continue };
        if name.starts_with("mmproj") || name.contains("-mmproj") || name.contains("imatrix") {
            continue;
        }
        let (stem, number, count) = shard(stem).unwrap_or((stem, 1, 1));
        found.entry((stem.to_owned(), count)).or_default().insert(number, index);
    }
    let group = |((stem, count), parts): ((String, u64), BTreeMap<u64, usize>)| {
        let quant = quant_of(&stem);
        Group { stem, quant, parts: parts.into_values().collect(), count }
    };
    found.into_iter().map(group).collect()
}

fn strip_gguf(path: &str) -> Option<&str> {
    let cut = path.len().checked_sub(5)?;
    (path.is_char_boundary(cut) && path[cut..].eq_ignore_ascii_case(".gguf")).then(|| &path[..cut])
}

/// `NAME-00002-of-00005` as (`NAME`, 2, 5).
fn shard(stem: &str) -> Option<(&str, u64, u64)> {
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (name, number) = rest.rsplit_once('-')?;
    let parse = |text: &str| (text.len() == 5).then(|| text.parse::<u64>().ok()).flatten();
    let (number, count) = (parse(number)?, parse(count)?);
    (number >= 1 && number <= count).then_some((name, number, count))
}

/// The quantization in a name, in capitals: the last of its words that is one, with `UD-` before it where it has that.
pub fn quant_of(stem: &str) -> Option<String> {
    let name = stem.rsplit('/').next().unwrap_or(stem).to_ascii_uppercase();
    let words: Vec<&str> = name.split(['-', '.', ' ']).collect();
    let (at, quant) = words.iter().enumerate().rev().find_map(|(at, word)| Some((at, quant_in(word)?)))?;
    let dynamic = at > 0 && words[at - 1] == "UD";
    Some(if dynamic { format!("UD-{quant}") } else { quant.to_owned() })
}

/// The quantization that a word is, or ends with behind an underscore (`MODEL_Q4_K_M`).
fn quant_in(word: &str) -> Option<&str> {
    if is_quant(word) {
        return Some(word);
    }
    word.match_indices('_').map(|(at, _)| &word[at + 1..]).find(|tail| is_quant(tail))
}

fn is_quant(word: &str) -> bool {
    if ["F16", "F32", "BF16", "FP16", "FP32", "MXFP4", "MXFP4_MOE", "NVFP4", "TQ1_0", "TQ2_0"].contains(&word) {
        return true;
    }
    let rest = word.strip_prefix('I').unwrap_or(word);
    let Some(rest) = rest.strip_prefix('Q') else { return false };
    let Some((bits, kind)) = rest.split_once('_') else { return false };
    let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    bits.len() == 1 && ('1'..='8').any(|d| bits.starts_with(d)) && kind.len() <= 8 && plain(kind)
}

/// What [`choose`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// This one. `why` is to be said where the user did not name it.
    One {
        /// The group.
        group: &'a Group,
        /// Why it was taken though another was expected.
        why: Option<String>,
    },
    /// Several fit: these.
    Several(Vec<&'a Group>),
    /// None fits.
    None,
}

/// The group that is meant. `paths` are those that the groups were made of.
pub fn choose<'a>(groups: &'a [Group], paths: &[String], wanted: &Wanted) -> Choice<'a> {
    match wanted {
        Wanted::File(file) => one_of(groups.iter().filter(|g| has_file(g, paths, file)).collect()),
        Wanted::Quant(quant) => one_of(by_quant(groups, quant)),
        Wanted::Default => match (by_quant(groups, DEFAULT_QUANT), groups) {
            (fit, [only]) if fit.is_empty() => Choice::One {
                group: only,
                why: Some(format!("there is no {DEFAULT_QUANT}; taking {}, the only one", only.label())),
            },
            (fit, _) => one_of(fit),
        },
    }
}

fn one_of(fit: Vec<&Group>) -> Choice<'_> {
    match fit[..] {
        [] => Choice::None,
        [group] => Choice::One { group, why: None },
        _ => Choice::Several(fit),
    }
}

fn has_file(group: &Group, paths: &[String], file: &str) -> bool {
    let same = |path: &String| path == file || path.rsplit('/').next() == Some(file);
    group.parts.iter().any(|&at| same(&paths[at]))
}

/// Groups whose quantization is `quant`; where there is none, those that have it as a whole word in their name.
fn by_quant<'a>(groups: &'a [Group], quant: &str) -> Vec<&'a Group> {
    let quant = quant.to_ascii_uppercase();
    let exact: Vec<&Group> = groups.iter().filter(|g| g.quant.as_deref() == Some(&quant)).collect();
    if !exact.is_empty() {
        return exact;
    }
    groups.iter().filter(|g| has_word(&g.stem.to_ascii_uppercase(), &quant)).collect()
}

/// Whether `word` stands in `name` between its ends, dashes, dots, slashes; an underscore may stand before it only.
fn has_word(name: &str, word: &str) -> bool {
    name.match_indices(word).any(|(at, _)| {
        let before = name[..at].chars().next_back().is_none_or(|c| "-./_ ".contains(c));
        let after = name[at + word.len()..].chars().next().is_none_or(|c| "-./ ".contains(c));
        before && after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn stem(names: &[&str], wanted: &Wanted) -> Option<String> {
        let paths = paths(names);
        match choose(&groups(&paths), &paths, wanted) {
            Choice::One { group, .. } => Some(group.stem.clone()),
            _ => None,
        }
    }

    fn quant(name: &str) -> Wanted {
        Wanted::Quant(name.to_owned())
    }

    #[test]
    fn quantizations_are_read_off_names() {
        for (name, expected) in [
            ("Qwen3-8B-Q4_K_M", Some("Q4_K_M")),
            ("qwen3-8b.q8_0", Some("Q8_0")),
            ("Qwen3-30B-A3B-UD-Q4_K_XL", Some("UD-Q4_K_XL")),
            ("BF16/Qwen3-8B-BF16", Some("BF16")),
            ("model_Q5_K_S", Some("Q5_K_S")),
            ("Qwen3-8B-IQ4_XS", Some("IQ4_XS")),
            ("gpt-MXFP4_MOE", Some("MXFP4_MOE")),
            ("Qwen3-Q4_K_M-imat", Some("Q4_K_M")),
            ("Qwen3-8B", None),
            ("Q4", None),
            ("QQ_K", None),
        ] {
            assert_eq!(quant_of(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn shards_are_one_model_and_other_files_none() {
        let list = paths(&[
            "README.md",
            "mmproj-F16.gguf",
            "imatrix.gguf",
            "Q8_0/M-Q8_0-00002-of-00002.gguf",
            "Q8_0/M-Q8_0-00001-of-00002.gguf",
            "M-Q4_K_M.gguf",
            "N-Q6_K-00002-of-00003.GGUF",
        ]);
        let groups = groups(&list);
        assert_eq!(groups.iter().map(|g| g.stem.as_str()).collect::<Vec<_>>(), ["M-Q4_K_M", "N-Q6_K", "Q8_0/M-Q8_0"]);
        assert_eq!((&groups[2].parts[..], groups[2].is_whole()), (&[4, 3][..], true));
        assert!(!groups[1].is_whole());
    }

    #[test]
    fn what_is_meant() {
        let list = ["M-Q4_K_M.gguf", "M-Q4_K_S.gguf", "M-UD-Q4_K_M.gguf", "M-UD-Q4_K_XL.gguf", "d/M-BF16.gguf"];
        assert_eq!(stem(&list, &Wanted::Default).as_deref(), Some("M-Q4_K_M"));
        assert_eq!(stem(&list, &quant("q4_k_m")).as_deref(), Some("M-Q4_K_M"));
        assert_eq!(stem(&list, &quant("ud-q4_k_m")).as_deref(), Some("M-UD-Q4_K_M"));
        assert_eq!(stem(&list, &quant("Q4_K_XL")).as_deref(), Some("M-UD-Q4_K_XL"));
        assert_eq!(stem(&list, &quant("bf16")).as_deref(), Some("d/M-BF16"));
        assert_eq!(stem(&list, &quant("Q4_K")), None, "Q4_K is not Q4_K_M");
        assert_eq!(stem(&list, &quant("F16")), None, "F16 is not BF16");
        assert_eq!(stem(&list, &Wanted::File("M-BF16.gguf".into())).as_deref(), Some("d/M-BF16"));
        assert_eq!(stem(&["M-Q8_0.gguf"], &Wanted::Default).as_deref(), Some("M-Q8_0"));
        assert_eq!(stem(&["M-Q8_0.gguf", "M-Q6_K.gguf"], &Wanted::Default), None);
        let twice = paths(&["A-Q8_0.gguf", "B-Q8_0.gguf"]);
        assert!(matches!(choose(&groups(&twice), &twice, &quant("Q8_0")), Choice::Several(fit) if fit.len() == 2));
    }
}
