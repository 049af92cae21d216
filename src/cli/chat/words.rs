//! What the Tab key completes.

use super::{saves, settings};
use crate::cli::term::complete::{Then, Word};

const fn word(text: &'static str, then: Then) -> Word {
    Word { text, then }
}

const fn last(text: &'static str) -> Word {
    word(text, Then::Nothing)
}

/// The commands and what may follow them.
pub static COMMANDS: [Word; 22] = [
    last("/?"),
    last("/budget"),
    last("/bye"),
    last("/clear"),
    last("/ctx"),
    last("/edit"),
    word("/glob", Then::File),
    word("/help", Then::Words(&[last("set"), last("show"), last("keys")])),
    word("/load", Then::Names(saves::names)),
    last("/no_think"),
    word("/read", Then::File),
    last("/regen"),
    word("/save", Then::Names(saves::names)),
    last("/seed"),
    word("/set", Then::Words(&SETTINGS)),
    word("/show", Then::Words(&SHOWN)),
    last("/stats"),
    last("/think"),
    last("/tool"),
    last("/undo"),
    last("/exit"),
    last("/quit"),
];

static SETTINGS: [Word; 14] = [
    word("format", Then::Words(&[last("json")])),
    last("history"),
    last("noformat"),
    last("nohistory"),
    last("nothink"),
    last("nowordwrap"),
    word("parameter", Then::Names(settings::names)),
    last("quiet"),
    last("system"),
    last("think"),
    word("thinking", Then::Words(&[last("show"), last("hide"), last("summary")])),
    last("verbose"),
    last("wordwrap"),
    last("param"),
];

static SHOWN: [Word; 5] = [last("info"), last("parameters"), last("prompt"), last("system"), last("template")];

#[cfg(test)]
mod tests {
    use super::super::commands;
    use super::*;

    #[test]
    fn every_word_is_a_command() {
        let known = |line: &str| match commands::parse(line) {
            Err(e) => !e.contains("there is no"),
            Ok(found) => found.is_some(),
        };
        for Word { text, .. } in COMMANDS {
            assert!(known(text), "{text}");
        }
        for Word { text, .. } in SETTINGS {
            assert!(known(&format!("/set {text}")) || known(&format!("/set {text} x")), "{text}");
        }
        for Word { text, .. } in SHOWN {
            assert!(known(&format!("/show {text}")), "{text}");
        }
    }
}
