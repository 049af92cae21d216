//! Getting models: from the Hugging Face hub into its cache, and finding those that are on this computer already.
//!
//! * [`Hub::get`] gives the files of a [`Spec`]: from the cache if they are there, else by [`Hub::pull`], which asks the
//!   hub and downloads what is missing: in parts, several at once, resumed after any interruption, checked by SHA-256;
//! * [`local`] lists models in the Hugging Face cache, Ollama's, LM Studio's and given folders, and finds one by name;
//! * [`recorded_sha256`] is the hash that a file was checked by, read off where it lies.
//!
//! Nothing is printed and no variable read here: [`HubOptions`] says all, and [`Event`]s tell the caller what happens;
//! its answer `false` ends the work in good order, with what is there kept.
//!
//! Invariants: a file gets its name in the cache only whole and with the hash that the hub says. The token goes to the
//! hub's own address only. Names from the hub are checked before they become paths (`spec`, `listing`).

mod cache;
mod choose;
mod digest;
mod extents;
mod http;
mod listing;
pub mod local;
mod partial;
mod refusal;
mod retry;
mod spec;
mod transfer;
mod types;

pub use choose::DEFAULT_QUANT;
pub use digest::{recorded_sha256, sha256_file};
pub use spec::{DEFAULT_REVISION, Spec, Wanted};
pub use types::{Event, Found, HubOptions, Watch};

use crate::error::{Error, Result};
use cache::{Cache, Repo};
use choose::Choice;
use http::{Ask, Http, HttpOptions, escape_path};
use listing::{Listing, RemoteFile};
use partial::{Identity, Partial};
use refusal::{Asked, Refusal};
use retry::{Patience, Trouble};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use transfer::{Order, Outcome, Transfer};

/// Room that is to stay on the disk beside what is downloaded.
const SPARE_ROOM: u64 = 64 << 20;
/// How often a wait looks whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// An answer read as text, or why there is none.
enum Answer {
    Text(String),
    Refused(Refusal),
    Stopped,
}

/// The hub and its cache.
pub struct Hub {
    options: HubOptions,
    cache: Cache,
    /// Made when something is first asked for: what is in the cache needs neither endpoint nor certificates.
    http: OnceLock<Arc<Http>>,
}

impl Hub {
    /// A hub; nothing is sent yet.
    pub fn new(options: HubOptions) -> Hub {
        Hub { cache: Cache::new(&options.cache), http: OnceLock::new(), options }
    }

    fn http(&self) -> Result<&Arc<Http>> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let http = Http::new(&HttpOptions {
            endpoint: &self.options.endpoint,
            token: self.options.token.as_deref(),
            ca_file: self.options.ca_file.as_ref(),
            stall: self.options.stall,
        })?;
        Ok(self.http.get_or_init(|| Arc::new(http)))
    }

    /// The model's files: those in the cache, without asking the hub; else from the hub. `None` when `watch` said to stop.
    ///
    /// # Errors
    /// Names the repository and says what to do.
    pub fn get(&self, spec: &Spec, watch: Watch<'_>) -> Result<Option<Found>> {
        if let Some((found, note)) = self.cached(spec) {
            return Ok(note.is_none_or(|note| watch(Event::Note(&note))).then_some(found));
        }
        self.pull(spec, watch)
    }

    /// The model in the cache, if all its files are there, and what is to be said about it.
    pub fn cached(&self, spec: &Spec) -> Option<(Found, Option<String>)> {
        let repo = self.cache.repo(&spec.repo);
        let commits = repo.commits(&spec.revision);
        commits.iter().enumerate().find_map(|(at, commit)| {
            let paths = repo.files(commit);
            let groups = choose::groups(&paths);
            let Choice::One { group, why } = choose::choose(&groups, &paths, &spec.wanted) else { return None };
            let files: Vec<PathBuf> = group.parts.iter().map(|&i| repo.pointer(commit, &paths[i])).collect();
            let here = group.is_whole() && files.iter().all(|file| fs::metadata(file).is_ok_and(|m| m.len() > 0));
            let old = format!("{spec}: taking it from the older commit {}, the newest here that has it", &commit[..8]);
            here.then(|| {
                (
                    Found::new(&spec.repo, commit, files),
                    if at > 0 { Some(old) } else { why.map(|w| format!("{spec}: {w}")) },
                )
            })
        })
    }

    /// Asks the hub and downloads what is missing, also when an older version is in the cache. `None` when `watch` said
    /// to stop: what is there is kept, and the next pull goes on with it.
    ///
    /// # Errors
    /// Names the repository or file and says what to do.
    pub fn pull(&self, spec: &Spec, watch: Watch<'_>) -> Result<Option<Found>> {
        if self.options.offline {
            return match self.cached(spec) {
                Some((found, note)) => Ok(note.is_none_or(|note| watch(Event::Note(&note))).then_some(found)),
                None => Err(Error::usage(format!(
                    "{spec}: is not in {}, and --offline forbids to download it; see `lapwing list`",
                    self.options.cache.display()
                ))),
            };
        }
        let Some(listing) = self.listing(spec, watch)? else { return Ok(None) };
        let (files, why) = listing.pick(spec)?;
        if why.is_some_and(|why| !watch(Event::Note(&format!("{spec}: {why}")))) {
            return Ok(None);
        }
        let repo = self.cache.repo(&listing.repo);
        self.check_room(&listing, &repo, &files)?;
        repo.create()?;
        let mut paths = Vec::new();
        for file in &files {
            match self.fetch(&listing, &repo, file, watch)? {
                Some(path) => paths.push(path),
                None => return Ok(None),
            }
        }
        repo.set_commit(&spec.revision, &listing.commit)?;
        Ok(Some(Found::new(&listing.repo, &listing.commit, paths)))
    }

    fn asked(&self, repo: &str, revision: &str) -> Asked {
        Asked {
            endpoint: self.options.endpoint.trim_end_matches('/').to_owned(),
            repo: repo.to_owned(),
            revision: revision.to_owned(),
            token: self.options.token.is_some(),
        }
    }

    fn listing(&self, spec: &Spec, watch: Watch<'_>) -> Result<Option<Listing>> {
        let path = format!("api/models/{}/revision/{}?blobs=true", spec.repo, spec.revision.replace('/', "%2F"));
        match self.text(&path, &spec.repo, watch)? {
            Answer::Text(text) => Listing::parse(&text, &spec.repo).map(Some),
            Answer::Stopped => Ok(None),
            Answer::Refused(refusal) => {
                let e = self.asked(&spec.repo, &spec.revision).refused(&refusal);
                let unknown = matches!(refusal.status, 401 | 404) && refusal.code.as_deref() != Some("GatedRepo");
                let near = if unknown { self.near(&spec.repo, watch) } else { Vec::new() };
                if near.is_empty() { Err(e) } else { Err(Error::usage(format!("{e}; near: {}", near.join(", ")))) }
            }
        }
    }

    /// Repositories of GGUF models whose names are like this one's. A search that fails finds none.
    fn near(&self, repo: &str, watch: Watch<'_>) -> Vec<String> {
        let name = repo.rsplit('/').next().unwrap_or(repo);
        let name = name.strip_suffix("-GGUF").or(name.strip_suffix("-gguf")).unwrap_or(name);
        let path = format!("api/models?search={}&filter=gguf&limit=8", escape_path(name));
        match self.text(&path, repo, watch) {
            Ok(Answer::Text(text)) => listing::names(&text),
            _ => Vec::new(),
        }
    }

    /// The text at `path` of the hub, with as many tries as it takes.
    fn text(&self, path: &str, what: &str, watch: Watch<'_>) -> Result<Answer> {
        let http = self.http()?;
        let url = http.url(path)?;
        let mut patience = Patience::new(self.options.tries);
        loop {
            match http.get(&url, &Ask::default()).and_then(|reply| reply.text(what)) {
                Ok(text) => return Ok(Answer::Text(text)),
                Err(Trouble::Refused(refusal)) => return Ok(Answer::Refused(refusal)),
                Err(Trouble::Passing(passing)) => {
                    let wait = patience.wait(&passing)?;
                    let note = format!("{}; trying again in {:.1} s", passing.what, wait.as_secs_f64());
                    if !watch(Event::Note(&note)) || !pause(wait, watch) {
                        return Ok(Answer::Stopped);
                    }
                }
                Err(Trouble::Final(e)) => return Err(e),
                Err(Trouble::NoRanges | Trouble::Changed(_)) => {
                    return Err(Error::runtime(format!("{what}: the hub's answer makes no sense")));
                }
            }
        }
    }

    /// Whether what is missing of `files` fits the disk.
    fn check_room(&self, listing: &Listing, repo: &Repo, files: &[RemoteFile]) -> Result<()> {
        let here = |file: &RemoteFile| has_size(&repo.blob(&file.etag), file.size);
        let needed = files.iter().filter(|file| !here(file)).fold(0u64, |sum, file| sum.saturating_add(file.size));
        let room = cache::room(&self.options.cache)?;
        // What an earlier, interrupted pull left takes its room already.
        let left: u64 = files.iter().map(|file| partial::bytes_on_disk(&repo.blob(&file.etag))).sum();
        if needed.saturating_sub(left).saturating_add(SPARE_ROOM) > room && needed > 0 {
            return Err(Error::limit(format!(
                "{}: {:.2} GB are to be downloaded to {}, but its disk has {:.2} GB left; make room, take a smaller \
                 quantization, or set HF_HOME to a folder on another disk",
                listing.repo,
                needed as f64 / 1e9,
                self.options.cache.display(),
                room as f64 / 1e9
            )));
        }
        Ok(())
    }

    /// One file into the cache; its path there.
    fn fetch(&self, listing: &Listing, repo: &Repo, file: &RemoteFile, watch: Watch<'_>) -> Result<Option<PathBuf>> {
        let pointer = repo.pointer(&listing.commit, &file.path);
        if has_size(&pointer, file.size) {
            return Ok(watch(Event::Note(&format!("{}: is here already", file.path))).then_some(pointer));
        }
        let Some(lock) = wait_for_lock(repo, file, watch)? else { return Ok(None) };
        let blob = repo.blob(&file.etag);
        if has_size(&blob, file.size) {
            partial::remove_leftovers(&blob);
        } else if !self.download(listing, repo, file, &Arc::new(lock), watch)? {
            return Ok(None);
        }
        repo.link(&file.etag, &listing.commit, &file.path).map(Some)
    }

    /// Downloads a file and checks it; false when it was to stop. A file that was partly here and turns out wrong is
    /// fetched once more from the start; one that was wrong from the start is refused.
    fn download(
        &self,
        listing: &Listing,
        repo: &Repo,
        file: &RemoteFile,
        lock: &Arc<File>,
        watch: Watch<'_>,
    ) -> Result<bool> {
        let freed = partial::remove_stale(&repo.blobs(), &file.path, &file.etag);
        let older = format!("{}: removed what was here of an older version ({:.1} MB)", file.path, freed as f64 / 1e6);
        if freed > 0 && !watch(Event::Note(&older)) {
            return Ok(false);
        }
        let blob = repo.blob(&file.etag);
        let path = format!("{}/resolve/{}/{}", listing.repo, listing.commit, escape_path(&file.path));
        let http = self.http()?;
        let url = http.url(&path)?;
        loop {
            let identity = Identity { etag: file.etag.clone(), size: file.size, path: file.path.clone() };
            let partial = Partial::open(&blob, identity)?;
            let resumed = partial.resumed();
            if !watch(Event::Start { name: &file.path, bytes: file.size, resumed }) {
                return Ok(false);
            }
            let order = Order {
                http: Arc::clone(http),
                url: url.clone(),
                lanes: self.options.connections,
                tries: self.options.tries,
                stall: self.options.stall,
                _lock: Arc::clone(lock),
                asked: self.asked(&listing.repo, &listing.commit),
            };
            let transfer = Transfer::new(order, partial);
            if transfer.run(watch)? == Outcome::Stopped {
                return Ok(false);
            }
            let Some(partial) = transfer.take() else { return Ok(false) };
            match check(&partial, watch)? {
                Check::Stopped => return Ok(false),
                Check::Right => {
                    partial.finish(&blob)?;
                    return Ok(watch(Event::Finished { name: &file.path }));
                }
                Check::Wrong(found) => {
                    partial.discard();
                    let what = format!("{}: its SHA-256 is {found}, the hub says {}", file.path, file.etag);
                    if resumed == 0 {
                        return Err(Error::file(format!(
                            "{what}; the file is refused and deleted: try again later, or from the hub itself if this is \
                             a mirror ({})",
                            self.options.endpoint
                        )));
                    }
                    if !watch(Event::Note(&format!("{what}; part of it was here from before: starting from nothing"))) {
                        return Ok(false);
                    }
                }
            }
        }
    }
}

/// Whether the bytes are the file.
enum Check {
    Right,
    Wrong(String),
    Stopped,
}

fn check(partial: &Partial, watch: Watch<'_>) -> Result<Check> {
    let Identity { etag, path, .. } = partial.identity();
    if !digest::is_sha256(etag) {
        let note = format!("{path}: the hub gives no SHA-256 of it, so only its size is checked");
        return Ok(if watch(Event::Note(&note)) { Check::Right } else { Check::Stopped });
    }
    let found = sha256_file(partial.data_path(), &mut |done, total| watch(Event::Checking { done, total }))?;
    Ok(match found {
        None => Check::Stopped,
        Some(found) if found == *etag => Check::Right,
        Some(found) => Check::Wrong(found),
    })
}

fn has_size(path: &Path, size: u64) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == size)
}

/// The lock on the file's blob, when whoever holds it is done; `None` when it was to stop.
fn wait_for_lock(repo: &Repo, file: &RemoteFile, watch: Watch<'_>) -> Result<Option<File>> {
    let mut said = false;
    loop {
        let mut notes = Vec::new();
        let lock = repo.try_lock(&file.etag, &mut |note| notes.push(note.to_owned()))?;
        if !notes.iter().all(|note| watch(Event::Note(note))) {
            return Ok(None);
        }
        if lock.is_some() {
            return Ok(lock);
        }
        let note = format!("{}: another program is downloading it; waiting for that", file.path);
        if !(std::mem::replace(&mut said, true) || watch(Event::Note(&note))) || !pause(TICK * 4, watch) {
            return Ok(None);
        }
    }
}

/// Waits; false when it was to stop.
fn pause(wait: Duration, watch: Watch<'_>) -> bool {
    let until = Instant::now() + wait;
    while Instant::now() < until {
        if !watch(Event::Waiting) {
            return false;
        }
        std::thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
    }
    true
}
