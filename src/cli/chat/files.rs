//! `/read` and `/glob`: text files that go before the next message.

use crate::cli::term::complete::expand_home;
use crate::error::{Error, Result};
use std::path::Path;

/// Largest file that is taken.
const MOST: u64 = 64 << 20;
/// Most files that one pattern may match.
const MOST_FILES: usize = 1000;

/// A file that waits for the next message.
#[derive(Clone, Debug, PartialEq)]
pub struct Attached {
    /// As it was named.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl Attached {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is no UTF-8 text, or is larger than 64 MiB.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let about = std::fs::metadata(path).map_err(|e| Error::file(format!("{name}: cannot be read: {e}")))?;
        if !about.is_file() {
            return Err(Error::usage(format!("{name}: is no file")));
        }
        if about.len() > MOST {
            return Err(Error::limit(format!("{name}: has {} bytes; the most is {MOST}", about.len())));
        }
        Ok(Self { text: crate::cli::read_text(path)?, name })
    }

    /// As it stands in the message: named, between fences that the text itself does not have.
    pub fn to_message(&self) -> String {
        let mut fence = "```".to_owned();
        while self.text.contains(&fence) {
            fence.push('`');
        }
        let end = if self.text.ends_with('\n') || self.text.is_empty() { "" } else { "\n" };
        format!("File {}:\n{fence}\n{}{end}{fence}\n\n", self.name, self.text)
    }
}

/// The files that match a pattern (`*`, `?`, `[abc]`, `**`), in order of their names; and what was left out, and why.
///
/// # Errors
/// When the pattern is none, matches no file or more than a thousand.
pub fn glob(pattern: &str) -> Result<(Vec<Attached>, Vec<String>)> {
    let full = expand_home(pattern);
    let found = glob::glob(&full.to_string_lossy())
        .map_err(|e| Error::usage(format!("{pattern}: is no pattern: {} at character {}", e.msg, e.pos + 1)))?;
    let (mut files, mut left_out) = (vec![], vec![]);
    for path in found {
        match path {
            Ok(path) if path.is_dir() => {}
            Ok(path) => match Attached::read(&path) {
                Ok(file) => files.push(file),
                Err(e) => left_out.push(e.to_string()),
            },
            Err(e) => left_out.push(e.to_string()),
        }
        if files.len() > MOST_FILES {
            return Err(Error::limit(format!("{pattern}: matches more than {MOST_FILES} files; narrow it down")));
        }
    }
    if files.is_empty() && left_out.is_empty() {
        return Err(Error::usage(format!("{pattern}: matches no file")));
    }
    Ok((files, left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_fenced_by_more_than_it_has() {
        let of = |text: &str| Attached { name: "a.md".into(), text: text.into() }.to_message();
        assert_eq!(of("x"), "File a.md:\n```\nx\n```\n\n");
        assert_eq!(of("```\n"), "File a.md:\n````\n```\n````\n\n");
    }

    #[test]
    fn patterns_find_text_files_and_name_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write("b.txt", b"two");
        write("a.txt", b"one");
        write("c.txt", b"\xFF\xFE");
        std::fs::create_dir(dir.path().join("d.txt")).unwrap();
        let pattern = dir.path().join("*.txt");
        let (files, left_out) = glob(pattern.to_str().unwrap()).unwrap();
        assert_eq!(files.iter().map(|f| f.text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert!(left_out.len() == 1 && left_out[0].contains("c.txt") && left_out[0].contains("not UTF-8"));
        assert!(glob(dir.path().join("*.nothing").to_str().unwrap()).is_err());
        assert!(glob("a[").unwrap_err().to_string().contains("no pattern"));
        assert!(Attached::read(dir.path()).is_err());
    }
}
