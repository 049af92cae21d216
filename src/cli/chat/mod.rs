//! `lapwing chat`: the conversation at a terminal, or line by line from a pipe.
//!
//! `commands` says what a line is; `turn` answers; `keep`, `show`, `settings` do what commands ask for.
//! Answers and what is asked to be shown go to standard output, all else to standard error. Invariants: a message that
//! could not be answered is not in the conversation; a command that fails changes nothing.

mod commands;
mod files;
mod keep;
mod saves;
mod settings;
mod show;
mod stats;
mod turn;
mod words;

use super::answer::{Printer, Target};
use super::guard_args::GuardArgs;
use super::model_args::{self, ComputeArgs, ModelArgs};
use super::prompt_args::ChatArgs;
use super::run::{Predict, predict};
use super::sample_args::SampleArgs;
use super::term::reader::{Line, Reader, ReaderOptions};
use super::term::render::Thinking;
use super::{Outcome, Stop, interrupt, output};
use crate::chat::{Message, Mode, Router, Template, mode_in_force};
use crate::engine::Engine;
use crate::engine::generate::{self, Finish};
use crate::error::Error;
use crate::gguf::Gguf;
use crate::grammar::Compiler;
use crate::sample::Vocab;
use crate::session::{Cache, Conversation};
use crate::tokenizer::Tokenizer;
use clap::Args;
use commands::{Command, Set};
use settings::{Settings, Start};
use stats::{Totals, TurnStats, count};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Talk with a model.
///
/// Type a message and press Enter; /? shows the commands, Ctrl-C stops an answer, /bye leaves. Each turn reads only
/// what is new. Lines from a pipe are messages and commands too: then nothing but answers, and what /show and the like
/// were asked for, goes to standard output.
#[derive(Args)]
pub struct ReplArgs {
    /// Most tokens per answer; -1 for as many as fit the context.
    #[arg(short = 'n', long = "predict", value_name = "N", default_value = "-1", allow_negative_numbers = true,
        value_parser = predict)]
    predict: Predict,
    /// End answers before this text. Can be given several times.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,
    /// How thinking is shown: show, hide or summary.
    #[arg(long, value_name = "HOW", default_value = "show", value_parser = commands::thoughts)]
    thinking: Thinking,
    /// Go on with a saved chat (a name, or a path).
    #[arg(long, value_name = "NAME")]
    load: Option<String>,
    /// Do not break lines between words.
    #[arg(long)]
    no_wordwrap: bool,
    /// Do not keep typed lines for later sessions.
    #[arg(long)]
    no_history: bool,
    /// Edit lines with vi's keys.
    #[arg(long)]
    vi: bool,
    #[command(flatten)]
    chat: ChatArgs,
    #[command(flatten)]
    guard: GuardArgs,
    #[command(flatten)]
    sample: SampleArgs,
    #[command(flatten, next_help_heading = "Model")]
    model: ModelArgs,
}

/// A conversation and all that answers it.
struct Chat {
    engine: Engine,
    compute: ComputeArgs,
    gguf: Arc<Gguf>,
    tokenizer: Arc<Tokenizer>,
    template: Template,
    vocab: Arc<Vocab>,
    talk: Conversation,
    cache: Cache,
    settings: Settings,
    /// Made when a form is first asked for.
    compiler: Option<Compiler>,
    /// Files that go before the next message.
    attached: Vec<files::Attached>,
    last_prompt: Option<String>,
    last: Option<TurnStats>,
    totals: Totals,
    /// Warnings that were said.
    told: HashSet<String>,
    saved_as: Option<PathBuf>,
}

/// What comes after a line.
enum Next {
    Line,
    Leave,
}

/// Runs the command.
pub fn chat(args: &ReplArgs) -> Outcome {
    let mut chat = Chat::start(args)?;
    interrupt::watch();
    if let Some(name) = &args.load {
        chat.load(Some(name))?;
    }
    let (vi, history) = (args.vi, !args.no_history);
    let mut reader = Reader::new(ReaderOptions { prompt: ">>> ", vi, history, commands: &words::COMMANDS })?;
    if reader.on_terminal() {
        output::note(&chat.greeting());
    }
    let mut failed = 0;
    loop {
        interrupt::clear();
        interrupt::idle(!reader.on_terminal());
        let line = reader.read();
        interrupt::idle(false);
        let line = match line? {
            Line::Message(line) => line,
            Line::Interrupted | Line::Eof => break,
        };
        match chat.line(&line, &mut reader) {
            Ok(Next::Line) => {}
            Ok(Next::Leave) => break,
            Err(Stop::Error(e)) => {
                output::error(&e);
                failed += 1;
            }
            Err(Stop::Interrupted) if reader.on_terminal() => {}
            Err(stop) => return Err(stop),
        }
    }
    if failed > 0 && !reader.on_terminal() {
        return Err(Error::runtime(format!("{failed} of the lines failed, as said above")).into());
    }
    Ok(())
}

impl Chat {
    fn start(args: &ReplArgs) -> Result<Self, Stop> {
        let gguf = args.model.file.open()?;
        let tokenizer = model_args::tokenizer(&gguf)?;
        let template = model_args::template(&gguf, args.chat.chat_template_file.as_deref(), &tokenizer)?;
        let start = Start {
            predict: args.predict.0,
            stops: args.stop.clone(),
            verbose: args.model.verbose,
            wordwrap: !args.no_wordwrap,
            thoughts: args.thinking,
            guard: args.guard.clone(),
            form: args.guard.form()?,
        };
        let settings = Settings::new(&args.sample, start);
        let talk = args.chat.conversation();
        settings.resolve(turn::preset_mode(talk.mode()), &gguf)?;
        let engine = args.model.load(&gguf, 1, None)?;
        let vocab = generate::vocab(&tokenizer, engine.config().n_vocab)?;
        Ok(Self {
            engine,
            compute: args.model.compute.clone(),
            gguf,
            tokenizer: tokenizer.into(),
            template,
            vocab: vocab.into(),
            talk,
            cache: Cache::default(),
            settings,
            compiler: None,
            attached: vec![],
            last_prompt: None,
            last: None,
            totals: Totals::default(),
            told: HashSet::new(),
            saved_as: None,
        })
    }

    fn greeting(&self) -> String {
        let file = self.gguf.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = self.gguf.meta().str("general.name").ok().flatten().unwrap_or(&file);
        format!(
            "{name}, context {} tokens, {}. /? shows the commands, /bye leaves.",
            count(self.engine.n_ctx()),
            self.mode_name()
        )
    }

    fn mode_name(&self) -> &'static str {
        if self.mode() == Mode::Thinking { "thinking" } else { "non-thinking" }
    }

    /// The mode of the next answer.
    fn mode(&self) -> Mode {
        mode_in_force(&self.request(&self.talk))
    }

    fn printer(&self, in_reasoning: bool) -> Printer {
        let target = Target::stdout(false);
        let wrap = target.wrap && self.settings.wordwrap;
        Printer::new(Target { wrap, thinking: self.settings.thoughts, ..target }, Some(Router::new(in_reasoning)))
    }

    /// Does what a line says.
    fn line(&mut self, line: &str, reader: &mut Reader) -> Result<Next, Stop> {
        match commands::parse(line).map_err(Error::usage)? {
            Some(Command::Bye) => return Ok(Next::Leave),
            Some(command) => self.command(command, reader)?,
            None => self.ask(line, reader)?,
        }
        Ok(Next::Line)
    }

    fn command(&mut self, command: Command, reader: &mut Reader) -> Outcome {
        match command {
            Command::Bye => Ok(()),
            Command::Help(about) => output::result(&show::help(about.as_deref())?),
            Command::Clear => {
                self.talk.clear();
                self.attached.clear();
                said("the conversation is forgotten; system prompt and settings stay")
            }
            Command::Regen => self.regenerate(reader),
            Command::Undo => match self.talk.undo() {
                Some(text) => said(&format!("taken back: {}", text.lines().next().unwrap_or(""))),
                None => Err(Error::usage("there is nothing to take back").into()),
            },
            Command::Edit(text) => self.edit(text, reader),
            Command::Read(file) => self.attach(&file),
            Command::Glob(pattern) => self.attach_all(&pattern),
            Command::Ctx => self.context(),
            Command::Stats => self.stats(),
            Command::Think(on) => self.think(on),
            Command::Seed(seed) => {
                self.settings.seed(seed);
                said(
                    &seed.map_or("a seed is drawn for each answer".to_owned(), |n| format!("seed {n} for each answer")),
                )
            }
            Command::Budget(budget) => {
                self.settings.budget(budget);
                let shown = budget.0.map_or("no limit".to_owned(), |n| format!("at most {n} tokens"));
                said(&format!("thinking: {shown}"))
            }
            Command::Tool(text) => self.tool(&text, reader),
            Command::Save(name) => self.save(name.as_deref()),
            Command::Load(name) => self.load(name.as_deref()),
            Command::Show(what) => self.show(what),
            Command::Set(set) => self.set(set, reader),
        }
    }

    /// A message.
    fn ask(&mut self, typed: &str, reader: &mut Reader) -> Outcome {
        if typed.trim().is_empty() && self.attached.is_empty() {
            return Ok(());
        }
        let before = self.talk.clone();
        let mut text: String = self.attached.iter().map(files::Attached::to_message).collect();
        text.push_str(typed);
        if let Some(switch) = self.talk.switch_to_add(&text) {
            output::note(&format!("adding{switch}, as an earlier message turned thinking off"));
            text.push_str(switch);
        }
        self.talk.ask(&text);
        self.answer_or(before, Some(typed), reader)
    }

    fn regenerate(&mut self, reader: &mut Reader) -> Outcome {
        let before = self.talk.clone();
        if !self.talk.reopen() {
            return Err(Error::usage("there is nothing to answer again").into());
        }
        self.answer_or(before, None, reader)
    }

    /// The last message again: with another text, or back in the line to be changed there.
    fn edit(&mut self, text: Option<String>, reader: &mut Reader) -> Outcome {
        let before = self.talk.clone();
        let Some(old) = self.talk.undo() else {
            return Err(Error::usage("there is no message to change").into());
        };
        match text {
            Some(text) => self.ask(&text, reader).inspect_err(|_| self.talk = before),
            None if reader.on_terminal() => {
                reader.prefill(old);
                Ok(())
            }
            None => {
                self.talk = before;
                Err(Error::usage("/edit needs the new text where there is no terminal: /edit TEXT").into())
            }
        }
    }

    /// The result of a tool that the last answer called.
    fn tool(&mut self, text: &str, reader: &mut Reader) -> Outcome {
        let called =
            self.talk.messages().last().is_some_and(|m| m.role() == "tool" || m.json().contains_key("tool_calls"));
        if !called {
            return Err(Error::usage("the last answer calls no tool").into());
        }
        let before = self.talk.clone();
        self.talk.push(Message::new("tool", text));
        self.answer_or(before, None, reader)
    }

    /// Answers; where that fails, all is as before, and what was typed is in the line again.
    fn answer_or(&mut self, before: Conversation, typed: Option<&str>, reader: &mut Reader) -> Outcome {
        match self.answer(reader) {
            Ok(finish) => {
                self.attached.clear();
                if finish == Finish::Interrupted && !reader.on_terminal() { Err(Stop::Interrupted) } else { Ok(()) }
            }
            Err(stop) => {
                self.talk = before;
                typed.into_iter().for_each(|typed| reader.prefill(typed.to_owned()));
                Err(stop)
            }
        }
    }

    fn think(&mut self, on: bool) -> Outcome {
        self.talk.thinking = Some(on);
        said(if on { "thinking before each answer" } else { "answering at once" })
    }

    fn set(&mut self, set: Set, reader: &mut Reader) -> Outcome {
        match set {
            Set::Parameter(name, values) => {
                let mode = turn::preset_mode(self.mode());
                self.settings.parameter(&name, &values, mode, &self.gguf)?;
                said(&format!("{name}: {}", values.join(" ")))
            }
            Set::System(text) if text.is_empty() => {
                self.talk.system = None;
                said("no system prompt")
            }
            Set::System(text) => {
                self.talk.system = Some(text);
                let read_again = if self.talk.is_empty() { "" } else { "; the conversation is read anew" };
                said(&format!("system prompt set{read_again}"))
            }
            Set::History(on) => {
                reader.set_history(on);
                said(if on { "typed lines are kept" } else { "typed lines are not kept" })
            }
            Set::WordWrap(on) => {
                self.settings.wordwrap = on;
                said(if on { "lines break between words" } else { "lines are left as they are" })
            }
            Set::Verbose(on) => {
                self.settings.verbose = on;
                said(if on { "figures after each answer" } else { "no figures" })
            }
            Set::Format(form) => {
                said(if form.is_some() { "answers of that form only" } else { "answers of any form" })?;
                self.settings.form = form;
                Ok(())
            }
            Set::Thoughts(how) => {
                self.settings.thoughts = how;
                said(&format!("thinking: {}", format!("{how:?}").to_lowercase()))
            }
        }
    }
}

/// Says that something was done.
fn said(what: &str) -> Outcome {
    output::note(what);
    Ok(())
}
