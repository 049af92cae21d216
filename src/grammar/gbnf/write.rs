//! Writes rules as Lark: `R0, R1...` are rules that are regular, `r0, r1...` the others, `T0, T1...` regular stretches
//! within those.

use super::{Node, Rule};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::fmt::Write;

/// Any text but the empty one, for terminals that must not be empty.
const SOME: &str = r"/[\x{0}-\x{10ffff}]+/";

/// What is known of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Facts {
    /// It has no recursion and no tokens.
    regular: bool,
    /// It can be empty.
    nullable: bool,
    /// Something matches it.
    possible: bool,
}

struct Writer {
    facts: Vec<Facts>,
    /// Terminals made for stretches, by what they match.
    stretches: HashMap<String, String>,
    out: String,
}

/// The rules, of which the first is where the output begins, as Lark.
pub(super) fn write(rules: &[Rule]) -> Result<String> {
    let facts = facts(rules);
    if let Some(at) = facts.iter().position(|f| !f.possible) {
        let name = &rules[at].name;
        return Err(Error::usage(format!("GBNF grammar: nothing can match the rule {name}, for it never ends")));
    }
    let mut writer = Writer { facts, stretches: HashMap::new(), out: String::new() };
    let start = writer.reference(0);
    let _infallible = writeln!(writer.out, "start: {start}");
    for number in 0..rules.len() {
        let (name, text) = match writer.facts[number].regular {
            true => (format!("R{number}"), writer.regular(&rules[number].body).unwrap_or_else(|| "\"\"".to_owned())),
            false => (format!("r{number}"), writer.rule(&rules[number].body).unwrap_or_else(|| "\"\"".to_owned())),
        };
        let _infallible = writeln!(writer.out, "{name}: {text}");
        if writer.facts[number].regular && writer.facts[number].nullable {
            let _infallible = writeln!(writer.out, "R{number}_: R{number} & {SOME}");
        }
    }
    Ok(writer.out)
}

/// The facts of all rules: the largest set that are regular, the smallest sets that are nullable and possible.
fn facts(rules: &[Rule]) -> Vec<Facts> {
    let mut facts = vec![Facts { regular: false, ..Facts::default() }; rules.len()];
    loop {
        // A rule becomes regular once all that it names are, so one that contains itself never does.
        let next: Vec<Facts> = rules.iter().map(|r| facts_of(&r.body, &facts)).collect();
        if next == facts {
            return facts;
        }
        facts = next;
    }
}

fn facts_of(node: &Node, rules: &[Facts]) -> Facts {
    let all = |nodes: &[Node]| nodes.iter().map(|n| facts_of(n, rules)).collect::<Vec<_>>();
    match node {
        Node::Literal(text) => Facts { regular: true, nullable: text.is_empty(), possible: true },
        Node::Class { .. } => Facts { regular: true, nullable: false, possible: true },
        Node::Token(_) => Facts { regular: false, nullable: false, possible: true },
        Node::Rule(number) => rules[*number],
        Node::Sequence(parts) => {
            let parts = all(parts);
            Facts {
                regular: parts.iter().all(|f| f.regular),
                nullable: parts.iter().all(|f| f.nullable),
                possible: parts.iter().all(|f| f.possible),
            }
        }
        Node::Choice(options) => {
            let options = all(options);
            Facts {
                regular: options.iter().all(|f| f.regular),
                nullable: options.iter().any(|f| f.nullable),
                possible: options.iter().any(|f| f.possible),
            }
        }
        Node::Repeat { node, min, .. } => {
            let f = facts_of(node, rules);
            Facts { regular: f.regular, nullable: f.nullable || *min == 0, possible: f.possible || *min == 0 }
        }
    }
}

impl Writer {
    fn facts_of(&self, node: &Node) -> Facts {
        facts_of(node, &self.facts)
    }

    /// A rule within another rule: a terminal must not be empty there.
    fn reference(&self, number: usize) -> String {
        match self.facts[number] {
            Facts { regular: true, nullable: true, .. } => format!("(R{number}_)?"),
            Facts { regular: true, .. } => format!("R{number}"),
            _ => format!("r{number}"),
        }
    }

    /// A regular part, within a terminal; nothing if only the empty text matches it.
    fn regular(&self, node: &Node) -> Option<String> {
        match node {
            Node::Literal(text) if text.is_empty() => None,
            Node::Literal(text) => Some(format!("/{}/", text.chars().map(escaped).collect::<String>())),
            Node::Class { negated, ranges } => {
                let range = |&(from, to): &(char, char)| match from == to {
                    true => escaped(from),
                    false => format!("{}-{}", escaped(from), escaped(to)),
                };
                let not = if *negated { "^" } else { "" };
                Some(format!("/[{not}{}]/", ranges.iter().map(range).collect::<String>()))
            }
            Node::Rule(number) => Some(format!("R{number}")),
            Node::Token(_) => None,
            Node::Sequence(parts) => joined(parts.iter().map(|p| self.regular(p))),
            Node::Choice(options) => chosen(options.iter().map(|o| self.regular(o)).collect()),
            Node::Repeat { node, min, max } => repeated(self.regular(node)?, *min, *max),
        }
    }

    /// A part of a rule that is no terminal as a whole.
    fn rule(&mut self, node: &Node) -> Option<String> {
        if self.facts_of(node).regular {
            return self.stretch(std::slice::from_ref(node));
        }
        match node {
            Node::Rule(number) => Some(self.reference(*number)),
            Node::Token(text) => Some(text.clone()),
            Node::Sequence(parts) => self.sequence(parts),
            Node::Choice(options) => {
                let options = options.iter().map(|o| self.rule(o)).collect();
                chosen(options)
            }
            Node::Repeat { node, min, max } => repeated(self.rule(node)?, *min, *max),
            Node::Literal(_) | Node::Class { .. } => None,
        }
    }

    /// A sequence: its regular stretches as terminals, the rest as it is.
    fn sequence(&mut self, parts: &[Node]) -> Option<String> {
        let mut written = Vec::new();
        let mut rest = parts;
        while !rest.is_empty() {
            let regular = rest.iter().take_while(|p| self.facts_of(p).regular).count();
            let (now, later) = rest.split_at(regular.max(1));
            written.push(if regular > 0 { self.stretch(now) } else { self.rule(&now[0]) });
            rest = later;
        }
        joined(written.into_iter())
    }

    /// A terminal for regular parts that follow each other.
    fn stretch(&mut self, parts: &[Node]) -> Option<String> {
        if let [Node::Rule(number)] = parts {
            return Some(self.reference(*number));
        }
        let text = joined(parts.iter().map(|p| self.regular(p)))?;
        let nullable = parts.iter().all(|p| self.facts_of(p).nullable);
        let count = self.stretches.len();
        let name = self.stretches.entry(text.clone()).or_insert_with(|| format!("T{count}")).clone();
        if name == format!("T{count}") {
            let some = if nullable { format!(" & {SOME}") } else { String::new() };
            let _infallible = writeln!(self.out, "{name}: {text}{some}");
        }
        Some(if nullable { format!("({name})?") } else { name })
    }
}

fn escaped(c: char) -> String {
    format!("\\x{{{:x}}}", u32::from(c))
}

fn joined(parts: impl Iterator<Item = Option<String>>) -> Option<String> {
    let parts: Vec<String> = parts.flatten().collect();
    match parts.len() {
        0 => None,
        1 => parts.into_iter().next(),
        _ => Some(format!("({})", parts.join(" "))),
    }
}

fn chosen(options: Vec<Option<String>>) -> Option<String> {
    let may_be_empty = options.iter().any(Option::is_none);
    let options: Vec<String> = options.into_iter().flatten().collect();
    if options.is_empty() {
        return None;
    }
    Some(format!("({}){}", options.join(" | "), if may_be_empty { "?" } else { "" }))
}

fn repeated(text: String, min: u32, max: Option<u32>) -> Option<String> {
    match max {
        Some(0) => None,
        Some(max) => Some(format!("{text}{{{min},{max}}}")),
        None => Some(format!("{text}{{{min},}}")),
    }
}
