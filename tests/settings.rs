//! Settings from outside: flags, environment, file and defaults against each other; llama.cpp's command lines.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// A command in an empty home, with these variables.
fn program(home: &Path, vars: &[(&str, &str)], args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["LAPWING_", "LLAMA_ARG_", "HF_", "XDG_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env("XDG_CONFIG_HOME", home.join("config")).env("XDG_STATE_HOME", home.join("state"));
    command.env("APPDATA", home.join("config")).env("LOCALAPPDATA", home.join("state")).env("USERPROFILE", home);
    command.env("LAPWING_CONFIG", home.join("config.toml")).envs(vars.iter().copied());
    command.args(args).stdin(Stdio::null());
    command
}

/// Exit code, stdout, stderr.
fn run(home: &Path, vars: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String, String) {
    let done = program(home, vars, args).output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (done.status.code(), text(done.stdout), text(done.stderr))
}

/// A home with this settings file.
fn home(config: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    std::fs::write(dir.path().join("config.toml"), config).expect("a file");
    dir
}

/// Value and origin of a setting.
fn setting(home: &Path, vars: &[(&str, &str)], line: &[&str], name: &str) -> (Option<String>, String, Option<String>) {
    let args = [&["config", "--json"], line].concat();
    let (code, out, said) = run(home, vars, &args);
    assert_eq!(code, Some(0), "{said}");
    let rows: Vec<Value> = serde_json::from_str(&out).expect("JSON");
    let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name} in {out}"));
    let text = |key: &str| row[key].as_str().map(str::to_owned);
    (text("value"), text("origin").expect("an origin"), text("from"))
}

/// Each of the four places against those below it, for settings of every kind.
#[test]
fn the_highest_place_counts() {
    // Name, and a value for flag, own variable, llama.cpp's variable, file; and what the flag looks like.
    let settings: [(&str, [&str; 4], Option<&str>); 6] = [
        ("ctx-size", ["1001", "1002", "1003", "1004"], Some("LLAMA_ARG_CTX_SIZE")),
        ("threads", ["1", "2", "3", "4"], Some("LLAMA_ARG_THREADS")),
        ("temp", ["0.1", "0.2", "0.3", "0.4"], Some("LLAMA_ARG_TEMP")),
        ("predict", ["11", "12", "13", "14"], Some("LLAMA_ARG_N_PREDICT")),
        ("cache-type-k", ["f32", "bf16", "f16", "q8_0"], Some("LLAMA_ARG_CACHE_TYPE_K")),
        ("rope-scaling", ["none", "linear", "yarn", "none"], Some("LLAMA_ARG_ROPE_SCALING_TYPE")),
    ];
    for (name, [flag, own, theirs, file], their_name) in settings {
        let quoted = if file.parse::<f64>().is_ok() { file.to_owned() } else { format!("\"{file}\"") };
        let home = home(&format!("{} = {quoted}\n", name.replace('-', "_")));
        let path = home.path().join("config.toml").display().to_string();
        let own_name = format!("LAPWING_{}", name.replace('-', "_").to_uppercase());
        let their_name = their_name.expect("given");
        let (own, theirs) = ((own_name.as_str(), own), (their_name, theirs));
        let long = format!("--{name}");
        let line = ["run", &long, flag];
        let got = |vars: &[(&str, &str)], line: &[&str]| setting(home.path(), vars, line, name);
        let is = |value: &str, origin: &str, from: Option<&str>| {
            (Some(value.to_owned()), origin.to_owned(), from.map(str::to_owned))
        };
        assert_eq!(got(&[own, theirs], &line), is(flag, "flag", None));
        assert_eq!(got(&[own, theirs], &["run"]), is(own.1, "environment", Some(own.0)));
        assert_eq!(got(&[theirs], &["chat"]), is(theirs.1, "environment", Some(theirs.0)));
        assert_eq!(got(&[], &[]), is(file, "file", Some(&path)));
    }
    let bare = home("");
    assert_eq!(setting(bare.path(), &[], &[], "cache-type-k"), (Some("f16".into()), "default".into(), None));
    assert_eq!(setting(bare.path(), &[], &[], "ctx-size"), (None, "default".into(), None));
}

#[test]
fn switches_and_lists() {
    let home = home("no-pin = true\nno-repack = false\nstop = [\"a\", \"b\"]\nthink = true\n");
    let got = |vars: &[(&str, &str)], line: &[&str], name: &str| {
        let (value, origin, _) = setting(home.path(), vars, line, name);
        (value.unwrap_or_default(), origin)
    };
    assert_eq!(got(&[], &[], "no-pin"), ("true".into(), "file".into()));
    assert_eq!(got(&[], &[], "no-repack"), ("false".into(), "file".into()));
    assert_eq!(got(&[("LAPWING_NO_REPACK", "1")], &[], "no-repack"), ("true".into(), "environment".into()));
    assert_eq!(got(&[("LAPWING_NO_PIN", "off")], &[], "no-pin"), ("false".into(), "environment".into()));
    assert_eq!(got(&[], &[], "stop"), ("a, b".into(), "file".into()));
    // A flag puts out what contradicts it further down.
    assert_eq!(got(&[], &["run", "--no-think"], "think"), ("false".into(), "default".into()));
    assert_eq!(got(&[("LAPWING_NO_THINK", "1")], &[], "think"), ("false".into(), "default".into()));
    let (code, _, said) = run(home.path(), &[("LAPWING_NO_PIN", "maybe")], &["config"]);
    assert!(code == Some(2) && said.contains("LAPWING_NO_PIN") && said.contains("true or false"), "{said}");
}

#[test]
fn settings_reach_the_commands() {
    let model = format!("{}/tests/fixtures/models/dense-bf16.gguf", env!("CARGO_MANIFEST_DIR"));
    let home = home("greedy = true\npredict = 3\nctx-size = 64\n");
    let base = ["run", "-m", &model, "-p", "Hi", "--raw"];
    let (code, from_file, said) = run(home.path(), &[], &base);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("stopped after 3 tokens (-n)"), "{said}");
    let flags = [&base[..], &["--greedy", "-n", "3", "-c", "64"]].concat();
    let no_file = [("LAPWING_CONFIG", "")];
    assert_eq!(run(home.path(), &no_file, &flags).1, from_file);
    let by_env = [no_file[0], ("LAPWING_MODEL", &model), ("LAPWING_PREDICT", "3"), ("LAPWING_GREEDY", "1")];
    assert_eq!(run(home.path(), &by_env, &["run", "-p", "Hi", "--raw"]).1, from_file);
}

#[test]
fn mistakes_are_said() {
    for (config, vars, words) in [
        ("ctx-sise = 3", &[][..], &["config.toml", "ctx-sise", "did you mean ctx-size?"][..]),
        ("ctx-size = \"many\"", &[], &["ctx-size was set by file", "many"]),
        ("temp = [1, 2]", &[], &["temp takes one value"]),
        ("= 3", &[], &["config.toml", "no TOML"]),
        ("", &[("LAPWING_CONFIG", "/no/such/file.toml")], &["/no/such/file.toml", "cannot be read"]),
        ("", &[("LAPWING_THREADS", "0")], &["threads was set by environment LAPWING_THREADS", "between 1 and 1024"]),
    ] {
        let home = home(config);
        let (code, out, said) = run(home.path(), vars, &["run", "-p", "Hi"]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word:?} is not in: {said}"));
    }
    let home = home("");
    let (_, _, said) = run(home.path(), &[("LAPWING_CTX_SISE", "3")], &["config"]);
    assert!(said.contains("did you mean LAPWING_CTX_SIZE?"), "{said}");
}

/// The model card's command line, with the program's name changed, understood word for word.
#[test]
fn the_official_command_line() {
    let home = home("");
    let line = "-hf Qwen/Qwen3-8B-GGUF:Q8_0 --jinja --color -ngl 99 -fa -sm row --temp 0.6 --top-k 20 --top-p 0.95 \
                --min-p 0 --presence-penalty 1.5 -c 40960 -n 32768 --no-context-shift";
    let flags: Vec<&str> = line.split_whitespace().collect();
    for command in ["run", "chat"] {
        let line = [&[command], &flags[..]].concat();
        for (name, value) in [
            ("hf-repo", "Qwen/Qwen3-8B-GGUF:Q8_0"),
            ("temp", "0.6"),
            ("top-k", "20"),
            ("top-p", "0.95"),
            ("min-p", "0"),
            ("presence-penalty", "1.5"),
            ("ctx-size", "40960"),
            ("predict", "32768"),
            ("overflow", "stop"),
        ] {
            let (found, origin, _) = setting(home.path(), &[], &line, name);
            let expected = if name == "overflow" { "default" } else { "flag" };
            assert_eq!((found.as_deref(), origin.as_str()), (Some(value), expected), "{name}");
        }
        // It goes as far as looking for the model, which may not be downloaded here.
        let vars = [("HF_HOME", home.path().to_str().expect("UTF-8")), ("HF_HUB_OFFLINE", "1")];
        let (code, _, said) = run(home.path(), &vars, &line);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--offline forbids to download it") && !said.contains("unexpected argument"), "{said}");
        let notice: Vec<&str> = said.lines().filter(|l| l.starts_with("ignored")).collect();
        assert_eq!(notice.len(), 1, "{said}");
        for flag in ["--jinja", "--color", "-ngl 99", "-fa", "-sm row", "--no-context-shift"] {
            assert!(notice[0].contains(flag), "{flag} is not in: {}", notice[0]);
        }
    }
}

#[test]
fn words_of_llama_cpp() {
    let home = home("");
    let value = |line: &[&str], name: &str| setting(home.path(), &[], line, name).0.unwrap_or_default();
    assert_eq!(value(&["run", "--n-predict", "7"], "predict"), "7");
    assert_eq!(value(&["run", "--context-shift"], "overflow"), "shift");
    assert_eq!(value(&["run", "-fa", "on", "-ctk", "q8_0"], "cache-type-k"), "q8_0");
    assert_eq!(value(&["run", "--n-gpu-layers=99", "-t", "2"], "threads"), "2");
    assert_eq!(
        value(&["run", "-np", "4", "-mg", "0", "-ts", "1,1", "--numa", "isolate", "-b", "64", "-s", "5"], "seed"),
        "5"
    );
    assert_eq!(value(&["chat", "-cnv", "--mlock", "--no-mmap", "-mli", "-c", "512"], "ctx-size"), "512");
    // Text that looks like a flag stays text.
    assert_eq!(value(&["run", "--system-prompt", "-ngl", "--stop", "-fa"], "stop"), "-fa");
    assert_eq!(value(&["run", "-sys", "-ngl"], "system-prompt"), "-ngl");
    let (_, _, said) = run(home.path(), &[("LLAMA_ARG_N_GPU_LAYERS", "9")], &["config"]);
    assert!(said.contains("LLAMA_ARG_N_GPU_LAYERS"), "{said}");
    let (code, _, said) = run(home.path(), &[], &["run", "--no-such-flag"]);
    assert!(code == Some(2) && said.contains("--no-such-flag"), "{said}");
}
