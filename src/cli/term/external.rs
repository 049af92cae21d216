//! The user's own editor for a message: $VISUAL or $EDITOR on a private temporary file.

use crate::cli::interrupt;
use crate::error::{Error, Result};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// The variables that name the editor, the first that is set counts.
const VARIABLES: [&str; 2] = ["VISUAL", "EDITOR"];

/// The text after the user has edited it; one line break at the end, which editors add, is not part of it.
///
/// # Errors
/// When there is no file or no editor, the editor fails, or what it leaves is not UTF-8.
pub fn edit(text: &str) -> Result<String> {
    let set = VARIABLES.iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.trim().is_empty());
    let editor = set.unwrap_or_else(|| if cfg!(windows) { "notepad" } else { "vi" }.to_owned());
    edit_with(&editor, text)
}

fn edit_with(editor: &str, text: &str) -> Result<String> {
    let broken = |e: std::io::Error| Error::file(format!("no temporary file for the editor: {e}"));
    // Only the user may read it: that is how the library makes its files.
    let mut file = tempfile::Builder::new().prefix("lapwing-").suffix(".md").tempfile().map_err(broken)?;
    file.write_all(text.as_bytes()).map_err(broken)?;
    // Closed, for an editor on Windows could not write it otherwise; the file goes when `path` does.
    let path = file.into_temp_path();
    let status = command(editor, &path).status();
    // Ctrl-C while the editor ran was meant for the editor.
    interrupt::clear();
    let help = "set VISUAL or EDITOR to your editor";
    match status {
        Err(e) => Err(Error::runtime(format!("the editor {editor:?} cannot be started: {e}; {help}"))),
        Ok(s) if !s.success() => Err(Error::runtime(format!("the editor {editor:?} failed ({s}); {help}"))),
        Ok(_) => {
            let mut text = crate::cli::read_text(&path)?;
            if text.ends_with('\n') {
                text.pop();
                text.truncate(text.len() - usize::from(text.ends_with('\r')));
            }
            Ok(text)
        }
    }
}

/// As git has it: the shell reads the variable, which may hold flags.
#[cfg(not(windows))]
fn command(editor: &str, path: &Path) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{editor} \"$1\"")).arg("lapwing").arg(path);
    command
}

#[cfg(windows)]
fn command(editor: &str, path: &Path) -> Command {
    // A path with spaces is one program; anything else is a program and its flags.
    let mut words: Vec<&str> = if Path::new(editor).exists() { vec![editor] } else { editor.split(' ').collect() };
    let mut command = Command::new(words.remove(0).trim_matches('"'));
    command.args(words).arg(path);
    command
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_editor_changes_the_text() {
        let upper = "f() { tr a-z A-Z <\"$1\" >\"$1.new\" && cat \"$1.new\" >\"$1\" && rm \"$1.new\"; }; f";
        assert_eq!(edit_with(upper, "two\nlines").expect("edited"), "TWO\nLINES");
        assert_eq!(edit_with("echo more >>", "text\n").expect("edited"), "text\nmore", "one line break goes");
    }

    #[test]
    fn failures_are_told() {
        let failed = edit_with("false", "x").expect_err("it fails").to_string();
        assert!(failed.contains("\"false\"") && failed.contains("VISUAL"), "{failed}");
        let garbage = edit_with("printf '\\377' >", "x").expect_err("no UTF-8").to_string();
        assert!(garbage.contains("UTF-8"), "{garbage}");
    }

    #[test]
    fn the_file_is_private() {
        let mode = edit_with("f() { m=$(ls -l \"$1\"); echo \"$m\" >\"$1\"; }; f", "x").expect("edited");
        assert!(mode.starts_with("-rw-------"), "{mode}");
    }
}
