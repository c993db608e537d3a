//! `ron`'s errors in our words, each at the place that caused it.
//!
//! `ron` reports where its cursor stood, which is often behind the token at fault. The tree knows
//! where fields and values are, so the place is looked up there.

use ron::error::{Error, SpannedError};

use super::tree::{self, Field, Kind, Node, unquoted};
use super::{Diagnostic, Document};
use crate::base::text::{cut, cut_to};
use crate::base::{ByteSpan, offset_of, suggest};

/// So many unknown fields of a group are named besides the first.
const OTHERS_MAX: usize = 20;

/// The part of a node worth a caret: its name, or its opening bracket, or all of a scalar.
pub(super) fn head(node: &Node) -> ByteSpan {
    match (&node.name, &node.kind) {
        (Some(name), _) => name.clone(),
        (None, Kind::Scalar | Kind::Unit) => node.span.clone(),
        (None, _) => node.span.start..node.span.start + 1,
    }
}

/// Text that `ron` accepts but the scanner does not understand.
pub(super) fn unreadable(document: &Document) -> Diagnostic {
    Diagnostic::error("this text cannot be understood").at(document.place(&(0..0)), "starts here")
}

/// A syntax error.
pub(super) fn explain_syntax(document: &Document, error: &SpannedError) -> Diagnostic {
    let text = document.text();
    let start = offset_of(text, error.span.start.line, error.span.start.col);
    let end = offset_of(text, error.span.end.line, error.span.end.col);
    // An unclosed thing is best shown where it began, everything else where the cursor stopped.
    let at = match &error.code {
        Error::ExpectedStringEnd | Error::UnclosedBlockComment => start,
        _ => end,
    };
    let ended = text[at..].trim().is_empty();
    let at = if ended { text.trim_end().char_indices().last().map_or(0, |(i, _)| i) } else { at };
    let (title, label) = syntax_words(text, at, ended, &error.code);
    let diagnostic = Diagnostic::error(title).at(document.place(&(at..at)), label);
    match &error.code {
        _ if text[at..].starts_with('=') => diagnostic.help("fields are written `name: value`"),
        Error::TrailingCharacters if !text.trim_start().starts_with(['(', '#', '/']) => diagnostic
            .help("a scenario is a group of fields in parentheses: `( model: \"...\", ... )`"),
        Error::ExpectedComma
            if text[..at].trim_end().ends_with(|c: char| c.is_alphanumeric() || c == '_') =>
        {
            diagnostic.help("fields are written `name: value`, with commas between them")
        }
        _ => diagnostic,
    }
}

/// What is wrong at `at`, and what was expected there.
fn syntax_words(text: &str, at: usize, ended: bool, code: &Error) -> (String, String) {
    let (title, label) = match code {
        _ if tree::is_blank(text) => ("the text is empty", "expected `( ... )`"),
        Error::Eof | Error::ExpectedComma if ended => {
            ("the text ends too early", "a bracket is still open here")
        }
        Error::ExpectedComma if text[at..].starts_with(['(', '[', '{']) => {
            ("a comma is missing", "expected `,` before this")
        }
        Error::ExpectedComma if text[at..].starts_with([')', ']', '}']) => {
            ("a bracket is closed by one of another kind", "does not match the opening bracket")
        }
        Error::ExpectedComma if text[at..].starts_with('=') => {
            ("a colon is missing", "expected `:`")
        }
        Error::ExpectedComma if is_bare_name(&text[..at]) => {
            ("a colon is missing", "expected `:` between the name of the field and this value")
        }
        Error::ExpectedComma => {
            ("a comma or a closing bracket is missing", "expected `,` before this")
        }
        Error::ExpectedMapColon => ("a colon is missing", "expected `:` between name and value"),
        Error::ExpectedStringEnd => ("a text is not closed", "this `\"` has no partner"),
        Error::UnclosedBlockComment => ("a comment is not closed", "this has no `*/`"),
        Error::TrailingCharacters => {
            ("there is more text after the end", "expected nothing after the last bracket")
        }
        Error::ExpectedStructLikeEnd | Error::ExpectedArrayEnd | Error::ExpectedMapEnd => {
            ("a bracket is not closed", "expected the closing bracket")
        }
        Error::UnexpectedChar(_) | Error::ExpectedIdentifier
            if text[..at].trim_end().ends_with(':') =>
        {
            ("a value is missing", "expected a value before this")
        }
        Error::ExpectedIdentifier if text[at..].starts_with([')', ']', '}']) => {
            ("a bracket is closed by one of another kind", "does not match the opening bracket")
        }
        Error::ExpectedIdentifier => ("a name is missing", "expected the name of a field"),
        Error::ExpectedChar => ("a text in single quotes", "texts need double quotes"),
        Error::ExpectedInteger => ("a number has no digits", "expected a digit"),
        Error::UnexpectedChar(_) => ("a character that has no meaning here", "expected a value"),
        Error::NoSuchExtension(_) => ("unknown RON extension", "not an extension"),
        Error::ExceededRecursionLimit => ("brackets are nested too deeply", "too deep"),
        other => return (plain_words(other), "not understood".to_owned()),
    };
    (title.to_owned(), label.to_owned())
}

/// Whether a text ends with a name that stands where a field begins: `( seed: 1, model`.
fn is_bare_name(before: &str) -> bool {
    let before = before.trim_end();
    let name = |c: char| c.is_alphanumeric() || c == '_';
    let rest = before.trim_end_matches(name);
    let starts = before[rest.len()..].starts_with(|c: char| c.is_alphabetic() || c == '_');
    starts && rest.trim_end().ends_with(['(', ','])
}

/// An error found while reading the text of `node` as some type.
pub(super) fn explain(document: &Document, node: &Node, error: &SpannedError) -> Diagnostic {
    let text = document.slice(&node.span);
    let base = node.span.start;
    let cursor = base + offset_of(text, error.span.end.line, error.span.end.col);
    let before = base + offset_of(text, error.span.start.line, error.span.start.col);
    match &error.code {
        Error::NoSuchStructField { expected, found, .. } => {
            let key = keys_named(document, node, found)
                .into_iter()
                .rfind(|key| key.start <= cursor)
                .unwrap_or_else(|| head(node));
            let others = unknown_beside(document, node, &key, expected);
            let error = Diagnostic::error(format!("unknown field `{}`", cut(found)))
                .at(document.place(&key), "there is no such field here")
                .helps(suggest::help(found, expected.iter().copied()));
            others.into_iter().fold(error, Diagnostic::note)
        }
        Error::DuplicateStructField { field, .. } => {
            let keys = keys_named(document, node, field);
            let key =
                keys.into_iter().rfind(|key| key.start <= cursor).unwrap_or_else(|| head(node));
            Diagnostic::error(format!("field `{}` is given twice", cut(field)))
                .at(document.place(&key), "given before")
                .help("keep one of them")
        }
        Error::MissingStructField { field, .. } => {
            let owner = innermost(node, cursor, |n| {
                matches!(n.kind, Kind::Struct(_) | Kind::Tuple(_) | Kind::Unit)
            });
            Diagnostic::error(format!("field `{field}` is missing"))
                .at(document.place(&head(owner)), format!("needs `{field}: ...`"))
        }
        Error::NoSuchEnumVariant { expected, found, .. } => {
            let place = names_of(document, node, found)
                .into_iter()
                .rfind(|name| name.start <= cursor)
                .unwrap_or_else(|| head(innermost(node, before, |_| true)));
            Diagnostic::error(format!("unknown name `{}`", cut(found)))
                .at(document.place(&place), "not one of the names known here")
                .helps(suggest::help(found, expected.iter().copied()))
        }
        Error::Message(message) => {
            let owner = innermost(node, cursor, |_| true);
            Diagnostic::error(cut_to(message, 200)).at(document.place(&head(owner)), "here")
        }
        code => wrong_value(document, node, before, cursor, code),
    }
}

/// A value of the wrong type or out of range.
fn wrong_value(
    document: &Document,
    node: &Node,
    before: usize,
    cursor: usize,
    code: &Error,
) -> Diagnostic {
    let owner = value_at(node, before, cursor);
    let written = document.slice(&owner.span);
    let group = innermost(node, cursor, |n| matches!(n.kind, Kind::Tuple(_) | Kind::List(_)));
    let beyond = matches!(
        code,
        Error::ExpectedComma | Error::TrailingCharacters | Error::ExpectedStructLikeEnd
    );
    let number = written.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let expected = match code {
        Error::ExpectedInteger
        | Error::InvalidIntegerDigit { .. }
        | Error::UnderscoreAtBeginning => "a whole number".to_owned(),
        Error::ExpectedFloat => "a number".to_owned(),
        Error::ExpectedBoolean => "`true` or `false`".to_owned(),
        Error::ExpectedString => "a text in double quotes".to_owned(),
        Error::ExpectedArray | Error::ExpectedArrayEnd => "a list `[ ... ]`".to_owned(),
        Error::ExpectedMap | Error::ExpectedMapEnd => {
            "entries in braces `{ \"name\": ... }`".to_owned()
        }
        Error::ExpectedStructLike
        | Error::ExpectedNamedStructLike(_)
        | Error::ExpectedDifferentStructName { .. } => match (&owner.kind, &owner.name) {
            (Kind::Unit, Some(name))
                if !matches!(code, Error::ExpectedDifferentStructName { .. }) =>
            {
                format!("settings in parentheses, `{}( ... )`", document.slice(name))
            }
            _ => "fields in parentheses `( name: value, ... )`".to_owned(),
        },
        Error::ExpectedIdentifier => "a name".to_owned(),
        Error::InvalidIdentifier(_) | Error::SuggestRawIdentifier(_) => {
            "a field `name: value`".to_owned()
        }
        Error::ExpectedUnit => "a name without settings".to_owned(),
        Error::IntegerOutOfBounds if written.starts_with('-') => {
            "a whole number of at least 0".to_owned()
        }
        Error::IntegerOutOfBounds => "a smaller whole number".to_owned(),
        // `ron` reads the `2` of `2.5` and then misses a comma.
        _ if beyond && number && written.contains(['.', 'e', 'E']) => "a whole number".to_owned(),
        // The same with the `Static` of `Static(qps: 2)`.
        _ if beyond && owner.name.is_some() && !matches!(owner.kind, Kind::Unit) => {
            "a name without settings".to_owned()
        }
        _ if beyond && matches!(group.kind, Kind::Tuple(_)) => {
            return Diagnostic::error("too many values")
                .at(document.place(&head(owner)), "one value too many");
        }
        Error::InvalidValueForType { expected, .. } => expected.clone(),
        Error::ExpectedDifferentLength { expected, found } => {
            let values = if *found == 1 { "value" } else { "values" };
            return Diagnostic::error(format!("{found} {values} where {expected} was expected"))
                .at(document.place(&group.span), "wrong number of values");
        }
        other => {
            let found = described(document, owner);
            return Diagnostic::error(format!("{found} is not understood here"))
                .at(document.place(&head(owner)), plain_words(other));
        }
    };
    Diagnostic::error(format!("expected {expected}, found {}", described(document, owner)))
        .at(document.place(&head(owner)), format!("expected {expected}"))
}

/// What a value is, in a few words that quote it when it is short.
fn described(document: &Document, node: &Node) -> String {
    let written = document.slice(&node.span);
    let quoted = if written.chars().count() <= 40 && !written.contains('\n') {
        format!(" `{written}`")
    } else {
        String::new()
    };
    let name = node.name.as_ref().map(|name| document.slice(name));
    match (&node.kind, name) {
        (Kind::Scalar, _) if written.starts_with(['"', 'r']) => format!("the text{quoted}"),
        (Kind::Scalar, _) if matches!(written, "true" | "false") => format!("`{written}`"),
        (Kind::Scalar, _) => format!("the number{quoted}"),
        (Kind::Unit, _) => format!("the name{quoted}"),
        (Kind::Struct(_) | Kind::Tuple(_), Some(name)) => format!("`{name}( ... )`"),
        (Kind::Struct(_), None) => "a group of fields".to_owned(),
        (Kind::Tuple(_), None) => format!("the group{quoted}"),
        (Kind::List(_), _) => "a list".to_owned(),
        (Kind::Map(_), _) => "a group in braces".to_owned(),
    }
}

/// `ron`'s own words, made to fit in ours.
fn plain_words(error: &Error) -> String {
    let words = error.to_string();
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => words,
    }
}

/// The innermost node that satisfies `wanted` and holds `offset` (its end counts as inside).
fn innermost(node: &Node, offset: usize, wanted: impl Fn(&Node) -> bool) -> &Node {
    let mut found = node;
    node.walk(&mut |n| {
        if n.span.start <= offset && offset <= n.span.end && wanted(n) {
            found = n;
        }
    });
    found
}

/// The value that an error between two cursor positions is about: the innermost one at the
/// cursor, or, between values, the one that begins next.
fn value_at(node: &Node, before: usize, cursor: usize) -> &Node {
    let at_cursor = innermost(node, cursor, |_| true);
    if matches!(at_cursor.kind, Kind::Scalar | Kind::Unit) {
        return at_cursor;
    }
    let at_start = innermost(node, before, |_| true);
    if matches!(at_start.kind, Kind::Scalar | Kind::Unit) {
        return at_start;
    }
    let mut next: Option<&Node> = None;
    at_cursor.walk(&mut |n| {
        if n.span.start >= before
            && n.span.start <= cursor
            && next.is_none_or(|m| m.span.start > n.span.start)
        {
            next = Some(n);
        }
    });
    next.unwrap_or(at_cursor)
}

/// The places of all keys called `name` below a node, in order.
fn keys_named(document: &Document, node: &Node, name: &str) -> Vec<ByteSpan> {
    let mut keys = Vec::new();
    node.walk(&mut |n| {
        let named = |field: &&Field| unquoted(document.slice(&field.key)) == name;
        keys.extend(n.fields().iter().filter(named).map(|field| field.key.clone()));
    });
    keys.sort_by_key(|key| key.start);
    keys
}

/// What is said of the other fields of the group of `key` that are not `known`: `serde` stops at
/// the first.
fn unknown_beside(document: &Document, node: &Node, key: &ByteSpan, known: &[&str]) -> Vec<String> {
    let mut said = Vec::new();
    node.walk(&mut |group| {
        if !group.fields().iter().any(|field| field.key == *key) {
            return;
        }
        for Field { key: other, .. } in group.fields() {
            let name = unquoted(document.slice(other));
            if other != key && !known.contains(&name) && said.len() < OTHERS_MAX {
                let place = document.place(other);
                let ((line, column), file) = (place.line_column(), &place.source.name);
                said.push(format!("unknown too: `{}` at {file}:{line}:{column}", cut(name)));
            }
        }
    });
    said
}

/// The places of all values with the name `name`, in order.
fn names_of(document: &Document, node: &Node, name: &str) -> Vec<ByteSpan> {
    let mut names = Vec::new();
    node.walk(&mut |n| names.extend(n.name.clone().filter(|span| document.slice(span) == name)));
    names.sort_by_key(|name| name.start);
    names
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;
    use indexmap::IndexMap;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Top {
        model: String,
        engine: Engine,
        arrivals: Option<Arrivals>,
        #[serde(default)]
        variants: IndexMap<String, u32>,
        #[serde(default)]
        list: Vec<f64>,
        range: Option<(u32, u32)>,
        #[serde(default)]
        on: bool,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Engine {
        block_size: Option<u32>,
        utilization: f64,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    enum Arrivals {
        Poisson { qps: f64 },
        Static,
        Concurrency(u32),
    }

    /// The first line of the message, and the caret's place and text, on one line.
    fn check(text: &str) -> String {
        let document = match Document::parse(&Source::new("s", text)) {
            Ok(document) => document,
            Err(error) => return summary(&error),
        };
        match document.read::<Top>(document.root()) {
            Ok(_) => "ok".to_owned(),
            Err(error) => summary(&error),
        }
    }

    fn summary(error: &Diagnostic) -> String {
        error.render(false); // must not panic
        let place = error.place.as_ref().expect("has a place");
        let (line, column) = place.line_column();
        let under = &place.source.text[place.span.clone()];
        format!(
            "{line}:{column} `{under}` {} | {}",
            error.title,
            error.help.first().map_or("", |h| h)
        )
    }

    /// `serde` names the first; those of the same group are said with it, and those of others not.
    #[test]
    fn all_unknown_fields_of_a_group_are_named() {
        let text = "(model: \"m\", mode: 1,\n engine: (bloc: 4, utilization: 1, util: 2, x: 3))";
        let notes = |text: &str| {
            let document = Document::parse(&Source::new("s", text)).expect("well formed");
            document.read::<Top>(document.root()).expect_err("refused").notes
        };
        assert_eq!(notes(text), [""; 0]);
        let text = text.replace("mode: 1,", "");
        assert_eq!(notes(&text), ["unknown too: `util` at s:2:36", "unknown too: `x` at s:2:45"]);
        let many: String = (0..100).map(|n| format!("x{n}: 1, ")).collect();
        assert_eq!(notes(&format!("(model: \"m\", {many})")).len(), OTHERS_MAX);
    }

    #[test]
    fn every_error_points_at_its_cause() {
        let cases = ["(model: \"m\", engine: (utilization: 1))"];
        for text in cases {
            assert_eq!(check(text), "ok", "{text}");
        }
        let tables = [
            ("unknown field", "(\n model: \"m\",\n engin: (utilization: 0.9),\n)"),
            ("unknown inner field", "(model: \"m\", engine: (block_sise: 4, utilization: 0.9))"),
            (
                "unknown field after a good one",
                "(model: \"m\", engine: (utilization: 0.9, block_sise: 4))",
            ),
            (
                "field of another struct",
                "(model: \"m\", utilization: 3, engine: (utilization: 0.9))",
            ),
            ("missing", "(model: \"m\", engine: (block_size: 4))"),
            ("missing outer", "(engine: (utilization: 0.9))"),
            ("duplicate", "(model: \"m\", engine: (utilization: 0.9), model: \"n\")"),
            ("text for integer", "(model: \"m\", engine: (block_size: \"4\", utilization: 0.9))"),
            ("fraction for integer", "(model: \"m\", engine: (block_size: 4.5, utilization: 0.9))"),
            ("negative", "(model: \"m\", engine: (block_size: -4, utilization: 0.9))"),
            ("too large", "(model: \"m\", engine: (block_size: 4294967296, utilization: 0.9))"),
            ("name for integer", "(model: \"m\", engine: (block_size: Big, utilization: 0.9))"),
            ("text for number", "(model: \"m\", engine: (utilization: \"x\"))"),
            ("number for text", "(model: 7, engine: (utilization: 0.9))"),
            ("name for text", "(model: Llama, engine: (utilization: 0.9))"),
            ("number for struct", "(model: \"m\", engine: 3)"),
            ("list for struct", "(model: \"m\", engine: [3])"),
            ("name for struct", "(model: \"m\", engine: VllmV0)"),
            (
                "unknown variant",
                "(model: \"m\", engine: (utilization: 1), arrivals: Poison(qps: 1))",
            ),
            (
                "unit for struct variant",
                "(model: \"m\", engine: (utilization: 1), arrivals: Poisson)",
            ),
            (
                "struct for unit variant",
                "(model: \"m\", engine: (utilization: 1), arrivals: Static(qps: 1))",
            ),
            (
                "unknown field in variant",
                "(model: \"m\", engine: (utilization: 1), arrivals: Poisson(qsp: 1))",
            ),
            ("missing in variant", "(model: \"m\", engine: (utilization: 1), arrivals: Poisson())"),
            (
                "wrong newtype",
                "(model: \"m\", engine: (utilization: 1), arrivals: Concurrency(\"x\"))",
            ),
            ("list for map", "(model: \"m\", engine: (utilization: 1), variants: [1])"),
            ("struct for list", "(model: \"m\", engine: (utilization: 1), list: (1))"),
            ("wrong element", "(model: \"m\", engine: (utilization: 1), list: [1, \"2\"])"),
            ("short tuple", "(model: \"m\", engine: (utilization: 1), range: (1))"),
            ("long tuple", "(model: \"m\", engine: (utilization: 1), range: (1, 2, 3))"),
            ("number for bool", "(model: \"m\", engine: (utilization: 1), on: 1)"),
            (
                "string for variant",
                "(model: \"m\", engine: (utilization: 1), arrivals: \"Static\")",
            ),
            ("empty", ""),
            ("only comment", "// nothing\n"),
            ("no comma", "(model: \"m\"\n engine: (utilization: 1))"),
            ("no colon", "(model \"m\")"),
            ("equals", "(model = \"m\")"),
            ("open paren", "(model: \"m\", engine: (utilization: 1)\n"),
            ("open string", "(model: \"m, engine: (utilization: 1))\n"),
            ("trailing", "(model: \"m\", engine: (utilization: 1)) x"),
            ("wrong bracket", "(model: \"m\", engine: (utilization: 1])"),
            ("open comment", "(model: \"m\", /* engine: (utilization: 1))"),
            ("json", "{\"model\": \"m\"}"),
            ("too deep", &"[".repeat(500)),
            ("yaml", "model: m\n"),
        ];
        let table: Vec<String> =
            tables.iter().map(|(name, text)| format!("{name}: {}", check(text))).collect();
        insta::assert_snapshot!(table.join("\n"), @r##"
unknown field: 3:2 `engin` unknown field `engin` | did you mean `engine`?
unknown inner field: 1:23 `block_sise` unknown field `block_sise` | did you mean `block_size`?
unknown field after a good one: 1:41 `block_sise` unknown field `block_sise` | did you mean `block_size`?
field of another struct: 1:14 `utilization` unknown field `utilization` | known here: model, engine, arrivals, variants, list, range, on
missing: 1:22 `(` field `utilization` is missing | 
missing outer: 1:10 `(` field `model` is missing | 
duplicate: 1:42 `model` field `model` is given twice | keep one of them
text for integer: 1:35 `"4"` expected a whole number, found the text `"4"` | 
fraction for integer: 1:35 `4.5` expected a whole number, found the number `4.5` | 
negative: 1:35 `-4` expected a whole number of at least 0, found the number `-4` | 
too large: 1:35 `4294967296` expected a smaller whole number, found the number `4294967296` | 
name for integer: 1:35 `Big` expected a whole number, found the name `Big` | 
text for number: 1:36 `"x"` expected a number, found the text `"x"` | 
number for text: 1:9 `7` expected a text in double quotes, found the number `7` | 
name for text: 1:9 `Llama` expected a text in double quotes, found the name `Llama` | 
number for struct: 1:22 `3` expected fields in parentheses `( name: value, ... )`, found the number `3` | 
list for struct: 1:22 `[` expected fields in parentheses `( name: value, ... )`, found a list | 
name for struct: 1:22 `VllmV0` expected fields in parentheses `( name: value, ... )`, found the name `VllmV0` | 
unknown variant: 1:50 `Poison` unknown name `Poison` | did you mean `Poisson`?
unit for struct variant: 1:50 `Poisson` expected settings in parentheses, `Poisson( ... )`, found the name `Poisson` | 
struct for unit variant: 1:50 `Static` expected a name without settings, found `Static( ... )` | 
unknown field in variant: 1:58 `qsp` unknown field `qsp` | did you mean `qps`?
missing in variant: 1:50 `Poisson` field `qps` is missing | 
wrong newtype: 1:62 `"x"` expected a whole number, found the text `"x"` | 
list for map: 1:50 `[` expected entries in braces `{ "name": ... }`, found a list | 
struct for list: 1:46 `(` expected a list `[ ... ]`, found the group `(1)` | 
wrong element: 1:50 `"2"` expected a number, found the text `"2"` | 
short tuple: 1:47 `(1)` 1 value where a tuple of size 2 was expected | 
long tuple: 1:54 `3` too many values | 
number for bool: 1:44 `1` expected `true` or `false`, found the number `1` | 
string for variant: 1:50 `"Static"` expected a name, found the text `"Static"` | 
empty: 1:1 `` the text is empty | 
only comment: 1:10 `` the text is empty | 
no comma: 2:2 `` a comma or a closing bracket is missing | 
no colon: 1:8 `` a colon is missing | fields are written `name: value`, with commas between them
equals: 1:8 `` a colon is missing | fields are written `name: value`
open paren: 1:37 `` the text ends too early | fields are written `name: value`, with commas between them
open string: 1:9 `` a text is not closed | 
trailing: 1:40 `` there is more text after the end | 
wrong bracket: 1:37 `` a bracket is closed by one of another kind | fields are written `name: value`, with commas between them
open comment: 1:16 `` a comment is not closed | 
json: 1:1 `{` expected fields in parentheses `( name: value, ... )`, found a group in braces | 
too deep: 1:66 `` brackets are nested too deeply | 
yaml: 1:6 `` there is more text after the end | a scenario is a group of fields in parentheses: `( model: "...", ... )`
"##);
    }
}
