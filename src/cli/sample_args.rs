//! The flags that say how tokens are chosen, with llama.cpp's names.

use super::output;
use crate::error::Result;
use crate::gguf::Gguf;
use crate::sample::preset::{Mode, Overrides, Resolved, resolve};
use crate::sample::{LogitBias, Values};
use clap::Args;

/// How tokens are chosen. What is not given comes from the preset of the mode in force.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sampling")]
pub struct SampleArgs {
    /// Temperature; 0 takes the best token always.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub temp: Option<f32>,
    /// Keep the N best tokens; 0 for all.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub top_k: Option<i32>,
    /// Keep the best tokens that hold this part of the probability; 1 for all.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub top_p: Option<f32>,
    /// Drop tokens less than this times as likely as the best; 0 for none.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub min_p: Option<f32>,
    /// Taken from the logits of tokens already generated.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub presence_penalty: Option<f32>,
    /// Taken from a token's logit for each time it was generated.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub frequency_penalty: Option<f32>,
    /// Makes tokens already generated less likely; 1 is off.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub repeat_penalty: Option<f32>,
    /// How many of the last generated tokens the penalties look at; 0 for none, -1 for all.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub repeat_last_n: Option<i32>,
    /// Add BIAS to the logit of a token; TOKEN_ID=false never takes it. Can be given several times.
    #[arg(long, value_name = "TOKEN_ID(+/-)BIAS")]
    pub logit_bias: Vec<LogitBias>,
    /// Where the random numbers start; the same seed gives the same text. -1 draws one (shown by -v).
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    pub seed: Option<Seed>,
    /// Never let the model end its answer.
    #[arg(long)]
    pub ignore_eos: bool,
    /// Take the best token always: the same as --temp 0.
    #[arg(long)]
    pub greedy: bool,
    /// Use the settings of this name: thinking or non-thinking [default: the mode's].
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,
}

/// A seed; `None` was asked for as -1: draw one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(Option<u64>);

impl Seed {
    /// The number, unless one is to be drawn.
    pub fn fixed(self) -> Option<u64> {
        self.0
    }
}

impl From<Option<u64>> for Seed {
    fn from(seed: Option<u64>) -> Self {
        Self(seed)
    }
}

fn seed(text: &str) -> std::result::Result<Seed, String> {
    match text.parse::<u64>() {
        Ok(n) => Ok(Seed(Some(n))),
        Err(_) if text == "-1" => Ok(Seed(None)),
        Err(_) => Err(format!("expected a whole number from 0 to {}, or -1", u64::MAX)),
    }
}

impl SampleArgs {
    /// What the flags set.
    fn overrides(&self) -> Overrides {
        Overrides {
            values: Values {
                temperature: self.temp,
                top_k: self.top_k,
                top_p: self.top_p,
                min_p: self.min_p,
                presence_penalty: self.presence_penalty,
                frequency_penalty: self.frequency_penalty,
                repeat_penalty: self.repeat_penalty,
                repeat_last_n: self.repeat_last_n,
            },
            greedy: self.greedy,
            logit_bias: self.logit_bias.clone(),
            ignore_eos: self.ignore_eos,
            seed: self.seed.and_then(|s| s.0),
        }
    }

    /// The settings in force for a mode and a file.
    ///
    /// # Errors
    /// An unknown preset, a value out of range, contradicting flags.
    pub fn settle(&self, mode: Mode, gguf: &Gguf) -> Result<Resolved> {
        let meta = gguf.meta();
        let model = Values::from_model(|key| meta.float(key))?;
        resolve(mode, self.preset.as_deref(), &[], &model, &self.overrides())
    }

    /// The same, with its warnings said, and with `verbose` each value and its origin.
    ///
    /// # Errors
    /// As [`SampleArgs::settle`].
    pub fn resolve(&self, mode: Mode, gguf: &Gguf, verbose: bool) -> Result<Resolved> {
        let resolved = self.settle(mode, gguf)?;
        resolved.warnings.iter().for_each(|w| output::warn(w));
        if verbose {
            let lines: Vec<String> = resolved.effective.iter().map(ToString::to_string).collect();
            output::note(&format!("sampling: {}", lines.join(", ")));
        }
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds() {
        assert_eq!(seed("0"), Ok(Seed(Some(0))));
        assert_eq!(seed("18446744073709551615"), Ok(Seed(Some(u64::MAX))));
        assert_eq!(seed("-1"), Ok(Seed(None)));
        for bad in ["", "-2", "1.5", "x", "18446744073709551616"] {
            assert!(seed(bad).is_err(), "{bad}");
        }
    }
}
