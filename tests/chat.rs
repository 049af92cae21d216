//! `lapwing chat` from outside: piped sessions, and a real terminal where it matters.

mod common;
#[cfg(unix)]
#[path = "common/terminal.rs"]
mod terminal;

use common::fixture;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The system prompt of most sessions; `/show system` prints it, which tells answers apart.
const MARK: &str = "=-=-=";

fn model(name: &str) -> String {
    fixture(&format!("{name}.gguf")).to_str().expect("a UTF-8 path").to_owned()
}

/// What a session did.
#[derive(Debug)]
struct Done {
    code: Option<i32>,
    out: String,
    said: String,
}

impl Done {
    fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.said);
        self
    }

    /// What was printed between the marks.
    fn answers(&self) -> Vec<&str> {
        self.out.split(&format!("{MARK}\n")).collect()
    }

    /// Of each `/stats`: tokens of the prompt, cached, read; tokens of the answer, of thinking.
    fn figures(&self) -> Vec<[usize; 5]> {
        let numbers = |line: &str| -> Vec<usize> {
            let plain: String = line.chars().filter(|c| *c != ',').collect();
            plain.split(|c: char| !c.is_ascii_digit() && c != '.').filter_map(|word| word.parse().ok()).collect()
        };
        let line = |start: &str| -> Vec<Vec<usize>> {
            self.out.lines().filter(|l| l.starts_with(start)).map(numbers).collect()
        };
        let (prompts, answers) = (line("prompt: "), line("answer: "));
        assert!(!prompts.is_empty() && prompts.len() == answers.len(), "{}", self.out);
        // prompt: TOTAL tokens, CACHED cached (PERCENT %), READ read in ..
        prompts.iter().zip(&answers).map(|(p, a)| [p[0], p[1], p[3], a[0], a[1]]).collect()
    }

    fn says(&self, words: &[&str]) {
        words.iter().for_each(|w| assert!(self.said.contains(w), "{w:?} is not in: {}", self.said));
    }
}

fn session(model_name: &str, lines: &[&str], args: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    command.env_remove("LAPWING_ISA").args(["chat", "-m", &model(model_name)]).args(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let input = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    // A program that refuses its flags does not read; what it says is looked at below.
    let _refused = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
    let done = Done { code: status.code(), out: text(stdout), said: text(stderr) };
    assert!(!done.said.contains("panicked"), "{}", done.said);
    done
}

/// A session of short answers on the dense model, with the mark as system prompt.
fn chat(lines: &[&str], args: &[&str]) -> Done {
    let limit: &[&str] = if args.contains(&"-n") { &[] } else { &["-n", "12"] };
    session("dense-bf16", lines, &[&["-sys", MARK, "-s", "3"], limit, args].concat())
}

fn show(dir: &Path, name: &str) -> String {
    dir.join(name).to_str().expect("a UTF-8 path").to_owned()
}

#[test]
fn a_piped_session_prints_answers_and_nothing_else() {
    let done = chat(&["Hi", "/show system", "And you?", "/show system", "/bye", "never read"], &[]).ok();
    let answers = done.answers();
    assert_eq!((answers.len(), answers[2]), (3, ""));
    assert!(!done.out.contains(">>>") && !done.out.contains('\x1b'), "{:?}", done.out);
    assert!(!done.said.contains(">>>") && !done.said.contains('\x1b'), "{:?}", done.said);
    let args = ["run", "-m", &model("dense-bf16"), "-p", "Hi", "-sys", MARK, "-n", "12", "-s", "3"];
    let run = Command::new(env!("CARGO_BIN_EXE_lapwing")).args(args).output().expect("it runs");
    assert_eq!(answers[0], String::from_utf8(run.stdout).expect("UTF-8"), "the first answer is that of `run`");
    let several = chat(&["\"\"\"Hi", "there\"\"\"", "/show prompt"], &[]).ok();
    assert!(several.out.contains("<|im_start|>user\nHi\nthere<|im_end|>"), "{}", several.out);
}

/// A template that opens the thinking itself, so that the model thinks whatever its weights are.
fn thinking_template(dir: &Path) -> String {
    let source =
        std::fs::read_to_string(common::root().join("tests/fixtures/qwen3-chat-template.jinja")).expect("read");
    let off = "{{- '<think>\\n\\n</think>\\n\\n' }}\n    {%- endif %}";
    assert!(source.contains(off), "the template ends as expected");
    let on = "{{- '<think>\\n\\n</think>\\n\\n' }}\n    {%- else %}\n        {{- '<think>\\n' }}\n    {%- endif %}";
    let path = dir.join("think.jinja");
    std::fs::write(&path, source.replace(off, on)).expect("written");
    path.to_str().expect("a UTF-8 path").to_owned()
}

#[test]
fn a_turn_reads_only_what_is_new() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let template = thinking_template(dir.path());
    let thinking = ["--chat-template-file", &template, "--reasoning-budget", "20", "-n", "120"];
    for (args, thinks) in [(&["--no-think"][..], false), (&[], false), (&thinking, true)] {
        let done = chat(&["One fish", "/stats", "Two fish", "/stats", "Red fish", "/stats"], args).ok();
        let figures = done.figures();
        assert_eq!((figures.len(), figures[0][1]), (3, 0), "nothing is cached at first");
        for turn in figures.windows(2) {
            let ([before, _, _, answer, thought], [total, cached, read, ..]) = (turn[0], turn[1]);
            assert_eq!(cached + read, total);
            assert!(
                cached + 8 >= before,
                "{args:?}: all of the last prompt but the opened or empty thinking: {turn:?}"
            );
            assert!(read <= answer - thought + 40, "{args:?}: of the answer no thought is read again: {turn:?}");
            assert_eq!(thought > 0, thinks, "{args:?}: {turn:?}");
        }
    }
}

#[test]
fn regen_and_undo_go_back_without_reading() {
    let lines =
        ["One", "/show system", "/regen", "/show system", "/stats", "Two", "/show system", "/undo", "/regen", "/stats"];
    let done = chat(&lines, &[]).ok();
    let answers = done.answers();
    assert!(!answers[0].is_empty());
    assert_eq!(answers[0], answers[1], "the same seed, the same answer");
    assert!(answers[3].starts_with(answers[0]), "also after another turn came and went: {:?}", answers);
    for [total, cached, read, ..] in done.figures() {
        assert_eq!((cached, read), (total - 1, 1), "only the last token, for its logits");
    }
    let drawn = chat(&["One", "/show system", "/seed -1", "/regen", "/show system", "/regen"], &[]).ok();
    let answers = drawn.answers();
    assert!(answers[1] != answers[0] || answers[2] != answers[0], "without a seed each answer is another");
}

#[test]
fn edit_changes_the_last_message() {
    let edited = chat(&["One", "/edit Two", "/show prompt", "/show system", "/undo", "/undo"], &[]);
    assert!(edited.out.contains("<|im_start|>user\nTwo<|im_end|>") && !edited.out.contains("One"), "{}", edited.out);
    assert_eq!(edited.code, Some(1), "the second /undo had nothing to undo");
    edited.says(&["taken back: Two", "nothing to take back", "1 of the lines failed"]);
}

#[test]
fn a_saved_chat_goes_on_bit_for_bit_in_another_process() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (half, whole, again) =
        (show(dir.path(), "half.chat"), show(dir.path(), "whole.chat"), show(dir.path(), "again.chat"));
    let [save_half, save_whole, save_again] = [&half, &whole, &again].map(|path| format!("/save {path}"));
    for args in [&["-ctk", "q8_0", "-t", "1"][..], &["--no-think", "-t", "2"]] {
        let first = ["One", "Two", &save_half, "/show system", "Three", "/show system", &save_whole];
        let first = chat(&first, args).ok();
        let load = format!("/load {half}");
        let second = chat(&[&load, "/show system", "Three", "/show system", &save_again, "/stats"], args).ok();
        assert_eq!(first.answers()[1], second.answers()[1]);
        second.says(&["loaded 2 turns", "cached tokens"]);
        assert!(second.figures()[0][1] > 20, "{:?}", second.figures());
        let read = |path: &str| std::fs::read(path).expect("saved");
        assert!(read(&whole) == read(&again), "every key and value is the same");
    }
    let settings = chat(&["/seed 9", "/set parameter top_k 7", &save_half], &[]).ok();
    settings.says(&["saved 0 turns"]);
    let loaded = chat(&["/show parameters"], &["--load", &half]).ok();
    assert!(loaded.out.contains("top_k              7 (set here)"), "{}", loaded.out);
    assert!(loaded.out.contains("seed               9 (set here)"), "{}", loaded.out);
}

#[test]
fn a_saved_chat_of_another_cache_is_read_anew() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = show(dir.path(), "a.chat");
    chat(&["One", &format!("/save {file}")], &[]).ok();
    let load = format!("/load {file}");
    for (name, args, why) in [
        ("moe-bf16", &[][..], "another model (dense-bf16.gguf)"),
        ("dense-bf16", &["-ctv", "q8_0"], "-ctk, -ctv"),
        ("dense-bf16", &["--rope-freq-base", "5000"], "another model"),
    ] {
        let done = session(name, &[&load, "/regen", "/stats"], &[&["-n", "4", "-s", "3"], args].concat()).ok();
        done.says(&["cannot be used", why, "loaded 1 turns"]);
        assert_eq!(done.figures()[0][1], 0, "nothing of it is used");
    }
}

#[test]
fn a_damaged_file_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = show(dir.path(), "a.chat");
    chat(&["One", &format!("/save {file}")], &[]).ok();
    let good = std::fs::read(&file).expect("saved");
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let half = good.len() / 2;
    let cases = [
        (with(half, !good[half]), "its checksum"),
        (good[..good.len() - 1].to_vec(), "its checksum"),
        (good[..20].to_vec(), "no saved chat"),
        (with(0, b'X'), "no saved chat"),
        (with(8, 2), "version 2"),
        (with(15, 0xFF), "a header of"),
    ];
    for (bytes, why) in cases {
        std::fs::write(&file, bytes).expect("written");
        let done = chat(&["Two", &format!("/load {file}"), "/regen", "/show prompt"], &[]);
        assert_eq!(done.code, Some(1));
        done.says(&[why, "a.chat"]);
        assert!(done.out.contains("user\nTwo<|im_end|>"), "the conversation is as it was: {}", done.out);
    }
}

#[test]
fn names_are_kept_in_the_state_directory() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = dir.path().to_str().expect("a UTF-8 path");
    let run = |lines: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
        command.args(["chat", "-m", &model("dense-bf16"), "-n", "2"]);
        for name in ["HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "APPDATA", "LOCALAPPDATA"] {
            command.env(name, home);
        }
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (_, said) = run("Hi\n/save my talk\n/load\n");
    assert!(said.contains("my talk.chat"), "{said}");
    let (out, said) = run("/load\n/load my talk\n");
    assert!(out.contains("my talk\n") && said.contains("loaded 1 turns"), "{out} {said}");
}

#[test]
fn the_mode_switches_the_preset_and_says_why() {
    let parameters = |lines: &[&str]| chat(&[lines, &["/show parameters"]].concat(), &["-n", "2"]).ok().out;
    for (lines, mode, temperature) in [
        (&[][..], "thinking (the model's default)", "0.6 (preset thinking)"),
        (&["/no_think"], "non-thinking (/no_think, ", "0.7 (preset non-thinking)"),
        (&["/set nothink", "/think"], "thinking (/think, ", "0.6 (preset thinking)"),
        (&["Hi /no_think"], "non-thinking (the last switch in a message)", "0.7 (preset non-thinking)"),
        (&["/no_think", "Hi /think"], "thinking (the last switch in a message)", "0.6 (preset thinking)"),
        (&["/budget 0"], "non-thinking (", "0.7 (preset non-thinking)"),
        (&["/set parameter temperature 0.2"], "thinking (", "0.2 (set here)"),
        (&["/set parameter temperature 0.2", "/set parameter temperature default"], "thinking (", "0.6 (preset"),
    ] {
        let shown = parameters(lines);
        assert!(shown.contains(&format!("mode               {mode}")), "{lines:?}: {shown}");
        assert!(shown.contains(&format!("temperature        {temperature}")), "{lines:?}: {shown}");
    }
    let added = chat(&["Hi /no_think", "/think", "Why?", "/show prompt"], &["-n", "2"]).ok();
    added.says(&["adding /think"]);
    assert!(added.out.contains("user\nHi /no_think<|im_end|>") && added.out.contains("user\nWhy? /think<|im_end|>"));
}

#[test]
fn nothing_is_left_out_in_silence() {
    let long = "Tell me all about the fish in the sea and on the land";
    let lines = [long, long, long, long, long, "/show prompt", "/ctx"];
    let dropped = chat(&lines, &["-c", "220", "--overflow", "drop-oldest"]).ok();
    dropped.says(&["no longer shown to the model", "turn 1, \"Tell me all about the fish"]);
    assert!(dropped.out.contains(MARK) && dropped.out.contains("turn 1, not shown to the model"), "{}", dropped.out);
    let full = chat(&lines, &["-c", "220"]);
    assert_eq!(full.code, Some(1));
    full.says(&["the context 220", "of the lines failed"]);
    let refused = chat(&["Hi"], &["-c", "60", "--overflow", "error", "-n", "500"]);
    assert_eq!(refused.code, Some(1));
    refused.says(&["--overflow error"]);
}

#[test]
fn files_go_before_the_message() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in [("a one.txt", "first\n"), ("b.txt", "```\nsecond")] {
        std::fs::write(dir.path().join(name), text).expect("written");
    }
    let read = format!("/read {}", show(dir.path(), "a one.txt"));
    let glob = format!("/glob {}", show(dir.path(), "b*.txt"));
    let done =
        chat(&[&read, &glob, "Compare", "/show prompt", "/show system", "And?", "/show prompt"], &["-n", "2"]).ok();
    done.says(&["a one.txt: ", "tokens, before your next message"]);
    let prompt = done.answers()[0];
    assert!(prompt.contains("a one.txt:\n```\nfirst\n```\n\nFile "), "{prompt}");
    assert!(prompt.contains("b.txt:\n````\n```\nsecond\n````\n\nCompare<|im_end|>"), "{prompt}");
    assert_eq!(done.out.matches("first").count(), 2, "once in each prompt");
    let missing = chat(&["/read no/such.txt", "/glob no/such*"], &[]);
    assert_eq!(missing.code, Some(1));
    missing.says(&["no/such.txt: cannot be read", "matches no file"]);
}

#[test]
fn tools_are_called_and_answered() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = show(dir.path(), "tools.json");
    std::fs::write(&file, "[{\"name\": \"add\", \"parameters\": {\"type\": \"object\"}}]").expect("written");
    let grammar = r#"start: "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n</tool_call>""#;
    let args = ["--tools", &file, "--grammar", grammar, "--no-think", "-n", "200"];
    let done = chat(&["Sum?", "/tool 42", "/show prompt"], &args).ok();
    assert!(done.out.starts_with("<tool_call>\n{\"name\": \"add\""), "{}", done.out);
    assert!(done.out.contains("<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"add\""), "{}", done.out);
    assert!(done.out.contains("<|im_start|>user\n<tool_response>\n42\n</tool_response><|im_end|>"), "{}", done.out);
    let none = chat(&["Hi", "/tool 42"], &[]);
    none.says(&["calls no tool"]);
    std::fs::write(&file, "{}").expect("written");
    let bad = chat(&[], &["--tools", &file]);
    assert_eq!(bad.code, Some(2));
    bad.says(&["array of tool definitions"]);
}

#[test]
fn a_form_can_be_set_and_taken_back() {
    let lines =
        ["/set format {\"enum\": [\"yes\", \"no\"]}", "Is it?", "/show system", "/set noformat", "Hm", "/show system"];
    let done = chat(&lines, &["--no-think", "-n", "40"]).ok();
    let answers = done.answers();
    assert!(["\"yes\"\n", "\"no\"\n"].contains(&answers[0]), "{:?}", answers[0]);
    assert!(!["\"yes\"\n", "\"no\"\n"].contains(&answers[1]), "{:?}", answers[1]);
    assert!(chat(&["/set format nonsense"], &[]).said.contains("json, a JSON schema, or @FILE"));
}

#[test]
fn mistakes_are_told_and_the_session_goes_on() {
    let lines = [
        "/nonsense",
        "/set parameter min_p 7",
        "/set parameter top_k x",
        "/undo",
        "/regen",
        "/edit",
        "Hi",
        "/show system",
    ];
    let done = chat(&lines, &[]);
    assert_eq!(done.code, Some(1));
    done.says(&["no command /nonsense", "min_p is 7", "a number was expected", "6 of the lines failed"]);
    assert!(!done.answers()[0].is_empty(), "the message was answered");
    let shown =
        chat(&["/show info", "/show template", "/?", "/? set", "/? show", "/? keys", "/ctx", "/stats"], &[]).ok();
    for word in [
        "dense-bf16.gguf",
        "qwen3, ",
        "{%- if tools %}",
        "/no_think",
        "/set parameter",
        "/show prompt",
        "Ctrl-G",
        "free, of a context",
        "0 answers",
    ] {
        assert!(shown.out.contains(word), "{word:?} is not in {}", shown.out);
    }
    let help = Command::new(env!("CARGO_BIN_EXE_lapwing")).args(["chat", "--help"]).output().expect("it runs").stdout;
    String::from_utf8(help).expect("UTF-8").lines().for_each(|l| assert!(l.chars().count() <= 80, "{l}"));
}

#[cfg(unix)]
mod at_a_terminal {
    use super::terminal::Terminal;
    use super::*;

    fn start(home: &Path, args: &[&str]) -> Terminal {
        let home = home.to_str().expect("a UTF-8 path");
        let env = [("HOME", home), ("XDG_STATE_HOME", home), ("NO_COLOR", "1")];
        let model = model("dense-bf16");
        let args = [&["chat", "-m", &model, "-s", "3", "-t", "1"], args].concat();
        let mut terminal = Terminal::start(env!("CARGO_BIN_EXE_lapwing"), &args, &env);
        terminal.waits_until("the prompt", |shown| shown.trim_end().ends_with(">>>"));
        terminal
    }

    /// An answer that goes on until it is stopped.
    const ENDLESS: [&str; 6] = ["--no-think", "--ignore-eos", "--no-loop-guard", "--greedy", "-c", "4096"];

    #[test]
    fn ctrl_c_stops_the_answer_and_keeps_it() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let id = Command::new(env!("CARGO_BIN_EXE_lapwing"))
            .args(["tokenize", "-m", &model("dense-bf16"), "-p", "a", "--ids-only"])
            .output()
            .expect("it runs");
        let bias = format!("{}+100000", String::from_utf8(id.stdout).expect("UTF-8").trim());
        let mut terminal = start(home.path(), &[&ENDLESS[..], &["--logit-bias", &bias]].concat());
        terminal.types("Hi\r");
        terminal.waits_for("aaaaaaaa");
        terminal.types("\x03");
        let shown = terminal.waits_for("interrupted; what was said is kept");
        assert!(shown.contains("/?"), "the greeting names the help: {shown}");
        terminal.types("/set parameter num_predict 5\r");
        terminal.waits_for("num_predict: 5");
        terminal.types("More\r");
        terminal.waits_for("stopped after 5 tokens");
        terminal.types("/show prompt\r");
        let shown = terminal.waits_for("user\nMore<|im_end|>");
        let kept = shown.split("<|im_start|>assistant\n").nth(1).expect("an answer");
        assert!(kept.starts_with("aaaaaaaa"), "what was said is in the conversation: {kept}");
        terminal.waits_until("the prompt", |shown| shown.trim_end().ends_with(">>>"));
        terminal.types("\x03");
        let (status, shown) = terminal.ends();
        assert!(status.success(), "{status:?} {shown}");
    }

    #[test]
    fn ctrl_c_while_reading_gives_the_message_back() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let text = home.path().join("long.txt");
        std::fs::write(&text, "fish ".repeat(1400)).expect("written");
        let mut terminal = start(home.path(), &["-c", "8192", "--isa", "scalar"]);
        terminal.types(&format!("/read {}\r", text.display()));
        terminal.waits_for("before your next message");
        terminal.waits_until("the prompt", |shown| shown.trim_end().ends_with(">>>"));
        terminal.types("What is it about?\r");
        terminal.waits_for("reading 7,");
        terminal.types("\x03");
        let shown = terminal.waits_for("which stay in the cache");
        assert!(shown.contains("interrupted after reading"), "{shown}");
        let shown = terminal.waits_until("the message", |shown| shown.trim_end().ends_with(">>> What is it about?"));
        assert!(!shown.contains("error"), "{shown}");
        terminal.types("\x03");
        terminal.types("/bye\r");
        assert!(terminal.ends().0.success());
    }

    #[test]
    fn edit_puts_the_message_back_into_the_line() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut terminal = start(home.path(), &["-n", "3", "--no-think"]);
        terminal.types("Good day\r");
        terminal.waits_for("stopped after 3 tokens");
        terminal.types("/edit\r");
        terminal.waits_until("the message", |shown| shown.trim_end().ends_with(">>> Good day"));
        terminal.types(" to you\r");
        terminal.waits_until("the answer", |shown| shown.matches("stopped after 3 tokens").count() == 2);
        terminal.types("/show prompt\r");
        let shown = terminal.waits_for("user\nGood day to you<|im_end|>");
        assert!(!shown.contains("user\nGood day<|im_end|>"), "{shown}");
        terminal.types("\x04");
        assert!(terminal.ends().0.success());
    }
}
