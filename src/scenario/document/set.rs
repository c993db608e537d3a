//! Setting one value in a document, as `--set path=value` does.

use std::sync::Arc;

use super::merge::Pieces;
use super::tree::{Kind, Node, unquoted};
use super::{Diagnostic, Document, errors, steps_of};
use crate::base::{ByteSpan, Place, Source, suggest};

impl Document {
    /// This document with `argument`, which reads `path=value`, applied as `--set` does. A path
    /// that ends in fields which are not there yet puts them in; whether such a field may exist
    /// shows when the result is read as a scenario.
    pub fn with_setting(&self, argument: &str) -> Result<Document, Box<Diagnostic>> {
        let setting = Setting::parse(self, argument)?;
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
            setting.write_field(pieces, depth, matches!(node.kind, Kind::Map(_)));
        };
        match &node.kind {
            Kind::Struct(_) => {
                let mut group = Pieces::default();
                group.glue("(", &setting.place_of(depth));
                setting.write_field(&mut group, depth, false);
                group.glue(")", &setting.place_of(depth));
                let group = Document::from_parts(group.text, group.segments)?;
                self.replaced(node, |pieces, node| pieces.merge(self, node, &group, group.root()))
            }
            Kind::Map(_) => {
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
}

/// A `--set` argument.
struct Setting {
    source: Arc<Source>,
    /// The steps of the path and their places in the argument.
    steps: Vec<(String, ByteSpan)>,
    value: Document,
}

/// Settings whose value is a text, or a group with a name.
const TEXTS: [&str; 5] = ["name", "title", "model", "device", "file"];

/// Whether this could be a name without its quotes, as of a model: no value of another kind.
fn is_word(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || "-_./:+@".contains(c))
}

/// The dot that has no name before or behind it, if there is one.
fn empty_step(path: &str) -> Option<usize> {
    let path = path.trim_end();
    let (first, last) = (path.starts_with('.'), path.ends_with('.'));
    path.find("..").or(first.then_some(0)).or(last.then(|| path.len() - 1))
}

impl Setting {
    /// Reads an argument for `base`.
    fn parse(base: &Document, argument: &str) -> Result<Setting, Box<Diagnostic>> {
        let source = Source::new("--set", argument);
        let malformed = |span: ByteSpan, label: &str| {
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
        let path = &argument[..equals];
        let steps = steps_of(path);
        if steps.is_empty() {
            return Err(malformed(0..equals, "expected the path of a setting"));
        }
        if let Some(dot) = empty_step(path) {
            return Err(malformed(dot..dot + 1, "expected a name on both sides of the dot"));
        }
        let text = &argument[equals + 1..];
        if text.trim().is_empty() {
            return Err(malformed(argument.len()..argument.len(), "expected a value"));
        }
        let read = |bare: bool| {
            let mut pieces = Pieces::default();
            let quote = if bare { "\"" } else { "" };
            let start = Place { source: source.clone(), span: equals + 1..argument.len() };
            pieces.glue(quote, &start);
            pieces.copy_source(&source, equals + 1..argument.len());
            pieces.glue(quote, &start);
            Document::from_parts(pieces.text, pieces.segments)
        };
        // A shell strips quotes, so a text may come without them: where there is a text already, or
        // can be nothing else.
        let plain = !text.contains(['"', '\\', '\n']);
        let old = base.node(path).map(|node| base.slice(&node.span));
        let last = steps.last().map_or("", |(step, _)| step.as_str());
        let expected = match old {
            Some(old) => old.starts_with('"'),
            None => TEXTS.contains(&last),
        };
        let value = match read(plain && expected && !text.contains('(')) {
            Err(_) if plain && is_word(text) => read(true),
            value => value,
        };
        let value = value.map_err(|error| {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn document(name: &str, text: &str) -> Document {
        Document::parse(&Source::new(name, text)).unwrap_or_else(|e| panic!("{e}"))
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
            (
                "w.l=Empirical(file: \"f\")",
                base.replace("C(16)", "C(16), l: Empirical(file: \"f\")"),
            ),
            ("w.a=P(qps: 1)", base.replace("C(16)", "P(qps: 1)")),
        ] {
            let set = document("base", base).with_setting(argument);
            assert_eq!(set.map(|d| d.text).as_deref(), Ok(expected.as_str()), "{argument}");
        }
    }

    #[test]
    fn one_way_to_say_it_replaces_the_other() {
        let base = document("base", "(w: (l: Empirical(name: \"a\", max_total: 9)))");
        for argument in ["w.l=Empirical(file: \"f\")", "w.l.file=f", "w.l=(file: \"f\")"] {
            let set = base.with_setting(argument).map(|document| document.text);
            let expected = "(w: (l: Empirical(max_total: 9, file: \"f\")))";
            assert_eq!(set.as_deref(), Ok(expected), "{argument}");
        }
    }

    #[test]
    fn bad_settings_are_explained() {
        let base = document("base", "(seed: 1, a: C(16), l: [1])");
        let table: Vec<String> = [
            "seed", "=3", "a..b=2", ".seed=1", "seed.=1", "seed=", "seed.x=3", "a.qps=2", "l[3]=1",
            "seed=(", "seed=a b",
        ]
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
a..b=2 at 2: --set needs a path and a value (expected a name on both sides of the dot)
.seed=1 at 1: --set needs a path and a value (expected a name on both sides of the dot)
seed.=1 at 5: --set needs a path and a value (expected a name on both sides of the dot)
seed= at 6: --set needs a path and a value (expected a value)
seed.x=3 at 6: --set: there is no `x` here (`1` has no such part)
a.qps=2 at 3: --set: there is no `qps` here (`C` has no such part)
l[3]=1 at 3: --set: there is no `3` here (`[` has no such part)
seed=( at 6: the text ends too early (a bracket is still open here)
seed=a b at 8: there is more text after the end (expected nothing after the last bracket)
"##);
    }

    #[test]
    fn a_text_may_come_without_quotes_where_there_is_one() {
        let base = document("base", "(model: \"a\", seed: 1, v: {\"x\": (model: \"b\")})");
        for (argument, path, value) in [
            ("model=Llama-2-13B", "model", "\"Llama-2-13B\""),
            ("model=\"Llama-2-13B\"", "model", "\"Llama-2-13B\""),
            ("v.x.model=7 B", "v.x.model", "\"7 B\""),
            ("seed=2", "seed", "2"),
            // Where there is none, but can be nothing else.
            ("name=x", "name", "\"x\""),
            ("title=Two words", "title", "\"Two words\""),
            ("device=H100-SXM-80G", "device", "\"H100-SXM-80G\""),
            ("w.trace.file=a/b.csv", "w.trace.file", "\"a/b.csv\""),
            ("label=run-1", "label", "\"run-1\""),
            ("router=Random", "router", "Random"),
            ("model=HuggingFace(\"c\")", "model", "HuggingFace(\"c\")"),
        ] {
            let set = base.with_setting(argument).unwrap_or_else(|e| panic!("{argument}: {e}"));
            assert_eq!(set.locate(path).map(|span| set.slice(&span)), Some(value), "{argument}");
        }
        let set = base.with_setting("model=Llama").unwrap_or_else(|e| panic!("{e}"));
        let place = set.place(&set.locate_nearest("model"));
        assert_eq!((place.source.name.as_str(), place.line_column()), ("--set", (1, 7)));
    }
}
