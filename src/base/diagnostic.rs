//! Messages that point into the text which caused them.

use std::fmt;

#[cfg(feature = "cli")]
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet, renderer::DecorStyle};

use crate::base::Place;
#[cfg(feature = "cli")]
use crate::base::text::around;
use crate::base::text::{cut_to, printable};

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

    /// The message in one line, for a table: what is wrong, the circumstances and what to do.
    pub fn in_one_line(&self) -> String {
        let parts = self.notes.iter().chain(&self.help);
        parts.fold(self.title.clone(), |line, part| format!("{line}; {part}"))
    }

    /// The message for a person, without a newline at the end: with the line of text and a caret,
    /// or, without the feature `cli`, with line and column alone. It quotes no more of a text than
    /// shows the place, and nothing that a terminal would obey.
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
        let (title, label) = (shown(&self.title, SENTENCE), shown(&self.label, SENTENCE));
        let mut group = annotate_snippets::Group::with_title(level.primary_title(title));
        let (line, column) = place.line_column();
        let (text, span) = visible(&place.source.text, &place.span);
        let name = printable(&place.source.name);
        let whole = text.len() == line_of(&place.source.text, &place.span).len();
        let annotation = AnnotationKind::Primary.span(span).label(label);
        let snippet = Snippet::source(printable_line(text)).line_start(line).annotation(annotation);
        group = match whole {
            true => group.element(snippet.path(name)),
            // The renderer would count columns in the part that is shown.
            false => {
                group.element(Origin::path(name).line(line).char_column(column)).element(snippet)
            }
        };
        for note in &self.notes {
            group = group.element(Level::NOTE.message(shown(note, SENTENCE)));
        }
        for help in &self.help {
            group = group.element(Level::HELP.message(shown(help, ADVICE)));
        }
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }

    /// Without a frame, which would be empty where there is no text to point into. It has no
    /// colours.
    fn plain(&self, _colours: bool) -> String {
        let level = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut text = format!("{level}: {}", shown(&self.title, SENTENCE));
        if let Some(place) = &self.place {
            let (line, column) = place.line_column();
            let (name, label) = (printable(&place.source.name), shown(&self.label, SENTENCE));
            text.push_str(&format!("\n --> {name}:{line}:{column}: {label}"));
        }
        let notes = self.notes.iter().map(|note| ("note", note));
        for (kind, line) in notes.chain(self.help.iter().map(|help| ("help", help))) {
            text.push_str(&format!("\n  = {kind}: {}", shown(line, ADVICE)));
        }
        text
    }
}

/// Characters of a line that are shown at most.
#[cfg(feature = "cli")]
const LINE: usize = 120;

/// Characters of a sentence that are shown at most: more is a text of the user's that it quotes.
const SENTENCE: usize = 800;
/// The longest advice that is shown, which may be a list of names.
const ADVICE: usize = 2000;

fn shown(sentence: &str, most: usize) -> String {
    printable(&cut_to(sentence, most)).into_owned()
}

/// The line in which a span starts.
#[cfg(feature = "cli")]
fn line_of<'a>(text: &'a str, span: &std::ops::Range<usize>) -> &'a str {
    let start = span.start.min(text.len());
    let from = text[..start].rfind('\n').map_or(0, |n| n + 1);
    let until = text[start..].find('\n').map_or(text.len(), |n| start + n);
    &text[from..until]
}

/// The line of the span, or the part of it around the span if it is long, and where the span is in
/// that. It ends with the line, and is never empty where there is text: a caret needs something to
/// stand under, and a block of twenty lines helps nobody.
#[cfg(feature = "cli")]
fn visible(text: &str, span: &std::ops::Range<usize>) -> (String, std::ops::Range<usize>) {
    let line = line_of(text, span);
    let start = span.start.min(text.len());
    let at = start - text[..start].rfind('\n').map_or(0, |n| n + 1);
    let mut to = (at + span.end.saturating_sub(start)).min(line.len());
    if to == at {
        to += line[at..].chars().next().map_or(0, char::len_utf8);
    }
    around(line, at, to, LINE)
}

/// A line as the renderer may have it: that looks after control characters itself, but not after
/// those which turn the direction of writing. What stands for them has their length in bytes.
#[cfg(feature = "cli")]
fn printable_line(line: String) -> String {
    line.chars().map(turned_off).collect()
}

#[cfg(feature = "cli")]
fn turned_off(c: char) -> char {
    match c {
        // The renderer looks after those below U+0080 only.
        '\u{80}'..='\u{9f}' => '\u{b7}',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
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
    fn long_lines_are_shown_around_the_place_and_nothing_is_sent_raw() {
        let text = format!(
            "(a: \"{}\", b: \x1b[31m1\u{9b}2J, c: \"{}\")",
            "x".repeat(5000),
            "y".repeat(9000)
        );
        let at = text.find("b: ").unwrap();
        let place = Place { source: Source::new("s\x1b[2J.ron", text), span: at..at + 1 };
        let diagnostic =
            Diagnostic::error(format!("bad `{}` \x07", "z".repeat(9000))).at(place, "here");
        let rendered = diagnostic.render(false);
        assert!(rendered.len() < 1500, "{} bytes: {rendered}", rendered.len());
        assert!(rendered.contains(&format!(".ron:1:{}", at + 1)), "{rendered}");
        assert!(!rendered.contains(['\x1b', '\x07', '\u{9b}']), "{rendered:?}");
        assert!(rendered.contains("b: "), "{rendered}");
        let plain = Diagnostic::error("bad\x1b[2J").render(true);
        assert!(!plain.contains('\x1b'), "{plain:?}");
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
