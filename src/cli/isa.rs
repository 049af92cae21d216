//! `lapwing isa`: what this machine has and what is used.

use super::{Outcome, output};
use clap::Args;
use lapwing_quant::{cores, kernels};
use std::fmt::Write;

/// Lists the instruction sets.
#[derive(Args)]
pub struct IsaArgs {
    /// Look as if this one were asked for.
    #[arg(long, env = "LAPWING_ISA", value_name = "NAME")]
    isa: Option<String>,
}

/// Runs the command.
pub fn isa(args: &IsaArgs) -> Outcome {
    let chosen = match &args.isa {
        Some(name) => kernels::by_name(name).map_err(crate::error::Error::usage)?,
        None => kernels::best(),
    };
    if let Some(what) = kernels::distrusted() {
        output::warn(what);
    }
    let mut text = String::new();
    for (name, there) in kernels::known() {
        let state = match (there, name == chosen.name) {
            (_, true) => "used",
            (true, false) => "available",
            (false, _) => "not on this machine",
        };
        let _ = writeln!(text, "{name:<14} {state}");
    }
    let c = cores::detect();
    let quota = c.quota.map_or(String::new(), |q| format!(", a quota of {q} CPUs"));
    let (perf, physical, logical) = (c.perf.len(), c.all_physical.len(), c.logical);
    let _ = writeln!(text, "cores          {perf} performance, {physical} physical, {logical} logical{quota}");
    let _ = writeln!(text, "threads        {} by default", cores::default_threads(&c));
    output::result(&text)
}
