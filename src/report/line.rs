//! Lines of the report: text on the left, perhaps a label on the right, colour only if wanted.

use crate::base::text::printable;

/// Widest line.
pub const WIDTH: usize = 100;
/// Where labels end if the text leaves room.
const LABEL_END: usize = 90;
/// Width of the key that opens a section.
const KEY: usize = 7;

/// How a label is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Green.
    Good,
    /// Red.
    Bad,
    /// Bold only.
    Plain,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    text: String,
    label: Option<(String, Tone)>,
}

impl Line {
    /// A line of its own.
    pub fn new(text: impl Into<String>) -> Line {
        Line { text: text.into(), label: None }
    }

    /// With a label on the right.
    pub fn label(mut self, label: impl Into<String>, tone: Tone) -> Line {
        self.label = Some((label.into(), tone));
        self
    }

    /// Whether it is there for the eye only.
    pub fn is_blank(&self) -> bool {
        *self == Line::default()
    }

    /// Puts a section's key into the indentation of its first line.
    pub fn set_key(&mut self, key: &str) {
        if self.text.starts_with(&" ".repeat(KEY)) && key.len() < KEY {
            self.text.replace_range(..KEY, &format!("{key:<KEY$}"));
        }
    }

    /// As it is printed, without line end. Only the label is coloured; nothing else is sent that a
    /// terminal would obey.
    pub fn render(&self, colour: bool) -> String {
        let text = printable(&self.text);
        let Some((label, tone)) = &self.label else { return text.trim_end().to_owned() };
        let label = printable(label).into_owned();
        let used = text.chars().count();
        let gap = LABEL_END.saturating_sub(used + label.chars().count()).max(2);
        let label = match (colour, tone) {
            (false, _) => label.clone(),
            (true, Tone::Good) => format!("\x1b[1;32m{label}\x1b[0m"),
            (true, Tone::Bad) => format!("\x1b[1;31m{label}\x1b[0m"),
            (true, Tone::Plain) => format!("\x1b[1m{label}\x1b[0m"),
        };
        format!("{text}{}{label}", " ".repeat(gap))
    }
}

/// What to keep free of a line's text so that this label can end where labels end.
pub fn room_for(label: &str) -> usize {
    WIDTH - LABEL_END + label.len() + 2
}

/// `key` and as many of `items` on a line as fit, the rest indented on further lines. `room` is kept
/// free on the right of each line, for a label.
pub fn packed(key: &str, items: &[String], separator: &str, room: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = format!("{key:<KEY$}");
    if key.len() >= KEY {
        line.push_str("  ");
    }
    let mut empty = true;
    for item in items {
        let needed = item.chars().count() + if empty { 0 } else { separator.chars().count() };
        if !empty && line.chars().count() + needed > WIDTH - room {
            lines.push(Line::new(line));
            line = " ".repeat(KEY);
            empty = true;
        }
        if !empty {
            line.push_str(separator);
        }
        line.push_str(item);
        empty = false;
    }
    lines.push(Line::new(line));
    lines
}

/// The words of `text` under `key`, wrapped.
pub fn wrapped(key: &str, text: &str, room: usize) -> Vec<Line> {
    let words: Vec<String> = text
        .split_whitespace()
        // A word that no line can hold is cut rather than let the line run over.
        .flat_map(|word| {
            let chars: Vec<char> = word.chars().collect();
            let pieces: Vec<String> =
                chars.chunks(WIDTH - KEY - room).map(|piece| piece.iter().collect()).collect();
            pieces
        })
        .collect();
    packed(key, &with_units(words), " ", room)
}

/// Words with a unit that follows a number joined to it, so that no line begins with a bare unit.
fn with_units(words: Vec<String>) -> Vec<String> {
    const UNITS: &[&str] = &["%", "x", "s", "ms", "req/s", "tok/s", "seeds"];
    let mut joined: Vec<String> = Vec::new();
    for word in words {
        let unit = UNITS.contains(&word.trim_end_matches([',', ';', ':']));
        match joined.last_mut() {
            Some(last)
                if unit && last.len() < 20 && last.ends_with(|c: char| c.is_ascii_digit()) =>
            {
                last.push(' ');
                last.push_str(&word);
            }
            _ => joined.push(word),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| line.render(false)).collect()
    }

    #[test]
    fn items_move_to_the_next_line() {
        let items = vec!["a".repeat(50), "b".repeat(50), "c".to_owned()];
        let lines = texts(&packed("KV", &items, " | ", 0));
        assert_eq!(
            lines,
            [format!("KV     {}", "a".repeat(50)), format!("       {} | c", "b".repeat(50))]
        );
    }

    #[test]
    fn no_line_runs_over() {
        let text = format!("{} and {}", "x".repeat(250), "short words ".repeat(30));
        for line in texts(&wrapped("expect", &text, 9)) {
            assert!(line.chars().count() <= WIDTH - 9, "{line}");
        }
    }

    #[test]
    fn a_number_keeps_its_unit() {
        let lines =
            texts(&wrapped("expect", &format!("{} 65.26 to 65.52 %, met", "x".repeat(76)), 0));
        assert_eq!(lines[1], "       65.52 %, met");
    }

    #[test]
    fn colour_is_only_on_the_label() {
        let line = Line::new("x").label("MET", Tone::Good);
        assert!(!line.render(false).contains('\x1b'));
        assert!(line.render(true).ends_with("\x1b[1;32mMET\x1b[0m"));
        assert_eq!(line.render(false).len(), LABEL_END);
    }
}
