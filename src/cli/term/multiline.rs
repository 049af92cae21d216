//! Messages of several lines: what is typed until Enter sends it.
//!
//! A text that begins with `"""` goes on until a line ends with `"""`, and both are taken off with the line break next
//! to them. A text whose first line has both (a pasted docstring with code after it) is meant as it is.

/// The mark around a message of several lines.
const MARK: &str = "\"\"\"";

/// What a text is.
#[derive(Debug, PartialEq, Eq)]
pub enum Text {
    /// The mark was opened and not closed.
    Open,
    /// A whole message.
    Whole(String),
}

/// Looks for the mark.
pub fn parse(text: &str) -> Text {
    let Some(inside) = text.trim_start_matches([' ', '\t', '\n']).strip_prefix(MARK) else {
        return Text::Whole(text.to_owned());
    };
    let (first, more) = inside.split_once('\n').map_or((inside, false), |(first, _)| (first, true));
    let closed = inside.trim_end().strip_suffix(MARK);
    match closed {
        _ if first.contains(MARK) && (more || closed.is_none()) => Text::Whole(text.to_owned()),
        None => Text::Open,
        Some(body) => {
            let body = body.strip_prefix('\n').unwrap_or(body);
            Text::Whole(body.strip_suffix('\n').unwrap_or(body).to_owned())
        }
    }
}

/// Whether Enter at the end of this text asks for another line: it ends with a backslash that no other one escapes.
/// Commands are let alone, for paths may end so.
pub fn continues(text: &str) -> bool {
    let backslashes = text.len() - text.trim_end_matches('\\').len();
    backslashes % 2 == 1 && !text.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Text {
        Text::Whole(text.to_owned())
    }

    #[test]
    fn marks_come_off() {
        assert_eq!(parse("\"\"\"one line\"\"\""), whole("one line"));
        assert_eq!(parse("\"\"\"a\nb\"\"\""), whole("a\nb"));
        assert_eq!(parse(" \"\"\"\na\n\n  b\n\"\"\"  "), whole("a\n\n  b"));
        assert_eq!(parse("\"\"\"\"\"\""), whole(""));
        assert_eq!(parse("plain \"\"\" text"), whole("plain \"\"\" text"));
    }

    #[test]
    fn open_marks_are_seen() {
        for open in ["\"\"\"", "\"\"\"a", "\"\"\"\na", "\"\"\"\nx = \"\"\"y\"\"\" + z"] {
            assert_eq!(parse(open), Text::Open, "{open}");
        }
    }

    #[test]
    fn pasted_docstrings_stay() {
        for text in ["\"\"\"Doc.\"\"\"\nimport os", "\"\"\"Doc.\"\"\" x", "\"\"\"a\"\"\"\nb = \"\"\"c\"\"\""] {
            assert_eq!(parse(text), whole(text));
        }
    }

    #[test]
    fn backslashes() {
        assert!(continues("a\\") && continues("\\") && continues("a\\\\\\"));
        assert!(!continues("a\\\\") && !continues("") && !continues("/read C:\\"));
    }
}
