//! The shape of a RON text with the place of every field and value.
//!
//! `ron` checks syntax and types but keeps no places: `ron::Value` even drops the names of enum
//! variants. This scanner runs after `ron` has accepted the syntax, so it only has to find where
//! things are, never whether they are right; on text that `ron` would refuse it returns `None` or
//! a tree of no meaning, but it does not fail.

use crate::base::ByteSpan;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The whole value, a leading name included.
    pub span: ByteSpan,
    /// The name before the parenthesis (`VllmV0` in `VllmV0(..)`), or the whole of a bare name.
    pub name: Option<ByteSpan>,
    /// What it consists of.
    pub kind: Kind,
}

/// What a value consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number, string, character or boolean.
    Scalar,
    /// A bare name, such as `RoundRobin`.
    Unit,
    /// `(a: 1, b: 2)`, `()` and the same with a name in front.
    Struct(Vec<Field>),
    /// `(1, 2)` and `Name(1, 2)`.
    Tuple(Vec<Node>),
    /// `[1, 2]`.
    List(Vec<Node>),
    /// `{"a": 1}`.
    Map(Vec<Field>),
}

/// A field of a struct or an entry of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's name or the entry's key, as written.
    pub key: ByteSpan,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The fields of a struct or the entries of a map.
    pub fn fields(&self) -> &[Field] {
        match &self.kind {
            Kind::Struct(fields) | Kind::Map(fields) => fields,
            _ => &[],
        }
    }

    /// The elements of a list or tuple.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Tuple(items) | Kind::List(items) => items,
            _ => &[],
        }
    }

    /// The last field called `name` (a map's string keys count without their quotes).
    pub fn field<'a>(&'a self, text: &str, name: &str) -> Option<&'a Field> {
        self.fields().iter().rev().find(|field| unquoted(&text[field.key.clone()]) == name)
    }

    /// Calls `visit` with this node and everything below it, outer before inner.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Node)) {
        visit(self);
        for field in self.fields() {
            field.value.walk(visit);
        }
        for item in self.items() {
            item.walk(visit);
        }
    }
}

/// A key without its quotes.
pub(super) fn unquoted(key: &str) -> &str {
    key.strip_prefix('"').and_then(|k| k.strip_suffix('"')).unwrap_or(key)
}

/// The value in a text that `ron` accepts.
pub(super) fn scan(text: &str) -> Option<Node> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip_trivia();
    while scanner.rest().starts_with("#!") {
        // `#![enable(...)]`
        scanner.at += scanner.rest().find(']')? + 1;
        scanner.skip_trivia();
    }
    scanner.value()
}

/// Where the next thing starts that is neither blank nor comment, at or after `offset`.
pub(super) fn skip_trivia(text: &str, offset: usize) -> usize {
    let mut scanner = Scanner { text, at: offset };
    scanner.skip_trivia();
    scanner.at
}

/// Whether there is nothing but white space and comments.
pub(super) fn is_blank(text: &str) -> bool {
    skip_trivia(text, 0) == text.len()
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn skip_trivia(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            self.at += blank;
            let rest = self.rest();
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.skip_block_comment();
            } else {
                return;
            }
        }
    }

    /// Block comments nest.
    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        while !self.rest().is_empty() {
            if self.rest().starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if self.rest().starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else {
                self.at += self.peek().map_or(0, char::len_utf8);
            }
        }
    }

    /// An identifier at the cursor, raw ones (`r#type`) included.
    fn identifier(&mut self) -> Option<ByteSpan> {
        let start = self.at;
        let rest = self.rest();
        let body = rest.strip_prefix("r#").filter(|b| !b.starts_with(['"', '#'])).unwrap_or(rest);
        let prefix = rest.len() - body.len();
        let first = body.chars().next()?;
        if !(first.is_alphabetic() || first == '_') {
            return None;
        }
        let length = body.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(body.len());
        self.at += prefix + length;
        Some(start..self.at)
    }

    fn value(&mut self) -> Option<Node> {
        let start = self.at;
        match self.peek()? {
            '(' => {
                let kind = self.parenthesised()?;
                Some(Node { span: start..self.at, name: None, kind })
            }
            '[' => {
                self.at += 1;
                let items = self.sequence(']')?;
                Some(Node { span: start..self.at, name: None, kind: Kind::List(items) })
            }
            '{' => {
                self.at += 1;
                let entries = self.entries('}')?;
                Some(Node { span: start..self.at, name: None, kind: Kind::Map(entries) })
            }
            _ => self.named_or_scalar(start),
        }
    }

    fn named_or_scalar(&mut self, start: usize) -> Option<Node> {
        if self.string() {
            return Some(Node { span: start..self.at, name: None, kind: Kind::Scalar });
        }
        if let Some(name) = self.identifier() {
            let after_name = self.at;
            self.skip_trivia();
            if self.peek() == Some('(') {
                let kind = self.parenthesised()?;
                return Some(Node { span: start..self.at, name: Some(name), kind });
            }
            self.at = after_name;
            let kind = match &self.text[name.clone()] {
                "true" | "false" | "inf" | "NaN" => Kind::Scalar,
                _ => Kind::Unit,
            };
            return Some(Node { span: name.clone(), name: Some(name), kind });
        }
        // A number.
        let rest = self.rest();
        let end = rest.find(|c: char| c.is_whitespace() || ",)]}:/".contains(c));
        self.at += end.unwrap_or(rest.len());
        (self.at > start).then_some(Node { span: start..self.at, name: None, kind: Kind::Scalar })
    }

    /// Moves past a string, byte string or character literal if there is one.
    fn string(&mut self) -> bool {
        let rest = self.rest();
        let body = rest.strip_prefix('b').unwrap_or(rest);
        if let Some(raw) = body.strip_prefix('r') {
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            if !raw[hashes..].starts_with('"') {
                return false;
            }
            let close = format!("\"{}", "#".repeat(hashes));
            let opened = rest.len() - raw.len() + hashes + 1;
            let length =
                rest[opened..].find(&close).map_or(rest.len(), |n| opened + n + close.len());
            self.at += length;
            return true;
        }
        let Some(quote) = body.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            return false;
        };
        self.at += rest.len() - body.len() + 1;
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            if c == '\\' {
                self.at += self.peek().map_or(0, char::len_utf8);
            } else if c == quote {
                break;
            }
        }
        true
    }

    /// `( ... )`: a struct if the first thing is `name:` or there is nothing, else a tuple.
    fn parenthesised(&mut self) -> Option<Kind> {
        self.at += 1;
        self.skip_trivia();
        if self.eat(')') {
            return Some(Kind::Struct(Vec::new()));
        }
        let inside = self.at;
        let named = self.identifier().is_some() && {
            self.skip_trivia();
            self.peek() == Some(':')
        };
        self.at = inside;
        if named {
            self.entries(')').map(Kind::Struct)
        } else {
            self.sequence(')').map(Kind::Tuple)
        }
    }

    fn sequence(&mut self, close: char) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        loop {
            self.skip_trivia();
            if self.eat(close) {
                return Some(items);
            }
            items.push(self.value()?);
            self.skip_trivia();
            self.eat(',');
        }
    }

    fn entries(&mut self, close: char) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        loop {
            self.skip_trivia();
            if self.eat(close) {
                return Some(fields);
            }
            let key = self.value()?.span;
            self.skip_trivia();
            if !self.eat(':') {
                return None;
            }
            self.skip_trivia();
            fields.push(Field { key, value: self.value()? });
            self.skip_trivia();
            self.eat(',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as one line: names, fields and leaves with their exact text.
    fn outline(text: &str, node: &Node) -> String {
        let name = node.name.clone().map_or("", |n| &text[n]);
        let fields = |fields: &[Field]| {
            let all: Vec<String> = fields
                .iter()
                .map(|f| format!("{}={}", &text[f.key.clone()], outline(text, &f.value)))
                .collect();
            all.join(" ")
        };
        let items =
            |items: &[Node]| items.iter().map(|i| outline(text, i)).collect::<Vec<_>>().join(" ");
        match &node.kind {
            Kind::Scalar => text[node.span.clone()].to_owned(),
            Kind::Unit => format!("<{name}>"),
            Kind::Struct(f) => format!("{name}({})", fields(f)),
            Kind::Tuple(i) => format!("{name}<{}>", items(i)),
            Kind::List(i) => format!("[{}]", items(i)),
            Kind::Map(f) => format!("{{{}}}", fields(f)),
        }
    }

    #[test]
    fn everything_is_found_where_it_stands() {
        for (text, expected) in [
            ("(a: 1, b: -2.5e3,)", "(a=1 b=-2.5e3)"),
            (
                "#![enable(implicit_some)]\n// c\nName /* x */ (a : \"q\\\"),(\")",
                "Name(a=\"q\\\"),(\")",
            ),
            (
                "(p: VllmV0(n: 4), r: RoundRobin, c: Concurrency(16), e: ())",
                "(p=VllmV0(n=4) r=<RoundRobin> c=Concurrency<16> e=())",
            ),
            ("{\"a\": (1, [2, 3,]), \"b\": r#\"x\"y\"#}", "{\"a\"=<1 [2 3]> \"b\"=r#\"x\"y\"#}"),
            (
                "(a: /* n /* m */ , */ true, // )\n b: None, c: 'x', d: ')')",
                "(a=true b=<None> c='x' d=')')",
            ),
            ("(r#type: 1, b: b\")\", é: 2)", "(r#type=1 b=b\")\" é=2)"),
            ("(x: 1/*c*/,y:2//d\n)", "(x=1 y=2)"),
        ] {
            let tree = scan(text).unwrap_or_else(|| panic!("{text} has a tree"));
            assert_eq!(outline(text, &tree), expected, "{text}");
        }
    }

    #[test]
    fn broken_text_is_no_panic_and_its_tree_lies_within_it() {
        for text in [
            "", "(", "(a: 1", "(a 1)", "[1, ", "{1: ", "\"abc", "(a: \"\\", "/* x", "r#\"x", "b",
            "(,)", "#!",
        ] {
            assert!(scan(text).is_none_or(|tree| tree.span.end <= text.len()), "{text}");
        }
    }
}
