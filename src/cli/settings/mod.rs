//! Where the value of each flag comes from: the command line, the environment (`LAPWING_*`, then llama.cpp's
//! `LLAMA_ARG_*`), `config.toml`, or its default; the first of these that names it counts.
//!
//! Settings that are not on the command line are put there before it is parsed, so that a value is checked in one way
//! wherever it comes from. A setting that contradicts one from a higher place is left out.

pub mod file;
pub mod llama;

use crate::error::{Error, Result};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// Commands that have the flags of a model and of its answers.
const ANSWERING: [&str; 6] = ["run", "chat", "serve", "server", "plan", "doctor"];

/// Settings of every command that has them.
const EVERYWHERE: [&str; 8] =
    ["threads", "threads-batch", "isa", "no-repack", "no-pin", "cpu-mask", "cpu-range", "models-dir"];

/// Flags that are about one call of the program, or secret.
const NEVER: [&str; 9] = ["help", "version", "prompt", "file", "load", "hf-token", "cacert", "json", "force"];

/// Variables that other parts of the program read.
const OTHER_VARIABLES: [&str; 8] = [
    "LAPWING_CONFIG",
    "LAPWING_MODELS_DIR",
    "LAPWING_BUILD_COMMIT",
    "LAPWING_SHARED",
    "LAPWING_REQUIRE_ISA",
    "LAPWING_STATE_DIR",
    "LAPWING_PLAN",
    "LAPWING_RECORD",
];

/// llama.cpp's variables whose names are not those of our flags.
const LLAMA_NAMES: [(&str, &str); 5] = [
    ("LLAMA_ARG_N_PREDICT", "predict"),
    ("LLAMA_ARG_ROPE_SCALING_TYPE", "rope-scaling"),
    ("LLAMA_ARG_THINK_BUDGET", "reasoning-budget"),
    ("LLAMA_ARG_REASONING_BUDGET", "reasoning-budget"),
    ("LLAMA_ARG_YARN_ATTN_FACTOR", "yarn-attn-factor"),
];

/// Pairs that contradict each other though they may be given together: the second is left out where a higher place has
/// the first.
const CONTRADICTING: [(&str, &str); 12] = [
    ("greedy", "temp"),
    ("temp", "greedy"),
    ("raw", "system-prompt"),
    ("raw", "think"),
    ("raw", "no-think"),
    ("raw", "tools"),
    ("raw", "chat-template-file"),
    ("raw", "chat-template-kwargs"),
    ("raw", "reasoning-budget"),
    ("json-schema", "grammar"),
    ("think", "reasoning-budget"),
    ("model-url", "model"),
];

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment variable of this name.
    Env(String),
    /// This file.
    File(String),
    /// Nobody named it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag => f.write_str("flag"),
            Origin::Env(name) => write!(f, "environment {name}"),
            Origin::File(path) => write!(f, "file {path}"),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A command line with the settings put into it.
#[derive(Debug)]
pub struct Settled {
    /// All arguments, the program's name first.
    pub args: Vec<OsString>,
    /// Origins of the settings put in, by the long name of their flag.
    pub origins: BTreeMap<String, Origin>,
    /// Sentences for the user.
    pub notes: Vec<String>,
}

/// Where settings are read from.
pub trait Surroundings {
    /// Environment variables.
    fn vars(&self) -> Vec<(String, String)>;
    /// The settings file, of the settings with these names, and its name.
    ///
    /// # Errors
    /// When the file is not sound.
    fn file(&self, names: &[&str]) -> Result<(String, Vec<file::Entry>)>;
}

/// The process's own.
pub struct Process;

impl Surroundings for Process {
    fn vars(&self) -> Vec<(String, String)> {
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect()
    }

    fn file(&self, names: &[&str]) -> Result<(String, Vec<file::Entry>)> {
        match file::path() {
            Some((path, named)) => Ok((path.display().to_string(), file::read(&path, named, names)?)),
            None => Ok((String::new(), Vec::new())),
        }
    }
}

/// The long names of all settings of the program, in order.
pub fn names(program: &Command) -> Vec<&str> {
    let mut names: Vec<&str> = EVERYWHERE.to_vec();
    for command in program.get_subcommands().filter(|c| ANSWERING.contains(&c.get_name())) {
        names.extend(command.get_arguments().filter(|a| !a.is_hide_set()).filter_map(Arg::get_long));
    }
    names.retain(|name| !NEVER.contains(name));
    names.sort_unstable();
    names.dedup();
    names
}

/// The settings of one command.
pub fn of_command<'c>(command: &'c Command, all: &[&str]) -> Vec<&'c Arg> {
    let answers = ANSWERING.contains(&command.get_name());
    let is_setting =
        |a: &&Arg| a.get_long().is_some_and(|long| all.contains(&long) && (answers || EVERYWHERE.contains(&long)));
    command.get_arguments().filter(is_setting).collect()
}

/// Understands llama.cpp's words in a command line, and puts into it what environment and file say.
///
/// # Errors
/// When the settings file is not sound, or a switch is neither on nor off.
pub fn settle(args: Vec<OsString>, program: &Command, around: &dyn Surroundings) -> Result<Settled> {
    let named = |a: &OsString| program.get_subcommands().find(|c| a.to_str() == Some(c.get_name()));
    let Some(command) = args.get(1).and_then(named) else {
        return Ok(Settled { args, origins: BTreeMap::new(), notes: Vec::new() });
    };
    let understood = llama::understand(args, command);
    let mut settled = Settled { args: understood.args, origins: BTreeMap::new(), notes: Vec::new() };
    if !understood.ignored.is_empty() {
        settled.notes.push(format!(
            "ignored, as they have no meaning on a CPU or only ask for what is so anyway: {}",
            understood.ignored.join(", ")
        ));
    }
    let names = names(program);
    let settings = of_command(command, &names);
    if settings.is_empty() {
        return Ok(settled);
    }
    // What is wrong with the command line itself is said when it is parsed in earnest.
    let Ok(flags) = program.clone().ignore_errors(true).try_get_matches_from(&settled.args) else { return Ok(settled) };
    let Some((_, flags)) = flags.subcommand() else { return Ok(settled) };
    let mut layers = Layers { command, taken: given(command, flags), added: Vec::new(), settled: &mut settled };
    layers.environment(&settings, &names, &around.vars())?;
    let (path, entries) = match around.file(&names) {
        // The doctor tells what is wrong with the file among its findings.
        Err(_) if command.get_name() == "doctor" => Default::default(),
        found => found?,
    };
    for entry in entries {
        let find = settings.iter().find(|a| a.get_long() == Some(&entry.name));
        if let Some(arg) = find {
            layers.add(arg, &entry.values, Origin::File(path.clone()))?;
        }
    }
    let added = layers.added;
    settled.args.splice(2..2, added);
    Ok(settled)
}

/// Ids of the flags that are on the command line.
fn given<'c>(command: &'c Command, flags: &ArgMatches) -> Vec<&'c Arg> {
    let on_line = |a: &&Arg| {
        let id = a.get_id().as_str();
        flags.try_contains_id(id).is_ok() && flags.value_source(id) == Some(ValueSource::CommandLine)
    };
    command.get_arguments().filter(on_line).collect()
}

/// The places, from the highest down.
struct Layers<'c, 's> {
    command: &'c Command,
    /// Flags that have their value already.
    taken: Vec<&'c Arg>,
    added: Vec<OsString>,
    settled: &'s mut Settled,
}

impl<'c> Layers<'c, '_> {
    fn environment(&mut self, settings: &[&'c Arg], all: &[&str], vars: &[(String, String)]) -> Result<()> {
        let upper = |long: &str| long.replace('-', "_").to_uppercase();
        let find = |name: &str| vars.iter().find(|(k, v)| k == name && !v.is_empty());
        for arg in settings {
            let long = arg.get_long().unwrap_or_default();
            let theirs = LLAMA_NAMES.iter().filter(|(_, ours)| *ours == long).map(|(name, _)| (*name).to_owned());
            // The folders of LAPWING_MODELS_DIR are a list, split where it is read.
            let own = (long != "models-dir").then(|| format!("LAPWING_{}", upper(long)));
            let names = own.into_iter().chain([format!("LLAMA_ARG_{}", upper(long))]).chain(theirs);
            if let Some((name, value)) = names.filter_map(|name| find(&name)).next() {
                self.add(arg, std::slice::from_ref(value), Origin::Env(name.clone()))?;
            }
        }
        let known = |prefix: &str, name: &str| {
            all.iter().any(|long| name == format!("{prefix}{}", upper(long)))
                || LLAMA_NAMES.iter().any(|(theirs, _)| *theirs == name)
                || OTHER_VARIABLES.contains(&name)
        };
        let ours: Vec<String> = all.iter().map(|long| format!("LAPWING_{}", upper(long))).collect();
        let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
        for (name, _) in vars.iter().filter(|(k, _)| k.starts_with("LAPWING_") && !known("LAPWING_", k)) {
            let near = file::nearest(name, &ours).map_or(String::new(), |near| format!("; did you mean {near}?"));
            self.settled.notes.push(format!("warning: there is no setting {name}{near}"));
        }
        let unknown = vars.iter().map(|(k, _)| k).filter(|k| k.starts_with("LLAMA_ARG_") && !known("LLAMA_ARG_", k));
        let mut unknown: Vec<&str> = unknown.map(String::as_str).filter(|k| *k != "LLAMA_ARG_OFFLINE").collect();
        unknown.sort_unstable();
        if !unknown.is_empty() {
            self.settled.notes.push(format!("variables of llama.cpp without a meaning here: {}", unknown.join(", ")));
        }
        Ok(())
    }

    /// Puts a setting in, unless a higher place has it or something that contradicts it.
    fn add(&mut self, arg: &'c Arg, values: &[String], origin: Origin) -> Result<()> {
        if self.taken.iter().any(|taken| taken.get_id() == arg.get_id() || self.contradict(taken, arg)) {
            return Ok(());
        }
        self.taken.push(arg);
        let long = arg.get_long().unwrap_or_default().to_owned();
        match arg.get_action() {
            ArgAction::SetTrue => {
                let text = values.last().map(String::as_str).unwrap_or_default();
                if switch(text)
                    .ok_or_else(|| Error::usage(format!("{origin}: {long} is {text:?}, expected true or false")))?
                {
                    self.added.push(format!("--{long}").into());
                }
            }
            ArgAction::Set if values.len() != 1 => {
                return Err(Error::usage(format!("{origin}: {long} takes one value, not {}", values.len())));
            }
            _ => self.added.extend(values.iter().map(|value| OsString::from(format!("--{long}={value}")))),
        }
        self.settled.origins.insert(long, origin);
        Ok(())
    }

    fn contradict(&self, taken: &Arg, arg: &Arg) -> bool {
        let conflicts =
            |a: &Arg, b: &Arg| self.command.get_arg_conflicts_with(a).iter().any(|other| other.get_id() == b.get_id());
        let (first, second) = (taken.get_long().unwrap_or_default(), arg.get_long().unwrap_or_default());
        conflicts(taken, arg) || conflicts(arg, taken) || CONTRADICTING.contains(&(first, second))
    }
}

fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" | "enabled" => Some(true),
        "0" | "false" | "off" | "no" | "disabled" => Some(false),
        _ => None,
    }
}

/// Where the flag that an error is about was set, when not on the command line.
pub fn blame<'s>(error: &clap::Error, origins: &'s BTreeMap<String, Origin>) -> Option<(&'s str, &'s Origin)> {
    let said = match error.get(clap::error::ContextKind::InvalidArg)? {
        clap::error::ContextValue::String(text) => text.clone(),
        clap::error::ContextValue::Strings(texts) => texts.join(" "),
        _ => return None,
    };
    let word = said.split([' ', '=', '<']).next()?.strip_prefix("--")?;
    origins.get_key_value(word).map(|(name, origin)| (name.as_str(), origin))
}
