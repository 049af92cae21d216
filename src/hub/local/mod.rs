//! Models that are on this computer already: in the Hugging Face cache, Ollama's, LM Studio's, and given folders.
//!
//! [`models`] looks at names only and is quick; [`Model::look`] reads the header of one. Nothing is ever written there.
//! What cannot be used is listed with the reason, so that one broken entry hides no other.

mod folders;
mod huggingface;
mod ollama;

use super::digest::recorded_sha256;
use crate::error::{Error, Result};
use crate::gguf::Brief;
use std::path::{Path, PathBuf};

/// Where to look. A folder that is not there holds nothing.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The Hugging Face cache.
    pub huggingface: Option<PathBuf>,
    /// Ollama's `models` folders.
    pub ollama: Vec<PathBuf>,
    /// LM Studio's `models` folders.
    pub lmstudio: Vec<PathBuf>,
    /// Folders of GGUF files.
    pub folders: Vec<PathBuf>,
}

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// The Hugging Face cache.
    HuggingFace,
    /// Ollama.
    Ollama,
    /// LM Studio.
    LmStudio,
    /// A folder that was named.
    Folder,
}

impl Store {
    /// For lists.
    pub fn name(self) -> &'static str {
        match self {
            Store::HuggingFace => "huggingface",
            Store::Ollama => "ollama",
            Store::LmStudio => "lmstudio",
            Store::Folder => "folder",
        }
    }
}

/// A model of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// What to call it with `-m`; unique in its store.
    pub name: String,
    /// Whose it is.
    pub store: Store,
    /// Its files, in the order of its shards; to open it, open the first.
    pub files: Vec<PathBuf>,
    /// Bytes of the files.
    pub bytes: u64,
    /// The quantization in its name.
    pub quant: Option<String>,
    /// Why it cannot be used, where that shows without reading it.
    pub trouble: Option<String>,
    /// Shorter names that it answers to, in small letters.
    aliases: Vec<String>,
}

impl Model {
    /// Reads the header of its first file.
    ///
    /// # Errors
    /// When it cannot be used; says why.
    pub fn look(&self) -> Result<Brief> {
        if let Some(trouble) = &self.trouble {
            return Err(Error::file(trouble.clone()));
        }
        let first = self.files.first().ok_or_else(|| Error::file(format!("{}: has no file", self.name)))?;
        let brief = Brief::read(first)?;
        self.files[1..].iter().try_for_each(|file| Brief::read(file).map(drop))?;
        let count = self.files.len() as u64;
        if brief.shards != count {
            let (name, shards) = (first.display(), brief.shards);
            return Err(Error::file(format!("{name}: is one of {shards} shards, but {count} are here")));
        }
        Ok(brief)
    }

    fn answers_to(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }

    /// Whether it is the same file, or one with the same recorded hash, so that it does not matter which is taken.
    fn is_copy_of(&self, other: &Model) -> bool {
        let id = |model: &Model| -> Vec<Option<String>> {
            let real = |file: &PathBuf| Some(std::fs::canonicalize(file).ok()?.to_string_lossy().into_owned());
            model.files.iter().map(|file| recorded_sha256(file).or_else(|| real(file))).collect()
        };
        let (a, b) = (id(self), id(other));
        !a.is_empty() && a == b && a.iter().all(Option::is_some)
    }
}

/// All models of all places, store by store, sorted by name.
pub fn models(places: &Places) -> Vec<Model> {
    let mut found = Vec::new();
    let mut add = |mut models: Vec<Model>| {
        models.sort_by(|a, b| a.name.cmp(&b.name));
        found.extend(models);
    };
    places.huggingface.iter().for_each(|folder| add(huggingface::models(folder)));
    places.ollama.iter().for_each(|folder| add(ollama::models(folder)));
    places.lmstudio.iter().for_each(|folder| add(folders::models(folder, Store::LmStudio)));
    places.folders.iter().for_each(|folder| add(folders::models(folder, Store::Folder)));
    found
}

/// The model called `name`, if there is one, by its whole name or a shorter one; the case of letters does not matter.
///
/// # Errors
/// Names the candidates when several different models answer to it.
pub fn find<'a>(models: &'a [Model], name: &str) -> Result<Option<&'a Model>> {
    let whole: Vec<&Model> = models.iter().filter(|m| m.name.eq_ignore_ascii_case(name)).collect();
    let any = || models.iter().filter(|m| m.answers_to(name)).collect();
    let fit: Vec<&Model> = if whole.is_empty() { any() } else { whole };
    match fit[..] {
        [] => Ok(None),
        [only] => Ok(Some(only)),
        [first, ref rest @ ..] if rest.iter().all(|m| m.is_copy_of(first)) => Ok(Some(first)),
        _ => {
            let usable: Vec<&&Model> = fit.iter().filter(|m| m.trouble.is_none()).collect();
            if let [only] = usable[..] {
                return Ok(Some(only));
            }
            Err(Error::usage(format!(
                "{name:?} may mean {} models; name one in full, or by its path:{}",
                fit.len(),
                lines(&fit)
            )))
        }
    }
}

fn lines(models: &[&Model]) -> String {
    let path = |m: &Model| m.files.first().map(|f| f.display().to_string()).unwrap_or_default();
    models.iter().map(|m| format!("\n  {}  ({})  {}", m.name, m.store.name(), path(m))).collect()
}

/// The error for a name that none has: with those that are near, and how to get it.
pub fn not_found(models: &[Model], name: &str) -> Error {
    let word = name.to_ascii_lowercase();
    let word = word.rsplit('/').next().unwrap_or(&word).split(':').next().unwrap_or_default().to_owned();
    let near: Vec<&Model> =
        models.iter().filter(|m| !word.is_empty() && m.name.to_ascii_lowercase().contains(&word)).take(8).collect();
    let hint = if near.is_empty() { String::new() } else { format!("; near:{}", lines(&near)) };
    let hub = match super::Spec::parse(name) {
        Ok(spec) => format!("; to get it from the hub: lapwing pull {spec}"),
        Err(_) => String::new(),
    };
    Error::usage(format!("{name}: is no file, and no model of that name is here (see `lapwing list`){hub}{hint}"))
}

/// Bytes of the files, and what is wrong with them as far as the file system knows.
fn stat(files: &[PathBuf]) -> (u64, Option<String>) {
    let mut bytes = 0;
    let mut trouble = None;
    for file in files {
        match std::fs::metadata(file) {
            Ok(found) if found.is_file() => bytes += found.len(),
            Ok(_) => trouble = Some(format!("{}: is not a file", file.display())),
            Err(e) => {
                let broken_link = std::fs::symlink_metadata(file).is_ok();
                let why = if broken_link { "is a link to a file that is not there".to_owned() } else { e.to_string() };
                trouble = Some(format!("{}: {why}", file.display()));
            }
        }
    }
    (bytes, trouble)
}

/// The models among `paths` (relative to `root`), named by what `name` makes of a group's label and stem.
fn grouped(
    paths: &[String],
    store: Store,
    file: impl Fn(&str) -> PathBuf,
    name: impl Fn(&str, &str) -> Named,
) -> Vec<Model> {
    let model = |group: super::choose::Group| {
        let files: Vec<PathBuf> = group.parts.iter().map(|&at| file(&paths[at])).collect();
        let (bytes, mut trouble) = stat(&files);
        if !group.is_whole() {
            let (have, count) = (group.parts.len(), group.count);
            trouble = Some(format!("{}: {have} of its {count} files are here", group.stem));
        }
        let Named { name, aliases } = name(group.label(), &group.stem);
        Model { name, store, files, bytes, quant: group.quant, trouble, aliases }
    };
    super::choose::groups(paths).into_iter().map(model).collect()
}

/// A name and the shorter ones.
struct Named {
    name: String,
    aliases: Vec<String>,
}

/// Names of a model of `user/repo`.
fn repo_names(repo: &str, label: &str, stem: &str) -> Named {
    let short = repo.rsplit('/').next().unwrap_or(repo);
    let file = stem.rsplit('/').next().unwrap_or(stem);
    let aliases = [
        repo.to_owned(),
        short.to_owned(),
        format!("{short}:{label}"),
        file.to_owned(),
        format!("{file}.gguf"),
        format!("{repo}/{stem}.gguf"),
    ];
    Named { name: format!("{repo}:{label}"), aliases: aliases.to_vec() }
}

/// Gives models of one store that share a name longer ones, with the file's stem.
fn told_apart(mut models: Vec<Model>) -> Vec<Model> {
    let names: Vec<String> = models.iter().map(|m| m.name.clone()).collect();
    for model in &mut models {
        if names.iter().filter(|n| n.eq_ignore_ascii_case(&model.name)).count() > 1 {
            let stem = model.files.first().and_then(|f| f.file_stem()).unwrap_or_default().to_string_lossy();
            let short = std::mem::take(&mut model.name);
            let base = short.rsplit_once(':').map_or(short.as_str(), |(base, _)| base);
            model.name = format!("{base}:{stem}");
            model.aliases.push(short);
        }
    }
    models
}

/// Whether a path exists, or is a broken link.
fn is_there(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str, aliases: &[&str], store: Store) -> Model {
        Model {
            name: name.to_owned(),
            store,
            files: vec![PathBuf::from(name)],
            bytes: 1,
            quant: None,
            trouble: None,
            aliases: aliases.iter().map(|a| (*a).to_owned()).collect(),
        }
    }

    #[test]
    fn names_and_clashes() {
        let models = [
            model("Qwen/Qwen3-8B-GGUF:Q4_K_M", &["qwen3-8b-gguf"], Store::HuggingFace),
            model("Qwen/Qwen3-8B-GGUF:Q8_0", &["qwen3-8b-gguf"], Store::HuggingFace),
            model("qwen3:8b", &[], Store::Ollama),
        ];
        assert_eq!(find(&models, "qwen/qwen3-8b-gguf:q8_0").unwrap().unwrap().name, "Qwen/Qwen3-8B-GGUF:Q8_0");
        assert_eq!(find(&models, "Qwen3:8B").unwrap().unwrap().store, Store::Ollama);
        let clash = find(&models, "Qwen3-8B-GGUF").unwrap_err().to_string();
        assert!(clash.contains("2 models") && clash.contains(":Q4_K_M  (huggingface)") && clash.contains(":Q8_0"));
        assert_eq!(find(&models, "us/Qwen3-8B-GGUF").unwrap(), None);
        let none = not_found(&models, "us/Qwen3-8B-GGUF").to_string();
        assert!(none.contains("lapwing pull us/Qwen3-8B-GGUF") && none.contains("near:"), "{none}");
    }
}
