//! One turn: what fits, reading what is new, the answer as it comes, and what is kept of it.

use super::reader::Reader;
use super::stats::{TurnStats, count};
use super::{Chat, Stop};
use crate::chat::{Event, Message, Mode, Rendered, Router, ToolCall, Unclosed};
use crate::cli::answer::{Ending, Printer};
use crate::cli::output::{Progress, Unit};
use crate::cli::{interrupt, output};
use crate::engine::generate::{Finish, Generation};
use crate::error::Result;
use crate::sample::Sampler;
use crate::sample::preset::{self, Resolved};
use crate::sample::stop::StopMatcher;
use crate::session::{Plan, Reading};
use serde_json::{Value, json};
use std::time::Instant;

/// What is needed for an answer.
struct Prompt {
    rendered: Rendered,
    ids: Vec<u32>,
    mode: Mode,
    resolved: Resolved,
}

/// An answer in parts, as the conversation keeps it.
#[derive(Default)]
struct Parts {
    reasoning: String,
    content: String,
    calls: Vec<Value>,
    /// Text of a tool call that has not ended.
    open_call: String,
}

impl Parts {
    fn push(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Reasoning(text) => self.reasoning.push_str(&text),
                Event::Answer(text) => self.content.push_str(&text),
                Event::ToolCallText(text) => self.open_call.push_str(&text),
                Event::ToolCallEnd(text) => {
                    self.open_call.clear();
                    self.call(&text);
                }
                Event::ToolCallStart | Event::ReasoningEnd => {}
            }
        }
    }

    /// A call; as the text it is where it is none, so that the model sees what it did.
    fn call(&mut self, text: &str) {
        match ToolCall::parse(text) {
            Ok(call) => self.calls.push(json!({
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            })),
            Err(why) => {
                output::warn(&why);
                self.content.push_str(&format!("<tool_call>\n{text}\n</tool_call>"));
            }
        }
    }

    fn message(mut self) -> Message {
        if !self.open_call.is_empty() {
            self.content.push_str(&format!("<tool_call>\n{}", self.open_call));
        }
        let mut message = Message::new("assistant", self.content);
        if !self.reasoning.is_empty() {
            message = message.with("reasoning_content", self.reasoning.into());
        }
        if !self.calls.is_empty() {
            message = message.with("tool_calls", self.calls.into());
        }
        message
    }
}

impl Chat {
    /// Answers the last message. The conversation has the answer afterwards, also one that was interrupted; on an error, and
    /// when reading was interrupted, nothing is added to it.
    pub(super) fn answer(&mut self, reader: &mut Reader) -> std::result::Result<Finish, Stop> {
        let prompt = self.prompt()?;
        self.last_prompt = Some(prompt.rendered.text());
        interrupt::clear();
        let started = Instant::now();
        let plan = self.cache.plan(&prompt.ids);
        let logits = self.read(&prompt.ids, plan)?;
        let read = started.elapsed();

        let seed = prompt.resolved.params.seed;
        let sampler = Sampler::new(prompt.resolved.params, self.vocab.clone())?;
        let tokenizer = self.tokenizer.clone();
        let stops = StopMatcher::new(&self.settings.stops)?;
        let mut generation = Generation::new(&tokenizer, sampler, stops, self.settings.predict);
        generation.start(logits);
        let opens = prompt.rendered.opens_thinking();
        let mut out =
            Output { printer: self.printer(opens), router: Router::new(opens), parts: Parts::default(), thinking: 0 };
        let mut times = (None, read);
        let finish = loop {
            let piece = match interrupt::asked() {
                true => Some(generation.interrupt()),
                false => generation.next(&mut self.engine, self.cache.sequence())?,
            };
            times = (times.0.or(Some(started.elapsed())), started.elapsed());
            let Some(piece) = piece else { break Finish::Interrupted };
            out.text(&piece.text)?;
            if let Some(finish) = piece.finish {
                break finish;
            }
        };
        let generated = generation.tokens();
        let thinking = out.thinking;
        let (ending, message) = out.finish()?;
        self.talk.push(message);
        let stats = TurnStats {
            plan,
            read,
            first_token: times.0,
            generated,
            thinking,
            generating: times.1 - times.0.unwrap_or(times.1),
            context: self.cache.tokens().len(),
            mode: prompt.mode,
            seed,
        };
        self.totals.add(&stats);
        self.last = Some(stats);
        self.say_ending(finish, ending, generated);
        if self.settings.verbose {
            output::note(&stats.lines(self.engine.n_ctx()));
        }
        let _ = reader;
        Ok(finish)
    }

    /// The prompt of the next answer, made to fit.
    fn prompt(&mut self) -> Result<Prompt> {
        let (rendered, ids) = self.render()?;
        self.engine.check_fits(ids.len())?;
        let mode = self.talk.mode();
        let resolved = self.settings.resolve(preset_mode(mode), &self.gguf)?;
        for warning in &resolved.warnings {
            if self.told.insert(warning.clone()) {
                output::warn(warning);
            }
        }
        Ok(Prompt { rendered, ids, mode, resolved })
    }

    /// The conversation as the model is to read it.
    pub(super) fn render(&self) -> Result<(Rendered, Vec<u32>)> {
        let rendered = self.template.render(&self.talk.request())?;
        let ids = self.tokenizer.encode_rendered(&rendered)?;
        Ok((rendered, ids))
    }

    /// Reads what is new, showing how far it is.
    fn read(&mut self, ids: &[u32], plan: Plan) -> std::result::Result<Vec<f32>, Stop> {
        let new = plan.new_tokens();
        let mut what = format!("reading {} tokens ({} cached)", count(plan.total), count(plan.cached));
        if let Some(rate) = self.cache.rate() {
            what += &format!(", about {:.0} s", (new as f64 / rate).ceil());
        }
        let mut progress = Progress::new(&what, Unit::Tokens);
        let read = self.cache.read(&mut self.engine, ids, &mut |done| {
            progress.update(done as u64, new as u64);
            !interrupt::asked()
        });
        drop(progress);
        match read? {
            Reading::Done(logits) => Ok(logits),
            Reading::Stopped(done) => {
                let (done, new) = (count(done), count(new));
                output::note(&format!("interrupted after reading {done} of {new} tokens, which stay in the cache"));
                Err(Stop::Interrupted)
            }
        }
    }

    /// Says why the answer ended, unless the model ended it in good order.
    fn say_ending(&self, finish: Finish, ending: Ending, tokens: usize) {
        let n_ctx = self.engine.n_ctx();
        match finish {
            Finish::Length => output::note(&format!("stopped after {tokens} tokens (num_predict)")),
            Finish::ContextFull => output::note(&format!(
                "stopped after {tokens} tokens: the context of {} tokens is full; /clear, /undo, or start with a larger -c",
                count(n_ctx)
            )),
            Finish::Interrupted if ending.answered => output::note("interrupted; what was said is kept"),
            Finish::Interrupted => {
                output::note("interrupted before there was an answer; /regen tries again, /undo takes it back")
            }
            Finish::Stop(_) | Finish::Eog(_) => {}
        }
        match ending.unclosed {
            Some(Unclosed::Reasoning) if finish == Finish::Interrupted => {}
            Some(Unclosed::Reasoning) => output::warn("the thinking did not come to an end: there is no answer"),
            Some(Unclosed::ToolCall) => output::warn("the tool call did not come to an end"),
            None if !ending.answered && finish != Finish::Interrupted => output::warn("the answer is empty"),
            None => {}
        }
    }
}

/// The mode as the presets name it.
pub(super) fn preset_mode(mode: Mode) -> preset::Mode {
    match mode {
        Mode::Thinking => preset::Mode::Thinking,
        Mode::NonThinking => preset::Mode::NonThinking,
    }
}

/// Where an answer goes: to the screen and into the conversation.
struct Output {
    printer: Printer,
    router: Router,
    parts: Parts,
    /// Tokens of thinking so far.
    thinking: usize,
}

impl Output {
    /// The text of one more token.
    fn text(&mut self, text: &str) -> std::result::Result<(), Stop> {
        let events = self.router.push(text);
        self.parts.push(events);
        self.thinking += usize::from(self.router.in_reasoning());
        self.printer.text(text)
    }

    fn finish(mut self) -> std::result::Result<(Ending, Message), Stop> {
        let (events, _) = self.router.finish();
        self.parts.push(events);
        Ok((self.printer.finish()?, self.parts.message()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        let mut router = Router::new(false);
        let mut parts = Parts::default();
        parts.push(router.push(text));
        parts.push(router.finish().0);
        parts.message()
    }

    #[test]
    fn an_answer_is_kept_in_its_parts() {
        let kept = message("<think>\nhm\n</think>\n\nYes.");
        assert_eq!((kept.reasoning(), kept.content()), (Some("hm"), "Yes."));
        let cut = message("<think>\nhm");
        assert_eq!((cut.reasoning(), cut.content()), (Some("hm"), ""));
        let call = message("So:\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>");
        assert_eq!(call.content(), "So:");
        assert_eq!(call.json()["tool_calls"][0]["function"]["arguments"]["a"], 1);
    }

    #[test]
    fn a_call_that_is_none_stays_text() {
        let kept = message("<tool_call>\n{oops\n</tool_call>");
        assert_eq!(kept.content(), "<tool_call>\n{oops\n</tool_call>");
        assert!(kept.json().get("tool_calls").is_none());
        assert_eq!(message("a<tool_call>\n{\"na").content(), "a<tool_call>\n{\"na");
    }
}
