//! What is wrong with a machine, a model file or settings, and what to do about it.
//!
//! * [`machine`]: kernels against the plain ones, threads, memory;
//! * [`model`]: the file: structure, weights, hash; [`text`]: its vocabulary and template;
//! * [`rope`]: positions: flags and metadata that do not do what they seem to.
//!
//! Checks say nothing about what is in order. They look at facts that are given to them, so that every fault can be
//! planted in a test.

pub mod machine;
pub mod model;
pub mod rope;
pub mod text;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Works, but not as well as it could, or not as somebody expects.
    Warning,
    /// Does not work, or gives wrong answers.
    Problem,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A short name that stays the same: `template-foreign`.
    pub check: &'static str,
    /// What was found and what was expected.
    pub found: String,
    /// What to do.
    pub advice: String,
}

impl Finding {
    fn new(severity: Severity, check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity, check, found: found.into(), advice: advice.into() }
    }

    fn problem(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Severity::Problem, check, found, advice)
    }

    fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Severity::Warning, check, found, advice)
    }

    fn note(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(Severity::Note, check, found, advice)
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.found, self.advice)
    }
}
