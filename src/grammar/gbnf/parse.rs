//! Reads GBNF. Rules are numbered in the order in which they are first named; `root` is number 0.

use super::{MAX_DEPTH, MAX_REPEATS, Node, Rule, is_name_char};
use crate::error::{Error, Result};

/// A rule that was named, and perhaps defined.
struct Named {
    name: String,
    /// Where it was first named, in bytes.
    at: usize,
    body: Option<Node>,
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    rules: Vec<Named>,
    depth: usize,
}

/// All rules, `root` first.
pub(super) fn parse(text: &str) -> Result<Vec<Rule>> {
    let root = Named { name: "root".to_owned(), at: 0, body: None };
    let mut parser = Parser { text, at: 0, rules: vec![root], depth: 0 };
    parser.space(true);
    while parser.peek().is_some() {
        parser.rule()?;
        parser.space(true);
    }
    if parser.rules[0].body.is_none() {
        return Err(Error::usage("GBNF grammar: there is no rule root, with which the output begins"));
    }
    let missing = parser.rules.iter().find(|r| r.body.is_none()).map(|r| (r.at, r.name.clone()));
    if let Some((at, name)) = missing {
        return Err(parser.wrong_at(at, &format!("there is no rule {name}")));
    }
    let defined = |r: Named| r.body.map(|body| Rule { name: r.name, body });
    Ok(parser.rules.into_iter().filter_map(defined).collect())
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let there = self.rest().starts_with(text);
        self.at += if there { text.len() } else { 0 };
        there
    }

    fn wrong(&self, what: &str) -> Error {
        self.wrong_at(self.at, what)
    }

    fn wrong_at(&self, at: usize, what: &str) -> Error {
        let before = &self.text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Error::usage(format!("GBNF grammar, line {line}, column {column}: {what}"))
    }

    /// Passes over white space and comments, and line breaks where they count for nothing.
    fn space(&mut self, breaks: bool) {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.at += 1,
                Some('\n' | '\r') if breaks => self.at += 1,
                Some('#') => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                _ => return,
            }
        }
    }

    fn name(&mut self) -> Result<(usize, usize)> {
        let at = self.at;
        let length = self.rest().find(|c| !is_name_char(c)).unwrap_or(self.rest().len());
        if length == 0 {
            return Err(self.wrong("expected the name of a rule: letters, digits and -"));
        }
        let name = &self.text[at..at + length];
        self.at += length;
        if let Some(number) = self.rules.iter().position(|r| r.name == name) {
            return Ok((number, at));
        }
        self.rules.push(Named { name: name.to_owned(), at, body: None });
        Ok((self.rules.len() - 1, at))
    }

    fn rule(&mut self) -> Result<()> {
        let (number, at) = self.name()?;
        self.space(false);
        if !self.eat("::=") {
            return Err(self.wrong("expected ::= after the name of a rule"));
        }
        if self.rules[number].body.is_some() {
            return Err(self.wrong_at(at, &format!("the rule {} is defined twice", self.rules[number].name)));
        }
        self.space(true);
        let body = self.choice(false)?;
        self.rules[number].body = Some(body);
        match self.peek() {
            None | Some('\n' | '\r') => Ok(()),
            Some(c) => Err(self.wrong(&format!("{c:?} is not expected here"))),
        }
    }

    fn choice(&mut self, nested: bool) -> Result<Node> {
        let mut options = vec![self.sequence(nested)?];
        while self.bar(nested) {
            self.space(true);
            options.push(self.sequence(nested)?);
        }
        Ok(if options.len() == 1 { options.swap_remove(0) } else { Node::Choice(options) })
    }

    /// Whether another option follows, perhaps on the next line.
    fn bar(&mut self, nested: bool) -> bool {
        let before = self.at;
        self.space(true);
        if self.eat("|") {
            return true;
        }
        self.at = if nested { self.at } else { before };
        false
    }

    fn sequence(&mut self, nested: bool) -> Result<Node> {
        let mut parts = Vec::new();
        loop {
            self.space(nested);
            let part = match self.peek() {
                None | Some('\n' | '\r' | '|' | ')') => return Ok(Node::Sequence(parts)),
                Some('"') => self.literal()?,
                Some('[') => self.class()?,
                Some('(') => self.group()?,
                Some('.') => {
                    self.at += 1;
                    Node::Class { negated: false, ranges: vec![('\0', char::MAX)] }
                }
                Some('<') => self.token()?,
                Some('!') => return Err(self.wrong("a token cannot be excluded here; use a character class")),
                Some('*' | '+' | '?' | '{') => return Err(self.wrong("there is nothing before it to repeat")),
                Some(_) => Node::Rule(self.name()?.0),
            };
            parts.push(self.repeats(part)?);
        }
    }

    fn group(&mut self) -> Result<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong(&format!("more than {MAX_DEPTH} groups within each other")));
        }
        self.at += 1;
        let inner = self.choice(true)?;
        self.space(true);
        if !self.eat(")") {
            return Err(self.wrong("expected )"));
        }
        self.depth -= 1;
        Ok(inner)
    }

    fn literal(&mut self) -> Result<Node> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.peek() {
                Some('"') => {
                    self.at += 1;
                    return Ok(Node::Literal(text));
                }
                None | Some('\n') => return Err(self.wrong("the text has no closing \"")),
                Some(_) => text.push(self.char()?),
            }
        }
    }

    fn class(&mut self) -> Result<Node> {
        self.at += 1;
        let negated = self.eat("^");
        let mut ranges = Vec::new();
        while !self.eat("]") {
            if matches!(self.peek(), None | Some('\n')) {
                return Err(self.wrong("the characters have no closing ]"));
            }
            let at = self.at;
            let from = self.char()?;
            let is_range = self.rest().starts_with('-') && !self.rest().starts_with("-]");
            let to = if is_range {
                self.at += 1;
                self.char()?
            } else {
                from
            };
            if to < from {
                return Err(self.wrong_at(at, &format!("the range {from:?} to {to:?} ends before it begins")));
            }
            ranges.push((from, to));
        }
        if ranges.is_empty() {
            return Err(self.wrong("there is no character between the brackets"));
        }
        Ok(Node::Class { negated, ranges })
    }

    /// One character, perhaps escaped.
    fn char(&mut self) -> Result<char> {
        let at = self.at;
        let c = self.next().ok_or_else(|| self.wrong_at(at, "the grammar ends within a text"))?;
        if c != '\\' {
            return Ok(c);
        }
        match self.next() {
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some(c @ ('\\' | '"' | '[' | ']' | '-' | '^')) => Ok(c),
            Some('x') => self.hex(at, 2),
            Some('u') => self.hex(at, 4),
            Some('U') => self.hex(at, 8),
            Some(c) => Err(self.wrong_at(at, &format!("\\{c} is no escape that GBNF has"))),
            None => Err(self.wrong_at(at, "the grammar ends within an escape")),
        }
    }

    fn hex(&mut self, at: usize, digits: usize) -> Result<char> {
        let number = self.rest().get(..digits).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let number = number.and_then(|d| u32::from_str_radix(d, 16).ok());
        let number = number.ok_or_else(|| self.wrong_at(at, &format!("expected {digits} hexadecimal digits")))?;
        self.at += digits;
        char::from_u32(number).ok_or_else(|| self.wrong_at(at, &format!("U+{number:04X} is no character")))
    }

    /// `<name>` or `<[id]>`, which Lark writes alike.
    fn token(&mut self) -> Result<Node> {
        let at = self.at;
        let end = self.rest().find(['>', '\n']).filter(|&n| self.rest()[n..].starts_with('>'));
        let end = end.ok_or_else(|| self.wrong_at(at, "the token has no closing >"))?;
        let text = self.rest()[..=end].to_owned();
        if text.len() < 3 || text.contains(char::is_whitespace) {
            return Err(self.wrong_at(at, "expected a token, as in <think> or <[1000]>"));
        }
        self.at += text.len();
        Ok(Node::Token(text))
    }

    /// The part as often as what follows it says.
    fn repeats(&mut self, node: Node) -> Result<Node> {
        let (min, max) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => return self.counted(node),
            _ => return Ok(node),
        };
        self.at += 1;
        Ok(Node::Repeat { node: Box::new(node), min, max })
    }

    fn counted(&mut self, node: Node) -> Result<Node> {
        let at = self.at;
        self.at += 1;
        let min = self.number()?;
        let (min, max) = if self.eat(",") {
            (min.unwrap_or(0), self.number()?)
        } else {
            let n = min.ok_or_else(|| self.wrong("expected a number"))?;
            (n, Some(n))
        };
        if !self.eat("}") {
            return Err(self.wrong("expected } after the number of repeats"));
        }
        let shown = &self.text[at..self.at];
        if max.is_some_and(|max| max < min) {
            return Err(self.wrong_at(at, &format!("{shown}: the second number is less than the first")));
        }
        if max.unwrap_or(min) > MAX_REPEATS {
            return Err(self.wrong_at(at, &format!("{shown}: at most {MAX_REPEATS} repeats can be asked for")));
        }
        Ok(Node::Repeat { node: Box::new(node), min, max })
    }

    fn number(&mut self) -> Result<Option<u32>> {
        self.space(false);
        let length = self.rest().find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest().len());
        let digits = &self.text[self.at..self.at + length];
        let number = match digits.parse() {
            Ok(n) => Some(n),
            Err(_) if digits.is_empty() => None,
            Err(_) => return Err(self.wrong(&format!("at most {MAX_REPEATS} repeats can be asked for"))),
        };
        self.at += length;
        self.space(false);
        Ok(number)
    }
}
