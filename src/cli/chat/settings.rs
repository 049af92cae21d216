//! What can be set while chatting, and why each value is what it is.
//!
//! A value set by command beats the flag of that name, which beats the preset of the mode in force; `default` takes a
//! command's value back.

use super::commands;
use crate::cli::guard_args::{self, Budget, GuardArgs};
use crate::cli::sample_args::{SampleArgs, Seed};
use crate::cli::term::render::Thinking;
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::grammar::Source;
use crate::sample::preset::{Mode, Resolved};
use crate::sample::stop::StopMatcher;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::str::FromStr;

/// Names of parameters: ours, and others that users type.
const NAMES: [(&str, &[&str]); 13] = [
    ("temperature", &["temp"]),
    ("top_k", &[]),
    ("top_p", &[]),
    ("min_p", &[]),
    ("presence_penalty", &[]),
    ("frequency_penalty", &[]),
    ("repeat_penalty", &[]),
    ("repeat_last_n", &[]),
    ("seed", &[]),
    ("num_predict", &["predict", "n_predict", "max_tokens"]),
    ("stop", &[]),
    ("budget", &["reasoning_budget", "thinking_budget"]),
    ("num_ctx", &["ctx_size"]),
];

/// Names that `/set parameter` completes.
pub fn names() -> Vec<String> {
    NAMES.iter().map(|(name, _)| (*name).to_owned()).collect()
}

/// What is in force for the next answer.
#[derive(Clone)]
pub struct Settings {
    sample: SampleArgs,
    /// As the program was started.
    flags: SampleArgs,
    flag_predict: Option<usize>,
    flag_stops: Vec<String>,
    flag_budget: Budget,
    /// Parameters that were set by command, as they were typed.
    set: BTreeMap<&'static str, Vec<String>>,
    /// Most tokens of an answer.
    pub predict: Option<usize>,
    /// Texts that end an answer.
    pub stops: Vec<String>,
    /// Whether figures are shown after each answer.
    pub verbose: bool,
    /// Whether answers are wrapped.
    pub wordwrap: bool,
    /// How thinking is shown.
    pub thoughts: Thinking,
    /// The guards' flags; the budget changes.
    pub guard: GuardArgs,
    /// The form that answers must have.
    pub form: Option<Source>,
}

/// Settings that are no sampling flags.
pub struct Start {
    /// `-n`.
    pub predict: Option<usize>,
    /// `--stop`.
    pub stops: Vec<String>,
    /// `-v`.
    pub verbose: bool,
    /// `--no-wordwrap` was not given.
    pub wordwrap: bool,
    /// `--thinking`.
    pub thoughts: Thinking,
    /// `--reasoning-budget`, `--overflow` and the like.
    pub guard: GuardArgs,
    /// What `--json` and the like say.
    pub form: Option<Source>,
}

impl Settings {
    /// As the flags say.
    pub fn new(sample: &SampleArgs, start: Start) -> Self {
        Self {
            sample: sample.clone(),
            flags: sample.clone(),
            flag_predict: start.predict,
            flag_stops: start.stops.clone(),
            flag_budget: start.guard.reasoning_budget,
            set: BTreeMap::new(),
            predict: start.predict,
            stops: start.stops,
            verbose: start.verbose,
            wordwrap: start.wordwrap,
            thoughts: start.thoughts,
            guard: start.guard,
            form: start.form,
        }
    }

    /// The sampling settings in force for a mode.
    ///
    /// # Errors
    /// As [`SampleArgs::settle`].
    pub fn resolve(&self, mode: Mode, gguf: &Gguf) -> Result<Resolved> {
        self.sample.settle(mode, gguf)
    }

    /// Sets a parameter; it is as it was when the value is not sound in the mode in force.
    ///
    /// # Errors
    /// An unknown name, a value that is none or out of range.
    pub fn parameter(&mut self, typed: &str, values: &[String], mode: Mode, gguf: &Gguf) -> Result<()> {
        let before = self.clone();
        let done = self.apply(typed, values).map_err(Error::usage).and_then(|()| self.resolve(mode, gguf));
        done.map(|_| ()).inspect_err(|_| *self = before)
    }

    /// `/seed N`.
    pub fn seed(&mut self, seed: Option<u64>) {
        self.sample.seed = Some(Seed::from(seed));
        let text = seed.map_or("-1".to_owned(), |n| n.to_string());
        self.set.insert("seed", vec![text]);
    }

    /// `/budget N`.
    pub fn budget(&mut self, budget: Budget) {
        self.guard.reasoning_budget = budget;
        self.set.insert("budget", vec![budget.0.map_or("-1".to_owned(), |n| n.to_string())]);
    }

    fn apply(&mut self, typed: &str, values: &[String]) -> std::result::Result<(), String> {
        let found = NAMES.iter().find(|(name, others)| *name == typed || others.contains(&typed));
        let name = found
            .map(|(name, _)| *name)
            .ok_or_else(|| format!("there is no parameter {typed}; there are: {}", names().join(", ")))?;
        let (first, is_default) = (values.first().map_or("", String::as_str), values == ["default"]);
        if values.len() != 1 && name != "stop" {
            return Err(format!("{name} takes one value"));
        }
        let (sample, flags) = (&mut self.sample, &self.flags);
        match name {
            "temperature" => {
                sample.temp = number(name, first, flags.temp)?;
                sample.greedy = is_default && flags.greedy;
            }
            "top_k" => sample.top_k = number(name, first, flags.top_k)?,
            "top_p" => sample.top_p = number(name, first, flags.top_p)?,
            "min_p" => sample.min_p = number(name, first, flags.min_p)?,
            "presence_penalty" => sample.presence_penalty = number(name, first, flags.presence_penalty)?,
            "frequency_penalty" => sample.frequency_penalty = number(name, first, flags.frequency_penalty)?,
            "repeat_penalty" => sample.repeat_penalty = number(name, first, flags.repeat_penalty)?,
            "repeat_last_n" => sample.repeat_last_n = number(name, first, flags.repeat_last_n)?,
            "seed" if is_default => sample.seed = flags.seed,
            "seed" => sample.seed = Some(Seed::from(commands::seed(first)?)),
            "budget" if is_default => self.guard.reasoning_budget = self.flag_budget,
            "budget" => self.guard.reasoning_budget = guard_args::budget(first)?,
            "num_predict" if is_default => self.predict = self.flag_predict,
            "num_predict" => self.predict = crate::cli::run::predict(first)?.0,
            "stop" if is_default => self.stops.clone_from(&self.flag_stops),
            "stop" => {
                let text = values.join(" ");
                let text = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(&text).to_owned();
                StopMatcher::new(&[&text]).map_err(|e| e.to_string())?;
                self.stops.push(text);
            }
            _ => return Err("the context is laid out when the program starts: leave, and start with -c N".to_owned()),
        }
        if is_default {
            self.set.remove(name);
        } else if name == "stop" {
            self.set.insert(name, self.stops.clone());
        } else {
            self.set.insert(name, values.to_vec());
        }
        Ok(())
    }

    /// One line for each value in force and where it comes from.
    pub fn report(&self, resolved: &Resolved) -> String {
        let mut out = String::new();
        let mut line = |name: &str, value: &str, origin: String| {
            let origin = if self.set.contains_key(name) { "set here".to_owned() } else { origin };
            let _infallible = writeln!(out, "{name:<18} {value} ({origin})");
        };
        for e in &resolved.effective {
            let drawn = e.name == "seed" && self.sample.seed.and_then(Seed::fixed).is_none();
            let value = if drawn { "drawn for each answer" } else { e.value.as_str() };
            line(e.name, value, e.origin.to_string());
        }
        let flag = |given: bool| if given { "flag" } else { "default" }.to_owned();
        let predict = self.predict.map_or("as many as fit".to_owned(), |n| n.to_string());
        line("num_predict", &predict, flag(self.flag_predict.is_some()));
        let budget = self.guard.reasoning_budget.0;
        let shown = budget.map_or("no limit".to_owned(), |n| format!("{n} tokens"));
        line("budget", &shown, flag(budget.is_some()));
        for stop in &self.stops {
            line("stop", &format!("{stop:?}"), flag(true));
        }
        out
    }

    /// What was set by command, to be kept in a file.
    pub fn to_json(&self) -> Value {
        let set = self.set.iter().map(|(name, values)| ((*name).to_owned(), values.clone().into()));
        Value::Object(set.collect::<Map<_, _>>())
    }

    /// Sets what a file says was set; in place of what was set by command so far. Returns what could not be set, and
    /// why.
    pub fn restore(&mut self, json: &Value) -> Vec<String> {
        self.sample = self.flags.clone();
        self.predict = self.flag_predict;
        self.stops.clone_from(&self.flag_stops);
        self.guard.reasoning_budget = self.flag_budget;
        self.set.clear();
        let mut refused = vec![];
        for (name, values) in json.as_object().into_iter().flatten() {
            let values: Vec<String> =
                values.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            let done = if name == "stop" {
                let new: Vec<&String> = values.iter().filter(|v| !self.stops.contains(v)).collect();
                new.into_iter().try_for_each(|v| self.apply(name, std::slice::from_ref(v)))
            } else {
                self.apply(name, &values)
            };
            refused.extend(done.err());
        }
        refused
    }
}

/// A value; the flag's for `default`.
fn number<T: FromStr>(name: &str, text: &str, flag: Option<T>) -> std::result::Result<Option<T>, String> {
    match text {
        "default" => Ok(flag),
        _ => text.parse().map(Some).map_err(|_| format!("{text:?} is no value for {name}: a number was expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        sample: SampleArgs,
        #[command(flatten)]
        guard: GuardArgs,
    }

    fn settings(flags: &[&str]) -> Settings {
        let Flags { sample, guard } = Flags::try_parse_from([&["x"], flags].concat()).unwrap();
        let stops = vec!["END".to_owned()];
        let (thoughts, form) = (Thinking::Show, None);
        let start = Start { predict: None, stops, verbose: false, wordwrap: true, thoughts, guard, form };
        Settings::new(&sample, start)
    }

    fn set(settings: &mut Settings, words: &[&str]) -> std::result::Result<(), String> {
        let values: Vec<String> = words[1..].iter().map(|w| (*w).to_owned()).collect();
        settings.apply(words[0], &values)
    }

    #[test]
    fn commands_beat_flags_until_they_are_taken_back() {
        let mut s = settings(&["--temp", "0.3"]);
        set(&mut s, &["temp", "0.9"]).unwrap();
        set(&mut s, &["seed", "7"]).unwrap();
        assert_eq!((s.sample.temp, s.sample.seed.and_then(Seed::fixed)), (Some(0.9), Some(7)));
        assert_eq!(s.to_json(), serde_json::json!({"temperature": ["0.9"], "seed": ["7"]}));
        set(&mut s, &["temperature", "default"]).unwrap();
        assert_eq!(s.sample.temp, Some(0.3));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let mut s = settings(&[]);
        for bad in [
            &["top_k", "x"][..],
            &["top_k", "1", "2"],
            &["wild", "1"],
            &["num_ctx", "99"],
            &["seed", "-3"],
            &["num_predict", "0"],
            &["stop", "\"\""],
        ] {
            assert!(set(&mut s, bad).is_err(), "{bad:?}");
        }
        assert_eq!(s.to_json(), serde_json::json!({}));
    }

    #[test]
    fn what_was_set_can_be_kept_and_restored() {
        let mut s = settings(&["--top-k", "5"]);
        for words in [&["top_p", "0.5"][..], &["stop", "\"the", "end\""], &["num_predict", "9"]] {
            set(&mut s, words).unwrap();
        }
        let mut other = settings(&["--top-k", "6"]);
        set(&mut other, &["min_p", "0.1"]).unwrap();
        assert_eq!(other.restore(&s.to_json()), Vec::<String>::new());
        assert_eq!((other.sample.top_p, other.sample.top_k, other.sample.min_p), (Some(0.5), Some(6), None));
        assert_eq!((other.predict, other.stops), (Some(9), vec!["END".to_owned(), "the end".to_owned()]));
        assert_eq!(s.restore(&serde_json::json!({"top_k": ["x"], "wild": ["1"]})).len(), 2);
    }
}
