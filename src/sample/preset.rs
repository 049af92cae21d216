//! Which settings are in force, and why.
//!
//! For each setting the first source that has it wins:
//! 1. the user's flag;
//! 2. the preset named by `--preset`; without it, the preset of the mode in force;
//! 3. `general.sampling.*` of the model file;
//! 4. the built-in default.
//!
//! The mode's preset goes before the model file because the file has room for one set of values only, and Qwen3 has
//! two modes; a file that says something else than the model's card in either mode is reported. Raw text has no mode,
//! so there the model file speaks.

use super::params::{Effective, LogitBias, Origin, Params, Settings, Values};
use super::rng::fresh_seed;
use crate::error::{Error, Result};

/// How the model is being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A chat whose answer starts with reasoning.
    Thinking,
    /// A chat that answers at once.
    NonThinking,
    /// Text to continue, without a chat template.
    Raw,
}

impl Mode {
    /// The name of the mode's own preset.
    fn preset(self) -> Option<&'static str> {
        match self {
            Self::Thinking => Some("thinking"),
            Self::NonThinking => Some("non-thinking"),
            Self::Raw => None,
        }
    }
}

/// Settings with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// What `--preset` calls it.
    pub name: String,
    /// What it sets.
    pub values: Values,
}

/// The presets of Qwen3's model card: thinking and non-thinking.
pub fn built_in() -> Vec<Preset> {
    let preset = |name: &str, temperature, top_p| Preset {
        name: name.to_owned(),
        values: Values {
            temperature: Some(temperature),
            top_p: Some(top_p),
            top_k: Some(20),
            min_p: Some(0.0),
            ..Values::default()
        },
    };
    vec![preset("thinking", 0.6, 0.95), preset("non-thinking", 0.7, 0.8)]
}

/// What the user asked for on the command line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Numbers of the chain.
    pub values: Values,
    /// `--greedy`: the same as `--temp 0`.
    pub greedy: bool,
    /// `--logit-bias`.
    pub logit_bias: Vec<LogitBias>,
    /// `--ignore-eos`.
    pub ignore_eos: bool,
    /// `--seed`; without it one is drawn and shown.
    pub seed: Option<u64>,
}

/// The outcome: parameters for the sampler, the report, and what the user should be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// For [`super::Sampler::new`].
    pub params: Params,
    /// Every value in force and its origin; each shows itself as a line.
    pub effective: Vec<Effective>,
    /// Sentences for the user.
    pub warnings: Vec<String>,
}

/// Finds the settings in force. `preset` is the name given by `--preset`; `own` are the user's own presets, found
/// before the built-in ones, so a mode's preset can be replaced by one of its name. Errors: no such preset;
/// `--greedy` with a positive `--temp`; a value out of range, wherever it comes from.
pub fn resolve(
    mode: Mode,
    preset: Option<&str>,
    own: &[Preset],
    model: &Values,
    flags: &Overrides,
) -> Result<Resolved> {
    let chosen = preset.or(mode.preset()).map(|name| find(name, own)).transpose()?;
    let nothing = Values::default();
    let mut from_flags = flags.values.clone();
    if flags.greedy {
        if let Some(t) = from_flags.temperature.filter(|&t| t > 0.0) {
            return Err(Error::usage(format!("--greedy and --temp {t} contradict each other: give one of them")));
        }
        from_flags.temperature = Some(0.0);
    }
    let (name, values) = chosen.as_ref().map_or(("", &nothing), |p| (p.name.as_str(), &p.values));
    let layers = [(Origin::Flag, &from_flags), (Origin::Preset(name.to_owned()), values), (Origin::ModelFile, model)];
    let (chain, mut effective) = Settings::from_layers(&layers)?;

    let (seed, origin) = flags.seed.map_or_else(|| (fresh_seed(), Origin::Drawn), |seed| (seed, Origin::Flag));
    effective.push(Effective { name: "seed", value: seed.to_string(), origin });
    let params = Params { chain, logit_bias: flags.logit_bias.clone(), ignore_eos: flags.ignore_eos, seed };
    if params.ignore_eos {
        effective.push(Effective { name: "ignore_eos", value: "true".to_owned(), origin: Origin::Flag });
    }
    for b in &params.logit_bias {
        let value = format!("{}{:+}", b.token, b.bias);
        effective.push(Effective { name: "logit_bias", value, origin: Origin::Flag });
    }

    let mut warnings = overruled(name, values, model, &from_flags);
    if mode == Mode::Thinking && params.is_greedy() {
        warnings.push(
            "greedy decoding while thinking: Qwen3's model card advises against it, as answers get worse and may \
             repeat without end; it recommends --temp 0.6 --top-p 0.95 --top-k 20 --min-p 0"
                .to_owned(),
        );
    }
    Ok(Resolved { params, effective, warnings })
}

/// The preset of a name, the user's own first.
fn find(name: &str, own: &[Preset]) -> Result<Preset> {
    let new = |p: &Preset| own.iter().all(|o| o.name != p.name);
    let known: Vec<Preset> = own.iter().cloned().chain(built_in().into_iter().filter(new)).collect();
    known.iter().find(|p| p.name == name).cloned().ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|p| p.name.as_str()).collect();
        Error::usage(format!("there is no preset {name:?}; there are: {}", names.join(", ")))
    })
}

/// Values of the model file that lose against the preset although they are no values of the model's card.
fn overruled(name: &str, values: &Values, model: &Values, flags: &Values) -> Vec<String> {
    let card: Vec<Values> = built_in().into_iter().map(|p| p.values).collect();
    let unlike_card = |setting: &str| card.iter().all(|c| c.conflicts(model).iter().any(|(n, ..)| *n == setting));
    let flagged = |setting: &str| flags.set(setting);
    let conflicts = values.conflicts(model).into_iter();
    conflicts
        .filter(|(setting, ..)| unlike_card(setting) && !flagged(setting))
        .map(|(setting, flag, ours, theirs)| {
            let advice = format!("to follow the file, give {flag} {theirs}");
            format!("the model file recommends {setting} {theirs}, preset {name} has {ours}: {advice}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn lines(resolved: &Resolved) -> Vec<String> {
        resolved.effective.iter().map(ToString::to_string).collect()
    }

    fn plain(mode: Mode, preset: Option<&str>) -> Resolved {
        resolve(mode, preset, &[], &Values::default(), &Overrides::default()).unwrap()
    }

    #[test]
    fn the_mode_chooses_the_cards_values() {
        let numbers = |r: &Resolved| {
            let c = &r.params.chain;
            (c.temperature, c.top_p, c.top_k, c.min_p)
        };
        assert_eq!(numbers(&plain(Mode::Thinking, None)), (0.6, 0.95, 20, 0.0));
        assert_eq!(numbers(&plain(Mode::NonThinking, None)), (0.7, 0.8, 20, 0.0));
        assert_eq!(numbers(&plain(Mode::Thinking, Some("non-thinking"))), (0.7, 0.8, 20, 0.0));
        assert_eq!(numbers(&plain(Mode::Raw, Some("thinking"))), (0.6, 0.95, 20, 0.0));
        assert!(lines(&plain(Mode::Raw, None))[..8].iter().all(|line| line.ends_with("(default)")));
    }

    #[test]
    fn every_value_says_where_it_comes_from() {
        let model = Values { repeat_penalty: Some(1.1), temperature: Some(0.6), ..Values::default() };
        let flags = Overrides {
            values: Values { top_p: Some(0.5), ..Values::default() },
            seed: Some(42),
            ignore_eos: true,
            logit_bias: vec!["5-1.5".parse().unwrap(), "6=false".parse().unwrap()],
            ..Overrides::default()
        };
        let resolved = resolve(Mode::NonThinking, None, &[], &model, &flags).unwrap();
        assert_eq!(
            lines(&resolved),
            [
                "temperature 0.7 (preset non-thinking)",
                "top_k 20 (preset non-thinking)",
                "top_p 0.5 (flag)",
                "min_p 0 (preset non-thinking)",
                "presence_penalty 0 (default)",
                "frequency_penalty 0 (default)",
                "repeat_penalty 1.1 (model file)",
                "repeat_last_n 64 (default)",
                "seed 42 (flag)",
                "ignore_eos true (flag)",
                "logit_bias 5-1.5 (flag)",
                "logit_bias 6-inf (flag)",
            ]
        );
        assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
        assert_eq!(plain(Mode::Raw, None).effective[8].origin, Origin::Drawn);
    }

    #[test]
    fn an_overruled_model_file_is_reported() {
        let model = Values { temperature: Some(1.0), top_k: Some(20), top_p: Some(0.95), ..Values::default() };
        let resolved = resolve(Mode::NonThinking, None, &[], &model, &Overrides::default()).unwrap();
        assert_eq!(resolved.warnings.len(), 1, "{:?}", resolved.warnings);
        assert!(resolved.warnings[0].contains("temperature 1") && resolved.warnings[0].contains("--temp 1"));
        let flags =
            Overrides { values: Values { temperature: Some(0.9), ..Values::default() }, ..Overrides::default() };
        assert!(resolve(Mode::NonThinking, None, &[], &model, &flags).unwrap().warnings.is_empty());
        let raw = resolve(Mode::Raw, None, &[], &model, &Overrides::default()).unwrap();
        assert_eq!(raw.params.chain.temperature, 1.0);
        assert_eq!(lines(&raw)[0], "temperature 1 (model file)");
        assert!(raw.warnings.is_empty());
    }

    #[test]
    fn greedy_is_allowed_and_warned_about_while_thinking() {
        let greedy = Overrides { greedy: true, ..Overrides::default() };
        let zero = Overrides { values: Values { temperature: Some(0.0), ..Values::default() }, ..Overrides::default() };
        for flags in [&greedy, &zero] {
            let thinking = resolve(Mode::Thinking, None, &[], &Values::default(), flags).unwrap();
            assert!(thinking.params.is_greedy());
            assert!(thinking.warnings[0].contains("greedy"), "{:?}", thinking.warnings);
            assert_eq!(lines(&thinking)[0], "temperature 0 (flag)");
            let direct = resolve(Mode::NonThinking, None, &[], &Values::default(), flags).unwrap();
            assert!(direct.params.is_greedy() && direct.warnings.is_empty());
        }
        let both = Overrides { values: Values { temperature: Some(0.5), ..Values::default() }, ..greedy };
        assert!(resolve(Mode::Raw, None, &[], &Values::default(), &both).is_err());
    }

    #[test]
    fn own_presets_come_first_and_unknown_ones_are_named() {
        let mine = |name: &str| Preset {
            name: name.to_owned(),
            values: Values { temperature: Some(1.3), ..Values::default() },
        };
        let own = [mine("wild"), mine("thinking")];
        let get = |mode, preset| resolve(mode, preset, &own, &Values::default(), &Overrides::default());
        assert_eq!(lines(&get(Mode::NonThinking, Some("wild")).unwrap())[0], "temperature 1.3 (preset wild)");
        assert_eq!(lines(&get(Mode::Thinking, None).unwrap())[0], "temperature 1.3 (preset thinking)");
        let error = get(Mode::Thinking, Some("tame")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(
            error.to_string().contains("\"tame\"") && error.to_string().contains("wild, thinking, non-thinking"),
            "{error}"
        );
    }

    #[test]
    fn values_out_of_range_name_their_source() {
        let model = Values { repeat_penalty: Some(f32::NAN), ..Values::default() };
        let error = resolve(Mode::Thinking, None, &[], &model, &Overrides::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::File);
        assert!(error.to_string().contains("repeat_penalty is NaN (model file)"), "{error}");
        let flags = Overrides { values: Values { min_p: Some(2.0), ..Values::default() }, ..Overrides::default() };
        let error = resolve(Mode::Thinking, None, &[], &Values::default(), &flags).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("--min-p"), "{error}");
    }
}
