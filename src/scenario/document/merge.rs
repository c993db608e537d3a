//! Merging an override into a document.
//!
//! Fields merge one by one. A value replaces the whole of the old one when it is not a group of
//! fields, or bears another name: `Orca(..)` replaces `VllmV0(..)`, while `VllmV0(max_num_seqs: 4)`
//! and `(max_num_seqs: 4)` change one setting of it. Where settings say the same in two ways
//! ([`ALTERNATIVES`]), one way takes the place of the other.

use std::sync::Arc;

use super::tree::{Field, Kind, Node, unquoted};
use super::{Diagnostic, Document, Segment};
use crate::base::{ByteSpan, Place, Source};

/// Groups with two ways to say the same, the fields of each: only one of them can be there.
const ALTERNATIVES: [(&str, &[&str], &[&str]); 2] = [
    ("Empirical", &["name"], &["file"]),
    ("Uniform", &["total", "prompt_share"], &["prompt", "output"]),
];

impl Document {
    /// This document with the values of `over` merged into it.
    #[cfg(test)]
    pub fn merged(&self, over: &Document) -> Result<Document, Box<Diagnostic>> {
        self.merged_with(over, over.root())
    }

    /// This document with the value `with` of document `over` merged into it.
    pub fn merged_with(&self, over: &Document, with: &Node) -> Result<Document, Box<Diagnostic>> {
        self.replaced(self.root(), |pieces, node| pieces.merge(self, node, over, with))
    }

    /// This document without one of its outermost fields. If it is there twice, that is for the
    /// reader of types to complain about, and it stays.
    pub fn without_field(&self, name: &str) -> Result<Document, Box<Diagnostic>> {
        let fields = self.root().fields();
        let is_it = |field: &Field| unquoted(self.slice(&field.key)) == name;
        let mut places = (0..fields.len()).filter(|&index| is_it(&fields[index]));
        let (Some(index), None) = (places.next(), places.next()) else { return Ok(self.clone()) };
        let field = &fields[index];
        let gone = match (index.checked_sub(1), fields.get(index + 1)) {
            (_, Some(next)) => field.key.start..next.key.start,
            (Some(before), None) => fields[before].value.span.end..field.value.span.end,
            (None, None) => field.key.start..self.root().span.end - 1,
        };
        let mut pieces = Pieces::default();
        pieces.copy(self, 0..gone.start);
        pieces.copy(self, gone.end..self.text.len());
        Document::from_parts(pieces.text, pieces.segments)
    }

    /// This document with one node written anew.
    pub(super) fn replaced(
        &self,
        node: &Node,
        write: impl FnOnce(&mut Pieces, &Node),
    ) -> Result<Document, Box<Diagnostic>> {
        let mut pieces = Pieces::default();
        pieces.copy(self, 0..node.span.start);
        write(&mut pieces, node);
        pieces.copy(self, node.span.end..self.text.len());
        Document::from_parts(pieces.text, pieces.segments)
    }
}

/// A document under construction.
#[derive(Default)]
pub(super) struct Pieces {
    pub text: String,
    pub segments: Vec<Segment>,
}

impl Pieces {
    /// Appends a stretch of another document, and with it where that came from.
    pub fn copy(&mut self, document: &Document, range: ByteSpan) {
        let first = document.segments.partition_point(|s| s.start <= range.start).saturating_sub(1);
        for segment in document.segments[first..].iter().take_while(|s| s.start < range.end) {
            let skipped = range.start.saturating_sub(segment.start);
            self.segments.push(Segment {
                start: self.text.len() + segment.start.saturating_sub(range.start),
                source: segment.source.clone(),
                at: if segment.copied { segment.at + skipped } else { segment.at },
                copied: segment.copied,
            });
        }
        self.text.push_str(&document.text[range]);
    }

    /// Appends text of a source.
    pub fn copy_source(&mut self, source: &Arc<Source>, span: ByteSpan) {
        let start = self.text.len();
        self.segments.push(Segment { start, source: source.clone(), at: span.start, copied: true });
        self.text.push_str(&source.text[span]);
    }

    /// Appends text that stands nowhere, because of `cause`.
    pub fn glue(&mut self, text: &str, cause: &Place) {
        if text.is_empty() {
            return;
        }
        let start = self.text.len();
        let (source, at) = (cause.source.clone(), cause.span.start);
        self.segments.push(Segment { start, source, at, copied: false });
        self.text.push_str(text);
    }

    /// Appends a group of fields with one more behind its last.
    pub fn copy_with_field(
        &mut self,
        document: &Document,
        node: &Node,
        cause: &Place,
        field: impl FnOnce(&mut Pieces),
    ) {
        let last = node.fields().last().map(|last| last.value.span.end);
        let end = last.unwrap_or(node.span.end - 1);
        self.copy(document, node.span.start..end);
        if last.is_some() {
            self.glue(", ", cause);
        }
        field(self);
        self.copy(document, end..node.span.end);
    }

    /// Appends `old` with `new` merged into it.
    pub fn merge(&mut self, document: &Document, old: &Node, over: &Document, new: &Node) {
        let name = |d: &Document, n: &Node| n.name.as_ref().map(|name| d.slice(name).to_owned());
        let (old_name, new_name) = (name(document, old), name(over, new));
        let same = new_name.is_none() || new_name == old_name;
        match (&old.kind, &new.kind) {
            (Kind::Struct(_), Kind::Struct(_)) if same => {
                self.merge_fields(document, old, over, new)
            }
            // `VllmV0` is `VllmV0()`: a group without a name gives it settings.
            (Kind::Unit, Kind::Struct(_)) if new_name.is_none() => {
                self.copy(document, old.span.clone());
                self.copy(over, new.span.clone());
            }
            _ => self.copy(over, new.span.clone()),
        }
    }

    fn merge_fields(&mut self, document: &Document, old: &Node, over: &Document, new: &Node) {
        let key = |d: &Document, span: &ByteSpan| unquoted(d.slice(span)).to_owned();
        let gives = |field: &str| new.field(&over.text, field).is_some();
        let gone = superseded(document, old, gives);
        let stays = |field: &&Field| !gone.contains(&key(document, &field.key).as_str());
        let Some(last) = old.fields().iter().rfind(stays) else {
            // None of the old fields stays: what there was of a name does.
            let head = old.name.as_ref().map_or(old.span.start, |name| name.end);
            let without_name = new.name.as_ref().map_or(new.span.start, |name| name.end);
            match old.fields().is_empty() {
                true => self.add_fields(document, old, over, new, old.span.start, None),
                false => {
                    self.copy(document, old.span.start..head);
                    self.copy(over, without_name..new.span.end);
                }
            }
            return;
        };
        let mut cursor = old.span.start;
        let mut before = None;
        for (index, field) in old.fields().iter().enumerate() {
            if !stays(&field) {
                let next = old.fields().get(index + 1);
                let end = match (next, before) {
                    (Some(_), _) => field.key.start,
                    (None, Some(end)) => end,
                    (None, None) => field.key.start,
                };
                self.copy(document, cursor..end.max(cursor));
                cursor = next.map_or(field.value.span.end, |next| next.key.start);
                continue;
            }
            if let Some(change) = new.field(&over.text, &key(document, &field.key)) {
                self.copy(document, cursor..field.value.span.start);
                self.merge(document, &field.value, over, &change.value);
                cursor = field.value.span.end;
            }
            before = Some(field.value.span.end);
        }
        self.add_fields(document, old, over, new, cursor, Some(last.value.span.end));
    }

    /// Appends the fields of `new` that `old` has not, behind `last`, and what of `old` is left
    /// from `cursor` on.
    fn add_fields(
        &mut self,
        document: &Document,
        old: &Node,
        over: &Document,
        new: &Node,
        mut cursor: usize,
        last: Option<usize>,
    ) {
        let key = |span: &ByteSpan| unquoted(over.slice(span)).to_owned();
        let added =
            new.fields().iter().filter(|f| old.field(&document.text, &key(&f.key)).is_none());
        for (index, field) in added.enumerate() {
            let end = last.unwrap_or(old.span.end - 1).max(cursor);
            self.copy(document, cursor..end);
            cursor = end;
            if last.is_some() || index > 0 {
                self.glue(", ", &over.place(&field.key));
            }
            self.copy(over, field.key.start..field.value.span.end);
        }
        self.copy(document, cursor..old.span.end);
    }
}

/// The fields that a group loses to others that say the same.
fn superseded(
    document: &Document,
    old: &Node,
    gives: impl Fn(&str) -> bool,
) -> &'static [&'static str] {
    let name = old.name.as_ref().map_or("", |name| document.slice(name));
    let ways = ALTERNATIVES.into_iter().find(|(group, ..)| *group == name);
    let Some((_, one, other)) = ways else { return &[] };
    let said = |way: &[&str]| way.iter().any(|field| gives(field));
    match (said(one), said(other)) {
        (true, false) => other,
        (false, true) => one,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(name: &str, text: &str) -> Document {
        Document::parse(&Source::new(name, text)).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn overrides_merge_field_by_field() {
        for (base, over, expected) in [
            ("(a: 1, b: 2)", "(b: 3)", "(a: 1, b: 3)"),
            ("(a: 1, // one\n)", "(b: 3, c: 4)", "(a: 1, b: 3, c: 4, // one\n)"),
            ("()", "(b: 3, c: [1])", "(b: 3, c: [1])"),
            ("(a: 1)", "()", "(a: 1)"),
            ("(p: V(x: 1, y: 2))", "(p: V(x: 4))", "(p: V(x: 4, y: 2))"),
            ("(p: V(x: 1, y: 2))", "(p: (x: 4))", "(p: V(x: 4, y: 2))"),
            ("(p: V(x: 1, y: 2))", "(p: O(r: Max))", "(p: O(r: Max))"),
            ("(p: V(x: 1))", "(p: V)", "(p: V)"),
            ("(p: V)", "(p: (x: 1))", "(p: V(x: 1))"),
            ("(p: V)", "(p: V(x: 1))", "(p: V(x: 1))"),
            ("(p: C(16))", "(p: C(32))", "(p: C(32))"),
            ("(l: [1, 2])", "(l: [3])", "(l: [3])"),
            (
                "(m: {\"a\": (x: 1)})",
                "(m: {\"a\": (y: 2), \"b\": ()})",
                "(m: {\"a\": (y: 2), \"b\": ()})",
            ),
            ("(e: (p: 1, q: 2), s: 3)", "(s: 4, e: (q: 5, r: 6))", "(e: (p: 1, q: 5, r: 6), s: 4)"),
            (
                "(l: Empirical(name: \"a\", max_total: 9))",
                "(l: Empirical(file: \"b\"))",
                "(l: Empirical(max_total: 9, file: \"b\"))",
            ),
            (
                "(l: Empirical(max_total: 9, name: \"a\",), s: 1)",
                "(l: (file: \"b\"))",
                "(l: Empirical(max_total: 9, file: \"b\",), s: 1)",
            ),
            ("(l: Empirical(name: \"a\",))", "(l: (file: \"b\"))", "(l: Empirical(file: \"b\"))"),
            (
                "(l: Empirical(name: \"a\"))",
                "(l: (max_total: 3))",
                "(l: Empirical(name: \"a\", max_total: 3))",
            ),
            (
                "(l: Uniform(total: (1, 2), prompt_share: 0.5))",
                "(l: Uniform(prompt: (1, 2), output: (3, 4)))",
                "(l: Uniform(prompt: (1, 2), output: (3, 4)))",
            ),
            ("(a: 1, e: (q: 2))", "(e: (q: 3), z: 9)", "(a: 1, e: (q: 3), z: 9)"),
        ] {
            let merged = document("base", base).merged(&document("over", over));
            assert_eq!(merged.map(|d| d.text).as_deref(), Ok(expected), "{base} + {over}");
        }
    }

    #[test]
    fn a_field_can_be_left_out() {
        for (base, expected) in [
            ("(v: {\"a\": ()}, b: 3)", "(b: 3)"),
            ("(a: 1, /* c */ v: {}, b: 3)", "(a: 1, /* c */ b: 3)"),
            ("(a: 1, v: {},)", "(a: 1,)"),
            ("(a: 1, v: {} /* c */)", "(a: 1 /* c */)"),
            ("N(v: {},)", "N()"),
            ("(v: 1, v: 2)", "(v: 1, v: 2)"),
            ("(a: 1)", "(a: 1)"),
        ] {
            let left = document("base", base).without_field("v");
            assert_eq!(left.map(|d| d.text).as_deref(), Ok(expected), "{base}");
        }
        let left = document("base", "(a: 1,\n v: {}, b: 3)").without_field("v").expect("left");
        assert_eq!(left.place(&left.locate("b").expect("b")).line_column(), (2, 12));
    }

    #[test]
    fn places_survive_merging() {
        let base = document("base.ron", "(\n  a: 1,\n  e: (p: V(n: 1)),\n)");
        let over = document("over", "(e: (p: (n: 2, k: 3)), z: 4)");
        let merged = base.merged(&over).expect("merges").with_setting("q.r=5").expect("sets");
        for (path, name, line, column) in [
            ("a", "base.ron", 2, 6),
            ("e.p.n", "over", 1, 13),
            ("e.p.k", "over", 1, 19),
            ("z", "over", 1, 27),
            ("q.r", "--set", 1, 5),
        ] {
            let place = merged.place(&merged.locate(path).expect(path));
            assert_eq!(
                (place.source.name.as_str(), place.line_column()),
                (name, (line, column)),
                "{path}"
            );
        }
        let key = merged.root().field(merged.text(), "q").expect("q").key.clone();
        let place = merged.place(&key);
        assert_eq!(&place.source.text[place.span], "q");
    }
}
