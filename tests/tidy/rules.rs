//! The rules of the house: who may import what, and what must not be written where.

use crate::source::Source;

/// Modules of the root crate, each with the modules it may name (`quant` is the crate lapwing_quant).
const LAYERS: [(&str, &[&str]); 22] = [
    ("error", &[]),
    ("gguf", &["error", "quant"]),
    ("demo", &["error", "gguf"]),
    ("hub", &["error", "gguf"]),
    ("tokenizer", &["error", "gguf"]),
    ("chat", &["error", "gguf", "tokenizer"]),
    ("convert", &["error", "gguf", "tokenizer", "quant"]),
    ("sample", &["error", "gguf"]),
    ("imatrix", &["error", "gguf", "quant"]),
    ("kv", &["error", "quant"]),
    ("batch", &["error", "quant", "kv"]),
    ("model", &["error", "quant", "gguf", "kv", "batch"]),
    ("guard", &["error", "chat"]),
    ("grammar", &["error", "tokenizer"]),
    ("engine", &["error", "model", "kv", "batch", "sample", "tokenizer", "gguf", "quant", "guard", "grammar"]),
    ("eval", &["error", "engine", "imatrix", "tokenizer", "gguf", "quant"]),
    ("plan", &["error", "gguf", "engine", "convert", "quant"]),
    ("doctor", &["error", "gguf", "tokenizer", "chat", "engine", "hub", "plan", "quant"]),
    ("session", &["error", "engine", "chat", "gguf"]),
    ("server", &["error", "engine", "session", "chat", "sample", "tokenizer", "gguf", "guard", "grammar"]),
    (
        "cli",
        &[
            "error",
            "demo",
            "hub",
            "engine",
            "eval",
            "imatrix",
            "convert",
            "plan",
            "doctor",
            "session",
            "server",
            "chat",
            "sample",
            "tokenizer",
            "gguf",
            "quant",
            "guard",
            "grammar",
        ],
    ),
    ("main", &["error", "cli"]),
];

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 80;
const PRINTS: [&str; 5] = ["println", "eprintln", "print", "eprint", "dbg"];
const UNFINISHED: [&str; 3] = ["dbg", "todo", "unimplemented"];
const TOP_LEVEL: [&str; 9] =
    ["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "src", "quant", "tests", "benches", "scripts"];

/// What is wrong with the source at `path` (from the repository's root, with `/`), one line each.
pub fn violations(path: &str, raw: &str) -> Vec<String> {
    let source = Source::new(raw);
    let mut found = Vec::new();
    let mut say = |at: Option<usize>, what: String| match at {
        Some(at) => found.push(format!("{path}:{}: {what}", source.line(at))),
        None => found.push(format!("{path}: {what}")),
    };
    shape(&source, &mut say);
    layers(path, &source, &mut say);
    places(path, &source, &mut say);
    words(path, &source, &mut say);
    found
}

type Say<'a> = &'a mut dyn FnMut(Option<usize>, String);

fn shape(source: &Source, say: Say) {
    let lines = source.raw.lines().count();
    if lines > MAX_FILE_LINES {
        say(None, format!("{lines} lines, at most {MAX_FILE_LINES}: split it"));
    }
    if !source.raw.trim_start().starts_with("//!") {
        say(None, "does not open with `//!`: what it is for and its invariants".into());
    }
    for (name, line, lines) in source.functions() {
        if lines > MAX_FUNCTION_LINES {
            say(None, format!("line {line}: fn {name} has {lines} lines, at most {MAX_FUNCTION_LINES}"));
        }
    }
}

/// Where the file stands in the root crate: its layer, and how deep its module is (crate::layer is 1).
fn position(path: &str) -> Option<(&str, usize)> {
    let parts: Vec<&str> = path.strip_prefix("src/")?.strip_suffix(".rs")?.split('/').collect();
    let depth = parts.len() - usize::from(parts.last() == Some(&"mod"));
    Some((parts[0], depth))
}

fn layers(path: &str, source: &Source, say: Say) {
    if path.starts_with("quant/src/") {
        for root in ["lapwing", "indicatif", "clap", "tokenizers", "minijinja", "serde", "gguf_rs_lib"] {
            source.words(root).into_iter().for_each(|at| say(Some(at), format!("quant must not know {root}")));
        }
        return;
    }
    let Some((layer, depth)) = position(path).filter(|(layer, _)| *layer != "lib") else { return };
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return say(None, format!("module {layer} has no row in LAYERS of tests/tidy/rules.rs"));
    };
    let mut used = source.names_under("crate");
    used.extend(source.names_under("lapwing"));
    for (at, climbed, names) in source.climbs() {
        let inner = source.inline_modules().iter().filter(|body| body.contains(&at)).count();
        if climbed >= depth + inner {
            used.extend(names.into_iter().map(|name| (at, name)));
        }
    }
    used.extend(source.words("lapwing_quant").into_iter().map(|at| (at, "quant".into())));
    for (at, name) in used {
        if name != layer && !allowed.contains(&name.as_str()) {
            say(Some(at), format!("{layer} must not use {name} (may use: {})", allowed.join(", ")));
        }
    }
}

/// What may stand in some files only: SIMD, rayon, `unsafe`, the system's files and variables in quant.
fn places(path: &str, source: &Source, say: Say) {
    let quant = path.starts_with("quant/src/");
    let simd = path.starts_with("quant/src/kernels/") || path == "quant/src/isa.rs";
    for (root, name) in [("std", "arch"), ("core", "arch")] {
        for (at, _) in source.names_under(root).into_iter().filter(|(_, n)| n == name && !simd) {
            say(Some(at), format!("{root}::arch outside quant/src/kernels and quant/src/isa.rs"));
        }
    }
    for word in ["is_x86_feature_detected", "is_aarch64_feature_detected"] {
        source.words(word).into_iter().filter(|_| !simd).for_each(|at| say(Some(at), format!("{word} outside isa.rs")));
    }
    if path != "quant/src/threads.rs" {
        source.words("rayon").into_iter().for_each(|at| say(Some(at), "rayon outside quant/src/threads.rs".into()));
    }
    let quant_tests = path.starts_with("quant/tests/") || path.starts_with("quant/benches/");
    if !(quant || quant_tests || path == "src/gguf/map.rs") {
        source.words("unsafe").into_iter().for_each(|at| say(Some(at), "unsafe outside quant and gguf/map.rs".into()));
    }
    if quant && !is_test(path) && path != "quant/src/cores.rs" {
        for (at, name) in source.names_under("std") {
            if ["env", "fs", "net", "process"].contains(&name.as_str()) && !in_tests(source, at) {
                say(Some(at), format!("quant must not use std::{name} (quant/src/cores.rs may ask the system)"));
            }
        }
    }
}

fn words(path: &str, source: &Source, say: Say) {
    let calls = |name: &str| -> Vec<usize> {
        let bang = |at: &usize| source.code[at + name.len()..].starts_with('!');
        source.words(name).into_iter().filter(bang).collect()
    };
    let may_print = path.starts_with("src/cli/")
        || path == "src/main.rs"
        || ["tests/", "benches/", "quant/tests/", "quant/benches/"].iter().any(|dir| path.starts_with(dir));
    for name in PRINTS.iter().filter(|_| !may_print && !is_test(path)) {
        for at in calls(name).into_iter().filter(|at| !in_tests(source, *at)) {
            say(Some(at), format!("{name}! outside cli and tests: return a value, let the command print"));
        }
    }
    for name in UNFINISHED {
        calls(name).into_iter().for_each(|at| say(Some(at), format!("{name}! left in")));
    }
    for (at, _) in source.code.match_indices("#[ignore]") {
        say(Some(at), "#[ignore] without a reason: write #[ignore = \"why\"]".into());
    }
}

/// Whether the file is a test module of its own (`tests.rs`, or a file in a folder `tests`).
fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

fn in_tests(source: &Source, at: usize) -> bool {
    source.test_modules().iter().any(|body| body.contains(&at))
}

/// Entries of the repository's top level that do not belong there (dotfiles do).
pub fn strangers<'a>(entries: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    entries.into_iter().filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(name)).collect()
}
