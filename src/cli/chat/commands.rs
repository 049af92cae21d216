//! What a line is: a command or a message; and the list of commands from which help and completion are made.
//!
//! A command begins with `/` as the very first character. `/think` and `/no_think` are commands only when nothing else
//! is on the line; within a message they are the model's own switches and stay in the text.

use crate::cli::guard_args::{self, Budget};
use crate::cli::read_text;
use crate::cli::term::render::Thinking;
use crate::grammar::Source;
use std::path::Path;

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// `/? [WORD]`.
    Help(Option<String>),
    /// `/bye`.
    Bye,
    /// `/clear`.
    Clear,
    /// `/regen`.
    Regen,
    /// `/undo`.
    Undo,
    /// `/edit [TEXT]`.
    Edit(Option<String>),
    /// `/read FILE`.
    Read(String),
    /// `/glob PATTERN`.
    Glob(String),
    /// `/ctx`.
    Ctx,
    /// `/stats`.
    Stats,
    /// `/think` or `/no_think`, or by `/set`.
    Think(bool),
    /// `/seed N`; `None` draws one for each answer.
    Seed(Option<u64>),
    /// `/budget N`; `None` for no limit.
    Budget(Budget),
    /// `/tool TEXT`.
    Tool(String),
    /// `/save [NAME]`.
    Save(Option<String>),
    /// `/load [NAME]`.
    Load(Option<String>),
    /// `/show WHAT`.
    Show(Show),
    /// `/set WHAT`.
    Set(Set),
}

/// What `/show` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// The model.
    Info,
    /// The values in force and why.
    Parameters,
    /// The system prompt.
    System,
    /// The chat template.
    Template,
    /// The prompt as the model read it.
    Prompt,
}

/// What `/set` sets.
#[derive(Clone, Debug, PartialEq)]
pub enum Set {
    /// A sampling parameter and its values.
    Parameter(String, Vec<String>),
    /// The system prompt; empty for none.
    System(String),
    /// Whether lines are kept in the history file.
    History(bool),
    /// Whether answers are wrapped at words.
    WordWrap(bool),
    /// Whether figures are shown after each answer.
    Verbose(bool),
    /// How thinking is shown.
    Thoughts(Thinking),
    /// The form of answers: a JSON object or what a schema allows; `None` for any.
    Format(Option<Source>),
}

/// A command as help shows it.
pub struct Usage {
    /// How it is typed.
    pub usage: &'static str,
    /// What it does.
    pub help: &'static str,
}

macro_rules! usages {
    ($($name:ident: $($usage:literal => $help:literal;)*)*) => {
        $(/// Lines of help.
        pub const $name: &[Usage] = &[$(Usage { usage: $usage, help: $help },)*];)*
    };
}

usages! {
    COMMANDS:
    "/set ..." => "change a setting; `/? set` lists them";
    "/show ..." => "show the model, parameters, prompts; `/? show` lists them";
    "/think, /no_think" => "think before answering from here on, or answer at once";
    "/regen" => "answer the last message again";
    "/undo" => "take the last message and its answer back";
    "/edit [TEXT]" => "change the last message and answer it anew";
    "/read FILE" => "put a text file before the next message";
    "/glob PATTERN" => "put all text files that match before the next message";
    "/tool TEXT" => "give the result of the tool that the model called";
    "/budget N" => "most tokens of thinking; -1 for no limit";
    "/seed N" => "begin each answer's random numbers at N; -1 draws one each";
    "/ctx" => "show what fills the context";
    "/stats" => "show counts and speeds";
    "/save [NAME]" => "keep the conversation and its cache in a file";
    "/load [NAME]" => "go on with a saved one; without a name list them";
    "/clear" => "forget the conversation";
    "/? [set|show|keys]" => "show this help";
    "/bye" => "leave (also Ctrl-D)";
    SETTINGS:
    "/set parameter NAME VALUE" => "one of those that /show parameters names";
    "/set system TEXT" => "the system prompt; \"\" for none";
    "/set think, /set nothink" => "as /think and /no_think";
    "/set format json|SCHEMA|@FILE" => "answer with JSON, or JSON of a schema";
    "/set noformat" => "answer with any text";
    "/set thinking show|hide|summary" => "how thinking is shown";
    "/set verbose, /set quiet" => "figures after each answer, or none";
    "/set wordwrap, /set nowordwrap" => "break lines between words, or leave them";
    "/set history, /set nohistory" => "keep typed lines for later sessions, or not";
    SHOWN:
    "/show info" => "the model and how it is run";
    "/show parameters" => "the values in force for the next answer, and why";
    "/show system" => "the system prompt";
    "/show template" => "the chat template";
    "/show prompt" => "the last prompt, exactly as the model read it";
    KEYS:
    "\"\"\"" => "begins a message of several lines, and ends it";
    "\\ at the end of a line" => "goes on in the next line";
    "Alt-Enter" => "begins a new line in the message";
    "Ctrl-G" => "opens the message in $VISUAL or $EDITOR";
    "Up, Down, Ctrl-R" => "earlier lines; search in them";
    "Tab" => "completes commands and paths";
    "Esc" => "while it thinks: end the thinking and answer";
    "Ctrl-C" => "stop the answer, keep what was said; again: leave";
    "Ctrl-D" => "leave";
}

/// Rows of help under a title, in two columns.
pub fn table(title: &str, rows: &[Usage]) -> String {
    let width = rows.iter().map(|row| row.usage.len()).max().unwrap_or(0);
    let lines = rows.iter().map(|row| format!("  {:<width$}  {}\n", row.usage, row.help));
    format!("{title}\n{}", lines.collect::<String>())
}

/// The command on a line; `None` for a message.
///
/// # Errors
/// What is wrong with the command, as a sentence.
pub fn parse(line: &str) -> Result<Option<Command>, String> {
    if !line.starts_with('/') {
        return Ok(None);
    }
    let trimmed = line.trim_end();
    let (word, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
    let rest = rest.trim();
    // Commands whose text may have several lines; any other text of several lines is a message.
    let takes_lines = ["/edit", "/tool"].contains(&word) || word == "/set" && rest.starts_with("system");
    if trimmed.contains('\n') && !takes_lines {
        return Ok(None);
    }
    let given = (!rest.is_empty()).then(|| rest.to_owned());
    let needed =
        |what: &str| given.clone().ok_or_else(|| format!("{word} needs {what}: {word} {}", what.to_uppercase()));
    let alone = |command: Command| match rest {
        "" => Ok(command),
        _ => Err(format!("{word} stands alone; {rest:?} means nothing to it")),
    };
    Ok(Some(match word {
        "/think" | "/no_think" | "/nothink" if !rest.is_empty() => return Ok(None),
        "/think" => Command::Think(true),
        "/no_think" | "/nothink" => Command::Think(false),
        "/?" | "/help" => Command::Help(given),
        "/bye" | "/exit" | "/quit" => alone(Command::Bye)?,
        "/clear" => alone(Command::Clear)?,
        "/regen" => alone(Command::Regen)?,
        "/undo" => alone(Command::Undo)?,
        "/ctx" => alone(Command::Ctx)?,
        "/stats" => alone(Command::Stats)?,
        "/edit" => Command::Edit(given),
        "/read" => Command::Read(needed("file")?),
        "/glob" => Command::Glob(needed("pattern")?),
        "/tool" => Command::Tool(needed("text")?),
        "/budget" => Command::Budget(guard_args::budget(&needed("n")?)?),
        "/seed" => Command::Seed(seed(&needed("n")?)?),
        "/save" => Command::Save(given),
        "/load" => Command::Load(given),
        "/show" => Command::Show(show(rest)?),
        "/set" => set(rest)?,
        // A path, as in "/etc/hosts has two lines: why?".
        _ if word[1..].contains('/') => return Ok(None),
        _ => return Err(format!("there is no command {word}; /? lists them (a space before it makes it a message)")),
    }))
}

/// A seed, or `None` for -1.
///
/// # Errors
/// When it is neither.
pub fn seed(text: &str) -> Result<Option<u64>, String> {
    match text {
        "-1" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| format!("a seed is a whole number from 0 to {}, or -1", u64::MAX)),
    }
}

fn show(what: &str) -> Result<Show, String> {
    match what {
        "info" | "model" => Ok(Show::Info),
        "parameters" => Ok(Show::Parameters),
        "system" => Ok(Show::System),
        "template" => Ok(Show::Template),
        "prompt" => Ok(Show::Prompt),
        _ => Err("/show needs one of: info, parameters, system, template, prompt".to_owned()),
    }
}

fn set(rest: &str) -> Result<Command, String> {
    let (what, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let value = value.trim();
    let set = match (what, value) {
        ("parameter" | "param", _) => {
            let mut words = value.split_whitespace().map(str::to_owned);
            let name = words.next().ok_or("/set parameter needs a name and a value, as in: /set parameter top_k 40")?;
            let values: Vec<String> = words.collect();
            if values.is_empty() {
                return Err(format!("/set parameter {name} needs a value, or `default`"));
            }
            Set::Parameter(name, values)
        }
        ("system", "") => return Err("/set system needs a text; \"\" takes the system prompt away".to_owned()),
        ("system", text) => Set::System(unquoted(text).to_owned()),
        ("thinking", how) => Set::Thoughts(thoughts(how).map_err(|e| format!("/set thinking: {e}"))?),
        ("format", form) => Set::Format(Some(format(form)?)),
        ("noformat", "") => Set::Format(None),
        ("think", "") => return Ok(Command::Think(true)),
        ("nothink" | "no_think", "") => return Ok(Command::Think(false)),
        ("history", "") => Set::History(true),
        ("nohistory", "") => Set::History(false),
        ("wordwrap", "") => Set::WordWrap(true),
        ("nowordwrap", "") => Set::WordWrap(false),
        ("verbose", "") => Set::Verbose(true),
        ("quiet", "") => Set::Verbose(false),
        ("", _) => return Err("/set needs something to set; `/? set` lists it".to_owned()),
        _ => return Err(format!("there is no setting {rest:?}; `/? set` lists them")),
    };
    Ok(Command::Set(set))
}

/// How thinking is shown, by its name.
///
/// # Errors
/// When it is no such name.
pub fn thoughts(text: &str) -> Result<Thinking, String> {
    match text {
        "show" => Ok(Thinking::Show),
        "hide" => Ok(Thinking::Hide),
        "summary" => Ok(Thinking::Summary),
        _ => Err("expected show, hide or summary".to_owned()),
    }
}

/// A form: `json`, a JSON schema, or the file of one behind `@`.
fn format(text: &str) -> Result<Source, String> {
    let schema = |text: &str| Source::json_schema(text).map_err(|e| e.to_string());
    match (text, text.strip_prefix('@')) {
        ("json", _) => Ok(Source::json_object()),
        (_, Some(path)) => schema(&read_text(Path::new(path)).map_err(|e| e.to_string())?),
        _ if text.starts_with('{') => schema(text),
        _ => Err("/set format needs json, a JSON schema, or @FILE with one".to_owned()),
    }
}

/// A text without the quotes around it.
fn unquoted(text: &str) -> &str {
    let inner = |quote: &str| text.strip_prefix(quote).and_then(|t| t.strip_suffix(quote));
    inner("\"\"\"").or_else(|| inner("\"")).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Command {
        parse(line).unwrap().unwrap_or_else(|| panic!("{line} is a message"))
    }

    #[test]
    fn lines_are_commands_or_messages() {
        assert_eq!(command("/bye"), Command::Bye);
        assert_eq!(command("/read my file.txt "), Command::Read("my file.txt".into()));
        assert_eq!(command("/edit a\nb"), Command::Edit(Some("a\nb".into())));
        assert_eq!(command("/set system \"\"\"a\nb\"\"\""), Command::Set(Set::System("a\nb".into())));
        assert_eq!(command("/set system \"\""), Command::Set(Set::System(String::new())));
        assert_eq!(command("/seed -1"), Command::Seed(None));
        for message in ["hi", " /bye", "/etc/hosts: what is it?", "/bye\nnow", "/think hard", "/no_think\nx", ""] {
            assert_eq!(parse(message), Ok(None), "{message:?}");
        }
        for bad in
            ["/nonsense", "/", "/undo 3", "/read", "/seed x", "/seed", "/show", "/set", "/set thinking", "/set system"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn think_alone_is_the_sticky_mode() {
        assert_eq!(command("/think"), Command::Think(true));
        assert_eq!(command("/no_think "), Command::Think(false));
        assert_eq!(command("/set nothink"), Command::Think(false));
        assert_eq!(parse("why? /no_think"), Ok(None));
    }

    #[test]
    fn every_command_in_the_help_exists() {
        for line in [COMMANDS, SETTINGS, SHOWN].concat_usages() {
            let words: Vec<&str> =
                line.split(['[', ']', '|', ',']).map(str::trim).filter(|w| w.starts_with('/')).collect();
            for word in words {
                let typed = word.replace("...", "").replace("NAME VALUE", "top_k 3").replace(" N", " 3");
                let found = parse(typed.trim());
                let unknown = |e: &String| e.contains("there is no");
                assert!(!found.as_ref().is_err_and(unknown), "{typed}: {found:?}");
                assert!(!matches!(found, Ok(None)), "{typed}");
            }
        }
    }

    trait Usages {
        fn concat_usages(self) -> Vec<&'static str>;
    }

    impl Usages for [&'static [Usage]; 3] {
        fn concat_usages(self) -> Vec<&'static str> {
            self.into_iter().flatten().map(|u| u.usage).collect()
        }
    }

    #[test]
    fn help_fits_80_columns() {
        for rows in [COMMANDS, SETTINGS, SHOWN, KEYS] {
            let shown = table("Title:", rows);
            assert!(shown.lines().all(|l| l.chars().count() <= 80), "{shown}");
        }
    }
}
