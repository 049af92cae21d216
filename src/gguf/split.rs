//! Split models: `NAME-00002-of-00005.gguf` and its siblings, found from any one of them.
//!
//! Each shard carries `split.no` (from 0), `split.count` and `split.tensors.count` (of the whole model); metadata is
//! in the first. A file whose metadata says nothing of a split is a whole model, whatever its name.

use std::path::{Path, PathBuf};

use super::meta;
use super::shard::{OpenFile, Shard, Source};
use super::tensor::Entry;
use crate::error::{Error, Result};

/// All shards put together, with the metadata of the first.
pub(super) struct Model {
    pub(super) files: Vec<OpenFile>,
    pub(super) tensors: Vec<Entry>,
    pub(super) source: Source,
}

/// What a shard says of its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    number: u64,
    count: u64,
    tensors: Option<u64>,
}

/// Opens the model that `path` is, or is a shard of.
pub(super) fn open_all(path: &Path) -> Result<Model> {
    let named = Shard::open(path)?;
    let Some(place) = place(path, &named)? else {
        return Ok(Model { files: vec![named.file], tensors: named.tensors, source: named.source });
    };
    let paths = siblings(path, place)?;
    drop(named); // its metadata, so that no more than two are decoded at a time
    let first = Shard::open(&paths[0])?;
    let expected = check_place(&paths[0], &first, Place { number: 0, ..place })?;
    let mut model = Model { files: vec![first.file], tensors: first.tensors, source: first.source };
    for (number, path) in paths.iter().enumerate().skip(1) {
        let shard = Shard::open(path)?;
        check_place(path, &shard, Place { number: number as u64, ..expected })?;
        same_model(path, &shard.source, &model)?;
        model.files.push(shard.file);
        model.tensors.extend(shard.tensors.into_iter().map(|entry| Entry { shard: number, ..entry }));
    }
    match expected.tensors {
        Some(total) if total != model.tensors.len() as u64 => Err(Error::file(format!(
            "{}: split.tensors.count is {total}, but its {} shards hold {} tensors: they are not of one model, or one is \
             broken; download them all again",
            paths[0].display(),
            paths.len(),
            model.tensors.len()
        ))),
        _ => Ok(model),
    }
}

/// The shard's place; `None` when it is a whole model.
fn place(path: &Path, shard: &Shard) -> Result<Option<Place>> {
    let get = |key: &str| match shard.source.reader.metadata().get(key) {
        None => Ok(None),
        Some(value) => meta::unsigned(value).map(Some).ok_or_else(|| {
            let found = meta::describe(value);
            Error::file(format!("{}: metadata key {key:?} is {found}, expected an unsigned integer", path.display()))
        }),
    };
    let Some(count) = get("split.count")?.filter(|&n| n > 1) else { return Ok(None) };
    let number = get("split.no")?.ok_or_else(|| {
        Error::file(format!("{}: split.count is {count}, but there is no split.no; the file is broken", path.display()))
    })?;
    if number >= count {
        let shown = path.display();
        return Err(Error::file(format!(
            "{shown}: split.no is {number}, expected less than split.count, which is {count}"
        )));
    }
    Ok(Some(Place { number, count, tensors: get("split.tensors.count")? }))
}

/// Paths of all shards, by the name of one; the missing ones are named.
fn siblings(path: &Path, place: Place) -> Result<Vec<PathBuf>> {
    let shown = path.display();
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let Some((stem, number, count)) = parse_name(name) else {
        return Err(Error::file(format!(
            "{shown}: is shard {} of {} by its metadata, but its name does not end in {}, so the other shards cannot be \
             found; rename it as it was published",
            place.number + 1,
            place.count,
            suffix(place.number + 1, place.count)
        )));
    };
    if (number, count) != (place.number + 1, place.count) {
        return Err(Error::file(format!(
            "{shown}: is shard {number} of {count} by its name, but {} of {} by its metadata; rename it as it was published",
            place.number + 1,
            place.count
        )));
    }
    let all: Vec<PathBuf> = (1..=count).map(|n| path.with_file_name(format!("{stem}{}", suffix(n, count)))).collect();
    let missing: Vec<String> = all.iter().filter(|p| !p.exists()).map(|p| p.display().to_string()).collect();
    if missing.is_empty() {
        return Ok(all);
    }
    let more = missing.len().saturating_sub(8);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(Error::file(format!(
        "{shown}: is shard {number} of {count}, and {} of them missing: {}{tail}; download them to the same folder",
        if missing.len() == 1 { "one is".to_owned() } else { format!("{} are", missing.len()) },
        missing[..missing.len() - more].join(", ")
    )))
}

fn suffix(number: u64, count: u64) -> String {
    format!("-{number:05}-of-{count:05}.gguf")
}

/// `NAME-00002-of-00005.gguf` as (`NAME`, 2, 5).
fn parse_name(name: &str) -> Option<(&str, u64, u64)> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| (text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok());
    let (number, count) = (digits(number)??, digits(count)??);
    (1..=count).contains(&number).then_some((stem, number, count))
}

/// Fails unless the shard's metadata says `expected`; returns the place with the tensor count it gives.
fn check_place(path: &Path, shard: &Shard, expected: Place) -> Result<Place> {
    let shown = path.display();
    let not_one = "these shards are not of one model; download them all again";
    let Some(found) = place(path, shard)? else {
        return Err(Error::file(format!("{shown}: has no split.count, expected {}; {not_one}", expected.count)));
    };
    for (key, found, wanted) in
        [("split.count", found.count, expected.count), ("split.no", found.number, expected.number)]
    {
        if found != wanted {
            return Err(Error::file(format!("{shown}: {key} is {found}, expected {wanted}; {not_one}")));
        }
    }
    match (found.tensors, expected.tensors) {
        (Some(a), Some(b)) if a != b => {
            Err(Error::file(format!("{shown}: split.tensors.count is {a}, but another shard says {b}; {not_one}")))
        }
        (a, b) => Ok(Place { tensors: a.or(b), ..found }),
    }
}

/// Keys that a later shard repeats must say what the first says.
fn same_model(path: &Path, source: &Source, first: &Model) -> Result<()> {
    for key in ["general.architecture", "general.name", "general.basename", "general.size_label", "general.file_type"] {
        let (Some(here), Some(there)) = (source.reader.metadata().get(key), first.source.reader.metadata().get(key))
        else {
            continue;
        };
        if here != there {
            return Err(Error::file(format!(
                "{}: {key} is {}, but the first shard says {}; these shards are not of one model",
                path.display(),
                meta::describe(here),
                meta::describe(there)
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_names() {
        assert_eq!(parse_name("m-00002-of-00005.gguf"), Some(("m", 2, 5)));
        assert_eq!(parse_name("a-b-00001-of-00001.gguf"), Some(("a-b", 1, 1)));
        for name in
            ["m.gguf", "m-00000-of-00005.gguf", "m-00006-of-00005.gguf", "m-2-of-5.gguf", "m-0000x-of-00005.gguf"]
        {
            assert_eq!(parse_name(name), None, "{name}");
        }
        assert_eq!(suffix(2, 5), "-00002-of-00005.gguf");
    }
}
