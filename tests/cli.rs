//! The program from outside: what its commands print where, with which exit code, on the committed models.

mod common;
#[path = "common/gguf_builder.rs"]
mod gguf_builder;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::{Figures, fixture};
use gguf_builder::{Builder, array, array_claiming, i32, str, tensor};
use lapwing::cli::model_args;
use lapwing::engine::generate::{self, Finish, Generation};
use lapwing::engine::{Engine, EngineOptions, Sequence};
use lapwing::gguf::{Gguf, OpenOptions};
use lapwing::sample::stop::StopMatcher;
use lapwing::sample::{Params, Sampler, Settings};
use lapwing_quant::attend::KvType;
use lapwing_quant::kernels;

const EXACT: [&str; 3] = ["dense-bf16", "moe-bf16", "yarn-bf16"];
const F32_KV: [&str; 4] = ["-ctk", "f32", "-ctv", "f32"];

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    command.env_remove("LAPWING_ISA").args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command did: exit code, stdout, stderr.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    out: String,
    said: String,
}

impl Done {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
        let done = Self { code: output.status.code(), out: text(output.stdout), said: text(output.stderr) };
        assert!(!done.said.contains("panicked"), "{}", done.said);
        done
    }

    /// It succeeded.
    fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.said);
        self
    }

    /// It failed with this code, printed no result, and its message has these words.
    fn failed(self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{}", self.said);
        words.iter().for_each(|w| assert!(self.said.contains(w), "{w:?} is not in: {}", self.said));
    }
}

fn lapwing(args: &[&str]) -> Done {
    Done::of(program(args).output().expect("the program starts"))
}

fn lapwing_reading(input: &str, args: &[&str]) -> Done {
    let mut child = program(args).stdin(Stdio::piped()).spawn().expect("the program starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("the program reads it");
    Done::of(child.wait_with_output().expect("it ends"))
}

fn model(name: &str) -> String {
    fixture(&format!("{name}.gguf")).to_str().expect("a UTF-8 path").to_owned()
}

/// `lapwing run` on the dense model.
fn run(args: &[&str]) -> Done {
    lapwing(&[&["run", "-m", &model("dense-bf16")], args].concat())
}

/// The one id of a token's text.
fn id_of(text: &str) -> String {
    let ids = lapwing(&["tokenize", "-m", &model("dense-bf16"), "-p", text, "--ids-only"]).ok().out;
    assert!(!ids.contains(','), "{text:?} is one token: {ids}");
    ids.trim().to_owned()
}

/// A flag value that makes the token certain.
fn certain(text: &str) -> String {
    format!("{}+100000", id_of(text))
}

/// The texts of the prompts of a model's figures.
fn prompts(figures: &Figures) -> Vec<String> {
    let about: serde_json::Value = serde_json::from_str(&figures.metadata()["about"]).expect("JSON");
    let texts = about["prompts"].as_array().expect("a list");
    texts.iter().map(|t| t.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn help_fits_80_columns() {
    for command in [&["--help"][..], &["run", "--help"], &["inspect", "--help"], &["tokenize", "--help"]] {
        let done = lapwing(command).ok();
        assert!(done.out.contains("Usage: lapwing") && done.said.is_empty());
        done.out.lines().for_each(|l| assert!(l.chars().count() <= 80, "{command:?}: {l}"));
    }
    let help = lapwing(&["run", "--help"]).out;
    for word in ["<think>", "Ctrl-C", "Sampling:", "Conversation:", "Model:"] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn wrong_usage_is_2() {
    lapwing(&[]).failed(2, &["Usage"]);
    run(&["--nonsense"]).failed(2, &["--nonsense"]);
    run(&["-p", "x", "-n", "0"]).failed(2, &["from 1"]);
    run(&["-p", "x", "-f", "y"]).failed(2, &["--file"]);
    run(&["-p", ""]).failed(2, &["prompt is empty"]);
    run(&["-p", "", "--raw"]).failed(2, &["prompt is empty"]);
    run(&["-p", "x", "--preset", "wild"]).failed(2, &["\"wild\"", "thinking, non-thinking"]);
    run(&["-p", "x", "--think", "--no-think"]).failed(2, &["--no-think"]);
    run(&["-p", "x", "--raw", "--no-think"]).failed(2, &["--no-think", "--raw"]);
    run(&["-p", "x", "--greedy", "--temp", "1"]).failed(2, &["contradict"]);
    run(&["-p", "x", "--top-p", "nan"]).failed(2, &["--top-p"]);
    run(&["-p", "x", "--logit-bias", "7"]).failed(2, &["TOKEN_ID+BIAS"]);
    run(&["-p", "x", "--logit-bias", "9999+1"]).failed(2, &["9999", "320"]);
    run(&["-p", "x", "--stop", ""]).failed(2, &["stop string is empty"]);
    run(&["-p", "x", "--chat-template-kwargs", "[1]"]).failed(2, &["JSON object"]);
    run(&["-p", "x", "--isa", "mmx"]).failed(2, &["mmx"]);
    run(&["-p", "x", "-t", "0"]).failed(2, &["between 1 and 1024"]);
}

#[test]
fn a_failure_is_1_and_names_the_file() {
    for command in [&["run", "-p", "x", "-m"][..], &["tokenize", "-p", "x", "-m"], &["inspect"]] {
        lapwing(&[command, &["no/such.gguf"]].concat()).failed(1, &["error:", "no/such.gguf"]);
    }
    run(&["-f", "no/such.txt"]).failed(1, &["no/such.txt"]);
    run(&["-p", "x", "--chat-template-file", "no/such.jinja"]).failed(1, &["no/such.jinja"]);
}

#[test]
fn a_prompt_that_does_not_fit_names_both_numbers() {
    let text = &prompts(&Figures::read(fixture("dense-bf16.safetensors")))[2];
    run(&["--raw", "-p", text, "-c", "100"]).failed(1, &["136 tokens", "the context 100"]);
    run(&["--raw", "-p", text, "--override-kv", "qwen3.context_length=int:99"]).failed(1, &["136", "99"]);
}

#[test]
fn a_seed_gives_the_same_text_again() {
    let of = |seed: &str, threads: &str| run(&["-p", "Hi", "-n", "40", "-s", seed, "-t", threads]).ok().out;
    let first = of("7", "1");
    assert!(!first.is_empty());
    assert_eq!(first, of("7", "1"));
    assert_eq!(first, of("7", "2"), "whatever the threads");
    assert_ne!(first, of("8", "1"));
}

#[test]
fn says_what_ended_the_answer() {
    let a = certain("a");
    let of = |more: &[&str]| run(&[&["-p", "Hi", "--logit-bias", &a, "-n", "5"], more].concat()).ok();
    let done = of(&[]);
    assert_eq!((done.out.as_str(), done.said.as_str()), ("aaaaa\n", "stopped after 5 tokens (-n)\n"));
    let stopped = of(&["--stop", "x", "--stop", "aaa", "-v"]);
    assert_eq!(stopped.out, "");
    assert!(stopped.said.contains("stopped at \"aaa\"") && stopped.said.contains("the answer is empty"));
    let full = run(&["--raw", "-p", "Ice melts.", "--logit-bias", &a, "-c", "12", "-n", "9"]).ok();
    assert_eq!(full.out, "aaa\n", "10 tokens of prompt, 2 in the cache, 1 more");
    assert!(full.said.contains("3 more fit the context of 12, not the 9 of -n"), "{}", full.said);
    assert!(full.said.contains("after 3 tokens: the context of 12 tokens is full"), "{}", full.said);
}

#[test]
fn the_end_of_a_turn_ends_it_unless_ignored() {
    let end = certain("<|im_end|>");
    let done = run(&["-p", "Hi", "--logit-bias", &end]).ok();
    assert_eq!((done.out.as_str(), done.said.as_str()), ("", "warning: the answer is empty\n"));
    let ignored = run(&["-p", "Hi", "--logit-bias", &end, "--ignore-eos", "-n", "3"]).ok();
    assert!(ignored.said.contains("stopped after 3 tokens"), "{}", ignored.said);
}

#[test]
fn thinking_is_never_taken_for_the_answer() {
    let think = certain("<think>");
    let of = |more: &[&str]| run(&[&["-p", "Hi", "--logit-bias", &think, "-n", "3"], more].concat()).ok();
    let shown = of(&[]);
    assert_eq!(shown.out, "<think>\n<think><think>\n");
    assert!(shown.said.contains("there is no answer"), "{}", shown.said);
    assert_eq!(of(&["--hide-thinking"]).out, "");
}

#[test]
fn the_mode_decides_template_and_preset() {
    let model = model("dense-bf16");
    let prompt = |more: &[&str]| lapwing(&[&["tokenize", "-m", &model, "--chat", "-p", "Hi"], more].concat()).ok().out;
    assert!(prompt(&["--no-think"]).contains("</think>") && !prompt(&["--think"]).contains("think>"));
    assert_eq!(prompt(&["--no-think"]), prompt(&["--chat-template-kwargs", "{\"enable_thinking\": false}"]));
    assert!(!prompt(&[]).contains("system") && prompt(&["-sys", "Be kind."]).len() > prompt(&[]).len());
    let said = |more: &[&str]| run(&[&["-n", "1", "-v"], more].concat()).ok().said;
    for (more, preset) in [
        (&["-p", "Hi"][..], "temperature 0.6 (preset thinking)"),
        (&["-p", "Hi", "--no-think"], "temperature 0.7 (preset non-thinking)"),
        (&["-p", "Hi /no_think"], "temperature 0.7 (preset non-thinking)"),
        (&["-p", "Hi", "--preset", "non-thinking"], "temperature 0.7 (preset non-thinking)"),
        (&["-p", "Hi", "--temp", "0.1"], "temperature 0.1 (flag)"),
        (&["-p", "Hi", "--raw"], "temperature 0.6 (default)"),
    ] {
        let said = said(more);
        assert!(said.contains(preset), "{more:?}: {said}");
        assert!(said.contains("tokens/s") && said.contains("first token after"), "{said}");
    }
    assert!(said(&["-p", "Hi", "--greedy"]).contains("model card advises against"));
}

#[test]
fn the_prompt_may_come_from_anywhere() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("prompt.txt");
    std::fs::write(&file, "Ice melts.\n").expect("written");
    let file = file.to_str().expect("a UTF-8 path");
    let (model, rest) = (model("dense-bf16"), ["-n", "6", "--seed", "1"]);
    let want = run(&[&["-p", "Ice melts."][..], &rest].concat()).ok().out;
    let base = [&["run", "-m", &model][..], &rest].concat();
    assert_eq!(run(&[&["-f", file][..], &rest].concat()).ok().out, want);
    assert_eq!(lapwing_reading("Ice melts.\n", &[&base[..], &["-"]].concat()).ok().out, want);
    assert_eq!(lapwing_reading("Ice melts.\r\n", &base).ok().out, want);
    assert_ne!(lapwing_reading("Ice melts.\n\n", &base).ok().out, want, "one line break is the file's, two are not");
}

#[test]
fn the_ways_to_compute() {
    for flags in [&["-ctk", "q8_0", "-ctv", "q8_0"][..], &["-ctk", "bf16"], &["--isa", "scalar"], &["--no-repack"]] {
        let flags = [&["-p", "Hi", "-n", "4", "--greedy", "--raw"], flags].concat();
        assert!(!run(&flags).ok().out.is_empty(), "{flags:?}");
    }
    for name in ["moe-q8_0", "dense-mixed"] {
        assert!(!lapwing(&["run", "-m", &model(name), "-p", "Hi", "-n", "4", "-s", "1"]).ok().out.is_empty());
    }
}

/// A run that would go on for thousands of tokens, with its first bytes read.
fn endless() -> Child {
    let model = model("dense-bf16");
    let args = ["run", "-m", &model, "-p", "Hi", "--raw", "--ignore-eos", "--logit-bias", &certain("a")];
    let mut child = program(&args).spawn().expect("the program starts");
    child.stdout.as_mut().expect("piped").read_exact(&mut [0; 4]).expect("it answers");
    child
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = endless();
    drop(child.stdout.take());
    let done = Done::of(child.wait_with_output().expect("it ends")).ok();
    assert_eq!(done.said, "", "it ended at once, not when the context was full");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_cleanly() {
    let child = endless();
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let done = Done::of(child.wait_with_output().expect("it ends"));
    assert_eq!(done.code, Some(130), "{}", done.said);
    assert!(done.out.ends_with("a\n") && done.said.starts_with("interrupted after"), "{done:?}");
}

#[test]
fn tokenize_agrees_with_the_tokenizers_package() {
    for name in EXACT {
        let figures = Figures::read(fixture(&format!("{name}.safetensors")));
        for (i, text) in prompts(&figures).iter().enumerate() {
            let ids: Vec<String> = figures.ids(&format!("p{i}.ids")).iter().map(u32::to_string).collect();
            let found = lapwing(&["tokenize", "-m", &model(name), "-p", text, "--ids-only"]).ok().out;
            assert_eq!(found.trim(), ids.join(","), "{name} p{i}");
        }
    }
    let m = model("dense-bf16");
    let lines = lapwing_reading("a\n麦<|im_end|>", &["tokenize", "-m", &m, "-"]).ok().out;
    assert!(lines.contains("\"\\n\"") && lines.contains("<E9>"), "{lines}");
    assert!(lines.ends_with("\"<|im_end|>\"  (control)\n"), "{lines}");
    let json = lapwing(&["tokenize", "-m", &m, "-p", "<|im_end|>", "--json", "--no-special"]).ok().out;
    let rows: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let texts: String = rows.as_array().expect("rows").iter().map(|r| r["text"].as_str().expect("a text")).collect();
    assert_eq!(texts, "<|im_end|>", "as text");
    assert!(rows.as_array().is_some_and(|rows| rows.len() > 1 && rows.iter().all(|r| r["kind"] == "normal")));
}

fn write(dir: &Path, name: &str, file: &Builder) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, file.bytes()).expect("written");
    path
}

#[test]
fn inspect_shows_what_cannot_be_run() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let strange = Builder::sound().tensor(tensor("c.weight", &[256], 16, vec![0; 66]));
    let path = write(dir.path(), "strange.gguf", &strange);
    let shown = lapwing(&["inspect", path.to_str().expect("UTF-8")]).ok().out;
    assert!(shown.contains("IQ2_XXS") && shown.contains("cannot be computed with"), "{shown}");
    let plain = |b: u32| matches!(b, 33..=126 | 161..=172 | 174..=255);
    let mut others = 256..;
    let mut letter = |b: u32| if plain(b) { Some(b) } else { others.next() };
    let letters = (0..256).map(|b| letter(b).and_then(char::from_u32).expect("a letter").to_string());
    let tokens: Vec<_> = letters.chain(["<|im_end|>".to_owned()]).map(str).collect();
    let types: Vec<_> = (0..257).map(|id| i32(if id < 256 { 1 } else { 3 })).collect();
    let words = Builder::default()
        .key("general.architecture", str("qwen3"))
        .key("tokenizer.ggml.model", str("gpt2"))
        .key("tokenizer.ggml.pre", str("qwen2"))
        .key("tokenizer.ggml.tokens", array(&tokens))
        .key("tokenizer.ggml.token_type", array(&types))
        .key("tokenizer.ggml.merges", array_claiming(8, 0, vec![]));
    let path = write(dir.path(), "words.gguf", &words);
    let path = path.to_str().expect("UTF-8");
    assert!(lapwing(&["inspect", path]).ok().out.contains("0 tensors"), "a vocabulary is enough");
    assert_eq!(lapwing(&["tokenize", "-m", path, "-p", "ba<|im_end|>", "--ids-only"]).ok().out, "98,97,256\n");
    lapwing(&["run", "-m", path, "-p", "x"]).failed(1, &["words.gguf", "no chat template"]);
}

#[test]
fn inspect_as_json() {
    let m = model("dense-mixed");
    let json = lapwing(&["inspect", &m, "--json", "--override-kv", "general.name=str:Other"]).ok().out;
    let summary: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let name = summary["metadata"].as_array().expect("rows").iter().find(|r| r["key"] == "general.name");
    assert!(name.is_some_and(|r| r["value"] == "Other" && r["overridden"] == true), "{name:?}");
    assert!(summary["bits_per_weight"].as_f64().is_some_and(|b| b > 4.0 && b < 9.0));
    let tensors = lapwing(&["inspect", &m, "--json", "--tensors"]).ok().out;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&tensors).expect("JSON"), summary["tensors"]);
    let text = lapwing(&["inspect", &m, "--tensors"]).ok().out;
    assert_eq!(text.lines().count(), summary["tensors"].as_array().expect("rows").len());
}

/// The greedy continuation of `ids` by the library, one token at a time.
fn greedy(name: &str, ids: &[u32], n: usize) -> (Vec<u32>, String, Option<Finish>) {
    let gguf = Gguf::open(&fixture(&format!("{name}.gguf")), &OpenOptions::default()).expect("opens");
    let tokenizer = model_args::tokenizer(&gguf).expect("has a vocabulary");
    let options = EngineOptions {
        kernels: kernels::best(),
        threads: 1,
        threads_batch: 1,
        cpus: vec![],
        rope: Default::default(),
        n_ctx: 256,
        sequences: 1,
        keys: KvType::F32,
        values: KvType::F32,
        repack: true,
    };
    let mut engine = Engine::load(&gguf, options, &mut |_, _| {}).expect("loads");
    let params = Params { chain: Settings { temperature: 0.0, ..Settings::default() }, ..Params::default() };
    let vocab = generate::vocab(&tokenizer, engine.config().n_vocab).expect("a vocabulary");
    let sampler = Sampler::new(params, vocab.into()).expect("sound settings");
    let stops = StopMatcher::new::<&str>(&[]).expect("none");
    let mut generation = Generation::new(&tokenizer, sampler, stops, Some(n)).show_control(true);
    let mut seq = Sequence::default();
    generation.start(engine.read(&mut seq, ids, 1, &mut |_| true).expect("reads"));
    let (mut tokens, mut text) = (vec![], String::new());
    while let Some(piece) = generation.next(&mut engine, &mut seq).expect("generates") {
        tokens.extend(piece.token);
        text += &piece.text;
    }
    assert_eq!(seq.len(), ids.len() + tokens.len() - 1, "the last one is not read");
    (tokens, text, generation.finish())
}

#[test]
fn greedy_answers_are_the_golden_ones() {
    let mut whole = 0;
    for name in EXACT {
        let figures = Figures::read(fixture(&format!("{name}.safetensors")));
        for (i, prompt) in prompts(&figures).iter().enumerate() {
            let golden = figures.ids(&format!("p{i}.greedy"));
            let (tokens, text, finish) = greedy(name, &figures.ids(&format!("p{i}.ids")), golden.len());
            assert_eq!(tokens, golden[..tokens.len()], "{name} p{i}");
            match finish {
                Some(Finish::Length) => whole += 1,
                other => assert_eq!(other, tokens.last().map(|&t| Finish::Eog(t)), "{name} p{i}"),
            }
            let n = golden.len().to_string();
            let base = ["run", "-m", &model(name), "--raw", "--greedy", "-c", "256", "-n", &n, "-p", prompt];
            let printed = lapwing(&[&base[..], &F32_KV].concat()).ok().out;
            assert_eq!(printed.trim_end_matches('\n'), text.trim_end_matches('\n'), "{name} p{i}");
        }
    }
    assert!(whole >= 6, "most continuations have no end of turn in them: {whole}");
}
