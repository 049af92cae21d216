//! One turn: what fits, reading what is new, the answer as it comes, and what is kept of it.

use super::stats::{TurnStats, count};
use super::{Chat, Stop};
use crate::chat::{Event, Message, Mode, Rendered, Request, Router, ToolCall, Unclosed, mode_in_force};
use crate::cli::answer::{Ending, Printer};
use crate::cli::term::keys::Keys;
use crate::cli::term::reader::Reader;
use crate::cli::term::reading::{Reading as Status, ReadingOptions};
use crate::cli::{interrupt, output, rates};
use crate::engine::generate::{Finish, Generation};
use crate::error::{Error, Result};
use crate::grammar::{Compiler, Constraint};
use crate::guard::{Control, Guards, Notice, Overflow, Start};
use crate::sample::Sampler;
use crate::sample::preset::{self, Resolved};
use crate::sample::stop::StopMatcher;
use crate::session::{Conversation, Plan, Reading, overflow};
use crate::tokenizer::Tokenizer;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What is needed for an answer, settled before anything is read.
struct Prompt {
    ids: Vec<u32>,
    start: Start,
    mode: Mode,
    resolved: Resolved,
    guards: Guards,
    constraint: Option<Constraint>,
}

/// When things happened, from the question on.
struct Clock {
    started: Instant,
    read: Duration,
    first: Option<Duration>,
    last: Duration,
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
    /// Answers the last message. The conversation has the answer afterwards, also one that was interrupted; on an
    /// error, and when reading was interrupted, nothing is added to it.
    pub(super) fn answer(&mut self, reader: &mut Reader) -> std::result::Result<Finish, Stop> {
        let prompt = self.prompt()?;
        interrupt::clear();
        let mut keys = Keys::watch();
        let answered = self.answer_prompt(prompt, &mut keys);
        let typed = keys.finish();
        if !typed.is_empty() {
            reader.prefill(typed);
        }
        answered
    }

    fn answer_prompt(&mut self, mut prompt: Prompt, keys: &mut Keys) -> std::result::Result<Finish, Stop> {
        let started = Instant::now();
        let plan = self.cache.plan(&prompt.ids);
        let logits = self.read(&prompt.ids, plan, keys, &prompt.guards.control)?;
        let read = started.elapsed();
        let mut clock = Clock { started, read, first: None, last: read };
        let seed = prompt.resolved.params.seed;
        let tokenizer = self.tokenizer.clone();
        let mut generation = self.generation(&tokenizer, &mut prompt)?;
        generation.start(logits);
        let thinking = prompt.start == Start::Thinking;
        let router = Router::new(thinking);
        let mut out = Output { printer: self.printer(thinking), router, parts: Parts::default(), notices: vec![] };
        let finish = self.generate(&mut generation, &mut out, keys, &mut clock);
        let (ending, message, notices) = out.finish()?;
        // What was done to the answer is said behind it, not in the middle of it.
        notices.iter().for_each(say_notice);
        let finish = finish?;
        self.talk.push(message);
        let stats = TurnStats {
            plan,
            read: clock.read,
            first_token: clock.first,
            generated: generation.tokens(),
            thinking: generation.thinking_tokens(),
            generating: clock.last.saturating_sub(clock.first.unwrap_or(clock.last)),
            context: self.cache.tokens().len(),
            mode: prompt.mode,
            seed,
        };
        let (generated, past) = (stats.generated, stats.context.saturating_sub(stats.generated));
        rates::heard(&self.compute, &self.engine, &self.gguf, (generated, stats.generating.as_secs_f64()), past);
        self.totals.add(&stats);
        self.last = Some(stats);
        say_ending(finish, ending, stats.generated, self.engine.n_ctx());
        if self.settings.verbose {
            output::note(&stats.lines(self.engine.n_ctx()));
        }
        Ok(finish)
    }

    fn generation<'t>(&self, tokenizer: &'t Tokenizer, prompt: &mut Prompt) -> Result<Generation<'t>> {
        let sampler = Sampler::new(prompt.resolved.params.clone(), self.vocab.clone())?;
        let stops = StopMatcher::new(&self.settings.stops)?;
        let generation = Generation::new(tokenizer, sampler, stops, self.settings.predict)
            .starting(prompt.start)
            .guarded(prompt.guards.clone())?;
        Ok(match prompt.constraint.take() {
            Some(constraint) => generation.constrained(constraint),
            None => generation,
        })
    }

    /// Generates and prints, to the end.
    fn generate(
        &mut self,
        generation: &mut Generation<'_>,
        out: &mut Output,
        keys: &mut Keys,
        clock: &mut Clock,
    ) -> std::result::Result<Finish, Stop> {
        loop {
            if keys.end_thinking() {
                generation.control().into_iter().for_each(|control| control.end_thinking());
            }
            let piece = match interrupt::asked() {
                true => Some(generation.interrupt()),
                false => generation.next(&mut self.engine, self.cache.sequence())?,
            };
            clock.last = clock.started.elapsed();
            clock.first = clock.first.or(Some(clock.last));
            let Some(piece) = piece else { return Ok(Finish::Interrupted) };
            out.notices.extend(piece.notices);
            out.text(&piece.text)?;
            if let Some(finish) = piece.finish {
                return Ok(finish);
            }
        }
    }

    /// The prompt of the next answer, made to fit.
    fn prompt(&mut self) -> Result<Prompt> {
        let policy = self.settings.guard.overflow();
        let n_ctx = self.engine.n_ctx();
        if matches!(policy, Overflow::DropOldest | Overflow::Shift) {
            self.drop_oldest()?;
        }
        let (rendered, ids) = self.render_of(&self.talk)?;
        policy.refuse(ids.len(), self.settings.predict, n_ctx)?;
        if ids.len() > n_ctx {
            return Err(Error::limit(format!(
                "the conversation has {} tokens, the context {n_ctx}; /undo or /clear, or start with -c {} or more, or \
                 with --overflow drop-oldest",
                ids.len(),
                ids.len() + n_ctx / 4
            )));
        }
        let mode = mode_in_force(&self.request(&self.talk));
        let resolved = self.settings.resolve(preset_mode(mode), &self.gguf)?;
        for warning in &resolved.warnings {
            if self.told.insert(warning.clone()) {
                output::warn(warning);
            }
        }
        let keep = if policy == Overflow::Shift { self.opening(&ids)? } else { ids.len() };
        let (guards, constraint) = (self.settings.guard.guards(keep), self.constraint()?);
        let text = rendered.text();
        let start = Start::of(&text);
        self.last_prompt = Some(text);
        Ok(Prompt { ids, start, mode, resolved, guards, constraint })
    }

    /// What keeps the answer to the form in force.
    fn constraint(&mut self) -> Result<Option<Constraint>> {
        let Some(source) = &self.settings.form else { return Ok(None) };
        let compiler = match self.compiler.take() {
            Some(compiler) => compiler,
            None => Compiler::new(&self.tokenizer)?,
        };
        let constraint = self.compiler.insert(compiler).compile(source)?;
        for warning in constraint.warnings() {
            if self.told.insert(warning.clone()) {
                output::warn(warning);
            }
        }
        Ok(Some(constraint))
    }

    /// Leaves out the oldest turns where the prompt would leave no room for an answer, and says which.
    fn drop_oldest(&mut self) -> Result<()> {
        let n_ctx = self.engine.n_ctx();
        let room = overflow::room(n_ctx, self.settings.predict);
        let mut talk = self.talk.clone();
        let count = &mut |talk: &Conversation| Ok(self.render_of(talk)?.1.len());
        let dropped = overflow::drop_oldest(&mut talk, room, n_ctx, count)?;
        if !dropped.what.is_empty() {
            output::warn(&format!("the context of {n_ctx} tokens is full; no longer shown to the model:"));
            dropped.what.iter().for_each(|what| output::note(&format!("  {what}")));
        }
        self.talk = talk;
        Ok(())
    }

    /// How many tokens at the beginning of a prompt are system prompt and tools.
    fn opening(&self, ids: &[u32]) -> Result<usize> {
        let mut other = self.talk.clone();
        other.clear();
        other.ask("");
        let other = self.render_of(&other)?.1;
        Ok(other.iter().zip(ids).take_while(|(a, b)| a == b).count())
    }

    /// What the template is given for a conversation: thinking is off where its budget is nothing.
    pub(super) fn request(&self, talk: &Conversation) -> Request {
        let mut request = talk.request();
        if self.settings.guard.reasoning_budget.0 == Some(0) {
            request.enable_thinking = Some(false);
        }
        request
    }

    /// A conversation as the model is to read it.
    pub(super) fn render_of(&self, talk: &Conversation) -> Result<(Rendered, Vec<u32>)> {
        let rendered = self.template.render(&self.request(talk))?;
        let ids = self.tokenizer.encode_rendered(&rendered)?;
        Ok((rendered, ids))
    }

    /// Reads what is new, showing how far it is.
    fn read(
        &mut self,
        ids: &[u32],
        plan: Plan,
        keys: &mut Keys,
        control: &Control,
    ) -> std::result::Result<Vec<f32>, Stop> {
        let rate = self.cache.rate();
        let mut status = Status::new(ReadingOptions { total: plan.total, cached: plan.cached, rate });
        let read = self.cache.read(&mut self.engine, ids, &mut |done| {
            status.update(done);
            if keys.end_thinking() {
                control.end_thinking();
            }
            !interrupt::asked()
        });
        drop(status);
        match read? {
            Reading::Done(logits) => Ok(logits),
            Reading::Stopped(done) => {
                let (done, new) = (count(done), count(plan.new_tokens()));
                output::note(&format!("interrupted after reading {done} of {new} tokens, which stay in the cache"));
                Err(Stop::Interrupted)
            }
        }
    }
}

fn say_notice(notice: &Notice) {
    let say = if notice.is_warning() { output::warn } else { output::note };
    say(&notice.to_string());
}

/// Says why the answer ended, unless the model ended it in good order or a notice has said it.
fn say_ending(finish: Finish, ending: Ending, tokens: usize, n_ctx: usize) {
    match finish {
        Finish::Length => output::note(&format!("stopped after {tokens} tokens (num_predict)")),
        Finish::ContextFull => output::note(&format!(
            "stopped after {tokens} tokens: the context of {} tokens is full; /clear, /undo, or start with a larger -c",
            count(n_ctx)
        )),
        Finish::Interrupted if ending.answered => output::note("interrupted; what was said is kept"),
        Finish::Interrupted => {
            output::note("interrupted before there was an answer; /regen tries again, /undo takes it back");
        }
        Finish::Stop(_) | Finish::Eog(_) | Finish::Complete | Finish::Loop => {}
    }
    match ending.unclosed {
        Some(Unclosed::Reasoning) if finish == Finish::Interrupted => {}
        Some(Unclosed::Reasoning) => output::warn("the thinking did not come to an end: there is no answer"),
        Some(Unclosed::ToolCall) => output::warn("the tool call did not come to an end"),
        None if !ending.answered && finish != Finish::Interrupted => output::warn("the answer is empty"),
        None => {}
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
    /// What was done to the answer.
    notices: Vec<Notice>,
}

impl Output {
    /// The text of one more token.
    fn text(&mut self, text: &str) -> std::result::Result<(), Stop> {
        let events = self.router.push(text);
        self.parts.push(events);
        self.printer.text(text)
    }

    fn finish(mut self) -> std::result::Result<(Ending, Message, Vec<Notice>), Stop> {
        let (events, _) = self.router.finish();
        self.parts.push(events);
        Ok((self.printer.finish()?, self.parts.message(), self.notices))
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
