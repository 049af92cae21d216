//! Names: what the name of a directory or of a base model says (`Qwen3-4B-Instruct`: basename, size, finetune), and the
//! label of a model's size. The rules are those of the gguf Python package, which GGUF files in the wild follow.

use std::sync::LazyLock;

use regex::Regex;

/// The parts of a model's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameParts {
    /// The name without its organization.
    pub full: String,
    /// `Qwen` of `Qwen/Qwen3-4B`.
    pub organization: Option<String>,
    /// `Qwen3` of `Qwen3-4B`.
    pub basename: Option<String>,
    /// `Instruct` of `Qwen3-4B-Instruct`.
    pub finetune: Option<String>,
    /// `v2` of `Model-7B-v2`.
    pub version: Option<String>,
    /// `4B` of `Qwen3-4B`.
    pub size_label: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Basename,
    Size,
    Finetune,
    Version,
    Type,
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|e| unreachable!("a pattern of this file: {e}"))
}

static VERSION: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^(v|iter)?\d+([.]\d+)*$"));
static TYPE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^(i?q\d(_\w)*|b?fp?(16|32))$"));
static SIZE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)^(([A]|\d+[x])?\d+([._]\d+)?[KMBT][\d]?|small|mini|medium|large|x?xl)$"));
static FINETUNE: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)^(chat|instruct|vision|lora)$"));
static VERSION_WORD: LazyLock<Regex> = LazyLock::new(|| pattern(r"^(v\d+(?:\.\d+)*|\d.*)$"));

/// Takes the name of a model of `parameters` weights apart.
pub fn parse(id: &str, parameters: u64) -> NameParts {
    if id.contains(' ') {
        return NameParts { full: id.to_owned(), ..NameParts::default() };
    }
    let (organization, full) = match id.split_once('/') {
        Some((org, name)) => (Some(org).filter(|o| !o.is_empty() && !o.starts_with('.')), name),
        None => (None, id),
    };
    let mut parts: Vec<(String, Vec<Part>)> =
        full.split('-').filter(|p| !p.is_empty()).enumerate().map(|(i, p)| classify(i, p, parameters)).collect();
    settle(&mut parts);
    let with = |kind: Part| parts.iter().filter(move |(_, kinds)| kinds.contains(&kind)).map(|(text, _)| text.as_str());
    let joined = |texts: Vec<&str>| Some(texts.join("-")).filter(|t| !t.is_empty());
    let mut sizes: Vec<&str> = Vec::new();
    for size in with(Part::Size) {
        if !sizes.contains(&size) {
            sizes.push(size);
        }
    }
    let versions = parts.iter().filter(|(_, k)| k.contains(&Part::Version) && !k.contains(&Part::Basename));
    let version = joined(versions.map(|(text, _)| text.as_str()).collect());
    let (size_label, finetune) = (joined(sizes), joined(with(Part::Finetune).collect()));
    // With nothing but a base, the name says too little to tell what is what.
    let telling = size_label.is_some() || finetune.is_some() || version.is_some();
    let basename = if telling { joined(with(Part::Basename).collect()) } else { None };
    let organization = organization.map(str::to_owned);
    NameParts { full: full.to_owned(), organization, basename, finetune, version, size_label }
}

fn classify(index: usize, part: &str, parameters: u64) -> (String, Vec<Part>) {
    if VERSION.is_match(part) {
        return (part.to_owned(), vec![Part::Version]);
    }
    if TYPE.is_match(part) {
        return (part.to_uppercase(), vec![Part::Type]);
    }
    if index > 0 && SIZE.is_match(part) {
        return size(part, parameters);
    }
    if index > 0 && FINETUNE.is_match(part) {
        return (part.to_owned(), vec![Part::Finetune]);
    }
    (part.to_owned(), Vec::new())
}

/// A size, unless it is far from the model's own: then it is likely a context length.
fn size(part: &str, parameters: u64) -> (String, Vec<Part>) {
    let mut text: Vec<char> = part.replace('_', ".").chars().collect();
    if let [.., unit, digit] = text[..]
        && digit.is_ascii_digit()
    {
        // "7b1" is 7.1 billion.
        text.truncate(text.len() - 2);
        text.extend(['.', digit, unit]);
    }
    if let [.., before, unit] = &mut text[..]
        && before.is_ascii_digit()
        && unit.is_ascii_lowercase()
    {
        *unit = unit.to_ascii_uppercase();
    }
    let mut text: String = text.into_iter().collect();
    let unit = text.chars().last().and_then(|u| " KMBT".find(u)).unwrap_or(0);
    let number: Option<f64> = text.get(..text.len() - 1).and_then(|n| n.parse().ok());
    if let (Some(number), true) = (number, parameters > 0) {
        let label = number * 1000f64.powi(unit as i32);
        if (label - parameters as f64).abs() > (7 * parameters / 8) as f64 {
            let last = text.pop().map(|u| u.to_ascii_lowercase());
            text.extend(last);
            return (text, vec![Part::Finetune]);
        }
    }
    (text, vec![Part::Size])
}

/// Gives the parts that are not yet known their kind: the base at the start, finetunes after it.
fn settle(parts: &mut [(String, Vec<Part>)]) {
    let numbered = |p: &(String, Vec<Part>)| p.1.contains(&Part::Size) && p.0.contains(|c: char| c.is_ascii_digit());
    if parts.iter().any(numbered) {
        for (text, kinds) in parts.iter_mut() {
            if text.chars().all(char::is_alphabetic) {
                kinds.retain(|k| *k != Part::Size);
            }
        }
    }
    let mut at_start = true;
    for (text, kinds) in parts.iter_mut() {
        let word = kinds.is_empty() && text.starts_with(char::is_alphabetic);
        if at_start && (word || kinds.contains(&Part::Version)) {
            kinds.push(Part::Basename);
        } else {
            at_start = false;
            if kinds.is_empty() {
                kinds.push(Part::Finetune);
            }
        }
    }
    for (_, kinds) in parts.iter_mut().rev() {
        if !(kinds.contains(&Part::Basename) && kinds.len() > 1) {
            break;
        }
        kinds.retain(|k| *k != Part::Basename);
    }
}

/// `dense-tied` as `Dense Tied`; versions and words with capitals stay.
pub fn title(name: &str) -> String {
    let is_lower = |w: &str| w.chars().any(char::is_lowercase) && !w.chars().any(char::is_uppercase);
    let word = |w: &str| if is_lower(w) && !VERSION_WORD.is_match(w) { capitalized(w) } else { w.to_owned() };
    name.trim().replace('-', " ").split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// Every letter that follows no letter is made a capital.
fn capitalized(word: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(word.len());
    for c in word.chars() {
        if inside {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

/// `4.0B`, or `128x2.1B` for experts: `shared` weights that every token uses, `expert` weights of one expert.
pub fn size_label(shared: u64, expert: u64, experts: u64) -> String {
    match experts {
        0 => rounded(shared),
        n => format!("{n}x{}", rounded(shared + expert)),
    }
}

fn rounded(count: u64) -> String {
    let (scale, unit) = match count {
        1_000_000_000_001.. => (1e-12, "T"),
        1_000_000_001.. => (1e-9, "B"),
        1_000_001.. => (1e-6, "M"),
        _ => (1e-3, "K"),
    };
    let scaled = count as f64 * scale;
    let whole = scaled.round_ties_even() as u64;
    let digits = if whole == 0 { 0 } else { whole.to_string().len() };
    format!("{scaled:.*}{unit}", 2usize.saturating_sub(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_names_are_taken_apart() {
        let parts = parse("Qwen/Qwen3-4B-Instruct-2507", 4_022_468_096);
        assert_eq!(parts.organization.as_deref(), Some("Qwen"));
        assert_eq!(parts.basename.as_deref(), Some("Qwen3"));
        assert_eq!(parts.size_label.as_deref(), Some("4B"));
        assert_eq!(parts.finetune.as_deref(), Some("Instruct"));
        assert_eq!(parts.version.as_deref(), Some("2507"));
        let moe = parse("Qwen3-30B-A3B", 30_532_122_624);
        assert_eq!((moe.basename.as_deref(), moe.size_label.as_deref()), (Some("Qwen3"), Some("30B-A3B")));
        let long = parse("Qwen3-8B-128k", 8_190_735_360);
        assert_eq!((long.size_label.as_deref(), long.finetune.as_deref()), (Some("8B"), Some("128k")));
        let mixed = parse("my-model-v2-7b", 0);
        assert_eq!((mixed.basename.as_deref(), mixed.version), (Some("my-model-v2"), None));
        let distilled = parse("DeepSeek-R1-0528-Qwen3-8B", 8_190_735_360);
        assert_eq!(distilled.basename.as_deref(), Some("DeepSeek-R1-0528-Qwen3"));
        assert_eq!(parse("dense-tied", 2_000_000), NameParts { full: "dense-tied".into(), ..NameParts::default() });
        assert_eq!(parse("Base-7b1", 0).size_label.as_deref(), Some("7.1B"));
    }

    #[test]
    fn titles() {
        assert_eq!(title("dense-tied"), "Dense Tied");
        assert_eq!(title("Qwen3-4B"), "Qwen3 4B");
        assert_eq!(title("my-model-v2-7b-a3b"), "My Model v2 7b A3B");
    }

    #[test]
    fn sizes() {
        assert_eq!(size_label(2_032_896, 0, 0), "2.0M");
        assert_eq!(size_label(751_632_384, 0, 0), "752M");
        assert_eq!(size_label(4_022_468_096, 0, 0), "4.0B");
        assert_eq!(size_label(924_000, 393_216, 16), "16x1.3M");
        assert_eq!(size_label(999, 0, 0), "1.0K");
    }
}
