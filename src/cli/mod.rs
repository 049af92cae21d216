//! The program: commands, their flags, and everything that is printed. Results go to stdout, the rest to stderr.

pub mod answer;
pub mod before_load;
pub mod bench;
pub mod certify;
pub mod chat;
pub mod compare;
pub mod config;
pub mod doctor;
pub mod guard_args;
pub mod hub_args;
pub mod imatrix;
pub mod inspect;
pub mod interrupt;
pub mod isa;
pub mod list;
pub mod logits;
pub mod model_args;
pub mod output;
pub mod perplexity;
pub mod plan;
pub mod prompt_args;
pub mod pull;
pub mod quantize;
pub mod quantize_certify;
pub mod rates;
pub mod run;
pub mod sample_args;
pub mod settings;
pub mod shell;
pub mod term;
pub mod text_args;
pub mod tokenize;

use crate::error::{Error, Result};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::process::ExitCode;

/// Runs Qwen3 from GGUF files on the CPU.
#[derive(Parser)]
#[command(name = "lapwing", version, max_term_width = 80, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(Box<run::RunArgs>),
    Chat(Box<chat::ReplArgs>),
    Inspect(inspect::InspectArgs),
    Quantize(Box<quantize::QuantizeArgs>),
    Tokenize(Box<tokenize::TokenizeArgs>),
    /// Write the logits of a text or of token ids to a safetensors file.
    Logits(Box<logits::LogitsArgs>),
    /// Measure the speed of models: tests, columns and fields as llama-bench has them.
    Bench(Box<bench::BenchArgs>),
    Perplexity(Box<perplexity::PerplexityArgs>),
    Compare(Box<compare::CompareArgs>),
    Imatrix(Box<imatrix::ImatrixArgs>),
    Pull(pull::PullArgs),
    List(list::ListArgs),
    Plan(Box<plan::PlanArgs>),
    Doctor(Box<doctor::DoctorArgs>),
    Config(config::ConfigArgs),
    /// List the instruction sets of this machine and which one is used.
    Isa(isa::IsaArgs),
    Completions(shell::CompletionsArgs),
    Man(shell::ManArgs),
}

/// Parses the command line, with the settings of environment and file, and runs the command. Exit codes: 0 done, 2 wrong
/// usage, 1 failed.
pub fn main() -> ExitCode {
    let mut program = Cli::command();
    program.build();
    let settled = match settings::settle(std::env::args_os().collect(), &program, &settings::Process) {
        Ok(settled) => settled,
        Err(e) => {
            output::error(&e);
            return ExitCode::from(e.exit_code());
        }
    };
    settled.notes.iter().for_each(|text| output::note(text));
    let parsed = program.try_get_matches_from(&settled.args).and_then(|m| Cli::from_arg_matches(&m));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(e) => {
            if let Some((name, origin)) = settings::blame(&e, &settled.origins) {
                output::note(&format!("{name} was set by {origin}"));
            }
            // Help and version are results; a wrong command line is an error.
            let _printed = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Pipe) => ExitCode::SUCCESS,
        Err(Stop::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
        Err(Stop::Error(e)) => {
            output::error(&e);
            ExitCode::from(if interrupt::asked() { interrupt::EXIT_CODE } else { e.exit_code() })
        }
    }
}

fn dispatch(command: Command) -> std::result::Result<(), Stop> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Chat(args) => chat::chat(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Quantize(args) => quantize::quantize(&args),
        Command::Tokenize(args) => tokenize::tokenize(&args),
        Command::Logits(args) => logits::logits(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Perplexity(args) => perplexity::perplexity(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Imatrix(args) => imatrix::imatrix(&args),
        Command::Pull(args) => pull::pull(&args),
        Command::List(args) => list::list(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Config(args) => config::config(&args),
        Command::Isa(args) => isa::isa(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    }
}

/// Why a command ends early.
pub enum Stop {
    /// It failed.
    Error(Error),
    /// Whoever read the output has closed it, which is not an error.
    Pipe,
    /// Ctrl-C was pressed; what was to be said about it was said.
    Interrupted,
}

impl From<Error> for Stop {
    fn from(e: Error) -> Self {
        Self::Error(e)
    }
}

/// What a command returns.
pub type Outcome = std::result::Result<(), Stop>;

/// Reads a whole text file, or standard input for `-`.
///
/// # Errors
/// Names the file; text must be UTF-8.
pub fn read_text(path: &std::path::Path) -> Result<String> {
    let shown = path.display();
    let bytes = if path.as_os_str() == "-" {
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut all)
            .map(|_| all)
            .map_err(|e| Error::file(format!("standard input cannot be read: {e}")))?
    } else {
        std::fs::read(path).map_err(|e| Error::file(format!("{shown}: cannot be read: {e}")))?
    };
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::file(format!("{shown}: byte {at} is not UTF-8 text; convert the file to UTF-8"))
    })
}
