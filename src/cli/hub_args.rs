//! The flags and variables that say how to get a model: from the hub, from its cache, or from another program's store.
//! Names are those of llama.cpp (`-hf`, `-hff`, `-hft`, `-mu`) and of huggingface_hub (`HF_HOME`, `HF_TOKEN` and so on).

use super::{interrupt, output};
use crate::demo;
use crate::error::{Error, Result};
use crate::hub::local::{self, Places};
use crate::hub::{Event, Found, Hub, HubOptions, Spec};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ENDPOINT: &str = "https://huggingface.co";
const CONNECTIONS: usize = 4;
const TRIES: u32 = 8;
const STALL_SECONDS: u64 = 30;

/// Where a model comes from when it is no file.
#[derive(Args, Clone, Debug, Default)]
pub struct HubArgs {
    /// Take the model from the Hugging Face hub: its cache, or a download [QUANT: Q4_K_M]. Also -hf.
    #[arg(long, visible_alias = "hf", alias = "hfr", value_name = "USER/REPO[:QUANT]", conflicts_with = "model")]
    pub hf_repo: Option<String>,
    /// Take this file of the repository. Also -hff.
    #[arg(long, alias = "hff", value_name = "FILE", requires = "hf_repo")]
    pub hf_file: Option<String>,
    /// Take the file with this address on the hub. Also -mu.
    #[arg(long, alias = "mu", value_name = "URL", conflicts_with_all = ["model", "hf_repo"])]
    pub model_url: Option<String>,
    /// How to reach the hub.
    #[command(flatten)]
    pub access: AccessArgs,
    /// Where else to look for names.
    #[command(flatten)]
    pub places: PlaceArgs,
}

/// How to reach the hub.
#[derive(Args, Clone, Debug, Default)]
pub struct AccessArgs {
    /// Token for gated and private repositories [default: the one of `hf auth login`]. Also -hft.
    #[arg(long, alias = "hft", env = "HF_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub hf_token: Option<String>,
    /// Do not use the network (also HF_HUB_OFFLINE=1).
    #[arg(long)]
    pub offline: bool,
    /// Trust the certificates of this PEM file in place of those built in.
    #[arg(long, env = "SSL_CERT_FILE", value_name = "FILE")]
    pub cacert: Option<PathBuf>,
}

/// Where models may be, beside the stores that are known.
#[derive(Args, Clone, Debug, Default)]
pub struct PlaceArgs {
    /// A folder of GGUF files in which -m finds names. Can be given several times.
    #[arg(long, value_name = "DIR")]
    pub models_dir: Vec<PathBuf>,
}

impl HubArgs {
    /// The file to open: of the hub, else at this path, else of this name in one of the stores.
    ///
    /// # Errors
    /// When it is not found; when Ctrl-C ends a download.
    pub fn locate(&self, model: Option<&Path>) -> Result<PathBuf> {
        if let Some(spec) = self.spec()? {
            let hub = Hub::new(self.access.options(CONNECTIONS, TRIES)?);
            let found = fetch(&hub, &spec, false)?;
            return found.files.into_iter().next().ok_or_else(|| Error::file(format!("{spec}: has no file")));
        }
        self.places.find(model.unwrap_or(Path::new(demo::NAME)))
    }

    /// What of the hub is asked for.
    fn spec(&self) -> Result<Option<Spec>> {
        let spec = match self.hf_repo.as_ref().or(self.model_url.as_ref()) {
            Some(text) => Spec::parse(text)?,
            None => return Ok(None),
        };
        Ok(Some(match &self.hf_file {
            Some(file) => spec.file(file)?,
            None => spec,
        }))
    }
}

impl AccessArgs {
    /// With the variables of huggingface_hub for what no flag says.
    pub fn options(&self, connections: usize, tries: u32) -> Result<HubOptions> {
        let stall = match var("HF_HUB_DOWNLOAD_TIMEOUT") {
            None => STALL_SECONDS,
            Some(text) => text.parse().ok().filter(|n| (1..=3600).contains(n)).ok_or_else(|| {
                Error::usage(format!("HF_HUB_DOWNLOAD_TIMEOUT is {text:?}, expected seconds from 1 to 3600"))
            })?,
        };
        Ok(HubOptions {
            endpoint: var("HF_ENDPOINT").or_else(|| var("MODEL_ENDPOINT")).unwrap_or_else(|| ENDPOINT.to_owned()),
            cache: cache_folder()?,
            token: self.token(),
            offline: self.offline || is_true("HF_HUB_OFFLINE") || is_true("LLAMA_ARG_OFFLINE"),
            connections,
            tries,
            stall: Duration::from_secs(stall),
            ca_file: self.cacert.clone().filter(|path| !path.as_os_str().is_empty()),
        })
    }

    fn token(&self) -> Option<String> {
        let given = self.hf_token.clone().filter(|t| !t.trim().is_empty()).or_else(|| var("HUGGING_FACE_HUB_TOKEN"));
        let file = || {
            let path = var("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(home_of_hub().ok()?.join("token")))?;
            std::fs::read_to_string(path).ok()
        };
        given.or_else(file).map(|token| token.trim().to_owned()).filter(|token| !token.is_empty())
    }
}

impl PlaceArgs {
    /// All places where models may be.
    pub fn places(&self) -> Places {
        let home = etcetera::home_dir().ok();
        let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let ollama = match var("OLLAMA_MODELS") {
            Some(folder) => vec![PathBuf::from(folder)],
            // The second is where Ollama's service on Linux keeps them.
            None => in_home(".ollama/models").into_iter().chain(service_folder()).collect(),
        };
        let pointer = in_home(".lmstudio-home-pointer").and_then(|file| std::fs::read_to_string(file).ok());
        let named = pointer.map(|text| PathBuf::from(text.trim()).join("models"));
        let mut lmstudio = Vec::new();
        for folder in [named, in_home(".lmstudio/models"), in_home(".cache/lm-studio/models")].into_iter().flatten() {
            if !lmstudio.contains(&folder) {
                lmstudio.push(folder);
            }
        }
        let listed = std::env::var_os("LAPWING_MODELS_DIR").unwrap_or_default();
        let listed = std::env::split_paths(&listed).filter(|folder| !folder.as_os_str().is_empty());
        Places {
            huggingface: cache_folder().ok(),
            ollama,
            lmstudio,
            folders: self.models_dir.iter().cloned().chain(listed).collect(),
        }
    }

    /// The file at this path, or of the model with this name; the built-in model's name stands for itself.
    pub fn find(&self, path: &Path) -> Result<PathBuf> {
        if path.as_os_str() == demo::NAME {
            return Ok(path.to_path_buf());
        }
        // What is written like a path is one, and gets the error of one when it is not there.
        let is_path = path.exists() || path.is_absolute() || path.starts_with(".") || path.starts_with("..");
        let Some(name) = path.to_str().filter(|_| !is_path) else { return Ok(path.to_path_buf()) };
        let models = local::models(&self.places());
        let Some(model) = local::find(&models, name)? else {
            // The name of a file that is not there gets the error of a file.
            let is_file_name = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
            return if is_file_name { Ok(path.to_path_buf()) } else { Err(local::not_found(&models, name)) };
        };
        if let Some(trouble) = &model.trouble {
            return Err(Error::file(format!("{}: {trouble}", model.name)));
        }
        let first = model.files.first().ok_or_else(|| Error::file(format!("{name}: has no file")))?;
        output::note(&format!("{name}: {} ({})", first.display(), model.store.name()));
        Ok(first.clone())
    }
}

#[cfg(target_os = "linux")]
fn service_folder() -> Option<PathBuf> {
    Some(PathBuf::from("/usr/share/ollama/.ollama/models"))
}

#[cfg(not(target_os = "linux"))]
fn service_folder() -> Option<PathBuf> {
    None
}

/// A variable that is set to something.
fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// As huggingface_hub reads its switches.
fn is_true(name: &str) -> bool {
    var(name).is_some_and(|text| ["1", "ON", "YES", "TRUE"].contains(&text.to_ascii_uppercase().as_str()))
}

/// `~/` at the start is the home folder.
fn expand(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), etcetera::home_dir()) {
        (Some(rest), Ok(home)) => home.join(rest),
        _ => PathBuf::from(text),
    }
}

/// Where the hub's own programs keep their things.
fn home_of_hub() -> Result<PathBuf> {
    if let Some(home) = var("HF_HOME") {
        return Ok(expand(&home));
    }
    if let Some(cache) = var("XDG_CACHE_HOME") {
        return Ok(expand(&cache).join("huggingface"));
    }
    let home =
        etcetera::home_dir().map_err(|e| Error::runtime(format!("no home folder is known ({e}); set HF_HOME")))?;
    Ok(home.join(".cache").join("huggingface"))
}

/// The cache, as huggingface_hub and llama.cpp find it.
pub fn cache_folder() -> Result<PathBuf> {
    match var("HF_HUB_CACHE").or_else(|| var("HUGGINGFACE_HUB_CACHE")) {
        Some(folder) => Ok(expand(&folder)),
        None => Ok(home_of_hub()?.join("hub")),
    }
}

/// The model, with everything said that happens. `newest` asks the hub even when the cache has it.
///
/// # Errors
/// Also when Ctrl-C ended it, which [`interrupt::asked`] tells.
pub fn fetch(hub: &Hub, spec: &Spec, newest: bool) -> Result<Found> {
    interrupt::watch();
    let mut display = Display::default();
    let mut watch = |event: Event<'_>| {
        display.show(event);
        !interrupt::asked()
    };
    let found = if newest { hub.pull(spec, &mut watch) } else { hub.get(spec, &mut watch) };
    display.progress = None;
    found?.ok_or_else(|| Error::runtime(format!("{spec}: interrupted{}", display.kept())))
}

/// Shows what happens: a bar on a terminal, lines elsewhere.
#[derive(Default)]
struct Display {
    progress: Option<output::Progress>,
    name: String,
    resumed: u64,
    done: u64,
    total: u64,
    checking: bool,
}

impl Display {
    fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Start { name, bytes, resumed } => {
                let before = match resumed {
                    0 => String::new(),
                    n => format!(", {} of it here from before", size(n)),
                };
                output::note(&format!("downloading {name}: {}{before}", size(bytes)));
                let progress = Some(output::Progress::new("downloading", output::Unit::Bytes));
                *self = Self { progress, name: name.to_owned(), resumed, done: resumed, total: bytes, checking: false };
            }
            Event::Received { done, total } => {
                (self.done, self.total) = (done, total);
                // Rate and time left are of what comes now. What a restart threw away comes again.
                self.resumed = self.resumed.min(done);
                if let Some(progress) = &mut self.progress {
                    progress.update(done - self.resumed, total - self.resumed);
                }
            }
            Event::Checking { done, total } => {
                if !std::mem::replace(&mut self.checking, true) {
                    self.progress = Some(output::Progress::new("checking", output::Unit::Bytes));
                }
                if let Some(progress) = &mut self.progress {
                    progress.update(done, total);
                }
            }
            Event::Finished { name } => {
                self.progress = None;
                output::note(&format!("{name}: {}, whole and checked", size(self.total)));
            }
            Event::Note(text) => match &self.progress {
                Some(progress) => progress.aside(text),
                None => output::note(text),
            },
            Event::Waiting => {}
        }
    }

    /// What an interruption leaves.
    fn kept(&self) -> String {
        match self.done {
            0 => String::new(),
            n => format!(
                "; {} of {} of {} are kept, the same command goes on from there",
                size(n),
                size(self.total),
                self.name
            ),
        }
    }
}

/// Bytes for people, in the units of the hub's pages.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}
