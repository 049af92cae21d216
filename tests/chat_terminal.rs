//! `lapwing chat` at a real pseudo-terminal: what is typed, pasted, recalled and completed, and what is shown.
#![cfg(unix)]

mod common;

use common::fixture;
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const COLUMNS: u16 = 60;
const ROWS: u16 = 20;
/// The prompt at the start of its line.
const PROMPT: &str = ">>> ";
/// Short answers at once.
const SHORT: [&str; 3] = ["--no-think", "-n", "3"];
/// No machine is that slow; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the terminal shows, and all bytes it ever got.
struct Shown {
    screen: vt100::Parser,
    log: Vec<u8>,
}

/// The program at a terminal.
struct Session {
    shown: Arc<Mutex<Shown>>,
    keyboard: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    terminal: Box<dyn MasterPty + Send>,
    /// How the terminal was before.
    modes: String,
}

impl Session {
    /// Starts `lapwing chat`, which keeps its history under `state`, and waits until it is ready.
    fn start(state: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let size = PtySize { rows: ROWS, cols: COLUMNS, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_lapwing"));
        command.args(["chat", "-m"]);
        command.arg(fixture("dense-bf16.gguf"));
        command.args(["--seed", "1", "-t", "1"]);
        command.args(args);
        for name in ["NO_COLOR", "VISUAL", "EDITOR", "LAPWING_ISA"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm-256color");
        for name in ["HOME", "XDG_STATE_HOME"] {
            command.env(name, state);
        }
        variables.iter().for_each(|(name, value)| command.env(name, value));
        let modes = format!("{:?}", pair.master.get_termios());
        let child = pair.slave.spawn_command(command).expect("the program starts");
        let mut output = pair.master.try_clone_reader().expect("its output");
        let keyboard = pair.master.take_writer().expect("its input");
        let shown = Arc::new(Mutex::new(Shown { screen: emulated(), log: vec![] }));
        let copy = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                let mut shown = copy.lock().unwrap_or_else(PoisonError::into_inner);
                shown.screen.process(&bytes[..read]);
                shown.log.extend_from_slice(&bytes[..read]);
            }
        });
        let mut session = Self { shown, keyboard, child, terminal: pair.master, modes };
        session.wait_for_prompt();
        session
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).and_then(|()| self.keyboard.flush()).expect("the terminal is there");
    }

    /// Waits until the terminal is as wanted.
    fn wait(&mut self, what: &str, is_so: impl Fn(&Shown) -> bool) {
        let started = Instant::now();
        while !is_so(&self.shown()) {
            let ended = self.child.try_wait().expect("it can be asked").is_some();
            if ended || started.elapsed() > PATIENCE {
                // What it wrote last may be on its way.
                std::thread::sleep(Duration::from_millis(200));
                let shown = self.shown();
                assert!(
                    is_so(&shown),
                    "waiting for {what} (the program {}); on the screen:\n{}\ncursor {:?}",
                    if ended { "has ended" } else { "goes on" },
                    shown.screen.screen().contents(),
                    shown.screen.screen().cursor_position()
                );
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the last line of the screen is the prompt with this typed text, the cursor in this column behind
    /// the prompt.
    fn wait_for_line(&mut self, text: &str, column: usize) {
        let expected = format!("{PROMPT}{text}");
        self.wait(&format!("{expected:?}, column {column}"), |shown| {
            let (row, cursor) = shown.screen.screen().cursor_position();
            row_text(shown, row).trim_end() == expected.trim_end() && usize::from(cursor) == PROMPT.len() + column
        });
    }

    /// Waits for an empty prompt.
    fn wait_for_prompt(&mut self) {
        self.wait_for_line("", 0);
    }

    /// Presses keys, of which the last sends a message, and returns what was printed until the next prompt.
    fn send(&mut self, keys: &str) -> String {
        let before = self.shown().log.len();
        self.press(keys);
        self.wait("the next prompt", |shown| {
            let (row, cursor) = shown.screen.screen().cursor_position();
            shown.log[before..].contains(&b'\n')
                && row_text(shown, row).trim_end() == PROMPT.trim_end()
                && usize::from(cursor) == PROMPT.len()
        });
        String::from_utf8_lossy(&self.shown().log[before..]).replace('\r', "")
    }

    /// The prompt of the last message, as the model read it.
    fn last_prompt(&mut self) -> String {
        let shown = self.send("/show prompt\r");
        let begin = shown.find("<|im_start|>").expect("a prompt of the template");
        let end = shown.rfind("<|im_end|>").expect("a whole message");
        shown[begin..end].to_owned()
    }

    /// Waits for the end of the program, which must be a good one and leave the terminal as it was.
    fn wait_for_end(mut self) {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be asked") {
                assert!(status.success(), "{status}");
                return assert_eq!(
                    format!("{:?}", self.terminal.get_termios()),
                    self.modes,
                    "the terminal is as before"
                );
            }
            assert!(started.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn emulated() -> vt100::Parser {
    let size = |n| NonZero::new(n).expect("a terminal has rows and columns");
    vt100::Parser::new(size(ROWS), size(COLUMNS), 0)
}

fn row_text(shown: &Shown, row: u16) -> String {
    shown.screen.screen().rows(0, COLUMNS).nth(usize::from(row)).unwrap_or_default()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn a_paste_of_200_lines_is_one_message() {
    let state = folder();
    let mut chat = Session::start(state.path(), &SHORT, &[]);
    chat.wait("pasting to be asked for", |shown| shown.screen.screen().bracketed_paste());
    let lines: Vec<String> = (1..=200).map(|n| if n % 50 == 0 { "\\".to_owned() } else { format!("p{n}") }).collect();
    chat.press(&format!("see \x1b[200~{}\x1b[201~", lines.join("\r")));
    chat.wait_for_line("see [pasted text 1, 200 lines]", 30);
    // It was not sent: more can be said about it.
    chat.press(": why\x1b[200~ this\x1b[201~");
    chat.wait_for_line("see [pasted text 1, 200 lines]: why this", 40);
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
    chat.press("ab漢字é");
    chat.wait_for_line("ab漢字é", 7);
    chat.press("\x1b[D\x1b[D");
    chat.wait_for_line("ab漢字é", 4);
    chat.press("\x7f");
    chat.wait_for_line("ab字é", 2);
    chat.press("한");
    chat.wait_for_line("ab한字é", 4);
    // An accent of its own goes with its letter.
    chat.press("\x05e\u{301}x");
    chat.wait_for_line("ab한字ée\u{301}x", 9);
    chat.press("\x7f\x7f");
    chat.wait_for_line("ab한字é", 7);
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
    chat.press("first line\x1b\rsecond");
    chat.wait("two lines", |shown| shown.screen.screen().contents().ends_with("\nsecond"));
    chat.press("\x03");
    chat.wait_for_prompt();
    chat.press("\x03");
    chat.wait_for_end();

    let mut chat = Session::start(state.path(), &SHORT, &[]);
    chat.press("\x04");
    chat.wait_for_end();
}

#[test]
fn messages_are_recalled_in_the_next_session() {
    use std::os::unix::fs::PermissionsExt;
    let state = folder();
    let mut chat = Session::start(state.path(), &SHORT, &[]);
    chat.send("remember\x1b\rboth lines\r");
    chat.send("/set nohistory\r");
    chat.send("forget this\r");
    chat.press("\x04");
    chat.wait_for_end();
    let file = std::fs::metadata(state.path().join("lapwing/history")).expect("the history");
    assert_eq!(file.permissions().mode() & 0o777, 0o600, "only the user may read it");

    let mut chat = Session::start(state.path(), &SHORT, &[]);
    chat.press("\x1b[A");
    chat.wait_for_line("/set nohistory", 14);
    chat.press("\x1b[A");
    chat.wait("the message before", |shown| shown.screen.screen().contents().ends_with(">>> remember\nboth lines"));
}

#[test]
fn tab_completes() {
    let state = folder();
    std::fs::write(state.path().join("unlike any other.txt"), "x").expect("a file");
    let mut chat = Session::start(state.path(), &SHORT, &[]);
    chat.press("/sho\t");
    chat.wait_for_line("/show ", 6);
    chat.press("para\t");
    chat.wait_for_line("/show parameters", 16);
    chat.press("\x03/read ~/unl\t");
    chat.wait_for_line("/read ~/unlike any other.txt", 28);
}

#[test]
fn vi_keys_where_wanted() {
    let state = folder();
    let mut chat = Session::start(state.path(), &[&SHORT[..], &["--vi"]].concat(), &[]);
    chat.press("hello\x1b");
    chat.wait_for_line("hello", 4);
    chat.press("0x");
    chat.wait_for_line("ello", 0);
    chat.press("A\x1b[200~ 42\x1b[201~");
    chat.wait_for_line("ello 42", 7);
}

#[test]
fn ctrl_g_opens_the_editor() {
    let state = folder();
    let mut chat = Session::start(state.path(), &SHORT, &[("EDITOR", "printf ' and more\\n' >>")]);
    chat.press("draft");
    chat.wait_for_line("draft", 5);
    chat.press("\x07");
    chat.wait_for_line("draft and more", 14);
    chat.press("\x07");
    chat.wait_for_line("draft and more and more", 23);
    chat.send("\r");
    assert!(chat.last_prompt().ends_with("user\ndraft and more and more"));

    let mut chat = Session::start(state.path(), &SHORT, &[("VISUAL", "false")]);
    chat.press("draft\x07");
    chat.wait_for_line("draft", 5);
    let told = chat.shown().screen.screen().contents().contains("error: the editor \"false\" failed");
    assert!(told, "and the text is still there");
}

#[test]
fn what_is_typed_during_an_answer_is_kept() {
    let state = folder();
    let mut chat = Session::start(state.path(), &["--no-think", "-n", "40"], &[]);
    chat.press("question\rahead");
    chat.wait_for_line("ahead", 5);
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
    let screen = chat.shown().screen.screen().contents();
    assert!(!screen.contains("thinking, ") && screen.contains("thought for "), "{screen}");
}

#[test]
fn esc_ends_the_thinking_and_the_terminal_is_as_before() {
    let state = folder();
    let mut chat = thinking(state.path(), &["-n", "4000", "-c", "8192", "--no-loop-guard", "--ignore-eos"], &[]);
    let at = chat.shown().log.len();
    chat.press("hello\r");
    chat.wait("thinking", |shown| String::from_utf8_lossy(&shown.log[at..]).contains("\x1b[2m"));
    chat.press("\x1b");
    chat.wait("the end of thinking", |shown| unstyled(&shown.log[at..]).contains("Considering the limited time"));
    chat.press("\x03");
    chat.wait_for_prompt();
    chat.press("\x04");
    chat.wait_for_end();
}
