//! The places in a text that is no RON but has its brackets: JSON.

use std::sync::Arc;

use super::tree::{self, Node};
use crate::base::{Place, Source};

/// The places of a JSON text's values.
pub struct SourceMap {
    source: Arc<Source>,
    root: Option<Node>,
}

impl SourceMap {
    /// Maps a text that a JSON parser has accepted.
    pub fn new(source: Arc<Source>) -> SourceMap {
        let root = tree::scan(&source.text);
        SourceMap { source, root }
    }

    /// The place of the value at a dotted path, or of the innermost one on the way to it.
    pub fn nearest(&self, path: &str) -> Place {
        let span = self.root.as_ref().map(|root| super::nearest(&self.source.text, root, path));
        Place { source: self.source.clone(), span: span.unwrap_or(0..0) }
    }
}
