//! Sorts generated text, as it streams, into reasoning, answer and tool calls.
//!
//! Tags are `<think>`, `</think>`, `<tool_call>`, `</tool_call>`. Reasoning opens only before any answer text (or in the
//! prompt), so an answer may write about `<think>`. A tool call opens anywhere in the answer; within reasoning and
//! within a call only the closing tag counts. Line breaks next to a tag belong to the tag, as in the template. No more is
//! held back than what may still turn out to be a tag or its line breaks.

use serde_json::{Map, Value};

/// What the router found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// More of the reasoning.
    Reasoning(String),
    /// The reasoning ended.
    ReasoningEnd,
    /// More of the answer.
    Answer(String),
    /// A tool call begins.
    ToolCallStart,
    /// More of the tool call's JSON.
    ToolCallText(String),
    /// The tool call ended; its whole text (see [`ToolCall::parse`]).
    ToolCallEnd(String),
}

/// What was still open when the text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclosed {
    /// `</think>` never came: there is no answer.
    Reasoning,
    /// `</tool_call>` never came: the call is incomplete.
    ToolCall,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but white space yet; reasoning may open.
    Start,
    Reasoning,
    Answer,
    ToolCall,
}

/// The state of one answer.
#[derive(Clone, Debug)]
pub struct Router {
    state: State,
    /// Not yet given out: white space, or what may be the beginning of a tag.
    held: String,
    /// Line breaks are dropped until other text comes: a tag was just before.
    after_tag: bool,
    /// Text of the open tool call.
    call: String,
}

impl Router {
    /// A router for an answer; `in_reasoning` when the prompt already opened `<think>`
    /// (see [`Rendered::opens_thinking`](super::Rendered::opens_thinking)).
    pub fn new(in_reasoning: bool) -> Self {
        let state = if in_reasoning { State::Reasoning } else { State::Start };
        Self { state, held: String::new(), after_tag: in_reasoning, call: String::new() }
    }

    /// Whether the text is within reasoning now.
    pub fn in_reasoning(&self) -> bool {
        self.state == State::Reasoning
    }

    /// Whether the text is within a tool call now.
    pub fn in_tool_call(&self) -> bool {
        self.state == State::ToolCall
    }

    /// Takes more text and returns what it completes.
    pub fn push(&mut self, text: &str) -> Vec<Event> {
        let mut events = vec![];
        self.held.push_str(text);
        while let Some((at, tag)) = self.next_tag() {
            let rest = self.held.split_off(at + tag.len());
            self.held.truncate(at);
            let before = std::mem::replace(&mut self.held, rest);
            if self.state != State::Start || !before.trim().is_empty() {
                self.give(before.trim_end_matches(['\n', '\r']), &mut events);
            }
            self.cross(tag, &mut events);
        }
        let keep = self.held.len() - self.undecided();
        let rest = self.held.split_off(keep);
        let ready = std::mem::replace(&mut self.held, rest);
        self.give(&ready, &mut events);
        events
    }

    /// Ends the text: gives out what was held back, and tells what was still open.
    pub fn finish(&mut self) -> (Vec<Event>, Option<Unclosed>) {
        let mut events = vec![];
        let rest = std::mem::take(&mut self.held);
        self.give(&rest, &mut events);
        let unclosed = match self.state {
            State::Reasoning => Some(Unclosed::Reasoning),
            State::ToolCall => Some(Unclosed::ToolCall),
            State::Start | State::Answer => None,
        };
        (events, unclosed)
    }

    /// Tags that count in the present state.
    fn tags(&self) -> &'static [&'static str] {
        match self.state {
            State::Start => &["<think>", "<tool_call>"],
            State::Reasoning => &["</think>"],
            State::Answer => &["<tool_call>"],
            State::ToolCall => &["</tool_call>"],
        }
    }

    /// The first tag in the held text. `<think>` counts only if nothing but white space is before it.
    fn next_tag(&self) -> Option<(usize, &'static str)> {
        let found = self.tags().iter().filter_map(|tag| self.held.find(tag).map(|at| (at, *tag)));
        let counts = |at: usize, tag: &str| tag != "<think>" || self.held[..at].trim().is_empty();
        found.filter(|(at, tag)| counts(*at, tag)).min()
    }

    /// Length of the end of the held text that cannot be given out yet.
    fn undecided(&self) -> usize {
        let begun = |tag: &&str| (1..tag.len()).rev().find(|&n| self.held.ends_with(&tag[..n])).unwrap_or(0);
        let tag = self.tags().iter().map(begun).max().unwrap_or(0);
        let before = &self.held[..self.held.len() - tag];
        let space = match self.state {
            State::Start if before.trim().is_empty() => before.len(),
            _ => before.len() - before.trim_end_matches(['\n', '\r']).len(),
        };
        tag + space
    }

    /// Gives out text of the present state.
    fn give(&mut self, text: &str, events: &mut Vec<Event>) {
        let text = if self.after_tag { text.trim_start_matches(['\n', '\r']) } else { text };
        if text.is_empty() {
            return;
        }
        self.after_tag = false;
        match self.state {
            State::Start => {
                self.state = State::Answer;
                events.push(Event::Answer(text.to_string()));
            }
            State::Answer => events.push(Event::Answer(text.to_string())),
            State::Reasoning => events.push(Event::Reasoning(text.to_string())),
            State::ToolCall => {
                self.call.push_str(text);
                events.push(Event::ToolCallText(text.to_string()));
            }
        }
    }

    /// Goes over a tag.
    fn cross(&mut self, tag: &str, events: &mut Vec<Event>) {
        self.after_tag = true;
        match tag {
            "<think>" => self.state = State::Reasoning,
            "</think>" => {
                self.state = State::Answer;
                events.push(Event::ReasoningEnd);
            }
            "<tool_call>" => {
                self.state = State::ToolCall;
                events.push(Event::ToolCallStart);
            }
            _ => {
                self.state = State::Answer;
                events.push(Event::ToolCallEnd(std::mem::take(&mut self.call)));
            }
        }
    }
}

/// A call that the model asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// Name of the function.
    pub name: String,
    /// Its arguments.
    pub arguments: Map<String, Value>,
}

impl ToolCall {
    /// Reads the text between `<tool_call>` and `</tool_call>`: an object with a name and arguments (missing ones are
    /// none; a string is read as JSON, since some models quote them).
    ///
    /// # Errors
    /// What is wrong with the text, to be shown or sent back to the model.
    pub fn parse(text: &str) -> Result<Self, String> {
        let json: Value = serde_json::from_str(text.trim()).map_err(|e| format!("the tool call is not JSON: {e}"))?;
        let name = json.get("name").and_then(Value::as_str).ok_or("the tool call has no \"name\"")?;
        let arguments = match json.get("arguments") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(arguments)) => arguments.clone(),
            Some(Value::String(text)) => {
                serde_json::from_str(text).map_err(|e| format!("the tool call's arguments are not an object: {e}"))?
            }
            Some(_) => return Err("the tool call's \"arguments\" are not an object".into()),
        };
        Ok(Self { name: name.into(), arguments })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Events with neighbours of one kind joined, so that they do not depend on how the text was cut.
    fn joined(events: impl IntoIterator<Item = Event>) -> Vec<Event> {
        let mut out: Vec<Event> = vec![];
        for event in events {
            match (out.last_mut(), event) {
                (Some(Event::Reasoning(a)), Event::Reasoning(b))
                | (Some(Event::Answer(a)), Event::Answer(b))
                | (Some(Event::ToolCallText(a)), Event::ToolCallText(b)) => a.push_str(&b),
                (_, event) => out.push(event),
            }
        }
        out
    }

    /// Routes `text` whole, by characters and at every split in two, which must agree.
    fn route(in_reasoning: bool, text: &str) -> (Vec<Event>, Option<Unclosed>) {
        let run = |parts: &[&str]| {
            let mut router = Router::new(in_reasoning);
            let mut events: Vec<Event> = parts.iter().flat_map(|part| router.push(part)).collect();
            let (rest, unclosed) = router.finish();
            events.extend(rest);
            (joined(events), unclosed)
        };
        let whole = run(&[text]);
        let chars: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(run(&chars.iter().map(String::as_str).collect::<Vec<_>>()), whole, "{text:?} by characters");
        for (at, _) in text.char_indices() {
            assert_eq!(run(&[&text[..at], &text[at..]]), whole, "{text:?} cut at {at}");
        }
        whole
    }

    fn reasoning(text: &str) -> Event {
        Event::Reasoning(text.into())
    }

    fn answer(text: &str) -> Event {
        Event::Answer(text.into())
    }

    #[test]
    fn reasoning_comes_first() {
        let want = (vec![reasoning("why\n\nnot"), Event::ReasoningEnd, answer("because\n")], None);
        assert_eq!(route(false, "<think>\nwhy\n\nnot\n</think>\n\nbecause\n"), want);
        assert_eq!(route(true, "why\n\nnot\n</think>\n\nbecause\n"), want);
        assert_eq!(route(false, "\n <think>\n\n</think>\n\nhi"), (vec![Event::ReasoningEnd, answer("hi")], None));
        assert_eq!(route(false, "<think>\nlost"), (vec![reasoning("lost")], Some(Unclosed::Reasoning)));
        assert_eq!(
            route(false, "<think>a</thin</think>b"),
            (vec![reasoning("a</thin"), Event::ReasoningEnd, answer("b")], None)
        );
    }

    #[test]
    fn an_answer_may_write_about_tags() {
        for text in
            ["The tag <think> opens, </think> closes.", " \n x <think>y", "<thinking> is no tag", "a < b <", "<thin"]
        {
            assert_eq!(route(false, text), (vec![answer(text)], None));
        }
        let text = "r</think>x </think> <think> y";
        assert_eq!(
            route(true, text),
            (vec![reasoning("r"), Event::ReasoningEnd, answer("x </think> <think> y")], None)
        );
        assert_eq!(route(true, "<tool_call>"), (vec![reasoning("<tool_call>")], Some(Unclosed::Reasoning)));
    }

    #[test]
    fn tool_calls_are_taken_out() {
        let call =
            |text: &str| [Event::ToolCallStart, Event::ToolCallText(text.into()), Event::ToolCallEnd(text.into())];
        let one = "{\"name\": \"f\", \"arguments\": {\"x\": \"<think>\\n\"}}";
        let two = "{\"name\": \"g\"}";
        let text = format!("Let me see.\n<tool_call>\n{one}\n</tool_call>\n<tool_call>\n{two}\n</tool_call>");
        let mut want = vec![answer("Let me see.")];
        want.extend(call(one).into_iter().chain(call(two)));
        assert_eq!(route(false, &text), (want, None));
        let (events, unclosed) = route(false, "<tool_call>\n{\"na");
        assert_eq!(events, [Event::ToolCallStart, Event::ToolCallText("{\"na".into())]);
        assert_eq!(unclosed, Some(Unclosed::ToolCall));
    }

    #[test]
    fn nothing_is_held_longer_than_needed() {
        let mut router = Router::new(false);
        assert_eq!(router.push(" "), []);
        assert_eq!(router.push("a"), [answer(" a")]);
        assert_eq!(router.push("b <tool"), [answer("b ")]);
        assert_eq!(router.push("s"), [answer("<tools")]);
        assert_eq!(router.push("\n"), []);
        assert_eq!(router.push("x"), [answer("\nx")]);
        assert!(!router.in_reasoning() && !router.in_tool_call());
    }

    #[test]
    fn calls_are_parsed() {
        let call = ToolCall::parse("\n{\"name\": \"f\", \"arguments\": {\"b\": 1, \"a\": [2.0]}}\n").unwrap();
        assert_eq!((call.name.as_str(), Value::Object(call.arguments)), ("f", json!({"b": 1, "a": [2.0]})));
        assert_eq!(ToolCall::parse("{\"name\": \"f\"}").unwrap().arguments, Map::new());
        assert_eq!(ToolCall::parse(r#"{"name":"f","arguments":"{\"a\":1}"}"#).unwrap().arguments["a"], 1);
        for text in
            ["", "{", "[]", "{\"name\": 1}", "{\"name\": \"f\", \"arguments\": 3}", r#"{"name":"f","arguments":"x"}"#]
        {
            assert!(ToolCall::parse(text).is_err(), "{text}");
        }
    }
}
