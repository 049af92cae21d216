//! Structured output over a real (random) model: whatever it would like to say, what it says has the form, in both
//! modes, and its thinking is what it would have been without.

mod common;

use common::{Figures, fixture};
use lapwing::chat::{Event, Router};
use lapwing::cli::model_args;
use lapwing::engine::generate::{self, Finish, Generation};
use lapwing::engine::{Engine, EngineOptions, Sequence};
use lapwing::gguf::{Gguf, OpenOptions};
use lapwing::grammar::{Compiler, Source};
use lapwing::guard::{Control, Guards, Notice, Start};
use lapwing::sample::stop::StopMatcher;
use lapwing::sample::{Params, Sampler, Settings};
use lapwing::tokenizer::{Specials, Tokenizer};
use lapwing_quant::attend::KvType;
use lapwing_quant::kernels;
use serde_json::Value;
use std::process::Command;
use std::sync::Arc;

const SCHEMA: &str = r#"{
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "kind": {"enum": ["bird", "fish", null, 7]},
        "seen": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
        "home": {
            "type": "object",
            "properties": {"zip": {"type": "string", "pattern": "^[0-9]{5}$"}},
            "required": ["zip"],
            "additionalProperties": false
        }
    },
    "required": ["name", "age", "kind", "seen", "home"],
    "additionalProperties": false
}"#;

/// What is wrong with a value by a schema of the keywords above; written for this test, apart from what made the value.
fn violation(schema: &Value, value: &Value) -> Option<String> {
    let wrong = |what: &str| Some(format!("{value} breaks {what} of {schema}"));
    if schema.get("enum").and_then(Value::as_array).is_some_and(|all| !all.contains(value)) {
        return wrong("enum");
    }
    let number = |key: &str| schema.get(key).and_then(Value::as_i64);
    let between =
        |n: i64, lo: &str, hi: &str| number(lo).is_none_or(|lo| n >= lo) && number(hi).is_none_or(|hi| n <= hi);
    let fine = match (schema.get("type").and_then(Value::as_str), value) {
        (None, _) => true,
        (Some("boolean"), Value::Bool(_)) => true,
        (Some("integer"), Value::Number(n)) => n.as_i64().is_some_and(|n| between(n, "minimum", "maximum")),
        (Some("string"), Value::String(s)) => {
            let zip = s.len() == 5 && s.bytes().all(|b| b.is_ascii_digit());
            between(s.chars().count() as i64, "minLength", "maxLength") && (schema.get("pattern").is_none() || zip)
        }
        (Some("array"), Value::Array(items)) => {
            let inner = items.iter().find_map(|item| violation(&schema["items"], item));
            return inner
                .or_else(|| (!between(items.len() as i64, "minItems", "maxItems")).then(|| "items".to_owned()));
        }
        (Some("object"), Value::Object(fields)) => {
            let known = schema["properties"].as_object().expect("properties");
            let required = schema["required"].as_array().expect("required");
            if !required.iter().all(|key| fields.contains_key(key.as_str().expect("a name"))) {
                return wrong("required");
            }
            return fields.iter().find_map(|(key, v)| match known.get(key) {
                Some(schema) => violation(schema, v),
                None => Some(format!("{key} is not known")),
            });
        }
        _ => false,
    };
    if fine { None } else { wrong("type or range") }
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let sound = r#"{"name": "x", "age": 7, "kind": null, "seen": [true], "home": {"zip": "01234"}}"#;
    let sound: Value = serde_json::from_str(sound).expect("JSON");
    assert_eq!(violation(&schema, &sound), None);
    for (key, bad) in [
        ("name", Value::from("ninechars")),
        ("age", Value::from(151)),
        ("age", Value::from(1.5)),
        ("kind", Value::from("cat")),
        ("seen", Value::Array(vec![])),
        ("seen", Value::from(vec![true; 4])),
        ("home", serde_json::json!({"zip": "1234"})),
        ("more", Value::Null),
    ] {
        let mut broken = sound.clone();
        broken[key] = bad;
        assert!(violation(&schema, &broken).is_some(), "{broken}");
    }
}

/// A model with a prompt that was read.
struct Setup {
    tokenizer: Tokenizer,
    compiler: Compiler,
    engine: Engine,
    seq: Sequence,
    prompt: usize,
    logits: Vec<f32>,
    start: Start,
}

/// How one run ended.
struct Ran {
    thinking: String,
    answer: String,
    notices: Vec<Notice>,
    finish: Finish,
}

impl Setup {
    /// `open` is what follows the prompt, as a template would write it.
    fn new(open: &str) -> Self {
        let gguf = Arc::new(Gguf::open(&fixture("dense-bf16.gguf"), &OpenOptions::default()).expect("opens"));
        let tokenizer = model_args::tokenizer(&gguf).expect("a tokenizer");
        let options = EngineOptions {
            kernels: kernels::best(),
            threads: 1,
            threads_batch: 1,
            cpus: vec![],
            rope: Default::default(),
            n_ctx: 2048,
            sequences: 1,
            keys: KvType::F16,
            values: KvType::F16,
            repack: true,
        };
        let mut engine = Engine::load(&gguf, options, &mut |_, _| {}).expect("loads");
        let mut ids = Figures::read(fixture("dense-bf16.safetensors")).ids("p0.ids");
        ids.extend(tokenizer.encode(open, Specials::Parse).expect("encodes"));
        let mut seq = Sequence::default();
        let logits = engine.read(&mut seq, &ids, 1, &mut |_| true).expect("reads");
        let compiler = Compiler::new(&tokenizer).expect("a compiler");
        Self { tokenizer, compiler, engine, seq, prompt: ids.len(), logits, start: Start::of(open) }
    }

    fn run(&mut self, source: Option<&Source>, seed: u64, limit: usize) -> Ran {
        let Self { tokenizer, compiler, engine, seq, prompt, logits, start } = self;
        seq.truncate(&mut engine.kv_mut().pages, *prompt);
        let params = Params { chain: Settings { temperature: 1.0, ..Settings::default() }, seed, ..Params::default() };
        let vocab = generate::vocab(tokenizer, engine.config().n_vocab).expect("a vocabulary");
        let sampler = Sampler::new(params, vocab.into()).expect("sound settings");
        let guards = Guards { control: Arc::new(Control::new(Some(12))), loop_guard: true, ..Guards::default() };
        let none = StopMatcher::new::<&str>(&[]).expect("none");
        let generation = Generation::new(tokenizer, sampler, none, Some(limit)).starting(*start);
        let mut generation = generation.guarded(guards).expect("guards");
        if let Some(source) = source {
            generation = generation.constrained(compiler.compile(source).expect("compiles"));
        }
        generation.start(logits.clone());
        let mut router = Router::new(*start == Start::Thinking);
        let mut ran = Ran { thinking: String::new(), answer: String::new(), notices: vec![], finish: Finish::Length };
        let take = |ran: &mut Ran, events: Vec<Event>| {
            for event in events {
                match event {
                    Event::Reasoning(text) => ran.thinking += &text,
                    Event::Answer(text) => ran.answer += &text,
                    _ => {}
                }
            }
        };
        while let Some(piece) = generation.next(engine, seq).expect("generates") {
            take(&mut ran, router.push(&piece.text));
            ran.notices.extend(piece.notices);
            ran.finish = piece.finish.unwrap_or(ran.finish);
        }
        take(&mut ran, router.finish().0);
        ran
    }
}

/// Every run of so many is sound by the schema.
fn all_sound(open: &str, runs: u64) -> Setup {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let source = Source::json_schema(SCHEMA).expect("a schema");
    let mut setup = Setup::new(open);
    for seed in 0..runs {
        let ran = setup.run(Some(&source), seed, 1500);
        assert!(matches!(ran.finish, Finish::Complete | Finish::Eog(_)), "{seed}: {:?}: {}", ran.finish, ran.answer);
        let value = serde_json::from_str(&ran.answer).unwrap_or_else(|e| panic!("{seed}: {e}: {:?}", ran.answer));
        assert_eq!(violation(&schema, &value), None, "{seed}");
    }
    setup
}

#[test]
fn json_is_sound_200_times_of_200_without_thinking() {
    all_sound("<think>\n\n</think>\n\n", 200);
}

#[test]
fn json_is_sound_200_times_of_200_after_thinking_which_is_what_it_would_have_been() {
    let mut setup = all_sound("<think>\n", 200);
    let source = Source::json_object();
    let mut thought = 0;
    for seed in 0..50 {
        let (with, without) = (setup.run(Some(&source), seed, 40), setup.run(None, seed, 40));
        assert_eq!(with.thinking, without.thinking, "{seed}");
        thought += usize::from(!with.thinking.is_empty());
    }
    assert!(thought > 40, "{thought} of 50 thought at all");
}

#[test]
fn json_is_sound_when_the_model_may_think_or_not() {
    all_sound("", 40);
}

#[test]
fn grammars_are_kept_to() {
    let mut setup = Setup::new("<think>\n\n</think>\n\n");
    let pairs = Source::grammar("root ::= \"a\" root? \"b\"").expect("GBNF");
    let sums = Source::grammar("start: NUMBER (\"+\" NUMBER)~1..3\nNUMBER: /[0-9]{1,3}/").expect("Lark");
    let mut whole = 0;
    for seed in 0..50 {
        let ran = setup.run(Some(&pairs), seed, 60);
        let half = ran.answer.len() / 2;
        let sound = ran.answer == format!("{}{}", "a".repeat(half), "b".repeat(half)) && half > 0;
        let cut = ran.finish == Finish::Length;
        assert!(sound || cut && ran.notices == [Notice::Incomplete], "{:?} {:?}", ran.answer, ran.notices);
        whole += usize::from(sound && !cut);
        let ran = setup.run(Some(&sums), seed, 60);
        let parts: Vec<&str> = ran.answer.split('+').collect();
        let number = |p: &&str| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit());
        assert!((2..=4).contains(&parts.len()) && parts.iter().all(number), "{:?}", ran.answer);
    }
    assert!(whole > 25, "{whole} of 50 came to an end");
}

/// Recursive GBNF: a small JSON, and sums with brackets.
const GBNF: [(&str, &[&str], &[&str]); 2] = [
    (
        r#"
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ( "," ws string ":" ws value )* )? "}" ws
array  ::= "[" ws ( value ( "," ws value )* )? "]" ws
string ::= "\"" ( [^"\\\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= "-"? ("0" | [1-9] [0-9]*) ("." [0-9]+)? ([eE] [-+]? [0-9]+)? ws
ws     ::= | " " | "\n" [ \t]{0,20}"#,
        &["{}", r#"{"a": [1, -2.5e3, true], "b": {"c": "x\u00e9\n"}}"#, "{ \"n\": null,\n  \"é\": \"你好\"}"],
        &[r#"{"a" 1}"#, "[1]", r#"{"a": 01}"#, r#"{"a": "\x"}"#],
    ),
    (
        "root ::= expr\nexpr ::= term ([-+*/] term)*\nterm ::= num | \"(\" expr \")\"\nnum ::= [0-9]+",
        &["7", "1+2*(34-5)", "((7))"],
        &["1+*2", "(1", ")"],
    ),
];

#[test]
fn recursive_gbnf_lets_through_what_it_should_and_nothing_else() {
    let setup = Setup::new("");
    let takes = |source: &Source, text: &str| {
        let mut constraint = setup.compiler.compile(source).expect("compiles");
        for id in setup.tokenizer.encode(text, Specials::Literal).expect("encodes") {
            let mut logits = vec![0.0; setup.tokenizer.vocab_len()];
            constraint.mask(&mut logits, None).expect("a mask");
            if logits[id as usize] != 0.0 {
                return false;
            }
            constraint.accept(id).expect("what the mask lets through is accepted");
        }
        constraint.is_complete()
    };
    for (grammar, sound, broken) in GBNF {
        let source = Source::grammar(grammar).expect("GBNF");
        sound.iter().for_each(|text| assert!(takes(&source, text), "{text}"));
        broken.iter().for_each(|text| assert!(!takes(&source, text), "{text}"));
    }
}

#[test]
fn output_that_is_cut_off_is_said_to_be() {
    let mut setup = Setup::new("<think>\n\n</think>\n\n");
    let ran = setup.run(Some(&Source::json_schema(SCHEMA).expect("a schema")), 1, 5);
    assert_eq!((ran.finish, ran.notices), (Finish::Length, vec![Notice::Incomplete]));
}

#[test]
fn mistakes_are_named_before_anything_is_computed() {
    let setup = Setup::new("");
    let schema = |text: &str| Source::json_schema(text).and_then(|s| setup.compiler.compile(&s).map(|_| ()));
    let grammar = |text: &str| Source::grammar(text).and_then(|s| setup.compiler.compile(&s).map(|_| ()));
    let cases = [
        (schema("{\"type\": }"), "line 1 column 10"),
        (schema("[1]"), "must be an object"),
        (schema("false"), "allows nothing"),
        (schema("{\"type\": \"strin\"}"), "strin"),
        (schema("{\"type\": \"integer\", \"minimum\": 3, \"maximum\": 2}"), "JSON schema"),
        (grammar(" "), "empty"),
        (grammar("start: \"a\nb"), "Lark grammar"),
        (grammar("start: missing"), "missing"),
        (grammar("root ::= missing"), "line 1, column 10"),
    ];
    for (result, part) in cases {
        let e = result.expect_err(part);
        assert!(e.to_string().contains(part) && e.exit_code() == 2, "{part}: {e}");
        assert!(!e.to_string().contains("<state>") && e.to_string().lines().count() < 12, "{e}");
    }
}

#[test]
fn the_program_takes_the_flags() {
    let model = fixture("dense-bf16.gguf");
    let run = |flags: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
        command.args(["run", "-m"]).arg(&model).args(["-p", "x", "--no-think", "--seed", "1", "-n", "50"]).args(flags);
        let done = command.output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (done.status.code(), text(done.stdout), text(done.stderr))
    };
    let (code, out, said) = run(&["--json-schema", "{\"type\": \"boolean\"}"]);
    assert!(code == Some(0) && ["true", "false"].contains(&out.trim()), "{out:?} {said}");
    let (code, out, said) = run(&["--grammar", "root ::= \"yes\" | \"no\""]);
    assert!(code == Some(0) && ["yes", "no"].contains(&out.trim()), "{out:?} {said}");
    let (code, _, said) = run(&["--json-schema", "@no/such/file"]);
    assert!(code == Some(1) && said.contains("no/such/file"), "{said}");
    let (code, _, said) = run(&["--json", "--grammar", "start: /x/"]);
    assert!(code == Some(2) && said.contains("--grammar"), "{said}");
    let (code, _, said) = run(&["--overflow", "error", "-c", "40"]);
    assert!(code == Some(1) && said.contains("--overflow error") && said.contains("-c"), "{said}");
}
