//! Command lines as llama.cpp's users have them: other spellings, and flags that have no meaning here.
//!
//! A flag that the command knows is never touched, nor is a value of one; what is left out is told to the caller.

use clap::{ArgAction, Command};
use std::ffi::{OsStr, OsString};

/// llama.cpp's spellings, and ours. Names of more than one letter behind a single dash are among them.
const RENAMED: [(&str, &str); 23] = [
    ("-hf", "--hf-repo"),
    ("-hfr", "--hf-repo"),
    ("-hff", "--hf-file"),
    ("-hft", "--hf-token"),
    ("-mu", "--model-url"),
    ("-ctk", "--cache-type-k"),
    ("-ctv", "--cache-type-v"),
    ("-tb", "--threads-batch"),
    ("-sys", "--system-prompt"),
    ("-pg", "--pg"),
    ("-npl", "--n-parallel"),
    ("-ub", "--ubatch-size"),
    ("-ofreq", "--output-frequency"),
    ("-Cr", "--cpu-range"),
    ("-j", "--json-schema"),
    ("--n-predict", "--predict"),
    ("--temperature", "--temp"),
    ("--context-size", "--ctx-size"),
    ("--sampling-seed", "--seed"),
    ("-no-cnv", "--raw"),
    ("--no-conversation", "--raw"),
    ("-l", "--logit-bias"),
    ("-r", "--stop"),
];

/// What follows a flag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// A word like `on`, or nothing.
    Switch,
}

use Takes::{Nothing, Switch, Value};

/// Flags of llama.cpp that have no meaning here: of graphics cards, of several slots, of how a file is mapped; and those
/// that ask for what is always so.
const INERT: [(&[&str], Takes); 44] = [
    (&["-ngl", "--gpu-layers", "--n-gpu-layers"], Value),
    (&["-sm", "--split-mode"], Value),
    (&["-mg", "--main-gpu"], Value),
    (&["-ts", "--tensor-split"], Value),
    (&["-dev", "--device"], Value),
    (&["-ot", "--override-tensor"], Value),
    (&["-ncmoe", "--n-cpu-moe"], Value),
    (&["-cmoe", "--cpu-moe"], Nothing),
    (&["-nkvo", "--no-kv-offload", "-kvo", "--kv-offload"], Nothing),
    (&["--no-op-offload", "--op-offload"], Nothing),
    (&["-fa", "--flash-attn"], Switch),
    (&["--jinja", "--no-jinja"], Nothing),
    (&["--color", "-co"], Switch),
    (&["--mlock"], Nothing),
    (&["--mmap", "--no-mmap"], Nothing),
    (&["-dio", "--direct-io", "-ndio", "--no-direct-io"], Nothing),
    (&["-lm", "--load-mode"], Value),
    (&["-np", "--parallel"], Value),
    (&["-ns", "--sequences"], Value),
    (&["-cb", "--cont-batching", "-nocb", "--no-cont-batching"], Nothing),
    (&["--numa"], Value),
    (&["-b", "--batch-size"], Value),
    (&["--ubatch-size"], Value),
    (&["--no-context-shift"], Nothing),
    (&["-cnv", "--conversation"], Nothing),
    (&["-i", "--interactive", "-if", "--interactive-first"], Nothing),
    (&["-mli", "--multiline-input"], Nothing),
    (&["-st", "--single-turn"], Nothing),
    (&["--simple-io"], Nothing),
    (&["--no-display-prompt", "--display-prompt"], Nothing),
    (&["--warmup", "--no-warmup"], Nothing),
    (&["--perf", "--no-perf", "--show-timings", "--no-show-timings"], Nothing),
    (&["--repack"], Nothing),
    (&["--no-host"], Nothing),
    (&["--check-tensors"], Nothing),
    (&["--swa-full"], Nothing),
    (&["-kvu", "--kv-unified"], Nothing),
    (&["--fit", "-fit"], Value),
    (&["-fitt", "--fit-target", "-fitc", "--fit-ctx"], Value),
    (&["--poll", "--poll-batch", "--prio", "--prio-batch"], Value),
    (&["--cpu-strict", "--cpu-strict-batch"], Value),
    (&["-Cb", "--cpu-mask-batch", "-Crb", "--cpu-range-batch"], Value),
    (&["--log-disable", "--log-prefix", "--log-timestamps"], Nothing),
    (&["--log-colors", "--reasoning-format", "--keep", "--samplers"], Value),
];

/// A command line in this program's words.
pub struct Understood {
    /// All arguments, the program's name first.
    pub args: Vec<OsString>,
    /// What was left out, as it was written.
    pub ignored: Vec<String>,
}

/// Understands a command line for `command`, one of the program's subcommands.
pub fn understand(args: impl IntoIterator<Item = OsString>, command: &Command) -> Understood {
    let mut given = args.into_iter().peekable();
    let mut found = Understood { args: Vec::new(), ignored: Vec::new() };
    while let Some(arg) = given.next() {
        let Some(text) = arg.to_str().filter(|t| t.starts_with('-') && t.len() > 1) else {
            found.args.push(arg);
            continue;
        };
        if text == "--" {
            found.args.push(arg);
            found.args.extend(given);
            break;
        }
        let (name, attached) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        if let Some(renamed) = renamed(name, command) {
            let value = takes_value(&renamed, command) && attached.is_none();
            found.args.push(attached.map_or(renamed.clone(), |v| format!("{renamed}={v}")).into());
            found.args.extend(value.then(|| given.next()).flatten());
        } else if name == "--context-shift" && knows("--overflow", command) {
            found.args.push("--overflow=shift".into());
        } else if knows(name, command) {
            let value = takes_value(name, command) && attached.is_none();
            found.args.push(arg);
            found.args.extend(value.then(|| given.next()).flatten());
        } else if let Some(takes) = inert(name).filter(|_| knows("--model", command)) {
            let next = given.peek().and_then(|next| next.to_str());
            let value = attached.is_none()
                && match takes {
                    Nothing => false,
                    Value => next.is_some(),
                    Switch => next.is_some_and(is_switch),
                };
            let value = value.then(|| given.next()).flatten().map(|v| format!(" {}", v.to_string_lossy()));
            found.ignored.push(format!("{text}{}", value.unwrap_or_default()));
        } else {
            found.args.push(arg);
        }
    }
    found
}

fn is_switch(word: &str) -> bool {
    ["on", "off", "auto", "0", "1", "true", "false", "enabled", "disabled", "always", "never"].contains(&word)
}

fn inert(name: &str) -> Option<Takes> {
    INERT.iter().find(|(names, _)| names.contains(&name)).map(|(_, takes)| *takes)
}

/// Our name of a flag that goes by another, where the command has ours and not the other.
fn renamed(name: &str, command: &Command) -> Option<String> {
    let (_, ours) = RENAMED.iter().find(|(theirs, _)| *theirs == name)?;
    (!knows(name, command) && knows(ours, command)).then(|| (*ours).to_owned())
}

/// Whether the command has a flag with exactly this name.
fn knows(name: &str, command: &Command) -> bool {
    flag(name, command).is_some() || ["-h", "--help"].contains(&name)
}

fn takes_value(name: &str, command: &Command) -> bool {
    let takes = |a: &clap::Arg| matches!(a.get_action(), ArgAction::Set | ArgAction::Append);
    flag(name, command).is_some_and(takes)
}

fn flag<'c>(name: &str, command: &'c Command) -> Option<&'c clap::Arg> {
    command.get_arguments().find(|a| match name.strip_prefix("--") {
        Some(long) => a.get_long() == Some(long) || a.get_all_aliases().unwrap_or_default().contains(&long),
        None => a.get_short().is_some_and(|c| OsStr::new(name) == OsStr::new(&format!("-{c}"))),
    })
}
