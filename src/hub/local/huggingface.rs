//! Models in the Hugging Face cache: the files of each repository's newest commit, and of older ones what is not in it.

use super::super::cache::Cache;
use super::super::spec::DEFAULT_REVISION;
use super::{Model, Named, Store, grouped, repo_names, told_apart};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The models below the cache's folder.
pub(super) fn models(folder: &Path) -> Vec<Model> {
    let mut found = Vec::new();
    for (name, repo) in Cache::new(folder).repos() {
        let mut of_repo = Vec::new();
        let mut seen: HashSet<Vec<PathBuf>> = HashSet::new();
        for (age, commit) in repo.commits(DEFAULT_REVISION).iter().enumerate() {
            let paths = repo.files(commit);
            let called = |label: &str, stem: &str| match age {
                0 => repo_names(&name, label, stem),
                // An older one answers to its whole name only.
                _ => Named { name: format!("{name}@{}:{label}", &commit[..8]), aliases: Vec::new() },
            };
            let models = grouped(&paths, Store::HuggingFace, |path| repo.pointer(commit, path), called);
            let real = |m: &Model| m.files.iter().map(|f| std::fs::canonicalize(f).unwrap_or(f.clone())).collect();
            of_repo.extend(models.into_iter().filter(|m| seen.insert(real(m))));
        }
        found.extend(told_apart(of_repo));
    }
    found
}
