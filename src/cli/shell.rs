//! `lapwing completions` and `lapwing man`: made from the same description of the flags as the help.

use super::{Cli, Outcome, output};
use crate::error::Error;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Write the completions for a shell.
///
/// For bash: lapwing completions bash > ~/.local/share/bash-completion/completions/lapwing
#[derive(Args)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Write the manual page, in the form that `man` reads.
///
/// Without a command's name the page of the program; `lapwing man run` writes that of `run`.
#[derive(Args)]
pub struct ManArgs {
    /// The command whose page is wanted.
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

/// Runs `completions`.
pub fn completions(args: &CompletionsArgs) -> Outcome {
    let mut bytes = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lapwing", &mut bytes);
    output::result(&String::from_utf8_lossy(&bytes))
}

/// Runs `man`.
pub fn man(args: &ManArgs) -> Outcome {
    let mut program = Cli::command();
    program.build();
    let command = match &args.command {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name).cloned();
            let found =
                found.ok_or_else(|| Error::usage(format!("there is no command {name:?}; see lapwing --help")))?;
            found.display_name(format!("lapwing-{name}"))
        }
    };
    let mut bytes = Vec::new();
    let made = clap_mangen::Man::new(command).render(&mut bytes);
    made.map_err(|e| Error::runtime(format!("the page cannot be made: {e}")))?;
    output::result(&String::from_utf8_lossy(&bytes))
}
