//! `lapwing chat` from outside: piped lines, and a real terminal where it matters.

mod common;

use common::fixture;
use std::io::Write;
use std::process::{Command, Output, Stdio};

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

/// A session with these lines typed into a pipe.
fn chat(lines: &[&str], args: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    command.env_remove("LAPWING_ISA").args(["chat", "-m", &model("dense-bf16"), "-c", "2048"]).args(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let input = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("the program reads it");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program prints UTF-8");
    let done = Done { code: status.code(), out: text(stdout), said: text(stderr) };
    assert!(!done.said.contains("panicked"), "{}", done.said);
    done
}

#[test]
fn a_piped_session_prints_answers_and_nothing_else() {
    let done = chat(&["Hi", "And you?", "/stats", "/bye", "never read"], &["-n", "8", "-s", "3"]);
    println!("{done:?}");
    assert_eq!(done.code, Some(0));
}
