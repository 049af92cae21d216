//! Models in folders of GGUF files: LM Studio's (`PUBLISHER/REPO/FILE.gguf`) and those that the user names.

use super::super::cache::walk;
use super::{Model, Named, Store, grouped, repo_names, told_apart};
use std::path::Path;

/// The models below a folder.
pub(super) fn models(folder: &Path, store: Store) -> Vec<Model> {
    let mut paths = Vec::new();
    walk(folder, "", 0, &mut paths);
    paths.sort();
    let called = |label: &str, stem: &str| match stem.split('/').collect::<Vec<_>>()[..] {
        [user, repo, _, ..] if store == Store::LmStudio => repo_names(&format!("{user}/{repo}"), label, stem),
        _ => plain_names(stem),
    };
    told_apart(grouped(&paths, store, |path| folder.join(path), called))
}

/// A file in a folder is called by its name without the ending.
fn plain_names(stem: &str) -> Named {
    let file = stem.rsplit('/').next().unwrap_or(stem);
    Named { name: file.to_owned(), aliases: vec![format!("{file}.gguf"), stem.to_owned(), format!("{stem}.gguf")] }
}
