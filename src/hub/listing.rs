//! What a repository on the hub holds: the answer of its API, checked.

use super::cache::is_commit;
use super::choose::{self, Choice, Group};
use super::digest::is_sha256;
use super::spec::{Spec, Wanted, check_path, repository};
use crate::error::{Error, Result};
use serde::Deserialize;
use std::fmt::Write;

/// A repository at one commit.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    /// `user/repo` as the hub spells it.
    pub(super) repo: String,
    pub(super) commit: String,
    pub(super) files: Vec<RemoteFile>,
}

/// A file of it.
#[derive(Clone, Debug)]
pub(super) struct RemoteFile {
    pub(super) path: String,
    pub(super) size: u64,
    /// The SHA-256 of a large file, else git's own hash, which is a SHA-1.
    pub(super) etag: String,
}

#[derive(Deserialize)]
struct WireRepo {
    id: Option<String>,
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<WireFile>,
}

#[derive(Deserialize)]
struct WireFile {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<WireLfs>,
}

#[derive(Deserialize)]
struct WireLfs {
    sha256: Option<String>,
    oid: Option<String>,
    size: Option<u64>,
}

#[derive(Deserialize)]
struct WireFound {
    id: String,
}

impl Listing {
    /// Reads the answer to `api/models/REPO/revision/REVISION?blobs=true`. Files with names that could leave the
    /// cache, without a size or a hash, are left out: they cannot be fetched safely.
    pub(super) fn parse(text: &str, asked: &str) -> Result<Listing> {
        let broken = |why: &str| Error::runtime(format!("{asked}: the hub's list of files cannot be used: {why}"));
        let wire: WireRepo = serde_json::from_str(text).map_err(|e| broken(&e.to_string()))?;
        let commit = wire.sha.filter(|sha| is_commit(sha)).ok_or_else(|| broken("it names no commit"))?;
        let id = wire.id.unwrap_or_else(|| asked.to_owned());
        let repo = match id.split_once('/') {
            Some((user, repo)) => repository(user, repo).map_err(|e| broken(&e))?,
            None => return Err(broken(&format!("it calls the repository {id:?}"))),
        };
        let files = wire.siblings.into_iter().filter_map(remote_file).collect();
        Ok(Listing { repo, commit, files })
    }

    /// The paths, as [`choose`] wants them.
    pub(super) fn paths(&self) -> Vec<String> {
        self.files.iter().map(|f| f.path.clone()).collect()
    }

    /// The files of the model that is meant, in the order of its shards, and what is to be said about the choice.
    pub(super) fn pick(&self, spec: &Spec) -> Result<(Vec<RemoteFile>, Option<String>)> {
        let paths = self.paths();
        let groups = choose::groups(&paths);
        let wrong = |why: String| Error::usage(format!("{}: {why}{}", self.repo, self.list(&groups)));
        if groups.is_empty() {
            let hint = if paths.iter().any(|p| p.ends_with(".safetensors")) {
                "; it holds the original weights: look for a repository whose name ends in -GGUF"
            } else {
                ""
            };
            return Err(Error::usage(format!("{}: has no GGUF model{hint}", self.repo)));
        }
        match choose::choose(&groups, &paths, &spec.wanted) {
            Choice::One { group, why } if group.is_whole() => {
                Ok((group.parts.iter().map(|&at| self.files[at].clone()).collect(), why))
            }
            Choice::One { group, .. } => Err(wrong(format!(
                "{} should have {} files, but {} are there; ask its owner; it holds",
                group.label(),
                group.count,
                group.parts.len()
            ))),
            Choice::Several(_) => Err(wrong(format!(
                "several models fit {}; name one as REPO:FILE.gguf or with --hf-file; it holds",
                asked(&spec.wanted)
            ))),
            Choice::None => Err(wrong(format!("has no {}; name one of these behind a colon", asked(&spec.wanted)))),
        }
    }

    /// The models, one a line: what to write behind the colon, size, path.
    fn list(&self, groups: &[Group]) -> String {
        let width = groups.iter().map(|g| g.label().len()).max().unwrap_or(0);
        let mut text = ":".to_owned();
        for group in groups {
            let bytes: u64 = group.parts.iter().map(|&at| self.files[at].size).sum();
            let (label, gb) = (group.label(), bytes as f64 / 1e9);
            let first = &self.files[group.parts[0]].path;
            let more = if group.count > 1 { format!(" and {} more", group.count - 1) } else { String::new() };
            let _ = write!(text, "\n  {label:width$}  {gb:7.2} GB  {first}{more}");
        }
        text
    }
}

fn asked(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Default => format!("{} (which is taken when nothing is named)", choose::DEFAULT_QUANT),
        Wanted::Quant(name) | Wanted::File(name) => name.clone(),
    }
}

fn remote_file(wire: WireFile) -> Option<RemoteFile> {
    check_path(&wire.rfilename).ok()?;
    let (etag, size) = match wire.lfs {
        Some(lfs) => {
            let hash = lfs.sha256.or(lfs.oid)?.trim_start_matches("sha256:").to_owned();
            (Some(hash).filter(|hash| is_sha256(hash))?, lfs.size.or(wire.size)?)
        }
        None => (wire.blob_id.filter(|id| is_commit(id))?, wire.size?),
    };
    Some(RemoteFile { path: wire.rfilename, size, etag })
}

/// Names of repositories in the answer to a search, those only that can be names.
pub(super) fn names(text: &str) -> Vec<String> {
    let found: Vec<WireFound> = serde_json::from_str(text).unwrap_or_default();
    let sound = |id: &String| id.split_once('/').is_some_and(|(user, repo)| repository(user, repo).is_ok());
    found.into_iter().map(|f| f.id).filter(sound).take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn listing(files: &str) -> Result<Listing> {
        Listing::parse(&format!(r#"{{"id":"Us/Repo-GGUF","sha":"{COMMIT}","siblings":[{files}]}}"#), "us/repo-gguf")
    }

    fn large(path: &str) -> String {
        let sha = "a".repeat(64);
        format!(r#"{{"rfilename":"{path}","size":9,"blobId":"{COMMIT}","lfs":{{"sha256":"{sha}","size":5000000000}}}}"#)
    }

    #[test]
    fn hostile_lists_lose_their_teeth() {
        let small = format!(r#"{{"rfilename":"README.md","size":7,"blobId":"{COMMIT}"}}"#);
        let no_size = format!(r#"{{"rfilename":"x-Q6_K.gguf","blobId":"{COMMIT}"}}"#);
        let bad_hash = r#"{"rfilename":"y-Q6_K.gguf","size":7,"lfs":{"sha256":"../../x","size":7}}"#;
        let all = [large("../../evil-Q4_K_M.gguf"), large("m-Q8_0.gguf"), small, no_size, bad_hash.to_owned()];
        let list = listing(&all.join(",")).unwrap();
        assert_eq!(list.paths(), ["m-Q8_0.gguf", "README.md"]);
        assert_eq!((list.repo.as_str(), list.files[0].size), ("Us/Repo-GGUF", 5_000_000_000));
        assert!(Listing::parse("{}", "a/b").unwrap_err().to_string().contains("no commit"));
        assert!(Listing::parse("<html>", "a/b").is_err());
        let id = format!(r#"{{"id":"../x","sha":"{COMMIT}"}}"#);
        assert!(Listing::parse(&id, "a/b").is_err());
        assert_eq!(names(r#"[{"id":"a/b"},{"id":"../c"},{"id":"d"}]"#), ["a/b"]);
    }

    #[test]
    fn what_is_there_is_said() {
        let list = listing(&[large("m-Q8_0.gguf"), large("m-Q6_K.gguf")].join(",")).unwrap();
        let pick = |text: &str| list.pick(&Spec::parse(text).unwrap()).map(|(files, _)| files[0].path.clone());
        assert_eq!(pick("us/repo:q6_k").unwrap(), "m-Q6_K.gguf");
        let error = pick("us/repo").unwrap_err().to_string();
        for part in ["Q4_K_M", "\n  Q8_0", "5.00 GB", "m-Q6_K.gguf"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(pick("us/repo:IQ1_S").unwrap_err().to_string().contains("has no IQ1_S"));
        let part = listing(&large("m-Q8_0-00001-of-00002.gguf")).unwrap();
        let error = part.pick(&Spec::parse("us/repo").unwrap()).unwrap_err().to_string();
        assert!(error.contains("should have 2 files"), "{error}");
        let original = listing(&large("model.safetensors")).unwrap();
        assert!(original.pick(&Spec::parse("us/repo").unwrap()).unwrap_err().to_string().contains("-GGUF"));
    }
}
