//! GBNF, the grammars of llama.cpp, written as Lark.
//!
//! What is read: rules `name ::= ...` from `root` on, literals, character classes with ranges and `[^...]`, `.`, groups,
//! `|`, `* + ? {n} {n,} {,m} {n,m}`, references, comments, the escapes `\n \r \t \\ \" \[ \] \- \^ \xHH \uHHHH
//! \UHHHHHHHH`, and tokens `<name>` and `<[id]>`. Excluding a token (`!<name>`) is refused.
//!
//! **How it is written.** llguidance reads text in two layers: terminals (regular, taken as long as they go) and rules
//! over them. A rule that does not contain itself becomes a terminal, and so does every longest stretch of such parts
//! within a rule that does. So a grammar without recursion is one terminal, and exact. With recursion every text that is let
//! through is a text of the grammar; but where a terminal could end earlier for the next one to begin with the same
//! characters, only the longest reading is followed.

mod parse;
mod write;

use crate::error::{Error, Result};

/// Most characters of a grammar.
const MAX_TEXT: usize = 1 << 20;
/// Most groups within each other.
const MAX_DEPTH: usize = 64;
/// Largest number of repeats that may be asked for; llama.cpp has the same.
const MAX_REPEATS: u32 = 2000;

/// A part of a rule.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Literal(String),
    /// One character of these ranges, or of none of them.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    /// The number of a rule.
    Rule(usize),
    /// A token, as Lark writes it.
    Token(String),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
    },
}

/// A rule and where it is defined.
#[derive(Clone, Debug)]
struct Rule {
    name: String,
    body: Node,
}

/// Whether a grammar is GBNF: it has a line that begins a rule with `::=`.
pub(super) fn is_gbnf(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(is_name_char);
    text.lines().any(|line| line.split_once("::=").is_some_and(|(name, _)| is_name(name.trim())))
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// The grammar as Lark.
///
/// # Errors
/// When it is broken, has no rule `root`, or uses what is not supported; the message has line and column.
pub(super) fn to_lark(text: &str) -> Result<String> {
    if text.len() > MAX_TEXT {
        return Err(Error::usage(format!("GBNF grammar: it has {} bytes, at most {MAX_TEXT} are read", text.len())));
    }
    let rules = parse::parse(text)?;
    write::write(&rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        to_lark(text).unwrap_err().to_string()
    }

    #[test]
    fn gbnf_is_told_from_lark() {
        assert!(is_gbnf("root ::= \"a\""));
        assert!(is_gbnf("# x\n  my-rule\t::= [a-z]"));
        assert!(!is_gbnf("start: \"a ::= b\""));
        assert!(!is_gbnf("start: /x/"));
    }

    #[test]
    fn a_grammar_without_recursion_is_one_terminal() {
        let lark = to_lark("root ::= \"a\" num? # the end\nnum ::= [0-9]+ | \"-\"").unwrap();
        assert!(lark.starts_with("start: R0\n"), "{lark}");
        assert!(lark.contains("R1: (/[\\x{30}-\\x{39}]/{1,} | /\\x{2d}/)\n"), "{lark}");
        let empty = to_lark("root ::= \"a\"*").unwrap();
        assert!(empty.starts_with("start: (R0_)?\n"), "what may be empty is optional: {empty}");
    }

    #[test]
    fn recursive_rules_stay_rules() {
        let lark = to_lark("root ::= \"(\" root \")\" | [a-z] ws\nws ::= \" \"*").unwrap();
        assert!(lark.contains("start: r0\n") && lark.contains("r0: ((T0 r0 T1) | T2)\n"), "{lark}");
        assert!(lark.contains("T2: (/[\\x{61}-\\x{7a}]/ R1)\n"), "{lark}");
    }

    #[test]
    fn escapes_classes_and_repeats() {
        let lark =
            to_lark(r#"root ::= "\"\x41\u00e9\U0001F999\n" [^\]\-a-c] . "b"{2} "c"{,3} "d"{1,} "e"{0}"#).unwrap();
        for part in [
            "\\x{22}\\x{41}\\x{e9}\\x{1f999}\\x{a}",
            "/[^\\x{5d}\\x{2d}\\x{61}-\\x{63}]/",
            "/[\\x{0}-\\x{10ffff}]/",
            "/\\x{62}/{2,2}",
            "/\\x{63}/{0,3}",
            "/\\x{64}/{1,}",
        ] {
            assert!(lark.contains(part), "{part} is not in {lark}");
        }
        assert!(!lark.contains("\\x{65}"), "no time at all: {lark}");
    }

    #[test]
    fn rules_may_go_on_over_lines() {
        let lark = to_lark("root ::= (\n  \"a\" # one\n  | \"b\"\n)\n  | \"c\" |\n  \"d\"\nother ::= \"x\"\n").unwrap();
        assert!(lark.contains("\\x{61}") && lark.contains("\\x{64}"), "{lark}");
        assert!(to_lark("root ::=\n  \"a\"\r\n").is_ok());
    }

    #[test]
    fn mistakes_are_found_where_they_are() {
        let cases = [
            ("root ::= \"a\nb ::= \"c\"", "line 1, column 12"),
            ("root ::= x", "line 1, column 10: there is no rule x"),
            ("a ::= \"b\"", "no rule root"),
            ("root ::= [a", "column 12"),
            ("root ::= [z-a]", "ends before it begins"),
            ("root ::= (\"a\"", "expected )"),
            ("root ::= \"a\")", "line 1, column 13"),
            ("root ::= \"\\q\"", "\\q"),
            ("root ::= *", "nothing before"),
            ("root ::= \"a\"{3,2}", "{3,2}"),
            ("root ::= \"a\"{3000}", "2000"),
            ("root ::= \"a\"{x}", "column 14"),
            ("root ::= \"a\"\nroot ::= \"b\"", "line 2, column 1: the rule root is defined twice"),
            ("root ::= !<think>", "excluded"),
            ("root ::= \"\\xZ1\"", "hexadecimal"),
            ("root ::= \"\\uD800\"", "no character"),
            ("root ::= root", "nothing can match"),
        ];
        for (text, part) in cases {
            let message = error(text);
            assert!(message.contains(part) && message.starts_with("GBNF grammar"), "{text:?}: {message}");
        }
        let deep = format!("root ::= {}\"a\"{}", "(".repeat(100), ")".repeat(100));
        assert!(error(&deep).contains("64"), "{}", error(&deep));
    }
}
