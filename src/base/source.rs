//! Where a piece of text came from: a file, or an argument of the command line.

use std::sync::Arc;

/// A byte range of some text.
pub type ByteSpan = std::ops::Range<usize>;

/// A named text: a scenario file, a `--set` argument, text made by the program.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// What a message calls it: the path as the user gave it, or for example `--set`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// A shared source.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Source> {
        Arc::new(Source { name: name.into(), text: text.into() })
    }
}

/// A place in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The text it lies in.
    pub source: Arc<Source>,
    /// Byte range in that text.
    pub span: ByteSpan,
}

impl Place {
    /// The place at a line and column counted from 1.
    pub fn at_line(source: &Arc<Source>, line: usize, column: usize) -> Place {
        let offset = offset_of(&source.text, line, column);
        Place { source: source.clone(), span: offset..offset }
    }

    /// Line and column, counted from 1 in characters.
    pub fn line_column(&self) -> (usize, usize) {
        let before = &self.source.text[..self.span.start.min(self.source.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        (line, column)
    }
}

/// The byte offset of a line and column counted from 1 in characters, as `ron` counts them.
pub(crate) fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let mut start = 0;
    for _ in 1..line {
        match text[start..].find('\n') {
            Some(end) => start += end + 1,
            None => return text.len(),
        }
    }
    text[start..]
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(text.len(), |(i, _)| start + i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_counted_in_characters() {
        let source = Source::new("f", "é(\n  a: 1)");
        let place = Place { source, span: 6..7 };
        assert_eq!(place.line_column(), (2, 3));
        assert_eq!(offset_of("é(\n  a: 1)", 2, 3), 6);
        assert_eq!(offset_of("é(\n  a: 1)", 1, 2), 2);
        assert_eq!(offset_of("ab", 7, 1), 2);
    }
}
