//! What a user asks the hub for: `user/repo`, `user/repo:QUANT`, or the address of a file.
//!
//! A [`Spec`] holds nothing that could leave the cache's folder: every part of its names is checked when it is made.

use crate::error::{Error, Result};

/// The branch that is meant when none is named.
pub const DEFAULT_REVISION: &str = "main";

/// Which of a repository's models is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Q4_K_M where there is one, else the only one there is.
    Default,
    /// The one whose file name has this quantization, whatever the case of its letters.
    Quant(String),
    /// The one that this file is, or is a shard of: a path in the repository.
    File(String),
}

/// A model on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// `user/repo`.
    pub repo: String,
    /// A branch, tag or commit.
    pub revision: String,
    /// Which of its models.
    pub wanted: Wanted,
}

impl Spec {
    /// Reads `user/repo[:QUANT]`, with `hf.co/` or `https://huggingface.co/` before it or not, or the address of a
    /// file in a repository (`https://huggingface.co/user/repo/resolve/main/model.gguf`; `blob` will do).
    ///
    /// # Errors
    /// Says what is wrong with the text and what is expected.
    pub fn parse(text: &str) -> Result<Spec> {
        let wrong = |why: &str| {
            Error::usage(format!("{text:?} is no model of the hub: {why}; expected USER/REPO or USER/REPO:QUANT"))
        };
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let is_url = rest.len() != text.len();
        let rest = match rest.split_once('/') {
            Some((host, rest)) if is_url || ["hf.co", "huggingface.co"].contains(&host) => rest,
            _ => rest,
        };
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let parts: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
        if let [user, repo, "resolve" | "blob" | "raw", revision, path @ ..] = &parts[..] {
            let path = path.join("/");
            let spec = Spec {
                repo: repository(user, repo).map_err(|e| wrong(&e))?,
                revision: (*revision).to_owned(),
                wanted: Wanted::File(path.clone()),
            };
            check_path(&path).map_err(|e| wrong(&e))?;
            check_path(revision).map_err(|e| wrong(&e))?;
            return Ok(spec);
        }
        let [user, repo] = parts[..] else {
            return Err(wrong(&format!("it has {} parts between slashes, not two", parts.len())));
        };
        let (repo, wanted) = match repo.split_once(':') {
            None => (repo, Wanted::Default),
            Some((_, "")) => return Err(wrong("there is nothing behind the colon")),
            Some((repo, quant)) if quant.ends_with(".gguf") => (repo, Wanted::File(quant.to_owned())),
            Some((repo, quant)) => (repo, Wanted::Quant(quant.to_owned())),
        };
        let repo = repository(user, repo).map_err(|e| wrong(&e))?;
        Ok(Spec { repo, revision: DEFAULT_REVISION.to_owned(), wanted })
    }

    /// The same repository, and in it this file.
    ///
    /// # Errors
    /// When the path leads out of the repository.
    pub fn file(self, path: &str) -> Result<Spec> {
        check_path(path).map_err(|e| Error::usage(format!("{path:?} is no file of a repository: {e}")))?;
        Ok(Spec { wanted: Wanted::File(path.to_owned()), ..self })
    }
}

impl std::fmt::Display for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.repo)?;
        match &self.wanted {
            Wanted::Default => Ok(()),
            Wanted::Quant(name) | Wanted::File(name) => write!(f, ":{name}"),
        }
    }
}

/// `user/repo`, if both may be names on the hub.
pub(super) fn repository(user: &str, repo: &str) -> Result<String, String> {
    for name in [user, repo] {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let held = name.starts_with(['.', '-']) || name.ends_with(['.', '-']);
        if name.is_empty() || name.len() > 96 || held || !name.chars().all(plain) {
            return Err(format!("{name:?} cannot be a name there (letters, digits, '-', '_' and '.' inside)"));
        }
        if name.contains("..") || name.contains("--") {
            return Err(format!("{name:?} cannot be a name there (\"..\" and \"--\" are not allowed)"));
        }
    }
    Ok(format!("{user}/{repo}"))
}

/// Whether `path` is a relative path of plain names, which stays below the folder it is joined to on every system.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    if path.is_empty() || path.len() > 1024 {
        return Err("a path has 1 to 1024 bytes".to_owned());
    }
    for part in path.split('/') {
        let odd = |c: char| c.is_control() || "\\:*?\"<>|".contains(c);
        if part.is_empty() || part == "." || part == ".." || part.chars().any(odd) || part.ends_with(['.', ' ']) {
            return Err(format!("{part:?} is not a plain file name"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String, Wanted) {
        let spec = Spec::parse(text).unwrap();
        (spec.repo, spec.revision, spec.wanted)
    }

    #[test]
    fn ways_to_name_a_model() {
        let main = || "main".to_owned();
        let quant = |name: &str| Wanted::Quant(name.to_owned());
        let repo = || "Qwen/Qwen3-8B-GGUF".to_owned();
        assert_eq!(parsed("Qwen/Qwen3-8B-GGUF"), (repo(), main(), Wanted::Default));
        assert_eq!(parsed("Qwen/Qwen3-8B-GGUF:Q8_0"), (repo(), main(), quant("Q8_0")));
        assert_eq!(parsed("hf.co/Qwen/Qwen3-8B-GGUF:q8_0"), (repo(), main(), quant("q8_0")));
        assert_eq!(parsed("https://huggingface.co/Qwen/Qwen3-8B-GGUF/"), (repo(), main(), Wanted::Default));
        let file = Wanted::File("a/b-Q8_0.gguf".to_owned());
        let url = "https://mirror.example/Qwen/Qwen3-8B-GGUF/resolve/v1/a/b-Q8_0.gguf?download=true";
        assert_eq!(parsed(url), (repo(), "v1".to_owned(), file));
    }

    #[test]
    fn names_that_would_leave_the_cache_are_refused() {
        for bad in
            ["", "x", "/", "a/b/c", "a/", "../b", "a/..", "a/b:", "a/b--c", "a/.b", "a/b c", "a/\u{e9}", "a\\b/c"]
        {
            assert!(Spec::parse(bad).unwrap_err().to_string().contains("USER/REPO"), "{bad}");
        }
        assert!(Spec::parse("https://huggingface.co/a/b/resolve/main/../../x.gguf").is_err());
        for bad in ["", "..", "a/../b", "/a", "a//b", "C:/x", "a\\b", "a/\u{7}", "a/.", "con.", "a/b/"] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
        assert!(check_path("BF16/Qwen3 8B-BF16-00001-of-00002.gguf").is_ok());
    }
}
