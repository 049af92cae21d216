//! `lapwing chat` at a real pseudo-terminal: what is typed, pasted, recalled and completed, and what is shown.
#![cfg(unix)]

mod common;
#[path = "common/terminal.rs"]
mod terminal;

use common::fixture;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use terminal::Terminal;

/// Rows and columns.
const SIZE: (u16, u16) = (20, 60);
/// The prompt at the start of its line.
const PROMPT: &str = ">>> ";
/// Short answers at once.
const SHORT: [&str; 3] = ["--no-think", "-n", "3"];

/// `lapwing chat` at a small terminal.
struct Session(Terminal);

impl Deref for Session {
    type Target = Terminal;
    fn deref(&self) -> &Terminal {
        &self.0
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Terminal {
        &mut self.0
    }
}

impl Session {
    /// Starts `lapwing chat`, which keeps its history under `state`, and waits until it is ready.
    fn start(state: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let model = fixture("dense-bf16.gguf");
        let model = model.to_str().expect("a UTF-8 path");
        let args = [&["chat", "-m", model, "--seed", "1", "-t", "1"], args].concat();
        let state = state.to_str().expect("a UTF-8 path");
        let variables = [&[("HOME", state), ("XDG_STATE_HOME", state)], variables].concat();
        let mut session = Self(Terminal::of_size(SIZE, env!("CARGO_BIN_EXE_lapwing"), &args, &variables));
        session.waits_for_prompt();
        session
    }

    /// Waits until the last line of the screen is the prompt with this typed text, the cursor in this column behind
    /// the prompt.
    fn waits_for_line(&mut self, text: &str, column: usize) {
        let expected = format!("{PROMPT}{text}");
        self.waits(&format!("{expected:?}, column {column}"), |shown| {
            shown.line() == (expected.trim_end().to_owned(), PROMPT.len() + column)
        });
    }

    /// Waits for an empty prompt.
    fn waits_for_prompt(&mut self) {
        self.waits_for_line("", 0);
    }

    /// Types keys, of which the last sends a message, and returns what was printed until the next prompt.
    fn send(&mut self, keys: &str) -> String {
        let before = self.look().log.len();
        self.types(keys);
        let empty = (PROMPT.trim_end().to_owned(), PROMPT.len());
        self.waits("the next prompt", |shown| shown.log[before..].contains(&b'\n') && shown.line() == empty);
        String::from_utf8_lossy(&self.look().log[before..]).replace('\r', "")
    }

    /// The prompt of the last message, as the model read it.
    fn last_prompt(&mut self) -> String {
        let shown = self.send("/show prompt\r");
        let begin = shown.find("<|im_start|>").expect("a prompt of the template");
        let end = shown.rfind("<|im_end|>").expect("a whole message");
        shown[begin..end].to_owned()
    }

    /// Waits for the end of the program, which must be a good one.
    fn ends_well(self) {
        let (status, shown) = self.0.ends();
        assert!(status.success(), "{status}: {shown}");
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_paste_of_200_lines_is_one_message() {
    let state = folder();
    let mut chat = Session::start(state.path(), &SHORT, &[]);
    chat.waits("pasting to be asked for", |shown| shown.screen.screen().bracketed_paste());
    let lines: Vec<String> = (1..=200).map(|n| if n % 50 == 0 { "\\".to_owned() } else { format!("p{n}") }).collect();
    chat.types(&format!("see \x1b[200~{}\x1b[201~", lines.join("\r")));
    chat.waits_for_line("see [pasted text 1, 200 lines]", 30);
    // It was not sent: more can be said about it.
    chat.types(": why\x1b[200~ this\x1b[201~");
    chat.waits_for_line("see [pasted text 1, 200 lines]: why this", 40);
    chat.send("?\r");
    let prompt = chat.last_prompt();
    assert_eq!(prompt.matches("<|im_start|>user").count(), 1, "{prompt}");
    let message = format!("<|im_start|>user\nsee {}: why this?", lines.join("\n"));
    assert!(prompt.contains(&message), "{prompt}");
}

#[test]
fn wide_characters_are_edited_right() {
    let state = folder();
    let mut chat = Session::start(state.path(), &SHORT, &[]);
    chat.types("ab漢字é");
    chat.waits_for_line("ab漢字é", 7);
    chat.types("\x1b[D\x1b[D");
    chat.waits_for_line("ab漢字é", 4);
    chat.types("\x7f");
    chat.waits_for_line("ab字é", 2);
    chat.types("한");
    chat.waits_for_line("ab한字é", 4);
    // An accent of its own goes with its letter.
    chat.types("\x05e\u{301}x");
    chat.waits_for_line("ab한字ée\u{301}x", 9);
    chat.types("\x7f\x7f");
    chat.waits_for_line("ab한字é", 7);
    chat.send("\r");
    let prompt = chat.last_prompt();
    assert!(prompt.ends_with("user\nab한字é"), "{prompt:?}");
}

#[test]
fn messages_of_several_lines() {
    let state = folder();
    let mut chat = Session::start(state.path(), &SHORT, &[]);
    let cases = [
        ("one\x1b\rtwo\\\rthree\r", "one\ntwo\nthree"),
        ("\"\"\"\rfirst\r\rsecond \\\r\"\"\"\r", "first\n\nsecond \\"),
        ("\"\"\"same line\"\"\"\r", "same line"),
        ("two \\\\\r", "two \\\\"),
    ];
    for (keys, message) in cases {
        chat.send("/clear\r");
        chat.send(keys);
        let prompt = chat.last_prompt();
        assert!(prompt.ends_with(&format!("<|im_start|>user\n{message}")), "{keys:?}: {prompt:?}");
    }
}

#[test]
fn ctrl_c_clears_and_leaves() {
    let state = folder();
    let mut chat = Session::start(state.path(), &SHORT, &[]);
    chat.types("first line\x1b\rsecond");
    chat.waits("two lines", |shown| shown.text().ends_with("\nsecond"));
    chat.types("\x03");
    chat.waits_for_prompt();
    chat.types("\x03");
    chat.ends_well();

    let mut chat = Session::start(state.path(), &SHORT, &[]);
    chat.types("\x04");
    chat.ends_well();
}

#[test]
fn messages_are_recalled_in_the_next_session() {
    use std::os::unix::fs::PermissionsExt;
    let state = folder();
    let mut chat = Session::start(state.path(), &SHORT, &[]);
    chat.send("remember\x1b\rboth lines\r");
    chat.send("/set nohistory\r");
    chat.send("forget this\r");
    chat.types("\x04");
    chat.ends_well();
    let file = std::fs::metadata(state.path().join("lapwing/history")).expect("the history");
    assert_eq!(file.permissions().mode() & 0o777, 0o600, "only the user may read it");

    let mut chat = Session::start(state.path(), &SHORT, &[]);
    chat.types("\x1b[A");
    chat.waits_for_line("/set nohistory", 14);
    chat.types("\x1b[A");
    chat.waits("the message before", |shown| shown.text().ends_with(">>> remember\nboth lines"));
}

#[test]
fn tab_completes() {
    let state = folder();
    std::fs::write(state.path().join("unlike any other.txt"), "x").expect("a file");
    let mut chat = Session::start(state.path(), &SHORT, &[]);
    chat.types("/sho\t");
    chat.waits_for_line("/show ", 6);
    chat.types("para\t");
    chat.waits_for_line("/show parameters", 16);
    chat.types("\x03/read ~/unl\t");
    chat.waits_for_line("/read ~/unlike any other.txt", 28);
}

#[test]
fn vi_keys_where_wanted() {
    let state = folder();
    let mut chat = Session::start(state.path(), &[&SHORT[..], &["--vi"]].concat(), &[]);
    chat.types("hello\x1b");
    chat.waits_for_line("hello", 4);
    chat.types("0x");
    chat.waits_for_line("ello", 0);
    chat.types("A\x1b[200~ 42\x1b[201~");
    chat.waits_for_line("ello 42", 7);
}

#[test]
fn ctrl_g_opens_the_editor() {
    let state = folder();
    let mut chat = Session::start(state.path(), &SHORT, &[("EDITOR", "printf ' and more\\n' >>")]);
    chat.types("draft");
    chat.waits_for_line("draft", 5);
    chat.types("\x07");
    chat.waits_for_line("draft and more", 14);
    chat.types("\x07");
    chat.waits_for_line("draft and more and more", 23);
    chat.send("\r");
    assert!(chat.last_prompt().ends_with("user\ndraft and more and more"));

    let mut chat = Session::start(state.path(), &SHORT, &[("VISUAL", "false")]);
    chat.types("draft\x07");
    chat.waits_for_line("draft", 5);
    let told = chat.shown().contains("error: the editor \"false\" failed");
    assert!(told, "and the text is still there");
}

#[test]
fn what_is_typed_during_an_answer_is_kept() {
    let state = folder();
    let mut chat = Session::start(state.path(), &["--no-think", "-n", "40"], &[]);
    chat.types("question\rahead");
    chat.waits_for_line("ahead", 5);
}

/// The printed text without styles, each line break a space.
fn unstyled(log: &[u8]) -> String {
    let log = String::from_utf8_lossy(log).replace("\r\n", " ");
    let mut parts = log.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).get(1..).unwrap_or("")
    })
}

/// Thinking is open from the start, so that a model of noise thinks.
const THINKS: &str = "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                      {%- if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}";

#[test]
fn no_color_is_heeded() {
    let state = folder();
    let styled = |log: &str| {
        let mut sequences = log.split("\x1b[").skip(1);
        sequences.any(|s| s.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
    };
    let mut chat = thinking(state.path(), &["-n", "8"], &[]);
    let answer = chat.send("hello\r");
    assert!(styled(&answer) && !answer.contains("<think>"), "thinking is faint: {answer:?}");
    let mut chat = thinking(state.path(), &["-n", "8"], &[("NO_COLOR", "1")]);
    let answer = chat.send("hello\r");
    assert!(!styled(&answer) && answer.contains("<think>"), "thinking is between tags: {answer:?}");
}

/// The session with thinking open from the start.
fn thinking(state: &Path, args: &[&str], variables: &[(&str, &str)]) -> Session {
    let template = state.join("template.jinja");
    std::fs::write(&template, THINKS).expect("a file");
    let template = ["--chat-template-file", template.to_str().expect("a UTF-8 path")];
    Session::start(state, &[&template, args].concat(), variables)
}

#[test]
fn a_summary_takes_the_place_of_thinking() {
    let state = folder();
    let mut chat = thinking(state.path(), &["--thinking", "summary", "-n", "12"], &[]);
    let answer = chat.send("hello\r");
    assert!(answer.contains("\x1b[2mthinking, 2 tokens, 0 s"), "{answer:?}");
    let screen = chat.shown();
    assert!(!screen.contains("thinking, ") && screen.contains("thought for "), "{screen}");
}

#[test]
fn esc_ends_the_thinking_and_the_terminal_is_as_before() {
    let state = folder();
    let mut chat = thinking(state.path(), &["-n", "4000", "-c", "8192", "--no-loop-guard", "--ignore-eos"], &[]);
    let at = chat.look().log.len();
    chat.types("hello\r");
    chat.waits("thinking", |shown| String::from_utf8_lossy(&shown.log[at..]).contains("\x1b[2m"));
    chat.types("\x1b");
    chat.waits("the end of thinking", |shown| unstyled(&shown.log[at..]).contains("Considering the limited time"));
    chat.types("\x03");
    chat.waits_for_prompt();
    chat.types("\x04");
    chat.ends_well();
}
