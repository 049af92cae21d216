//! What was said: system prompt, tools and messages in turns, and the request that each turn makes of them.
//!
//! A turn is a user message and all that follows it up to the next one: answers, tool results, further answers.
//! Messages that no longer fit the context can be hidden from the model (from the oldest turn on); they stay in the
//! record.

use crate::chat::{Message, Mode, Request, mode_in_force, soft_switch};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::ops::Range;

/// A conversation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// What the model is told before anything else.
    pub system: Option<String>,
    /// Tool definitions in OpenAI's shape.
    pub tools: Vec<Value>,
    /// Further variables of the chat template.
    pub kwargs: Map<String, Value>,
    /// Whether the model shall think; `None` leaves it to the template.
    pub thinking: Option<bool>,
    messages: Vec<Message>,
    /// Messages before this one are hidden from the model; the start of a turn.
    shown_from: usize,
    /// Messages before this one are shown without their thoughts, whatever the template would do.
    thoughts_from: usize,
}

/// How a conversation begins: its public part.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// The system prompt.
    pub system: Option<String>,
    /// Tool definitions in OpenAI's shape.
    pub tools: Vec<Value>,
    /// Further variables of the chat template.
    pub kwargs: Map<String, Value>,
    /// Whether the model shall think.
    pub thinking: Option<bool>,
}

impl From<Opening> for Conversation {
    fn from(opening: Opening) -> Self {
        let Opening { system, tools, kwargs, thinking } = opening;
        Self { system, tools, kwargs, thinking, ..Self::default() }
    }
}

/// One turn of a conversation.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'c> {
    /// Its messages, the user's first.
    pub messages: &'c [Message],
    /// Whether it is hidden from the model.
    pub hidden: bool,
}

impl Turn<'_> {
    /// What the user said.
    pub fn question(&self) -> &str {
        self.messages.first().map_or("", Message::content)
    }
}

impl Conversation {
    /// All messages but the system prompt.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The turns, oldest first.
    pub fn turns(&self) -> Vec<Turn<'_>> {
        let range = |r: Range<usize>| Turn { hidden: r.start < self.shown_from, messages: &self.messages[r] };
        self.ranges().into_iter().map(range).collect()
    }

    fn ranges(&self) -> Vec<Range<usize>> {
        let starts: Vec<usize> = (0..self.messages.len()).filter(|&i| self.messages[i].role() == "user").collect();
        let ends = starts.iter().skip(1).copied().chain([self.messages.len()]);
        starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
    }

    /// Whether nothing was said yet.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The user says something.
    pub fn ask(&mut self, text: &str) {
        self.messages.push(Message::new("user", text));
    }

    /// Something else is said: an answer, a tool's result.
    pub fn push(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// Whether the last message waits for an answer.
    pub fn is_open(&self) -> bool {
        self.messages.last().is_some_and(|m| m.role() != "assistant")
    }

    /// What the user said last.
    pub fn last_question(&self) -> Option<&str> {
        self.messages.iter().rev().find(|m| m.role() == "user").map(Message::content)
    }

    /// The last answer.
    pub fn last_answer(&self) -> Option<&Message> {
        self.messages.iter().rev().find(|m| m.role() == "assistant")
    }

    /// Takes the last answer back, so that its question is open again. False when there is none.
    pub fn reopen(&mut self) -> bool {
        let answered = self.messages.last().is_some_and(|m| m.role() == "assistant");
        if answered {
            self.messages.pop();
        }
        answered || self.is_open()
    }

    /// Takes the last turn back and returns what the user said in it. A turn that was hidden before it is shown again.
    pub fn undo(&mut self) -> Option<String> {
        let last = self.ranges().pop()?;
        let text = self.messages[last.start].content().to_owned();
        self.messages.truncate(last.start);
        self.thoughts_from = self.thoughts_from.min(last.start);
        if self.shown_from >= self.messages.len() {
            self.shown_from = self.ranges().pop().map_or(0, |r| r.start);
        }
        Some(text)
    }

    /// Forgets all messages; system prompt and tools stay.
    pub fn clear(&mut self) {
        self.messages.clear();
        (self.shown_from, self.thoughts_from) = (0, 0);
    }

    /// Hides the oldest turn that is shown, unless it is the last one. False when there is none to hide.
    pub fn hide_oldest(&mut self) -> bool {
        let next = self.ranges().into_iter().map(|r| r.start).find(|&start| start > self.shown_from);
        next.is_some_and(|start| {
            self.shown_from = start;
            true
        })
    }

    /// Hides the thoughts of all messages there are now. False when there are none that are shown.
    pub fn hide_thoughts(&mut self) -> bool {
        let from = self.shown_from.max(self.thoughts_from).min(self.messages.len());
        let some = self.messages[from..].iter().any(|m| m.reasoning().is_some_and(|text| !text.is_empty()));
        self.thoughts_from = self.messages.len();
        some
    }

    /// The messages that the model is to see, as it is to see them.
    fn shown(&self) -> impl Iterator<Item = Message> {
        let plain = |(i, m): (usize, &Message)| if i < self.thoughts_from { m.without_reasoning() } else { m.clone() };
        self.messages.iter().enumerate().skip(self.shown_from).map(plain)
    }

    /// The request for the next answer. A soft switch at the end of the last message beats the sticky mode for its
    /// turn.
    pub fn request(&self) -> Request {
        let system = self.system.iter().map(|text| Message::new("system", text.as_str()));
        let messages = system.chain(self.shown()).collect();
        let enable_thinking = match self.last_question().and_then(soft_switch) {
            Some(Mode::Thinking) => self.thinking.map(|_| true),
            Some(Mode::NonThinking) | None => self.thinking,
        };
        Request { tools: self.tools.clone(), kwargs: self.kwargs.clone(), enable_thinking, ..Request::new(messages) }
    }

    /// The mode of the next answer.
    pub fn mode(&self) -> Mode {
        mode_in_force(&self.request())
    }

    /// What must be added to `text` so that the sticky mode is in force: the switch of an earlier message would
    /// otherwise hold it back, because the model obeys the last one it finds.
    pub fn switch_to_add(&self, text: &str) -> Option<&'static str> {
        let mut next = self.clone();
        next.ask(text);
        let overruled = self.thinking == Some(true) && next.mode() == Mode::NonThinking;
        (overruled && soft_switch(text).is_none()).then_some(" /think")
    }
}

/// A conversation as a file has it.
#[derive(Serialize, Deserialize)]
struct Record {
    system: Option<String>,
    #[serde(default)]
    tools: Vec<Value>,
    #[serde(default)]
    kwargs: Map<String, Value>,
    thinking: Option<bool>,
    messages: Vec<Value>,
    #[serde(default)]
    shown_from: usize,
    #[serde(default)]
    thoughts_from: usize,
}

impl Conversation {
    /// As JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "system": self.system,
            "tools": self.tools,
            "kwargs": self.kwargs,
            "thinking": self.thinking,
            "messages": self.messages.iter().map(|m| m.json()).collect::<Vec<_>>(),
            "shown_from": self.shown_from,
            "thoughts_from": self.thoughts_from,
        })
    }

    /// From JSON, checked.
    ///
    /// # Errors
    /// When a message is none, or `shown_from` is not the start of a turn.
    pub fn from_json(json: Value) -> Result<Self> {
        let record: Record =
            serde_json::from_value(json).map_err(|e| Error::file(format!("the conversation is not sound: {e}")))?;
        let messages = record.messages.into_iter().map(Message::from_json).collect::<Result<Vec<_>>>();
        let messages = messages.map_err(|e| Error::file(format!("the conversation is not sound: {e}")))?;
        let Record { system, tools, kwargs, thinking, shown_from, thoughts_from, .. } = record;
        let found = Self { system, tools, kwargs, thinking, messages, shown_from, thoughts_from };
        if shown_from != 0 && !found.ranges().iter().any(|r| r.start == shown_from) {
            return Err(Error::file(format!("the conversation is not sound: no turn begins at message {shown_from}")));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(words: &[(&str, &str)]) -> Conversation {
        let mut talk = Conversation::default();
        words.iter().for_each(|(role, text)| talk.push(Message::new(role, *text)));
        talk
    }

    const TOOLS: [(&str, &str); 6] =
        [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "call"), ("tool", "5"), ("assistant", "d")];

    #[test]
    fn turns_are_taken_back_whole_and_answers_alone() {
        let mut talk = talk(&TOOLS);
        assert_eq!(talk.turns().len(), 2);
        assert!(talk.reopen());
        assert_eq!(talk.messages().len(), 5, "the tool's result waits for an answer again");
        assert!(talk.is_open() && talk.reopen() && talk.messages().len() == 5);
        assert_eq!(talk.undo().as_deref(), Some("c"));
        assert_eq!(talk.undo().as_deref(), Some("a"));
        assert!(talk.undo().is_none() && talk.is_empty() && !talk.reopen());
    }

    #[test]
    fn the_oldest_turns_are_hidden_but_kept() {
        let mut talk = talk(&TOOLS);
        talk.system = Some("s".into());
        assert!(talk.hide_oldest() && !talk.hide_oldest(), "the last turn stays");
        let roles: Vec<String> = talk.request().messages.iter().map(|m| m.role().to_owned()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool", "assistant"]);
        assert_eq!(talk.turns().iter().map(|t| t.hidden).collect::<Vec<_>>(), [true, false]);
        let again = Conversation::from_json(talk.to_json()).unwrap();
        assert_eq!(again, talk);
        talk.undo();
        assert!(!talk.turns()[0].hidden, "there is room for it again");
    }

    #[test]
    fn a_broken_record_is_refused() {
        let good = talk(&TOOLS).to_json();
        for (key, value) in [("messages", json!([{"content": "x"}])), ("shown_from", json!(1)), ("system", json!(3))] {
            let mut bad = good.clone();
            bad[key] = value;
            assert!(Conversation::from_json(bad).is_err(), "{key}");
        }
    }

    #[test]
    fn a_soft_switch_holds_for_its_turn_and_the_sticky_mode_after_it() {
        let mode = |thinking, last: &str| {
            let mut talk = talk(&[("user", "x"), ("assistant", "y"), ("user", last)]);
            talk.thinking = thinking;
            (talk.mode(), talk.request().enable_thinking)
        };
        assert_eq!(mode(None, "q"), (Mode::Thinking, None));
        assert_eq!(mode(None, "q /no_think"), (Mode::NonThinking, None));
        assert_eq!(mode(Some(false), "q"), (Mode::NonThinking, Some(false)));
        assert_eq!(mode(Some(false), "q /think"), (Mode::Thinking, Some(true)));
        assert_eq!(mode(Some(true), "q /no_think"), (Mode::NonThinking, Some(true)));
    }

    #[test]
    fn an_old_switch_cannot_silence_the_sticky_mode() {
        let mut talk = talk(&[("user", "x /no_think"), ("assistant", "y")]);
        assert_eq!(talk.switch_to_add("q"), None, "nobody asked for thinking");
        talk.thinking = Some(true);
        assert_eq!(talk.switch_to_add("q"), Some(" /think"));
        assert_eq!(talk.switch_to_add("q /no_think"), None, "the message says what it wants");
        talk.thinking = Some(false);
        assert_eq!(talk.switch_to_add("q"), None);
    }

    #[test]
    fn thoughts_can_be_hidden_and_stay_in_the_record() {
        let mut talk = talk(&[("user", "x")]);
        talk.push(Message::new("assistant", "y").with("reasoning_content", "hmm".into()));
        assert!(talk.hide_thoughts() && !talk.hide_thoughts());
        assert_eq!(talk.request().messages[1].reasoning(), None);
        assert_eq!(talk.last_answer().unwrap().reasoning(), Some("hmm"));
        talk.push(Message::new("assistant", "z").with("reasoning_content", "new".into()));
        assert_eq!(talk.request().messages[2].reasoning(), Some("new"));
    }
}
