//! Keeps the tree tidy: layers, places of SIMD and unsafe, sizes, stray output, the top level.
//!
//! The rules are in tests/tidy/rules.rs. Each is also tested here on a planted violation, so that it cannot rot into
//! one that finds nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use rules::{strangers, violations};
use source::Source;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Rust files under `dir`, sorted; nothing where the folder is absent.
fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn from_root(path: &Path) -> String {
    let parts = path.strip_prefix(root()).expect("under the root").components();
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

#[test]
fn the_tree_is_tidy() {
    let folders = ["src", "quant/src", "quant/tests", "quant/benches", "tests", "benches"];
    let files: Vec<PathBuf> = folders.iter().flat_map(|dir| rust_files(&root().join(dir))).collect();
    assert!(files.len() > 8, "only {} files found: the walk is broken", files.len());
    let check = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        violations(&from_root(file), &text.replace("\r\n", "\n"))
    };
    let found: Vec<String> = files.iter().flat_map(check).collect();
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

/// What git tracks at the top; without git (a source archive) whatever lies there, build output aside.
fn top_level() -> Vec<String> {
    let listed = Command::new("git").arg("-C").arg(root()).args(["ls-tree", "--name-only", "HEAD"]).output();
    let names = match listed {
        Ok(out) if out.status.success() => String::from_utf8(out.stdout).expect("UTF-8 names"),
        _ => {
            let entries = std::fs::read_dir(root()).expect("the root can be read");
            let name = |e: std::io::Result<std::fs::DirEntry>| e.expect("entry").file_name().to_string_lossy().into();
            entries.map(name).collect::<Vec<String>>().join("\n")
        }
    };
    names.lines().filter(|name| *name != "target").map(String::from).collect()
}

#[test]
fn the_top_level_holds_what_it_should() {
    let entries = top_level();
    assert!(entries.iter().any(|name| name == "Cargo.toml"), "{entries:?}");
    let found = strangers(entries.iter().map(String::as_str));
    assert!(found.is_empty(), "not at the top level: {found:?}");
    assert_eq!(strangers([".ci", "src", "docs", "notes.md"]), ["docs", "notes.md"]);
}

/// Asserts that the body, put in a file at `path`, breaks exactly one rule, whose message has `part`.
fn planted(path: &str, body: &str, part: &str) {
    let found = violations(path, &format!("//! A file.\n{body}\n"));
    assert_eq!(found.len(), 1, "{path}: {body}: {found:?}");
    assert!(found[0].starts_with(path) && found[0].contains(part), "{found:?} does not say {part:?}");
}

/// Asserts that the body breaks no rule there.
fn fine(path: &str, body: &str) {
    let found = violations(path, &format!("//! A file.\n{body}\n"));
    assert!(found.is_empty(), "{path}: {body}: {found:?}");
}

#[test]
fn upward_imports_are_found() {
    planted("src/model/qwen3.rs", "use crate::engine::Engine;", "model must not use engine");
    planted("src/model/qwen3.rs", "use crate::{\n    batch::Batch,\n    sample::{a, b},\n};", "must not use sample");
    planted("src/gguf/read.rs", "fn f() { crate::model::load() }", "gguf must not use model");
    planted("src/gguf/read.rs", "use super::super::kv::Kv;", "gguf must not use kv");
    planted("src/sample.rs", "mod t {\n    use super::super::engine::Engine;\n}", "sample must not use engine");
    planted("src/tokenizer/mod.rs", "use lapwing_quant::DType;", "tokenizer must not use quant");
    planted("src/main.rs", "use lapwing::engine::Engine;", "main must not use engine");
    planted("src/server/mod.rs", "use crate::*;", "server must not use *");
    planted("src/novel.rs", "", "no row in LAYERS");
    planted("quant/src/acts.rs", "use lapwing::gguf::Gguf;", "quant must not know lapwing");
    fine("src/model/qwen3.rs", "use crate::{error::Result, gguf::Gguf, kv, model::layers};\nuse lapwing_quant::DType;");
    fine("src/gguf/read.rs", "use super::meta::Metadata;\nmod tests {\n    use super::*;\n}");
    fine("src/sample.rs", "mod tests {\n    use super::*;\n}");
    fine("src/gguf/mod.rs", "// use crate::engine::X;\nconst A: &str = \"crate::engine::X\";\npub(crate) struct S;");
}

#[test]
fn simd_threads_and_unsafe_out_of_place_are_found() {
    planted("src/model/mod.rs", "use std::arch::x86_64::*;", "std::arch outside");
    planted("quant/src/matmul.rs", "use core::{arch::asm, mem};", "core::arch outside");
    planted("quant/src/matmul.rs", "fn f() -> bool { is_x86_feature_detected!(\"avx2\") }", "outside isa.rs");
    planted("quant/src/matmul.rs", "use rayon::prelude::*;", "rayon outside");
    planted("src/engine/mod.rs", "fn f() { unsafe { g() } }", "unsafe outside");
    planted("quant/src/matmul.rs", "fn f() { std::env::var(\"A\"); }", "must not use std::env");
    fine("quant/src/kernels/avx2/tile.rs", "use std::arch::x86_64::*;\nunsafe fn f() {}");
    fine("quant/src/threads.rs", "use rayon::ThreadPool;");
    fine("quant/src/cores.rs", "use std::fs::read_to_string;");
    fine("src/gguf/map.rs", "fn f() { unsafe { g() } }");
    fine("src/lib.rs", "#![deny(unsafe_code)]");
}

#[test]
fn stray_output_and_unfinished_code_are_found() {
    planted("src/model/mod.rs", "fn f() { println!(\"x\") }", "println! outside");
    planted("quant/src/acts.rs", "fn f() { eprint!(\"x\") }", "eprint! outside");
    planted("src/cli/run.rs", "fn f() { todo!() }", "todo! left in");
    planted("tests/cli.rs", "fn f() { dbg!(1); }", "dbg! left in");
    planted("tests/cli.rs", "#[test]\n#[ignore]\nfn f() {}", "without a reason");
    fine("src/cli/run.rs", "fn f() { println!(\"todo!()\") }");
    fine("src/model/mod.rs", "#[cfg(test)]\nmod tests {\n    fn f() { println!(\"x\") }\n}");
    fine("tests/cli.rs", "#[ignore = \"takes an hour\"]\nfn f() { println!(\"x\") }");
}

#[test]
fn size_and_opening_are_checked() {
    let long_body = "    let _ = 1;\n".repeat(79);
    planted("src/kv/mod.rs", &format!("fn long() {{\n{long_body}}}"), "fn long has 81 lines");
    fine("src/kv/mod.rs", &format!("fn fits() {{\n{}}}", "    let _ = 1;\n".repeat(78)));
    planted("src/kv/mod.rs", &"\n".repeat(499), "501 lines");
    fine("src/kv/mod.rs", &"\n".repeat(498));
    let found = violations("src/kv/mod.rs", "use std::fmt;\n");
    assert!(found.len() == 1 && found[0].contains("does not open with"), "{found:?}");
}

#[test]
fn comments_and_literals_are_blanked() {
    let code = |raw: &str| Source::new(raw).code;
    assert_eq!(code("a // unsafe\nb"), "a          \nb");
    assert_eq!(code("a /* x /* y */ z\n*/ b"), "a               \n   b");
    assert_eq!(code(r#"f("a\"b", 'c', '\'', b'"', 'x)"#), r#"f(      ,    ,     , b   , 'x)"#);
    assert_eq!(code("r##\"a\"# b\"## c").trim(), "c");
    assert_eq!(code("for<'a> &'a str"), "for<'a> &'a str");
    assert_eq!(code("'\u{1F426}' x").trim(), "x");
    assert_eq!(code("bar\"x\" y"), "bar    y", "a word that ends in r starts no raw string");
}

#[test]
fn functions_are_measured_whole() {
    let text = "fn a();\nfn b<const N: usize>(x: [u8; 3]) -> [u8; 2]\nwhere\n    T: X,\n{\n    || { 1 }\n}\ntype F = fn(u8);\n";
    assert_eq!(Source::new(text).functions(), [("b".to_string(), 2, 6)]);
}
