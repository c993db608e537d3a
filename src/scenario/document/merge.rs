//! Merging an override into a document, and setting one value in it.
//!
//! Fields merge one by one. A value replaces the whole of the old one when it is not a group of
//! fields, or bears another name: `Orca(..)` replaces `VllmV0(..)`, while `VllmV0(max_num_seqs: 4)`
//! and `(max_num_seqs: 4)` change one setting of it.

use std::sync::Arc;

use super::source::{Place, Source, Span};
use super::tree::{Kind, Node, unquoted};
use super::{Diagnostic, Document, Segment, errors, steps_of};
use crate::scenario::suggest;

impl Document {
    /// This document with the values of `over` merged into it.
    pub fn merged(&self, over: &Document) -> Result<Document, Box<Diagnostic>> {
        self.merged_with(over, over.root())
    }

    /// This document with the value `with` of document `over` merged into it.
    pub fn merged_with(&self, over: &Document, with: &Node) -> Result<Document, Box<Diagnostic>> {
        self.replaced(self.root(), |pieces, node| pieces.merge(self, node, over, with))
    }

    /// This document with `argument`, which reads `path=value`, applied as `--set` does. A path
    /// that ends in fields which are not there yet puts them in; whether such a field may exist
    /// shows when the result is read as a scenario.
    pub fn with_setting(&self, argument: &str) -> Result<Document, Box<Diagnostic>> {
        let setting = Setting::parse(argument)?;
        let mut node = self.root();
        for (depth, (step, _)) in setting.steps.iter().enumerate() {
            match self.child(node, step) {
                Some(child) => node = child,
                None => return self.inserted(node, &setting, depth),
            }
        }
        let value = &setting.value;
        self.replaced(node, |pieces, node| pieces.merge(self, node, value, value.root()))
    }

    /// Puts the missing fields `steps[depth..]` into `node`.
    fn inserted(
        &self,
        node: &Node,
        setting: &Setting,
        depth: usize,
    ) -> Result<Document, Box<Diagnostic>> {
        let field = |pieces: &mut Pieces| {
            setting.write_field(pieces, depth, matches!(node.kind, Kind::Map(_)))
        };
        match &node.kind {
            Kind::Struct(_) | Kind::Map(_) => {
                let start = setting.place_of(depth);
                self.replaced(node, |pieces, node| {
                    pieces.copy_with_field(self, node, &start, field);
                })
            }
            Kind::Unit => self.replaced(node, |pieces, node| {
                pieces.copy(self, node.span.clone());
                pieces.glue("(", &setting.place_of(depth));
                field(pieces);
                pieces.glue(")", &setting.place_of(depth));
            }),
            _ => {
                let (name, span) = &setting.steps[depth];
                let parent = self.slice(&errors::head(node));
                let place = Place { source: setting.source.clone(), span: span.clone() };
                let error = Diagnostic::error(format!("--set: there is no `{name}` here"))
                    .at(place, format!("`{parent}` has no such part"))
                    .helps(suggest::help(
                        name,
                        node.fields().iter().map(|f| unquoted(self.slice(&f.key))),
                    ));
                Err(Box::new(error))
            }
        }
    }

    /// This document with one node written anew.
    fn replaced(
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

/// A `--set` argument.
struct Setting {
    source: Arc<Source>,
    /// The steps of the path and their places in the argument.
    steps: Vec<(String, Span)>,
    value: Document,
}

impl Setting {
    fn parse(argument: &str) -> Result<Setting, Box<Diagnostic>> {
        let source = Source::new("--set", argument);
        let malformed = |span: Span, label: &str| {
            let place = Place { source: source.clone(), span };
            Box::new(
                Diagnostic::error("--set needs a path and a value")
                    .at(place, label)
                    .help("for example --set engine.policy.max_num_seqs=64"),
            )
        };
        let Some(equals) = argument.find('=') else {
            return Err(malformed(argument.len()..argument.len(), "expected `=value`"));
        };
        let steps = steps_of(&argument[..equals]);
        if steps.is_empty() {
            return Err(malformed(0..equals, "expected the path of a setting"));
        }
        let text = argument[equals + 1..].to_owned();
        if text.trim().is_empty() {
            return Err(malformed(argument.len()..argument.len(), "expected a value"));
        }
        let segment = Segment { start: 0, source: source.clone(), at: equals + 1, copied: true };
        let value = Document::from_parts(text, vec![segment]).map_err(|error| {
            Box::new((*error).help("texts need double quotes: --set model='\"Llama-2-13B\"'"))
        })?;
        Ok(Setting { source, steps, value })
    }

    fn place_of(&self, depth: usize) -> Place {
        Place { source: self.source.clone(), span: self.steps[depth].1.clone() }
    }

    /// `a: (b: (c: value))` for the steps from `depth` on.
    fn write_field(&self, pieces: &mut Pieces, depth: usize, in_map: bool) {
        for (index, (step, span)) in self.steps[depth..].iter().enumerate() {
            let place = self.place_of(depth + index);
            if index > 0 {
                pieces.glue("(", &place);
            }
            if in_map && index == 0 {
                pieces.glue(&format!("{step:?}"), &place);
            } else {
                pieces.copy_source(&self.source, span.clone());
            }
            pieces.glue(": ", &place);
        }
        pieces.copy(&self.value, self.value.root().span.clone());
        pieces.glue(&")".repeat(self.steps.len() - depth - 1), &self.place_of(depth));
    }
}

/// A document under construction.
#[derive(Default)]
struct Pieces {
    text: String,
    segments: Vec<Segment>,
}

impl Pieces {
    /// Appends a stretch of another document, and with it where that came from.
    fn copy(&mut self, document: &Document, range: Span) {
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
    fn copy_source(&mut self, source: &Arc<Source>, span: Span) {
        let start = self.text.len();
        self.segments.push(Segment { start, source: source.clone(), at: span.start, copied: true });
        self.text.push_str(&source.text[span]);
    }

    /// Appends text that stands nowhere, because of `cause`.
    fn glue(&mut self, text: &str, cause: &Place) {
        let start = self.text.len();
        let (source, at) = (cause.source.clone(), cause.span.start);
        self.segments.push(Segment { start, source, at, copied: false });
        self.text.push_str(text);
    }

    /// Appends a group of fields with one more behind its last.
    fn copy_with_field(
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
    fn merge(&mut self, document: &Document, old: &Node, over: &Document, new: &Node) {
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
        let key = |d: &Document, span: &Span| unquoted(d.slice(span)).to_owned();
        let mut cursor = old.span.start;
        for field in old.fields() {
            if let Some(change) = new.field(&over.text, &key(document, &field.key)) {
                self.copy(document, cursor..field.value.span.start);
                self.merge(document, &field.value, over, &change.value);
                cursor = field.value.span.end;
            }
        }
        let added =
            new.fields().iter().filter(|f| old.field(&document.text, &key(over, &f.key)).is_none());
        let last = old.fields().last().map(|last| last.value.span.end);
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
            ("(a: 1, e: (q: 2))", "(e: (q: 3), z: 9)", "(a: 1, e: (q: 3), z: 9)"),
        ] {
            let merged = document("base", base).merged(&document("over", over));
            assert_eq!(merged.map(|d| d.text).as_deref(), Ok(expected), "{base} + {over}");
        }
    }

    #[test]
    fn settings_change_and_create_fields() {
        let base = "(e: (p: V(n: 1), r: RR), w: (a: C(16)), x: [(m: 1)], v: {\"a\": ()}, s: 1)";
        for (argument, expected) in [
            ("e.p.n=64", base.replace("n: 1", "n: 64")),
            ("e.p=O(r: Max)", base.replace("V(n: 1)", "O(r: Max)")),
            ("e.p=V(k: 2)", base.replace("V(n: 1)", "V(n: 1, k: 2)")),
            ("e.p.k=2", base.replace("V(n: 1)", "V(n: 1, k: 2)")),
            ("e.r.d=2", base.replace("RR", "RR(d: 2)")),
            ("seeds=3", base.replace("s: 1)", "s: 1, seeds: 3)")),
            ("c.n.k=3", base.replace("s: 1)", "s: 1, c: (n: (k: 3)))")),
            ("x[0].m=7", base.replace("m: 1", "m: 7")),
            ("v.a.s=7", base.replace("\"a\": ()", "\"a\": (s: 7)")),
            ("v.b.s=7", base.replace("\"a\": ()", "\"a\": (), \"b\": (s: 7)")),
            ("w.a=P(qps: 1)", base.replace("C(16)", "P(qps: 1)")),
        ] {
            let set = document("base", base).with_setting(argument);
            assert_eq!(set.map(|d| d.text).as_deref(), Ok(expected.as_str()), "{argument}");
        }
    }

    #[test]
    fn bad_settings_are_explained() {
        let base = document("base", "(seed: 1, a: C(16), l: [1])");
        let table: Vec<String> =
            ["seed", "=3", "seed=", "seed.x=3", "a.qps=2", "l[3]=1", "seed=(", "seed=a b"]
                .iter()
                .map(|argument| match base.with_setting(argument) {
                    Ok(document) => format!("ok {}", document.text),
                    Err(error) => {
                        let place = error.place.as_ref().expect("has a place");
                        format!(
                            "{argument} at {}: {} ({})",
                            place.line_column().1,
                            error.title,
                            error.label
                        )
                    }
                })
                .collect();
        insta::assert_snapshot!(table.join("\n"), @r##"
seed at 5: --set needs a path and a value (expected `=value`)
=3 at 1: --set needs a path and a value (expected the path of a setting)
seed= at 6: --set needs a path and a value (expected a value)
seed.x=3 at 6: --set: there is no `x` here (`1` has no such part)
a.qps=2 at 3: --set: there is no `qps` here (`C` has no such part)
l[3]=1 at 3: --set: there is no `3` here (`[` has no such part)
seed=( at 6: the text ends too early (a bracket is still open here)
seed=a b at 8: there is more text after the end (expected nothing after the last bracket)
"##);
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
