//! `lapwing config`: each setting of a command line, its value and where that comes from.

use super::settings::{self, Origin, Process};
use super::{Cli, Outcome, inspect, output};
use crate::error::{Error, Result};
use clap::parser::ValueSource;
use clap::{Args, CommandFactory};
use serde::Serialize;
use std::ffi::OsString;
use std::fmt::Write;

/// Show each setting, its value and where that comes from.
///
/// What counts, highest first: flags, variables LAPWING_NAME (and llama.cpp's LLAMA_ARG_NAME), config.toml in the folder
/// for settings (or the file LAPWING_CONFIG names; its keys are the flags' long names), defaults. A command line may
/// follow: `lapwing config run -c 4096` shows what `lapwing run -c 4096` would use. Lists go in [] in the file.
#[derive(Args)]
pub struct ConfigArgs {
    /// Write JSON.
    #[arg(long)]
    json: bool,
    /// Only the settings that are not the default.
    #[arg(long)]
    changed: bool,
    /// A command (run, when there is none) and its flags.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND LINE")]
    line: Vec<OsString>,
}

/// A setting as it is shown.
#[derive(Serialize)]
struct Row {
    name: String,
    /// The value, or several; none where it is found out when the program runs.
    value: Option<String>,
    origin: &'static str,
    /// Which variable or file.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
}

/// Runs the command.
pub fn config(args: &ConfigArgs) -> Outcome {
    let rows: Vec<Row> = rows(&args.line)?.into_iter().filter(|row| !args.changed || row.origin != "default").collect();
    if args.json {
        return output::result(&inspect::json(&rows)?);
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let values = rows.iter().map(|row| row.value.as_deref().unwrap_or("-").chars().count()).max().unwrap_or(0).min(40);
    let mut text = String::new();
    for row in &rows {
        let from = row.from.as_ref().map_or(String::new(), |from| format!(" {from}"));
        let value = row.value.as_deref().unwrap_or("-").replace('\n', " ");
        let _ = writeln!(text, "{:width$}  {value:values$}  {}{from}", row.name, row.origin);
    }
    output::result(&text)
}

fn rows(line: &[OsString]) -> Result<Vec<Row>> {
    let mut program = Cli::command();
    program.build();
    let names = settings::names(&program);
    let is_command = |word: &OsString| program.get_subcommands().any(|c| word.to_str() == Some(c.get_name()));
    let mut args: Vec<OsString> = vec!["lapwing".into()];
    if !line.first().is_some_and(is_command) {
        args.push("run".into());
    }
    args.extend(line.iter().cloned());
    let settled = settings::settle(args, &program, &Process)?;
    settled.notes.iter().for_each(|text| output::note(text));
    let matches = program.clone().try_get_matches_from(&settled.args).map_err(|e| {
        let blame = settings::blame(&e, &settled.origins).map_or(String::new(), |(_, origin)| format!("{origin}: "));
        Error::usage(format!("{blame}{}", e.to_string().trim_start_matches("error: ").trim_end()))
    })?;
    let (command, matches) = matches.subcommand().ok_or_else(|| Error::usage("there is no command to look at"))?;
    let command = program.find_subcommand(command).ok_or_else(|| Error::usage("there is no such command"))?;
    let row = |arg: &clap::Arg| {
        let (id, long) = (arg.get_id().as_str(), arg.get_long().unwrap_or_default());
        let values =
            matches.get_raw(id).map(|raw| raw.map(|v| v.to_string_lossy().into_owned()).collect::<Vec<_>>().join(", "));
        let flag = || match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Origin::Flag,
            Some(ValueSource::EnvVariable) => {
                Origin::Env(arg.get_env().map_or(String::new(), |name| name.to_string_lossy().into_owned()))
            }
            _ => Origin::Default,
        };
        let origin = settled.origins.get(long).cloned().unwrap_or_else(flag);
        let switch = matches!(arg.get_action(), clap::ArgAction::SetTrue).then(|| matches.get_flag(id).to_string());
        let (origin, from) = match origin {
            Origin::Flag => ("flag", None),
            Origin::Env(name) => ("environment", Some(name)),
            Origin::File(path) => ("file", Some(path)),
            Origin::Default => ("default", None),
        };
        Row { name: long.to_owned(), value: switch.or(values), origin, from }
    };
    let mut rows: Vec<Row> = settings::of_command(command, &names).into_iter().map(row).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}
