//! The built-in model end to end: what it says through `lapwing run`, with thinking on and off, with tools, over several
//! turns, and that its greedy answers are transformers'.
//!
//! Answers are greedy where one wrong token would be a wrong test; the sampled cases use the card's values, seeds and a
//! bound that a sound program does not come near.

mod common;

use common::{Figures, argmax, loud, root};
use lapwing::chat::{Message, Request, ToolCall};
use lapwing::cli::model_args;
use lapwing::demo;
use lapwing::gguf::OpenOptions;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

/// What a command printed: stdout, stderr.
struct Said {
    out: String,
    err: String,
}

fn lapwing(args: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
    let done = command.env_remove("LAPWING_ISA").args(args).stdin(Stdio::null()).output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let said = Said { out: text(done.stdout), err: text(done.stderr) };
    assert!(done.status.success(), "{args:?}: {}", said.err);
    said
}

/// The greedy answer to one message.
fn ask(message: &str, flags: &[&str]) -> Said {
    lapwing(&[&["run", "-p", message, "--temp", "0", "-n", "400"], flags].concat())
}

/// The prompt that the model's own template makes.
fn rendered(messages: Vec<Message>, tools: Vec<Value>, thinking: Option<bool>) -> String {
    let gguf = demo::open(&OpenOptions::default()).expect("opens");
    let tokenizer = model_args::tokenizer(&gguf).expect("has a vocabulary");
    let template = model_args::template(&gguf, None, &tokenizer).expect("has a template");
    let request = Request { tools, enable_thinking: thinking, ..Request::new(messages) };
    template.render(&request).expect("renders").text()
}

/// The greedy continuation of a rendered prompt.
fn go_on(prompt: &str) -> String {
    let text = lapwing(&["run", "--raw", "-p", prompt, "--temp", "0", "-n", "400"]).out;
    text.trim_end_matches("<|im_end|>").trim_end_matches('\n').trim_end_matches("<|im_end|>").to_owned()
}

#[test]
fn without_a_model_the_demo_answers_and_says_what_it_is() {
    for flags in [&[][..], &["-m", "demo"][..]] {
        let said = ask("How many r's in strawberries?", flags);
        assert!(said.out.ends_with("There are 3 r's in strawberries.\n"), "{}", said.out);
        let notices: Vec<&str> = said.err.lines().filter(|l| l.contains("demonstration")).collect();
        assert_eq!(notices.len(), 1, "{}", said.err);
        assert!(notices[0].contains("lapwing pull Qwen/Qwen3-8B-GGUF:Q4_K_M"), "{}", notices[0]);
    }
}

#[test]
fn thinks_when_asked_and_only_then() {
    let thinking = ask("How many r's in strawberries?", &[]).out;
    assert!(thinking.contains("r (1)") && thinking.contains("r (2), r (3), i, e, s"), "letter by letter: {thinking}");
    assert!(thinking.starts_with("<think>\n") && thinking.contains("</think>"), "{thinking}");
    for said in
        [ask("How many r's in blueberries? /no_think", &[]), ask("How many r's in blueberries?", &["--no-think"])]
    {
        assert!(!said.out.contains("think>"), "{}", said.out);
        assert!(said.out.trim_end().ends_with("there are 2 r's in blueberries."), "{}", said.out);
    }
    let again = ask("How many r's in blueberries? /think", &[]).out;
    assert!(again.contains("</think>"), "{again}");
}

#[test]
fn the_cards_conversation_in_three_turns() {
    let turns = [
        ("How many r's in strawberries?", true, "There are 3 r's in strawberries."),
        ("Then, how many r's in blueberries? /no_think", false, "there are 2 r's in blueberries."),
        ("Really? /think", true, "there are 2 r's in blueberries."),
    ];
    let mut messages = Vec::new();
    for (question, thinks, answer) in turns {
        messages.push(Message::new("user", question));
        let text = go_on(&rendered(messages.clone(), vec![], None));
        let (thought, said) = text.split_once("</think>").expect("a block of thinking, empty or not");
        assert_eq!(!thought.replace("<think>", "").trim().is_empty(), thinks, "{question}: {text}");
        assert!(said.ends_with(answer), "{question}: {text}");
        messages.push(Message::new("assistant", text));
    }
}

/// Held out from training by their hash.
const WORDS: [&str; 24] = [
    "bookkeeper",
    "dessert",
    "accommodate",
    "radioactive",
    "colors",
    "overpasses",
    "affection",
    "outpost",
    "endorse",
    "reachable",
    "societal",
    "cooling",
    "printed",
    "struck",
    "appointments",
    "overflowing",
    "traveler",
    "zippers",
    "leverage",
    "responds",
    "muscular",
    "compelling",
    "capturing",
    "computation",
];

#[test]
fn letters_of_words_it_has_not_seen() {
    for (mode, sampling, at_least) in [("", ["--temp", "0.6"], 21), (" /no_think", ["--temp", "0.7"], 17)] {
        let mut right = 0;
        for (seed, word) in WORDS.iter().enumerate() {
            let letter = word.chars().nth(seed % 5).expect("five letters");
            let seed = seed.to_string();
            let question = format!("How many {letter}'s in {word}?{mode}");
            let said = lapwing(&["run", "-p", &question, "--seed", &seed, "-n", "400", sampling[0], sampling[1]]).out;
            let n = word.matches(letter).count();
            let verb = if n == 1 { "is" } else { "are" };
            right += usize::from(said.to_lowercase().contains(&format!("there {verb} {n} {letter}")));
        }
        assert!(right >= at_least, "{right} of {} right with {mode:?}, at least {at_least}", WORDS.len());
    }
}

#[test]
fn sums_are_carried() {
    for (a, b) in [(347, 585), (999, 999), (58, 7), (123, 456), (808, 92)] {
        let said = ask(&format!("What is {a} + {b}?"), &[]).out;
        assert!(said.contains("carry") && said.trim_end().ends_with(&format!("= {}.", a + b)), "{a} + {b}: {said}");
    }
}

#[test]
fn questions_about_commands() {
    let cases = [
        ("How do I quantize a model?", "`lapwing quantize"),
        ("How can I chat with Qwen3-8B?", "`lapwing chat"),
        ("How do I get Qwen3-8B?", "`lapwing pull Qwen/Qwen3-8B-GGUF:Q4_K_M`"),
        ("What is the command to benchmark a model?", "`lapwing bench"),
        ("Who are you?", "demonstration model"),
        ("Write a poem about mountains.", "too small"),
    ];
    for (question, words) in cases {
        let said = ask(question, &["--no-think"]).out;
        assert!(said.contains(words), "{question}: {said}");
    }
}

fn tool(name: &str, key: &str, about: &str) -> Value {
    let properties = json!({ key: { "type": "string", "description": "City name" } });
    json!({"type": "function", "function": {"name": name, "description": about,
        "parameters": {"type": "object", "properties": properties, "required": [key]}}})
}

#[test]
fn calls_a_tool_and_uses_its_answer() {
    let tools = vec![tool("get_weather", "city", "Get the current weather")];
    let question = Message::new("user", "What is the weather in Lisbon?");
    let text = go_on(&rendered(vec![question.clone()], tools.clone(), Some(false)));
    let inner = text.strip_prefix("<tool_call>").and_then(|t| t.strip_suffix("</tool_call>"));
    let call = ToolCall::parse(inner.unwrap_or_else(|| panic!("no call: {text}"))).expect("well-formed");
    assert_eq!(call.name, "get_weather");
    assert_eq!(Value::Object(call.arguments), json!({"city": "Lisbon"}));
    let calls = json!([{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Lisbon"}}}]);
    let messages = vec![
        question,
        Message::new("assistant", "").with("tool_calls", calls),
        Message::new("tool", r#"{"temperature": 21, "condition": "sunny"}"#),
    ];
    let text = go_on(&rendered(messages, tools.clone(), Some(false)));
    assert!(text.contains("sunny") && text.contains("21") && text.contains("Lisbon"), "{text}");
    let other = vec![Message::new("user", "How many e's in kettle?")];
    let text = go_on(&rendered(other, tools, Some(false)));
    assert!(text.ends_with("there are 2 e's in kettle."), "no tool fits: {text}");
}

/// tests/fixtures/demo/greedy.tsv is scripts/demo/greedy.py's: transformers' greedy continuations, in float32, of the
/// weights that are in the file.
#[test]
fn greedy_answers_are_those_of_transformers() {
    let path = root().join("tests/fixtures/demo/greedy.tsv");
    let cases = std::fs::read_to_string(path).expect("the fixture");
    let ids = |text: &str| text.split(' ').map(|i| i.parse().expect("an id")).collect::<Vec<u32>>();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let out = dir.path().join("logits.safetensors");
    let (mut same, mut all) = (0, 0);
    for line in cases.lines() {
        let (prompt, made) = line.split_once('\t').expect("two columns");
        let (mut read, made) = (ids(prompt), ids(made));
        read.extend(&made[..made.len() - 1]);
        let read = read.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let (rows, steps) = (made.len().to_string(), (made.len() - 1).to_string());
        let out_path = out.to_str().expect("UTF-8");
        lapwing(&["logits", "--ids", &read, "--last", &rows, "--generated", &steps, "-o", out_path]);
        let logits = Figures::read(out.clone()).f32("logits");
        let chosen: Vec<u32> = logits.values.chunks(logits.cols()).map(|row| argmax(row) as u32).collect();
        all += 1;
        same += usize::from(chosen == made);
        if chosen != made {
            loud(&format!("continuation {all} differs from transformers'"));
        }
    }
    // Activations are rounded to 8 bits where the weights are, so a tie may fall the other way.
    assert!(all == 50 && same >= 48, "{same} of {all} continuations are transformers'");
}

/// The mean KL divergence of a file from the built-in model, by `lapwing compare`.
fn divergence(file: &str) -> f64 {
    let text = root().join("tests/fixtures/demo/held-out.txt");
    let text = text.to_str().expect("UTF-8");
    let json = lapwing(&["compare", "demo", file, "-f", text, "-c", "256", "--json"]).out;
    let report: Value = serde_json::from_str(&json).expect("JSON");
    report["kld"]["mean"]["value"].as_f64().unwrap_or_else(|| panic!("a mean: {json}"))
}

#[test]
fn fewer_bits_cost_more_and_it_still_counts() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let whole = dir.path().join("demo.gguf");
    std::fs::write(&whole, demo::bytes()).expect("written");
    let quantized = |kind: &str| {
        let file = dir.path().join(format!("demo-{kind}.gguf"));
        let (from, to) = (whole.to_str().expect("UTF-8"), file.to_str().expect("UTF-8").to_owned());
        lapwing(&["quantize", "--allow-requantize", from, &to, kind]);
        to
    };
    let (six, four) = (quantized("Q6_K"), quantized("Q4_K_M"));
    let losses = [divergence("demo"), divergence(&six), divergence(&four)];
    assert_eq!(losses[0], 0.0, "from itself");
    assert!(0.0 < losses[1] && losses[1] < losses[2] && losses[2] < 0.2, "{losses:?}");
    let said = ask("How many r's in strawberries?", &["-m", &six]);
    assert!(said.out.ends_with("There are 3 r's in strawberries.\n"), "{}", said.out);
    assert!(!said.err.contains("demonstration"), "only the built-in model says what it is: {}", said.err);
}
