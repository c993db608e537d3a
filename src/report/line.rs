//! Lines of the report: text on the left, perhaps a label on the right, colour only if wanted.
//!
//! A [`Line`] says what belongs together; how many lines of the terminal that takes is known when
//! it is laid out for a width.

use crate::base::text::printable;

/// Width where the terminal does not say.
pub const WIDTH: usize = 100;
/// What stays free behind labels if the text leaves room.
const MARGIN: usize = 10;
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

/// A line, or a few where the terminal is narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Opens a section; a fixed text has none.
    key: Option<String>,
    items: Vec<String>,
    separator: &'static str,
    label: Option<(String, Tone)>,
}

impl Line {
    /// A line that is never broken.
    pub fn new(text: impl Into<String>) -> Line {
        Line { items: vec![text.into()], ..Line::default() }
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

    /// Opens a section with it.
    pub fn set_key(&mut self, key: &str) {
        if let Some(own) = self.key.as_mut().filter(|own| own.is_empty()) {
            key.clone_into(own);
        }
    }

    /// How many lines it takes.
    pub fn height(&self, width: usize) -> usize {
        self.texts(width).len()
    }

    /// As it is printed, each line with its line end. Only the label is coloured; nothing else is
    /// sent that a terminal would obey.
    pub fn render(&self, width: usize, colour: bool) -> String {
        let mut texts = self.texts(width);
        if let (Some((label, tone)), Some(last)) = (&self.label, texts.last_mut()) {
            let used = last.chars().count() + label.chars().count();
            let gap = (width - MARGIN).saturating_sub(used).max(2);
            let label = printable(label).into_owned();
            let label = match (colour, tone) {
                (false, _) => label,
                (true, Tone::Good) => format!("\x1b[1;32m{label}\x1b[0m"),
                (true, Tone::Bad) => format!("\x1b[1;31m{label}\x1b[0m"),
                (true, Tone::Plain) => format!("\x1b[1m{label}\x1b[0m"),
            };
            last.push_str(&" ".repeat(gap));
            last.push_str(&label);
        }
        texts.iter().map(|text| format!("{}\n", text.trim_end())).collect()
    }

    /// The lines without the label, for which each of them leaves room.
    fn texts(&self, width: usize) -> Vec<String> {
        let shown: Vec<String> =
            self.items.iter().map(|item| printable(item).into_owned()).collect();
        let Some(key) = &self.key else { return vec![shown.concat()] };
        let key = printable(key);
        let room = self.label.as_ref().map_or(0, |(label, _)| MARGIN + label.len() + 2);
        let width = width.saturating_sub(room).max(2 * KEY);
        let mut texts = Vec::new();
        let mut text = format!("{key:<KEY$}");
        if key.len() >= KEY {
            text.push_str("  ");
        }
        let mut empty = true;
        // An item that no line can hold is cut rather than let the line run over.
        for item in shown.iter().flat_map(|item| pieces(item, width - KEY)) {
            let needed = item.chars().count() + if empty { 0 } else { self.separator.len() };
            if !empty && text.chars().count() + needed > width {
                texts.push(std::mem::replace(&mut text, " ".repeat(KEY)));
                empty = true;
            }
            if !empty {
                text.push_str(self.separator);
            }
            text.push_str(&item);
            empty = false;
        }
        texts.push(text);
        texts
    }
}

/// A text in pieces of so many characters at most, broken between words if there are any.
fn pieces(text: &str, most: usize) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match pieces.last_mut() {
            Some(last) if last.chars().count() + 1 + word.chars().count() <= most => {
                last.push(' ');
                last.push_str(word);
            }
            _ => {
                let chars: Vec<char> = word.chars().collect();
                pieces.extend(chars.chunks(most).map(|piece| piece.iter().collect::<String>()));
            }
        }
    }
    pieces
}

/// `key` and as many of `items` on a line as fit, the rest indented on further lines.
pub fn packed(key: &str, items: &[String], separator: &'static str) -> Line {
    Line { key: Some(key.to_owned()), items: items.to_vec(), separator, label: None }
}

/// The words of `text` under `key`, wrapped.
pub fn wrapped(key: &str, text: &str) -> Line {
    packed(key, &with_units(text.split_whitespace().map(str::to_owned).collect()), " ")
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

    fn texts(line: &Line, width: usize) -> Vec<String> {
        line.render(width, false).lines().map(str::to_owned).collect()
    }

    #[test]
    fn items_move_to_the_next_line() {
        let items = vec!["a".repeat(50), "b".repeat(50), "c".to_owned()];
        assert_eq!(
            texts(&packed("KV", &items, " | "), 100),
            [format!("KV     {}", "a".repeat(50)), format!("       {} | c", "b".repeat(50))]
        );
    }

    #[test]
    fn no_line_runs_over() {
        let text = format!("{} and {}", "x".repeat(250), "short words ".repeat(30));
        for width in [40, 80, 100] {
            for line in texts(&wrapped("expect", &text).label("NOT MET", Tone::Bad), width) {
                assert!(line.chars().count() <= width, "{line}");
            }
            let long = packed("a key of its own", &["one two ".repeat(60)], " | ");
            for line in texts(&long, width).iter().skip(1) {
                assert!(line.chars().count() <= width, "{line}");
            }
        }
    }

    #[test]
    fn a_number_keeps_its_unit() {
        let line = wrapped("expect", &format!("{} 65.26 to 65.52 %, met", "x".repeat(76)));
        assert_eq!(texts(&line, 100)[1], "       65.52 %, met");
    }

    #[test]
    fn colour_is_only_on_the_label() {
        let line = Line::new("x").label("MET", Tone::Good);
        assert!(!line.render(100, false).contains('\x1b'));
        assert!(line.render(100, true).ends_with("\x1b[1;32mMET\x1b[0m\n"));
        assert_eq!(line.render(100, false).len(), 100 - MARGIN + 1);
    }
}
