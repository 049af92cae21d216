//! The settings of the chain: one list, from which the structs, defaults, flag names, keys of model files, ranges and
//! the report of "which value, from where" are derived.
//!
//! Invariant: a [`Settings`] made by resolution or that passed [`Settings::check`] is in range; nothing in it is NaN.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

macro_rules! settings {
    ($($(#[$doc:meta])+ $field:ident: $ty:ty = $default:literal, $flag:literal, $key:expr,
        $lo:literal to $hi:literal;)*) => {
        /// The numbers of the chain, all in force.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings { $($(#[$doc])+ pub $field: $ty,)* }

        /// Some of the numbers of the chain: what one source (flags, a preset, a model file) has to say.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Values { $($(#[$doc])+ pub $field: Option<$ty>,)* }

        impl Default for Settings {
            fn default() -> Self { Self { $($field: $default,)* } }
        }

        impl Settings {
            /// Takes each value from the first layer that has it, else the default, and checks its range.
            pub(super) fn from_layers(layers: &[(Origin, &Values)]) -> Result<(Self, Vec<Effective>)> {
                let mut settings = Self::default();
                let mut effective = Vec::new();
                $(
                    let given = layers.iter().find_map(|(origin, values)| Some((values.$field?, origin.clone())));
                    let (value, origin) = given.unwrap_or(($default, Origin::Default));
                    check_range(stringify!($field), $flag, f64::from(value), $lo..=$hi, &origin)?;
                    settings.$field = value;
                    effective.push(Effective { name: stringify!($field), value: value.to_string(), origin });
                )*
                Ok((settings, effective))
            }

            /// Refuses values out of range.
            pub fn check(&self) -> Result<()> {
                $(check_range(stringify!($field), $flag, f64::from(self.$field), $lo..=$hi, &Origin::Flag)?;)*
                Ok(())
            }
        }

        impl Values {
            /// The values of a model file. `lookup` finds a number by its metadata key.
            pub fn from_model(mut lookup: impl FnMut(&str) -> Result<Option<f64>>) -> Result<Self> {
                let mut values = Self::default();
                $(if let Some(key) = $key && let Some(number) = lookup(key)? {
                    values.$field = Some(<$ty as Number>::from_f64(number).ok_or_else(|| {
                        Error::file(format!("{key} is {number} in the model file; a {} was expected", <$ty>::KIND))
                    })?);
                })*
                Ok(values)
            }

            /// What both have and disagree on: name, flag, ours, theirs.
            pub(super) fn conflicts(&self, other: &Self) -> Vec<(&'static str, &'static str, String, String)> {
                let mut found = Vec::new();
                $(if let (Some(a), Some(b)) = (self.$field, other.$field) && a != b {
                    found.push((stringify!($field), $flag, a.to_string(), b.to_string()));
                })*
                found
            }

            /// Whether the setting of this name has a value.
            pub(super) fn set(&self, name: &str) -> bool {
                $((name == stringify!($field) && self.$field.is_some()))||*
            }
        }
    };
}

settings! {
    /// Divides the logits that are left at the end of the chain. 0 or less: greedy, the best token always.
    temperature: f32 = 0.6, "--temp", Some("general.sampling.temp"), -1e6 to 1e6;
    /// Keeps the k best tokens; 0 or less: all.
    top_k: i32 = 20, "--top-k", Some("general.sampling.top_k"), -2147483648.0 to 2147483647.0;
    /// Keeps the shortest run of best tokens that holds this part of the probability; 1 or more: all.
    top_p: f32 = 0.95, "--top-p", Some("general.sampling.top_p"), 0.0 to 1e6;
    /// Drops tokens less than this times as likely as the best; 0: none.
    min_p: f32 = 0.0, "--min-p", Some("general.sampling.min_p"), 0.0 to 1.0;
    /// Taken once from the logit of each token that was generated.
    presence_penalty: f32 = 0.0, "--presence-penalty", None::<&str>, -1e6 to 1e6;
    /// Taken from the logit of a token for each time it was generated.
    frequency_penalty: f32 = 0.0, "--frequency-penalty", None::<&str>, -1e6 to 1e6;
    /// Divides a generated token's logit when it is positive, multiplies it otherwise; 1: off.
    repeat_penalty: f32 = 1.0, "--repeat-penalty", Some("general.sampling.penalty_repeat"), 0.01 to 100.0;
    /// How many of the last generated tokens the three penalties look at; 0: none, -1: all.
    repeat_last_n: i32 = 64, "--repeat-last-n", Some("general.sampling.penalty_last_n"), -1.0 to 2147483647.0;
}

/// Everything that decides which token is drawn, given logits and what was generated before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    /// The numbers of the chain.
    pub chain: Settings,
    /// Added to logits before anything else; several for one token add up.
    pub logit_bias: Vec<LogitBias>,
    /// Never draw a token that ends generation.
    pub ignore_eos: bool,
    /// Where the random numbers start.
    pub seed: u64,
}

impl Params {
    /// Whether the best token is always taken (no randomness).
    pub fn is_greedy(&self) -> bool {
        self.chain.temperature <= 0.0
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The user's flag.
    Flag,
    /// The preset of this name.
    Preset(String),
    /// `general.sampling.*` of the model file.
    ModelFile,
    /// Built in.
    Default,
    /// Drawn from the operating system's randomness (seeds only).
    Drawn,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Preset(name) => write!(f, "preset {name}"),
            Self::ModelFile => f.write_str("model file"),
            Self::Default => f.write_str("default"),
            Self::Drawn => f.write_str("drawn at random"),
        }
    }
}

/// A value in force and where it comes from; shown as `temperature 0.6 (preset thinking)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Name of the setting.
    pub name: &'static str,
    /// Its value as text.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.name, self.value, self.origin)
    }
}

fn check_range(name: &str, flag: &str, value: f64, range: std::ops::RangeInclusive<f64>, from: &Origin) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let kind = if *from == Origin::ModelFile { ErrorKind::File } else { ErrorKind::Usage };
    let (lo, hi) = (range.start(), range.end());
    let message = format!("{name} is {value} ({from}); it must be from {lo} to {hi} (set it by {flag})");
    Err(Error::new(kind, message))
}

/// A number as it comes out of a model file.
trait Number: Sized {
    const KIND: &'static str;
    fn from_f64(number: f64) -> Option<Self>;
}

impl Number for f32 {
    const KIND: &'static str = "number";
    fn from_f64(number: f64) -> Option<Self> {
        number.is_finite().then_some(number as f32)
    }
}

impl Number for i32 {
    const KIND: &'static str = "whole 32-bit number";
    fn from_f64(number: f64) -> Option<Self> {
        let whole = number as i32;
        (f64::from(whole) == number).then_some(whole)
    }
}

/// A number added to one token's logit. -inf: the token is never drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitBias {
    /// Token id.
    pub token: u32,
    /// What is added: at most a million either way, or -inf.
    pub bias: f32,
}

impl std::str::FromStr for LogitBias {
    type Err = Error;

    /// Reads `ID+BIAS`, `ID-BIAS` (llama.cpp's `--logit-bias`) or `ID=false` (never).
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let forms = "TOKEN_ID+BIAS, TOKEN_ID-BIAS or TOKEN_ID=false, as in 15043+1.5";
            Error::usage(format!("logit bias {text:?} is not of the form {forms}, with a bias up to 1000000"))
        };
        let at = text.find(['+', '-', '=']).ok_or_else(wrong)?;
        let (id, value) = (&text[..at], &text[at + 1..]);
        if !id.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let token = id.parse().map_err(|_| wrong())?;
        let bias = match (&text[at..=at], value) {
            ("=", "false") | ("-", "inf") => f32::NEG_INFINITY,
            ("+" | "-", _) if value.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
                let size: f32 = value.parse().map_err(|_| wrong())?;
                if text[at..].starts_with('-') { -size } else { size }
            }
            _ => return Err(wrong()),
        };
        let bias = Self { token, bias };
        if bias.is_sound() { Ok(bias) } else { Err(wrong()) }
    }
}

impl LogitBias {
    /// Whether the bias is in range.
    pub(super) fn is_sound(self) -> bool {
        self.bias == f32::NEG_INFINITY || self.bias.abs() <= 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_logit_biases() {
        let read = |text: &str| text.parse::<LogitBias>().map(|b| (b.token, b.bias)).ok();
        assert_eq!(read("15043+1"), Some((15043, 1.0)));
        assert_eq!(read("15043-1.5e1"), Some((15043, -15.0)));
        assert_eq!(read("0+.25"), Some((0, 0.25)));
        assert_eq!(read("7=false"), Some((7, f32::NEG_INFINITY)));
        assert_eq!(read("7-inf"), Some((7, f32::NEG_INFINITY)));
        for bad in [
            "",
            "7",
            "+1",
            "x+1",
            "7+",
            "7+-1",
            "7=true",
            "7=1",
            "7+inf",
            "7+nan",
            "7+1e9",
            "99999999999+1",
            "7 +1",
            "7é+1",
        ] {
            let error = bad.parse::<LogitBias>().unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
        }
    }

    #[test]
    fn reads_the_model_files_values() {
        let keys = [("general.sampling.temp", 0.25), ("general.sampling.top_k", 7.0)];
        let find = |key: &str| Ok(keys.iter().find(|(k, _)| *k == key).map(|(_, v)| *v));
        let values = Values::from_model(find).unwrap();
        assert_eq!(values, Values { temperature: Some(0.25), top_k: Some(7), ..Values::default() });
        let broken = |key: &str| Ok((key == "general.sampling.top_k").then_some(7.5));
        let error = Values::from_model(broken).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::File);
        assert!(error.to_string().contains("general.sampling.top_k is 7.5"), "{error}");
        assert!(Values::from_model(|_| Ok(Some(f64::NAN))).is_err());
        assert!(Values::from_model(|_| Err(Error::file("no"))).is_err());
    }

    #[test]
    fn refuses_what_is_out_of_range() {
        let bad = [
            Settings { temperature: f32::NAN, ..Settings::default() },
            Settings { min_p: 1.5, ..Settings::default() },
            Settings { top_p: -0.1, ..Settings::default() },
            Settings { repeat_penalty: 0.0, ..Settings::default() },
            Settings { repeat_last_n: -2, ..Settings::default() },
            Settings { frequency_penalty: f32::INFINITY, ..Settings::default() },
        ];
        for settings in bad {
            assert!(settings.check().is_err(), "{settings:?}");
        }
        assert!(Settings::default().check().is_ok());
    }
}
