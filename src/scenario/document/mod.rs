//! RON documents with a source map.
//!
//! A [`Document`] is a text made of segments, each of which remembers the [`Source`] it was
//! copied from. Merging an override or a `--set` argument into a document gives a new document
//! whose errors still point into the file or argument that caused them.

mod errors;
mod merge;
mod set;
#[cfg(feature = "cli")]
mod source_map;
mod tree;

#[cfg(feature = "cli")]
pub(crate) use source_map::SourceMap;
pub(crate) use tree::{Field, Kind, Node};

use std::sync::Arc;

use serde::Deserialize;

use crate::base::{ByteSpan, Diagnostic, Place, Source, ron_options};

/// A stretch of a document's text and where it came from.
#[derive(Clone, Debug)]
struct Segment {
    /// Where it starts in the document. It ends where the next one starts.
    start: usize,
    source: Arc<Source>,
    /// The place in the source. For text that stands in no source (a comma put in between two
    /// merged fields) it is the place which caused it, and does not advance.
    at: usize,
    copied: bool,
}

/// A RON text that is syntactically right, its shape, and where it came from.
#[derive(Clone, Debug)]
pub struct Document {
    text: String,
    segments: Vec<Segment>,
    root: Node,
}

impl Document {
    /// Reads a text. Only the syntax is checked.
    pub fn parse(source: &Arc<Source>) -> Result<Document, Box<Diagnostic>> {
        let segment = Segment { start: 0, source: source.clone(), at: 0, copied: true };
        Document::from_parts(source.text.clone(), vec![segment])
    }

    fn from_parts(text: String, segments: Vec<Segment>) -> Result<Document, Box<Diagnostic>> {
        let end = text.len();
        let whole = Node { span: 0..end, name: None, kind: Kind::Scalar };
        let mut document = Document { text, segments, root: whole };
        if let Err(error) = ron_options().from_str::<&ron::value::RawValue>(&document.text) {
            return Err(Box::new(errors::explain_syntax(&document, &error)));
        }
        match tree::scan(&document.text) {
            Some(root) => document.root = root,
            None => return Err(Box::new(errors::unreadable(&document))),
        }
        Ok(document)
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The outermost value.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The text of a node or span.
    pub fn slice(&self, span: &ByteSpan) -> &str {
        &self.text[span.clone()]
    }

    /// Where a span of this document stands in the text which the user wrote. A span that was
    /// stitched from several sources is cut to its first.
    pub fn place(&self, span: &ByteSpan) -> Place {
        let index = self.segments.partition_point(|s| s.start <= span.start).saturating_sub(1);
        let segment = &self.segments[index];
        let end = self.segments.get(index + 1).map_or(self.text.len(), |next| next.start);
        if !segment.copied {
            // Put in because of what follows: that is where the user looks.
            let next =
                self.segments.get(index + 1).filter(|next| next.copied && next.start < span.end);
            return match next {
                Some(next) => self.place(&(next.start..span.end)),
                None => Place { source: segment.source.clone(), span: segment.at..segment.at },
            };
        }
        let start = segment.at + (span.start - segment.start);
        let length = span.end.min(end).saturating_sub(span.start);
        Place { source: segment.source.clone(), span: start..start + length }
    }

    /// Where the next thing after `offset` starts that is neither blank nor comment.
    pub(super) fn body_start(&self, offset: usize) -> usize {
        tree::skip_trivia(&self.text, offset)
    }

    /// The value at a dotted path such as `engine.policy.max_num_seqs` or `expect[2].metric`,
    /// through structs (named or not), maps and lists. An empty path is the root.
    pub fn node(&self, path: &str) -> Option<&Node> {
        steps_of(path).iter().try_fold(&self.root, |node, (step, _)| self.child(node, step))
    }

    /// The place of the value at a dotted path in this document's text.
    #[cfg(test)]
    pub fn locate(&self, path: &str) -> Option<ByteSpan> {
        self.node(path).map(|node| node.span.clone())
    }

    /// The place of the value at a dotted path. A path that leads nowhere gives the innermost value
    /// on the way: its name if it has one, so that the caret does not underline a whole block.
    pub fn locate_nearest(&self, path: &str) -> ByteSpan {
        nearest(&self.text, &self.root, path)
    }

    fn child<'a>(&'a self, node: &'a Node, step: &str) -> Option<&'a Node> {
        child(&self.text, node, step)
    }

    /// Reads the value of a node as a `T`.
    pub fn read<'a, T: Deserialize<'a>>(&'a self, node: &Node) -> Result<T, Box<Diagnostic>> {
        ron_options()
            .from_str(self.slice(&node.span))
            .map_err(|error| Box::new(errors::explain(self, node, &error)))
    }

    /// Puts an error that `ron` found in the text of `node` into words and in its place.
    pub fn explain(&self, node: &Node, error: &ron::error::SpannedError) -> Diagnostic {
        errors::explain(self, node, error)
    }
}

fn child<'a>(text: &str, node: &'a Node, step: &str) -> Option<&'a Node> {
    // `Some(x)` is transparent, as it is to a reader.
    if let (Kind::Tuple(items), Some(name)) = (&node.kind, &node.name)
        && &text[name.clone()] == "Some"
    {
        return items.first().and_then(|inner| child(text, inner, step));
    }
    if let Some(field) = node.field(text, step) {
        return Some(&field.value);
    }
    node.items().get(step.parse::<usize>().ok()?)
}

fn nearest(text: &str, root: &Node, path: &str) -> ByteSpan {
    let mut node = root;
    for (step, _) in steps_of(path) {
        match child(text, node, &step) {
            Some(inner) => node = inner,
            None => return errors::head(node),
        }
    }
    node.span.clone()
}

/// The steps of `a.b[2].c` (`a`, `b`, `2`, `c`) and their places in the path. A step may be
/// quoted: `variants."a.b".engine`.
fn steps_of(path: &str) -> Vec<(String, ByteSpan)> {
    let mut steps: Vec<(String, ByteSpan)> = Vec::new();
    let mut quoted = false;
    let mut open = false;
    for (at, c) in path.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '.' | '[' | ']' if !quoted => open = false,
            c if c.is_whitespace() && !quoted => {}
            c => {
                if !open {
                    steps.push((String::new(), at..at));
                    open = true;
                }
                if let Some((step, span)) = steps.last_mut() {
                    step.push(c);
                    span.end = at + c.len_utf8();
                }
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(&Source::new("s.ron", text)).expect("parses")
    }

    #[test]
    fn paths_lead_to_values() {
        let d = document(
            "(engine: (policy: VllmV0(max_num_seqs: 128)), seed: Some(4),\n expect: [(m: \"a\"), (m: \"b\", r: (\"x\", \"y\"))], variants: {\"a.b\": (seed: 3)})",
        );
        for (path, text) in [
            ("engine.policy.max_num_seqs", "128"),
            ("engine.policy", "VllmV0(max_num_seqs: 128)"),
            ("expect[1].m", "\"b\""),
            ("expect[1].r[0]", "\"x\""),
            ("variants.\"a.b\".seed", "3"),
        ] {
            let span = d.locate(path).unwrap_or_else(|| panic!("{path} exists"));
            assert_eq!(d.slice(&span), text, "{path}");
        }
        assert_eq!(d.locate("engine.polcy"), None);
        assert_eq!(d.locate("expect[2]"), None);
        assert_eq!(d.slice(&d.locate_nearest("engine.policy.chunk")), "VllmV0");
    }
}
