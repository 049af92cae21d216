//! `lapwing run`: one prompt, one answer.

use super::answer::{Ending, Printer, Target};
use super::guard_args::GuardArgs;
use super::model_args::{self, ModelArgs};
use super::output::{Progress, Unit};
use super::prompt_args::{ChatArgs, PromptArgs};
use super::sample_args::SampleArgs;
use super::{Outcome, Stop, interrupt, output, rates};
use crate::chat::{self, Router, Unclosed};
use crate::engine::generate::{self, Finish, Generation};
use crate::engine::{Engine, Sequence};
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::grammar::{Compiler, Constraint};
use crate::guard::{Guards, Notice, Overflow, Start};
use crate::sample::Sampler;
use crate::sample::preset::Mode;
use crate::sample::stop::StopMatcher;
use crate::tokenizer::{Specials, Tokenizer};
use clap::Args;
use std::time::Instant;

/// Answer one prompt.
///
/// The answer goes to standard output as it comes. On a terminal its Markdown is styled, long lines are broken between
/// words and thinking is dimmed; elsewhere (and with NO_COLOR) thinking comes before the answer, between <think> and
/// </think>. Everything else that is said goes to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, 130
/// ended by Ctrl-C.
#[derive(Args)]
pub struct RunArgs {
    #[command(flatten)]
    prompt: PromptArgs,
    /// Most tokens to generate; -1 for as many as fit the context.
    #[arg(short = 'n', long = "predict", value_name = "N", default_value = "-1", allow_negative_numbers = true,
        value_parser = predict)]
    predict: Predict,
    /// End the answer before this text, also within thinking. Can be given several times.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// Do not show the thinking.
    #[arg(long)]
    hide_thinking: bool,
    /// Continue the prompt as it is, without a chat template; control tokens in it count as such.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    chat: ChatArgs,
    #[command(flatten)]
    guard: GuardArgs,
    #[command(flatten)]
    sample: SampleArgs,
    #[command(flatten, next_help_heading = "Model")]
    model: ModelArgs,
}

/// How many tokens at most; `None` for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Predict(pub(super) Option<usize>);

/// Reads `-n`.
pub(super) fn predict(text: &str) -> std::result::Result<Predict, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(Predict(None)),
        Ok(n @ 1..) => Ok(Predict(usize::try_from(n).ok())),
        _ => Err("expected a whole number from 1, or -1 for no limit".to_owned()),
    }
}

/// A prompt as the model reads it.
struct Prompt {
    ids: Vec<u32>,
    mode: Mode,
    start: Start,
    /// Sorts the answer; none for raw text.
    router: Option<Router>,
}

/// Runs the command.
pub fn run(args: &RunArgs) -> Outcome {
    check(args)?;
    let stops = StopMatcher::new(&args.stop)?;
    let gguf = args.model.file.open()?;
    let tokenizer = model_args::tokenizer(&gguf)?;
    let prompt = prompt(args, &gguf, &tokenizer)?;
    let constraint = constraint(&args.guard, &tokenizer)?;
    let params = args.sample.resolve(prompt.mode, &gguf, args.model.verbose)?.params;
    let engine = args.model.load(&gguf, 1, None)?;
    let sampler = Sampler::new(params, generate::vocab(&tokenizer, engine.config().n_vocab)?.into())?;
    args.guard.overflow().refuse(prompt.ids.len(), args.predict.0, engine.n_ctx())?;
    say_if_short(&prompt, args, engine.n_ctx());
    let mut generation = Generation::new(&tokenizer, sampler, stops, args.predict.0)
        .show_control(args.raw)
        .starting(prompt.start)
        .guarded(guards(args, prompt.ids.len()))?;
    if let Some(constraint) = constraint {
        generation = generation.constrained(constraint);
    }
    let printer = Printer::new(Target::stdout(args.hide_thinking), prompt.router);
    let (seq, clock, notices) = Default::default();
    let mut answer = Answer { engine, seq, generation, printer, clock, notices };
    interrupt::watch();
    answer.read(&prompt.ids)?;
    let printed = answer.print();
    let ended = answer.printer.finish();
    // What was done to the answer is said whatever else went wrong, and not in the middle of it.
    answer.notices.iter().for_each(say_notice);
    let (finish, ending) = (printed?, ended?);
    let made = answer.clock.made();
    let answered = (answer.generation.tokens().saturating_sub(1), made);
    rates::heard(&args.model.compute, &answer.engine, &gguf, answered, prompt.ids.len());
    if args.model.verbose {
        output::note(&answer.clock.text(prompt.ids.len(), answer.generation.tokens()));
    }
    say_ending(finish, ending, &answer.generation, answer.engine.n_ctx(), &args.stop, args.model.verbose);
    if finish == Finish::Interrupted { Err(Stop::Interrupted) } else { Ok(()) }
}

/// Refuses flags that contradict each other.
fn check(args: &RunArgs) -> Result<()> {
    let thinking = (args.guard.reasoning_budget.0.is_some()).then_some("--reasoning-budget");
    if let Some(flag) = args.chat.first_given().or(thinking).filter(|_| args.raw) {
        return Err(Error::usage(format!("{flag} has no meaning with --raw, which uses no chat template")));
    }
    if args.guard.reasoning_budget.0 == Some(0) && args.chat.think {
        return Err(Error::usage("--think and --reasoning-budget 0 contradict each other: give one of them"));
    }
    if args.guard.overflow() == Overflow::DropOldest {
        return Err(Error::usage(
            "--overflow drop-oldest is for conversations: there is only one message here, which is never dropped",
        ));
    }
    Ok(())
}

/// The guards in force. Text to continue is the user's own, so repetition in it is let be.
fn guards(args: &RunArgs, prompt: usize) -> Guards {
    let guards = args.guard.guards(prompt);
    Guards { loop_guard: guards.loop_guard && !args.raw, ..guards }
}

/// What keeps the answer to the form that was asked for.
fn constraint(args: &GuardArgs, tokenizer: &Tokenizer) -> Result<Option<Constraint>> {
    let Some(source) = args.form()? else { return Ok(None) };
    let constraint = Compiler::new(tokenizer)?.compile(&source)?;
    constraint.warnings().iter().for_each(|text| output::warn(text));
    Ok(Some(constraint))
}

fn say_notice(notice: &Notice) {
    let say = if notice.is_warning() { output::warn } else { output::note };
    say(&notice.to_string());
}

fn prompt(args: &RunArgs, gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Prompt> {
    if args.raw {
        let mut ids: Vec<u32> = tokenizer.bos_to_add().into_iter().collect();
        ids.extend(tokenizer.encode(&args.prompt.read()?, Specials::Parse)?);
        if ids.is_empty() {
            return Err(Error::usage("the prompt is empty: there is nothing to continue"));
        }
        return Ok(Prompt { ids, mode: Mode::Raw, start: Start::Answer, router: None });
    }
    let text = args.prompt.read_message()?;
    if text.trim().is_empty() && args.chat.system_prompt.is_none() {
        return Err(Error::usage("the prompt is empty: there is nothing to answer"));
    }
    let mut request = args.chat.request(&text);
    if args.guard.reasoning_budget.0 == Some(0) {
        request.enable_thinking = Some(false);
    }
    let rendered = args.chat.render(gguf, tokenizer, &request)?;
    let mode = match chat::mode_in_force(&request) {
        chat::Mode::Thinking => Mode::Thinking,
        chat::Mode::NonThinking => Mode::NonThinking,
    };
    let start = Start::of(&rendered.text());
    let router = Some(Router::new(start == Start::Thinking));
    Ok(Prompt { ids: tokenizer.encode_rendered(&rendered)?, mode, start, router })
}

/// Says before starting that the context will end the answer, where `-n` promises more than fits.
fn say_if_short(prompt: &Prompt, args: &RunArgs, n_ctx: usize) {
    if args.guard.overflow() == Overflow::Shift {
        return;
    }
    let (prompt, predict) = (prompt.ids.len(), args.predict);
    // The last token generated is not read, so it needs no place in the context.
    let Some(most) = n_ctx.checked_sub(prompt).map(|room| room + 1) else { return };
    if let Some(n) = predict.0.filter(|&n| n > most) {
        output::warn(&format!(
            "the prompt has {prompt} tokens: {most} more fit the context of {n_ctx}, not the {n} of -n; use -c {}",
            prompt.saturating_add(n)
        ));
    }
}

/// When things happened.
#[derive(Default)]
struct Clock {
    started: Option<Instant>,
    read: Option<Instant>,
    first: Option<Instant>,
    done: Option<Instant>,
}

impl Clock {
    /// Seconds from the first token to the last.
    fn made(&self) -> f64 {
        self.first.zip(self.done).map_or(0.0, |(first, done)| done.duration_since(first).as_secs_f64())
    }

    fn text(&self, prompt: usize, tokens: usize) -> String {
        let seconds = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) => to.duration_since(from).as_secs_f64(),
            _ => 0.0,
        };
        let rate = |n: usize, s: f64| if s > 0.0 { format!("{:.2}", n as f64 / s) } else { "-".to_owned() };
        let (read, first) = (seconds(self.started, self.read), seconds(self.started, self.first));
        // The first token comes with the prompt; the rest take a pass each.
        let (made, rest) = (seconds(self.first, self.done), tokens.saturating_sub(1));
        format!(
            "prompt: {prompt} tokens in {read:.2} s, {} tokens/s; first token after {first:.2} s\n\
             answer: {tokens} tokens, {rest} after the first in {made:.2} s, {} tokens/s",
            rate(prompt, read),
            rate(rest, made)
        )
    }
}

/// An answer and what makes it.
struct Answer<'t> {
    engine: Engine,
    seq: Sequence,
    generation: Generation<'t>,
    printer: Printer,
    clock: Clock,
    /// What was done to the answer.
    notices: Vec<Notice>,
}

impl Answer<'_> {
    /// Reads the prompt.
    fn read(&mut self, ids: &[u32]) -> Outcome {
        self.clock.started = Some(Instant::now());
        let mut progress = Progress::new("reading the prompt", Unit::Tokens);
        let logits = self.engine.read(&mut self.seq, ids, 1, &mut |done| {
            progress.update(done as u64, ids.len() as u64);
            !interrupt::asked()
        });
        drop(progress);
        self.clock.read = Some(Instant::now());
        match logits {
            Ok(logits) => {
                self.generation.start(logits);
                Ok(())
            }
            Err(_) if interrupt::asked() => {
                output::note(&format!("interrupted after reading {} of {} tokens", self.seq.len(), ids.len()));
                Err(Stop::Interrupted)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Generates and prints, to the end.
    fn print(&mut self) -> std::result::Result<Finish, Stop> {
        loop {
            let piece = match interrupt::asked() {
                true => Some(self.generation.interrupt()),
                false => self.generation.next(&mut self.engine, &mut self.seq)?,
            };
            self.clock.done = Some(Instant::now());
            self.clock.first = self.clock.first.or(self.clock.done);
            let Some(piece) = piece else { return Ok(Finish::Interrupted) };
            self.notices.extend(piece.notices);
            self.printer.text(&piece.text)?;
            if let Some(finish) = piece.finish {
                return Ok(finish);
            }
        }
    }
}

/// Says why the answer ended, unless the model ended it in good order.
fn say_ending(
    finish: Finish,
    ending: Ending,
    generation: &Generation<'_>,
    n_ctx: usize,
    stops: &[String],
    verbose: bool,
) {
    let tokens = generation.tokens();
    match finish {
        Finish::Length => output::note(&format!("stopped after {tokens} tokens (-n)")),
        Finish::ContextFull => output::note(&format!(
            "stopped after {tokens} tokens: the context of {n_ctx} tokens is full; use a larger -c"
        )),
        Finish::Interrupted => output::note(&format!("interrupted after {tokens} tokens")),
        Finish::Stop(index) if verbose => output::note(&format!("stopped at {:?} (--stop)", stops[index])),
        // What ends a loop has been said as a notice.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many() {
        assert_eq!(predict("-1"), Ok(Predict(None)));
        assert_eq!(predict("7"), Ok(Predict(Some(7))));
        for bad in ["0", "-2", "x", "1.5", "99999999999999999999"] {
            assert!(predict(bad).is_err(), "{bad}");
        }
    }
}
