//! `lapwing list` and `-m NAME`: models planted as the Hugging Face cache, Ollama, LM Studio and a plain folder keep them.

#[path = "common/gguf_builder.rs"]
mod gguf_builder;

use gguf_builder::{Builder, str, u32};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A home folder with stores in it.
struct Home {
    dir: TempDir,
}

/// What a command did: exit code, stdout, stderr.
struct Done {
    code: Option<i32>,
    out: String,
    said: String,
}

impl Done {
    fn failed(self, words: &[&str]) {
        assert_eq!(self.code, Some(2), "{}", self.said);
        words.iter().for_each(|w| assert!(self.said.contains(w), "{w:?} is not in: {}", self.said));
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// A model that can be run, made another file by a key.
fn model(mark: &str) -> Vec<u8> {
    let mut bytes =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/dense-bf16.gguf")).unwrap();
    bytes.extend(mark.as_bytes()); // behind the last tensor
    bytes
}

impl Home {
    fn new() -> Home {
        Home { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// As huggingface_hub leaves it; without links, as on Windows, the file itself.
    fn hugging_face(&self, repo: &str, file: &str, bytes: &[u8]) {
        let folder = format!("hf/hub/models--{}", repo.replace('/', "--"));
        self.write(&format!("{folder}/refs/main"), COMMIT.as_bytes());
        let pointer = self.path(&format!("{folder}/snapshots/{COMMIT}/{file}"));
        let blob = self.write(&format!("{folder}/blobs/{}", sha256(bytes)), bytes);
        fs::create_dir_all(pointer.parent().unwrap()).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(blob, pointer).unwrap();
        #[cfg(not(unix))]
        fs::rename(blob, pointer).unwrap();
    }

    fn ollama(&self, name: &str, bytes: Option<&[u8]>) {
        let digest = sha256(bytes.unwrap_or(b"gone"));
        let manifest = format!(
            r#"{{"schemaVersion":2,"layers":[{{"mediaType":"application/vnd.ollama.image.license","digest":"sha256:00"}},
            {{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:{digest}","size":1}}]}}"#
        );
        self.write(&format!("ollama/manifests/registry.ollama.ai/library/{name}"), manifest.as_bytes());
        if let Some(bytes) = bytes {
            self.write(&format!("ollama/blobs/sha256-{digest}"), bytes);
        }
    }

    fn run(&self, args: &[&str]) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
        for name in ["HF_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT", "LAPWING_ISA"] {
            command.env_remove(name);
        }
        command.env("HF_HOME", self.path("hf")).env("OLLAMA_MODELS", self.path("ollama"));
        command.env("HOME", self.dir.path()).env("USERPROFILE", self.dir.path());
        command.env("LAPWING_MODELS_DIR", self.path("models")).env("HF_HUB_OFFLINE", "1");
        let done = command.args(args).stdin(Stdio::null()).output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let done = Done { code: done.status.code(), out: text(done.stdout), said: text(done.stderr) };
        assert!(!done.said.contains("panicked"), "{}", done.said);
        done
    }

    fn listed(&self) -> Vec<Value> {
        let done = self.run(&["list", "--json"]);
        assert_eq!(done.code, Some(0), "{}", done.said);
        serde_json::from_str(&done.out).expect("JSON")
    }

    /// The file that `-m NAME` opens.
    fn opened(&self, name: &str) -> String {
        let done = self.run(&["inspect", name, "--json"]);
        assert_eq!(done.code, Some(0), "{}", done.said);
        let json: Value = serde_json::from_str(&done.out).expect("JSON");
        json["files"][0].as_str().expect("a file").to_owned()
    }
}

fn names(rows: &[Value]) -> Vec<(&str, &str)> {
    rows.iter().map(|row| (row["store"].as_str().unwrap(), row["name"].as_str().unwrap())).collect()
}

#[test]
fn models_of_all_four_stores_are_listed_and_found() {
    let home = Home::new();
    assert!(home.run(&["list"]).said.contains("no models are here"));
    home.hugging_face("Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q8_0.gguf", &model("a"));
    home.ollama("qwen3/4b", Some(&model("b")));
    home.write(".lmstudio/models/them/Qwen3-Small-GGUF/Qwen3-Small-Q6_K.gguf", &model("c"));
    home.write("models/deep/mine.gguf", &model("d"));
    home.write("models/notes.txt", b"x");
    home.write("extra/other.gguf", &model("e"));
    let rows = home.listed();
    let expected = [
        ("huggingface", "Qwen/Qwen3-4B-GGUF:Q8_0"),
        ("ollama", "qwen3:4b"),
        ("lmstudio", "them/Qwen3-Small-GGUF:Q6_K"),
        ("folder", "mine"),
    ];
    assert_eq!(names(&rows), expected);
    assert_eq!(rows[0]["quant"], "Q8_0");
    assert_eq!(rows[3]["quant"], "BF16", "a name without a quantization: the file's own");
    for row in &rows {
        assert_eq!((row["architecture"].as_str(), row["broken"].as_str()), (Some("qwen3"), None), "{row}");
        assert_eq!(row["bytes"].as_u64(), Some(model("x").len() as u64));
        let file = row["files"][0].as_str().unwrap();
        assert_eq!(home.opened(row["name"].as_str().unwrap()), file);
    }
    #[cfg(unix)]
    assert_eq!(rows[0]["sha256"][0].as_str(), Some(sha256(&model("a")).as_str()));
    assert_eq!(rows[1]["sha256"][0].as_str(), Some(sha256(&model("b")).as_str()));
    for (short, full) in [
        ("qwen/qwen3-4b-gguf", expected[0].1),
        ("Qwen3-4B-GGUF:q8_0", expected[0].1),
        ("Qwen3-4B-Q8_0.gguf", expected[0].1),
        ("Qwen3-Small-GGUF", expected[2].1),
        ("deep/mine.gguf", expected[3].1),
    ] {
        assert_eq!(home.opened(short), home.opened(full), "{short}");
    }
    let table = home.run(&["list", "--models-dir", home.path("extra").to_str().unwrap()]).out;
    assert!(expected.iter().all(|(_, name)| table.contains(name)) && table.contains("other"), "{table}");
    let ids = home.run(&["tokenize", "-m", "mine", "-p", "x", "--ids-only"]);
    assert_eq!(ids.code, Some(0), "{}", ids.said);
}

#[test]
fn clashes_are_explained() {
    let home = Home::new();
    home.hugging_face("Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q8_0.gguf", &model("a"));
    home.hugging_face("Qwen/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf", &model("b"));
    home.write(".lmstudio/models/Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q6_K.gguf", &model("c"));
    home.run(&["inspect", "Qwen3-4B-GGUF"]).failed(&[
        "may mean 3 models",
        "Qwen/Qwen3-4B-GGUF:Q8_0  (huggingface)",
        "Qwen/Qwen3-4B-GGUF:Q4_K_M  (huggingface)",
        "Qwen/Qwen3-4B-GGUF:Q6_K  (lmstudio)",
    ]);
    assert!(home.opened("Qwen3-4B-GGUF:Q6_K").contains("lmstudio"));
    // The same name in two stores, with different bytes; and with the same.
    home.write(".lmstudio/models/Qwen/Qwen3-4B-GGUF/Qwen3-4B-Q8_0.gguf", &model("d"));
    home.run(&["inspect", "qwen/Qwen3-4B-GGUF:Q8_0"]).failed(&["may mean 2 models", "(huggingface)", "(lmstudio)"]);
    #[cfg(unix)]
    {
        home.ollama("same/latest", Some(&model("e")));
        home.hugging_face("us/same", "same.gguf", &model("e"));
        assert!(home.opened("same").contains("hub"), "the same bytes twice are no clash");
    }
    home.run(&["inspect", "Qwen3-4"]).failed(&["is no file", "near:"]);
    home.run(&["tokenize", "-m", "us/unknown:Q8_0", "-p", "x"]).failed(&["lapwing pull us/unknown:Q8_0"]);
    let there = home.write("models/x.gguf", &model("x"));
    assert_eq!(home.opened(there.to_str().unwrap()), there.to_str().unwrap(), "a path is a path first");
}

#[test]
fn broken_entries_are_listed_with_the_reason() {
    let home = Home::new();
    let whole = model("");
    home.write("models/cut.gguf", &whole[..whole.len() / 2]);
    home.write("models/text.gguf", b"hello");
    home.write("models/part-Q8_0-00002-of-00003.gguf", &whole);
    let one = Builder::sound().key("split.count", u32(2)).key("general.name", str("x"));
    home.write("models/alone.gguf", &one.bytes());
    home.ollama("gone/latest", None);
    home.write("ollama/manifests/registry.ollama.ai/library/odd/latest", b"{");
    #[cfg(unix)]
    {
        home.hugging_face("us/m-GGUF", "m-Q8_0.gguf", &whole);
        fs::remove_dir_all(home.path("hf/hub/models--us--m-GGUF/blobs")).unwrap();
    }
    home.write("models/good.gguf", &whole);
    let rows = home.listed();
    let why = |name: &str| {
        let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name} in {rows:?}"));
        row["broken"].as_str().unwrap_or("sound").to_owned()
    };
    assert!(why("cut").contains("truncated"), "{}", why("cut"));
    assert!(why("text").contains("not a GGUF"));
    assert!(why("part-Q8_0").contains("1 of its 3 files"));
    assert!(why("alone").contains("one of 2 shards"));
    assert!(why("gone:latest").contains("is not there"));
    assert!(why("odd:latest").contains("is no manifest"));
    #[cfg(unix)]
    assert!(why("us/m-GGUF:Q8_0").contains("link to a file that is not there"));
    assert_eq!(why("good"), "sound");
    let done = home.run(&["inspect", "gone"]);
    assert!(done.code == Some(1) && done.said.contains("is not there"), "{}", done.said);
}

#[test]
fn completions_and_manual_pages() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let text = home.run(&["completions", shell]).out;
        assert!(text.contains("lapwing") && text.contains("hf-repo"), "{shell}");
    }
    let page = home.run(&["man"]).out;
    assert!(page.contains(".TH lapwing 1") && page.contains("pull"), "{page}");
    assert!(home.run(&["man", "pull"]).out.contains("connections"));
    home.run(&["man", "nonsense"]).failed(&["nonsense"]);
}
