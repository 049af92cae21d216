//! `lapwing chat` with the built-in model: the model card's conversation at a real terminal and through a pipe.
//!
//! Greedy, so that one unlucky draw is no failure; scripts/demo/evaluate.py holds the conversation with the card's
//! sampling, many times.

#[path = "common/terminal.rs"]
mod terminal;

use std::io::Write;
use std::process::{Command, Stdio};
use terminal::Terminal;

/// What the user types, the answer, and whether it is preceded by thinking.
const TURNS: [(&str, &str, bool); 3] = [
    ("How many r's in strawberries?", "There are 3 r's in strawberries.", true),
    ("Then, how many r's in blueberries? /no_think", "there are 2 r's in blueberries.", false),
    ("Really? /think", "I counted again: there are 2 r's in blueberries.", true),
];
/// In the thinking only: without it, hits are numbered without brackets.
const THOUGHT: &str = "r (1)";

#[test]
fn the_cards_conversation_at_a_terminal() {
    let state = tempfile::tempdir().expect("a temporary directory");
    let home = state.path().to_str().expect("UTF-8");
    let env = [("HOME", home), ("XDG_STATE_HOME", home), ("XDG_DATA_HOME", home), ("LAPWING_ISA", "")];
    let mut terminal =
        Terminal::start(env!("CARGO_BIN_EXE_lapwing"), &["chat", "--temp", "0", "--no-history"], &env[..3]);
    terminal.waits_for("demonstration model");
    terminal.waits_for(">>>");
    for (question, answer, thinks) in TURNS {
        let before = terminal.shown().matches(THOUGHT).count();
        terminal.types(question);
        terminal.waits_for(question);
        terminal.types("\r");
        let shown = terminal.waits_for(answer);
        let thoughts = shown.matches(THOUGHT).count() - before;
        assert_eq!(thoughts, usize::from(thinks), "{question}; the screen:\n{shown}");
        let prompts = |text: &str| text.matches(">>>").count();
        let so_far = TURNS.iter().position(|t| t.0 == question).expect("it is one") + 2;
        terminal.waits_until("the next prompt", |shown| prompts(shown) >= so_far);
    }
    terminal.types("/bye\r");
    let (status, shown) = terminal.ends();
    assert!(status.success(), "{shown}");
}

#[test]
fn the_cards_conversation_through_a_pipe() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    command.env_remove("LAPWING_ISA").args(["chat", "--temp", "0"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let lines: String = TURNS.iter().map(|(question, ..)| format!("{question}\n")).collect();
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
    let done = child.wait_with_output().expect("it ends");
    let out = String::from_utf8(done.stdout).expect("UTF-8");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut rest = out.as_str();
    for (question, answer, thinks) in TURNS {
        let end = rest.find(answer).unwrap_or_else(|| panic!("{question}: no {answer:?} in:\n{out}")) + answer.len();
        assert_eq!(rest[..end].contains(THOUGHT), thinks, "{question}:\n{out}");
        rest = &rest[end..];
    }
}
