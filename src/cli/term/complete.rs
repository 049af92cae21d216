//! Completion: a tree of commands and their arguments, handed in by whoever knows them, and paths of files.
//!
//! Only what follows a `/` at the start of the text is completed. Names that a terminal could take for commands to
//! itself (with control characters) are not offered.

use std::path::{Path, PathBuf};

/// A word that can be completed, and what may follow it.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    /// The word, with its `/` if it has one.
    pub text: &'static str,
    /// What follows it.
    pub then: Then,
}

/// What may follow a word.
#[derive(Clone, Copy, Debug)]
pub enum Then {
    /// Nothing, or free text.
    Nothing,
    /// One of these.
    Words(&'static [Word]),
    /// The path of a file: all of the rest of the line, spaces as they are.
    File,
    /// One of the names that this gives when asked.
    Names(fn() -> Vec<String>),
}

/// What can stand in a place of the text.
#[derive(Debug, PartialEq, Eq)]
pub struct Candidates {
    /// The byte at which the word to be completed begins.
    pub start: usize,
    /// Whole words for it, each with what to append once it is chosen: a space, or nothing.
    pub words: Vec<(String, &'static str)>,
}

/// What the text before the cursor can be completed to.
pub fn candidates(commands: &[Word], before: &str) -> Candidates {
    let mut start = 0;
    let mut then = Then::Words(&[]);
    if before.starts_with('/') && !before.contains('\n') {
        let mut list = commands;
        while let Some(length) = before[start..].find(' ') {
            let word = &before[start..start + length];
            start += length + 1;
            start += before[start..].len() - before[start..].trim_start_matches(' ').len();
            then = list.iter().find(|w| w.text == word).map_or(Then::Nothing, |w| w.then);
            let Then::Words(next) = then else { break };
            list = next;
        }
        if start == 0 {
            return Candidates { start, words: words(commands, before) };
        }
    }
    let typed = &before[start..];
    let words = match then {
        Then::Nothing => vec![],
        Then::Words(list) => words(list, typed),
        Then::File => paths(typed).into_iter().map(|path| (path, "")).collect(),
        Then::Names(names) => names().into_iter().filter(|n| n.starts_with(typed)).map(|n| (n, "")).collect(),
    };
    Candidates { start, words }
}

fn words(list: &[Word], typed: &str) -> Vec<(String, &'static str)> {
    let after = |word: &Word| if matches!(word.then, Then::Nothing) { "" } else { " " };
    list.iter().filter(|w| w.text.starts_with(typed)).map(|w| (w.text.to_owned(), after(w))).collect()
}

/// Files and folders (those end in `/`) whose path begins as typed; hidden ones only when asked for by a dot.
fn paths(typed: &str) -> Vec<String> {
    let name_at = typed.rfind(std::path::is_separator).map_or(0, |at| at + 1);
    let (folder, name) = typed.split_at(name_at);
    let there = if folder.is_empty() { PathBuf::from(".") } else { expand_home(folder) };
    let Ok(entries) = std::fs::read_dir(there) else { return vec![] };
    let mut found: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path().is_dir())))
        .filter(|(file, _)| file.starts_with(name) && (name.starts_with('.') || !file.starts_with('.')))
        .filter(|(file, _)| !file.contains(char::is_control))
        .map(|(file, is_folder)| format!("{folder}{file}{}", if is_folder { "/" } else { "" }))
        .collect();
    found.sort();
    found
}

/// The path meant by a text that may begin with `~/`, the home of who runs this.
pub fn expand_home(path: &str) -> PathBuf {
    match path.strip_prefix('~') {
        Some(rest) if rest.is_empty() || rest.starts_with(std::path::is_separator) => match etcetera::home_dir() {
            Ok(home) => home.join(rest.trim_start_matches(std::path::is_separator)),
            Err(_) => Path::new(path).to_path_buf(),
        },
        _ => Path::new(path).to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODES: [Word; 2] =
        [Word { text: "show", then: Then::Nothing }, Word { text: "summary", then: Then::Nothing }];
    const SETTINGS: [Word; 2] =
        [Word { text: "thinking", then: Then::Words(&MODES) }, Word { text: "verbose", then: Then::Nothing }];
    const COMMANDS: [Word; 4] = [
        Word { text: "/set", then: Then::Words(&SETTINGS) },
        Word { text: "/show", then: Then::Nothing },
        Word { text: "/read", then: Then::File },
        Word { text: "/load", then: Then::Names(|| vec!["monday".to_owned(), "tuesday".to_owned()]) },
    ];

    fn texts(before: &str) -> (usize, Vec<String>) {
        let found = candidates(&COMMANDS, before);
        (found.start, found.words.into_iter().map(|(word, after)| word + after).collect())
    }

    #[test]
    fn commands_and_their_arguments() {
        assert_eq!(texts("/s"), (0, vec!["/set ".to_owned(), "/show".to_owned()]));
        assert_eq!(texts("/set "), (5, vec!["thinking ".to_owned(), "verbose".to_owned()]));
        assert_eq!(texts("/set  thinking s"), (15, vec!["show".to_owned(), "summary".to_owned()]));
        assert_eq!(texts("/load t"), (6, vec!["tuesday".to_owned()]));
        for none in ["", "s", "/set x ", "/show ", "/nothing ", "say /s", "/read \n/s"] {
            assert_eq!(texts(none).1, Vec::<String>::new(), "{none}");
        }
    }

    #[test]
    fn files_and_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["two words.txt", "twofold.txt", ".twilight", "three\u{7}"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        std::fs::create_dir(folder.path().join("twigs")).expect("a folder");
        let base = format!("{}/", folder.path().display());
        let after = |typed: &str| -> Vec<String> {
            let (start, found) = texts(&format!("/read {base}{typed}"));
            assert_eq!(start, 6);
            found.iter().map(|path| path.strip_prefix(&base).expect("the folder stays").to_owned()).collect()
        };
        assert_eq!(after("tw"), ["twigs/", "two words.txt", "twofold.txt"]);
        assert_eq!(after("two "), ["two words.txt"]);
        assert_eq!(after(".tw"), [".twilight"]);
        assert_eq!(after("th"), Vec::<String>::new(), "a name with a control character");
    }
}
