//! The line editor: rustyline with the keys of a chat.
//!
//! Enter sends; Alt-Enter, a backslash at the end, and an open `"""` begin another line, and what is pasted stays one
//! message. Ctrl-G hands the text to the user's editor and takes it back for another look. Ctrl-C clears what is typed.
//! What is typed is kept in a history file that only the user may read.

use super::complete;
use super::multiline::{self, Text};
use super::paste::{self, Outside, Plainly};
use super::reader::{Line, ReaderOptions};
use super::{external, harmless, state_dir};
use crate::cli::output;
use crate::error::{Error, Result};
use rustyline::completion::{Completer, Pair};
use rustyline::config::{CompletionType, Config, Configurer, EditMode};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Cmd, ConditionalEventHandler, Event, EventContext, EventHandler, KeyCode, KeyEvent, Modifiers, Movement,
};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many messages the history keeps.
const HISTORY: usize = 5000;

/// Reads messages from a terminal.
pub struct Editor {
    line: LineEditor,
    prompt: &'static str,
    /// What the next message begins with.
    initial: String,
    history: bool,
    /// Where the history is kept; none when there is no such place or it could not be used.
    file: Option<PathBuf>,
    /// The text for the user's editor, once it was asked for.
    handed_out: Arc<Mutex<Option<String>>>,
    pastes: paste::Shared,
}

impl Editor {
    /// An editor with its history.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub fn new(options: ReaderOptions) -> Result<Self> {
        let config = Config::builder().completion_type(CompletionType::List).completion_show_all_if_ambiguous(true);
        let config = config.max_history_size(HISTORY).map_err(broken)?.build();
        let mut line = rustyline::Editor::with_config(config).map_err(broken)?;
        let another_line = Arc::new(AtomicBool::new(false));
        line.set_helper(Some(Helper { commands: options.commands, another_line: Arc::clone(&another_line) }));
        let handed_out = Arc::new(Mutex::new(None));
        let pastes = paste::Shared::default();
        bind(&mut line, &another_line, &handed_out, &pastes);
        let file = state_dir().map(|folder| folder.join("history"));
        let mut editor =
            Self { line, prompt: options.prompt, initial: String::new(), history: false, file, handed_out, pastes };
        editor.set_vi(options.vi);
        editor.set_history(options.history);
        Ok(editor)
    }

    /// The next message.
    ///
    /// # Errors
    /// When the terminal fails.
    pub fn read(&mut self) -> Result<Line> {
        loop {
            let initial = std::mem::take(&mut self.initial);
            let typed = self.line.readline_with_initial(self.prompt, (&initial, ""));
            let asked = self.handed_out.lock().unwrap_or_else(PoisonError::into_inner).take();
            match typed {
                Ok(line) => {
                    let whole = match multiline::parse(&line) {
                        Text::Whole(message) => message,
                        // Vi's Ctrl-D sends what there is.
                        Text::Open => line.clone(),
                    };
                    let (line, whole) = (self.unfold(&line), self.unfold(&whole));
                    paste::lock(&self.pastes).clear();
                    self.remember(&line);
                    return Ok(Line::Message(whole));
                }
                Err(ReadlineError::Interrupted) => match asked {
                    Some(text) => self.hand_out(&text),
                    None => return Ok(Line::Interrupted),
                },
                Err(ReadlineError::Eof) => return Ok(Line::Eof),
                Err(e) => return Err(broken(e)),
            }
        }
    }

    /// Lets the user's editor change the text.
    fn hand_out(&mut self, line: &str) {
        match external::edit(&self.unfold(line)) {
            Ok(changed) => self.prefill(&changed),
            Err(e) => {
                output::error(&e);
                self.initial = line.to_owned();
            }
        }
    }

    fn unfold(&self, line: &str) -> String {
        paste::lock(&self.pastes).unfold(line)
    }

    /// The next message begins with this text, if there is any.
    pub fn prefill(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut pastes = paste::lock(&self.pastes);
        pastes.clear();
        self.initial = pastes.fold(harmless(text).into_owned());
    }

    /// Whether messages go to the history.
    pub fn set_history(&mut self, on: bool) {
        if on && !self.history {
            self.load();
        }
        self.history = on;
    }

    /// Vi's keys, or Emacs'.
    pub fn set_vi(&mut self, on: bool) {
        self.line.set_edit_mode(if on { EditMode::Vi } else { EditMode::Emacs });
    }

    /// Reads the history's file, the first time it is wanted.
    fn load(&mut self) {
        let Some(file) = self.file.as_ref().filter(|file| file.exists()) else { return };
        if !rustyline::history::History::is_empty(self.line.history()) {
            return;
        }
        if let Err(e) = self.line.load_history(file) {
            output::warn(&format!("{}: the history cannot be read and is let alone: {e}", file.display()));
            self.file = None;
        }
    }

    /// Adds a message to the history and its file at once, so that it outlives a crash.
    fn remember(&mut self, text: &str) {
        if !self.history || text.trim().is_empty() {
            return;
        }
        let added = self.line.add_history_entry(text);
        let Some(file) = &self.file else { return };
        let saved = added.and_then(|_| {
            file.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            self.line.append_history(file)
        });
        if let Err(e) = saved {
            output::warn(&format!("{}: the history is not saved: {e}", file.display()));
            self.file = None;
        }
    }
}

fn broken(e: ReadlineError) -> Error {
    Error::runtime(format!("the terminal cannot be read: {e}"))
}

type LineEditor = rustyline::Editor<Helper, FileHistory>;

fn bind(
    line: &mut LineEditor,
    another_line: &Arc<AtomicBool>,
    handed_out: &Arc<Mutex<Option<String>>>,
    pastes: &paste::Shared,
) {
    fn on(
        line: &mut LineEditor,
        pastes: &paste::Shared,
        event: Event,
        handler: impl ConditionalEventHandler + 'static,
    ) {
        let handler = Outside(Arc::clone(pastes), handler);
        line.bind_sequence(event, EventHandler::Conditional(Box::new(handler)));
    }
    let enter = KeyEvent(KeyCode::Enter, Modifiers::NONE);
    for key in [enter, KeyEvent::ctrl('M'), KeyEvent::ctrl('J')] {
        on(line, pastes, key.into(), Enter(Arc::clone(another_line)));
    }
    // With Alt, as terminals on Unix and on Windows give it.
    for KeyEvent(code, modifiers) in [enter, KeyEvent::ctrl('M'), KeyEvent::ctrl('J')] {
        on(line, pastes, KeyEvent(code, modifiers | Modifiers::ALT).into(), Plainly(Some(Cmd::Newline)));
    }
    on(line, pastes, KeyEvent::ctrl('C').into(), Clear);
    on(line, pastes, KeyEvent::ctrl('G').into(), HandOut(Arc::clone(handed_out)));
    on(line, pastes, Event::Any, Plainly(None));
}

/// Enter: where a backslash at the end asks for another line, lets the completion put a line break in its place, the
/// one way to change the text and move the cursor in one step; else what it always does.
struct Enter(Arc<AtomicBool>);

impl ConditionalEventHandler for Enter {
    fn handle(&self, _: &Event, _: u16, _: bool, ctx: &EventContext) -> Option<Cmd> {
        let (text, at_end) = (ctx.line(), ctx.pos() == ctx.line().len());
        // Within """ a backslash is text, and the validator asks for another line anyway.
        let plain = matches!(multiline::parse(text), Text::Whole(_));
        let another = at_end && plain && multiline::continues(text);
        self.0.store(another, Ordering::Relaxed);
        another.then_some(Cmd::Complete)
    }
}

/// Ctrl-C: clears what is typed; with nothing typed it is an interrupt.
struct Clear;

impl ConditionalEventHandler for Clear {
    fn handle(&self, _: &Event, _: u16, _: bool, ctx: &EventContext) -> Option<Cmd> {
        (!ctx.line().is_empty()).then_some(Cmd::Kill(Movement::WholeBuffer))
    }
}

/// Ctrl-G: leaves the line editor with the text put aside.
struct HandOut(Arc<Mutex<Option<String>>>);

impl ConditionalEventHandler for HandOut {
    fn handle(&self, _: &Event, _: u16, _: bool, ctx: &EventContext) -> Option<Cmd> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ctx.line().to_owned());
        Some(Cmd::Interrupt)
    }
}

/// What rustyline asks of a program.
struct Helper {
    commands: &'static [complete::Word],
    /// Whether a line break is to come in the place of the backslash before the cursor.
    another_line: Arc<AtomicBool>,
}

impl rustyline::Helper for Helper {}

impl Hinter for Helper {
    type Hint = String;
}

impl Highlighter for Helper {}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &rustyline::Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        if self.another_line.swap(false, Ordering::Relaxed) {
            let line_break = Pair { display: String::new(), replacement: "\n".to_owned() };
            return Ok((at.saturating_sub(1), vec![line_break]));
        }
        let found = complete::candidates(self.commands, &line[..at]);
        let pair = |(word, after): (String, &str)| Pair { replacement: word.clone() + after, display: word };
        Ok((found.start, found.words.into_iter().map(pair).collect()))
    }
}

impl Validator for Helper {
    fn validate(&self, ctx: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(match multiline::parse(ctx.input()) {
            Text::Open => ValidationResult::Incomplete,
            Text::Whole(_) => ValidationResult::Valid(None),
        })
    }
}
