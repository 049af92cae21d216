//! `lapwing pull`: a model from the hub into the cache.

use super::hub_args::{self, AccessArgs};
use super::{Outcome, Stop, interrupt, output};
use crate::hub::{Hub, Spec};
use clap::Args;

/// Download a model from the Hugging Face hub.
///
/// It goes to the cache that other programs use too (HF_HOME), in parts, several at once; what is there is kept when
/// it is interrupted, and the same command goes on from there. Every file is checked by its SHA-256. Prints the path of
/// the model's (first) file. HF_ENDPOINT names a mirror; proxies are taken from HTTPS_PROXY and NO_PROXY.
#[derive(Args)]
pub struct PullArgs {
    /// The models: USER/REPO, USER/REPO:QUANT or the address of a file [QUANT: Q4_K_M].
    #[arg(required = true, value_name = "USER/REPO[:QUANT]")]
    models: Vec<String>,
    /// Take this file of the repository. Also -hff.
    #[arg(long, alias = "hff", value_name = "FILE")]
    hf_file: Option<String>,
    /// Connections at once.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=32))]
    connections: u16,
    /// Tries in a row without progress before giving up.
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u32).range(1..=1000))]
    retries: u32,
    #[command(flatten)]
    access: AccessArgs,
}

/// Runs the command.
pub fn pull(args: &PullArgs) -> Outcome {
    let mut specs = Vec::new();
    for text in &args.models {
        let spec = Spec::parse(text)?;
        specs.push(match &args.hf_file {
            Some(file) => spec.file(file)?,
            None => spec,
        });
    }
    let hub = Hub::new(args.access.options(usize::from(args.connections), args.retries)?);
    for spec in &specs {
        match hub_args::fetch(&hub, spec, true) {
            Ok(found) => {
                let first = found.files.first().map(|file| file.display().to_string()).unwrap_or_default();
                output::result(&format!("{first}\n"))?;
            }
            Err(e) if interrupt::asked() => {
                output::note(&e.to_string());
                return Err(Stop::Interrupted);
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
