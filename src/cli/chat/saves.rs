//! Where saved chats are: a plain name stands for a file in the program's own folder, anything else is a path.

use crate::cli::term;
use crate::cli::term::complete::expand_home;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Ending of the files in the folder.
const ENDING: &str = "chat";

/// The folder: `chats` in the user's state directory (data directory where a system has none).
///
/// # Errors
/// When the system names no home directory.
pub fn folder() -> Result<PathBuf> {
    let none = || Error::runtime("there is no home directory; give a path, as in /save ./name.chat");
    Ok(term::state_dir().ok_or_else(none)?.join("chats"))
}

/// The file that a name or a path stands for.
///
/// # Errors
/// When the name has characters that are not letters, digits, `.`, `-` or `_`; or there is no home directory.
pub fn file(typed: &str) -> Result<PathBuf> {
    let path = expand_home(typed);
    let ending = path.extension().is_some_and(|e| e == ENDING);
    if typed.contains(['/', '\\']) || ending {
        return Ok(path);
    }
    let plain = |c: char| c.is_alphanumeric() || ['.', '-', '_', ' '].contains(&c);
    if typed.starts_with('.') || !typed.chars().all(plain) {
        return Err(Error::usage(format!("{typed:?} is no name for a chat: letters, digits, . - _; or give a path")));
    }
    Ok(folder()?.join(format!("{typed}.{ENDING}")))
}

/// Names of the chats in the folder, in order.
pub fn names() -> Vec<String> {
    folder().map(|dir| names_in(&dir)).unwrap_or_default()
}

fn names_in(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let chats = files.filter(|path| path.extension().is_some_and(|e| e == ENDING));
    let mut names: Vec<String> =
        chats.filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned())).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_told_apart() {
        let in_folder = |name: &str| folder().map(|dir| dir.join(name));
        assert_eq!(file("work").ok(), in_folder("work.chat").ok());
        assert_eq!(file("./work").unwrap(), PathBuf::from("./work"));
        assert_eq!(file("work.chat").unwrap(), PathBuf::from("work.chat"));
        for bad in [".hidden", "a:b", "what?"] {
            assert!(file(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn chats_are_listed_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.chat", "a.chat", "c.txt"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(names_in(dir.path()), ["a", "b"]);
        assert!(names_in(&dir.path().join("none")).is_empty());
    }
}
