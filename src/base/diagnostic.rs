//! Messages that point into the text which caused them.

use std::fmt;

#[cfg(feature = "cli")]
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};

use crate::base::Place;

/// Exit code of a scenario or an argument that is wrong.
pub const BAD_SCENARIO: u8 = 2;
/// Exit code of a model that does not fit in memory.
pub const DOES_NOT_FIT: u8 = 3;

/// Whether the run can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but the user should know.
    Warning,
}

/// An error or warning with the place that caused it and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Exit code of the program, for an error.
    pub exit_code: u8,
    /// One sentence: what is wrong.
    pub title: String,
    /// Where; `None` when no text can be pointed at.
    pub place: Option<Place>,
    /// What stands beside the caret: what was expected.
    pub label: String,
    /// What to do about it.
    pub help: Vec<String>,
    /// Circumstances, such as the variant it happened in.
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// An error without a place, exit code 2.
    pub fn error(title: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            exit_code: BAD_SCENARIO,
            title: title.into(),
            place: None,
            label: String::new(),
            help: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// A warning without a place.
    pub fn warning(title: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, exit_code: 0, ..Diagnostic::error(title) }
    }

    /// Points at a place, with what was expected there.
    pub fn at(mut self, place: Place, label: impl Into<String>) -> Diagnostic {
        self.place = Some(place);
        self.label = label.into();
        self
    }

    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(help.into());
        self
    }

    /// Adds several pieces of advice.
    pub fn helps(mut self, help: impl IntoIterator<Item = String>) -> Diagnostic {
        self.help.extend(help);
        self
    }

    /// Adds a circumstance.
    pub fn note(mut self, note: impl Into<String>) -> Diagnostic {
        self.notes.push(note.into());
        self
    }

    /// Sets the exit code.
    pub fn exit(mut self, code: u8) -> Diagnostic {
        self.exit_code = code;
        self
    }

    /// The message for a person, without a newline at the end: with the line of text and a caret, or, without
    /// the feature `cli`, with line and column alone.
    pub fn render(&self, colours: bool) -> String {
        match &self.place {
            #[cfg(feature = "cli")]
            Some(place) => self.drawn(place, colours),
            _ => self.plain(colours),
        }
    }

    #[cfg(feature = "cli")]
    fn drawn(&self, place: &Place, colours: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let span = visible(&place.source.text, &place.span);
        let annotation = AnnotationKind::Primary.span(span).label(self.label.as_str());
        let snippet = Snippet::source(place.source.text.as_str())
            .path(place.source.name.as_str())
            .annotation(annotation);
        let mut group =
            annotate_snippets::Group::with_title(level.primary_title(&self.title)).element(snippet);
        for note in &self.notes {
            group = group.element(Level::NOTE.message(note));
        }
        for help in &self.help {
            group = group.element(Level::HELP.message(help));
        }
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }

    /// Without a frame, which would be empty where there is no text to point into. It has no colours.
    fn plain(&self, _colours: bool) -> String {
        let level = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut text = format!("{level}: {}", self.title);
        if let Some(place) = &self.place {
            let (line, column) = place.line_column();
            text.push_str(&format!("\n --> {}:{line}:{column}: {}", place.source.name, self.label));
        }
        let notes = self.notes.iter().map(|note| ("note", note));
        for (kind, line) in notes.chain(self.help.iter().map(|help| ("help", help))) {
            text.push_str(&format!("\n  = {kind}: {line}"));
        }
        text
    }
}

/// The span cut to its first line, and never empty where there is text: a caret needs something
/// to stand under, and a block of twenty lines helps nobody.
#[cfg(feature = "cli")]
fn visible(text: &str, span: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    let line = text[start..end].find('\n').map_or(end, |n| start + n);
    if line > start {
        return start..line;
    }
    match text[start..].chars().next() {
        Some(c) if c != '\n' => start..start + c.len_utf8(),
        _ => start..start,
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostic {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Source;

    #[test]
    fn a_message_shows_place_caret_and_help() {
        let source = Source::new("s.ron", "(\n    model: \"Lama\",\n    seed: 1,\n)");
        let diagnostic = Diagnostic::error("unknown model `Lama`")
            .at(Place { source, span: 13..19 }, "not a known model")
            .help("did you mean `Llama-2-7B`?");
        insta::assert_snapshot!(diagnostic.render(false), @r##"
error: unknown model `Lama`
 --> s.ron:2:12
  |
2 |     model: "Lama",
  |            ^^^^^^ not a known model
  |
  = help: did you mean `Llama-2-7B`?
"##);
    }

    #[test]
    fn a_message_without_a_place_has_no_frame() {
        let diagnostic = Diagnostic::error("cannot read x").help("look elsewhere");
        assert_eq!(diagnostic.render(true), "error: cannot read x\n  = help: look elsewhere");
    }

    #[test]
    fn places_at_the_end_and_over_lines_are_drawn() {
        for (text, span) in
            [("", 0..0), ("(a", 2..2), ("(\n a: 1,\n)", 0..10), ("é", 0..2), ("a\n", 1..1)]
        {
            let place = Place { source: Source::new("s.ron", text), span };
            let rendered = Diagnostic::error("x").at(place, "y").render(false);
            assert!(rendered.contains("s.ron:1:"), "{rendered}");
        }
    }
}
