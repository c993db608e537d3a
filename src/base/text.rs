//! Texts of a user's in messages, tables and on the terminal.

use std::borrow::Cow;

/// Characters of an input that a message quotes at most.
pub const QUOTED: usize = 80;

/// A text as a terminal may have it: control characters other than line ends, and those that turn
/// the direction of writing, are shown and not sent. What is printed goes through this.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            // U+2400 and on picture the control characters of ASCII.
            '\0'..='\u{1f}' if hidden(c) => {
                shown.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'));
            }
            '\u{7f}' => shown.push('\u{2421}'),
            c if hidden(c) => shown.push('\u{fffd}'),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Whether a terminal would act on the character instead of showing it.
fn hidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text cut to [`QUOTED`] characters, of which most are of its beginning.
pub fn cut(text: &str) -> Cow<'_, str> {
    cut_to(text, QUOTED)
}

/// A text cut to about `most` characters: its beginning, its end, and how much was left out.
pub fn cut_to(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let all = text.chars().count();
    if all <= most {
        return Cow::Borrowed(text);
    }
    let tail = most / 4;
    let head = most - tail;
    let start = text.char_indices().nth(head).map_or(text.len(), |(at, _)| at);
    let end = text.char_indices().nth(all - tail).map_or(text.len(), |(at, _)| at);
    let gone = all - head - tail;
    Cow::Owned(format!("{} [{gone} characters more] {}", &text[..start], &text[end..]))
}

/// The part of a line around `at..end` (bytes), at most `most` characters of it, and where the
/// place is in that part. Dots stand for what is left out.
pub fn around(line: &str, at: usize, end: usize, most: usize) -> (String, std::ops::Range<usize>) {
    let at = floor(line, at);
    let end = floor(line, end.max(at));
    if line.len() <= most {
        return (line.to_owned(), at..end);
    }
    let before = line[..at].char_indices().rev().nth(most / 3).map_or(0, |(byte, _)| byte);
    let until = line[before..].char_indices().nth(most).map_or(line.len(), |(n, _)| before + n);
    let dots = |there: bool| if there { "..." } else { "" };
    let (left, right) = (dots(before > 0), dots(until < line.len()));
    let part = format!("{left}{}{right}", &line[before..until]);
    let shift = left.len();
    (part, at - before + shift..end.min(until) - before + shift)
}

/// The start of the character at or before a byte.
fn floor(text: &str, byte: usize) -> usize {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}

/// A text of a user's as a cell of a table: what a spreadsheet would take for a formula gets an
/// apostrophe in front, by which spreadsheets know a text. Numbers stay as they are.
pub fn cell(text: &str) -> Cow<'_, str> {
    let marked = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']);
    if marked && text.trim().parse::<f64>().is_err() {
        return Cow::Owned(format!("'{text}"));
    }
    Cow::Borrowed(text)
}

/// The text that [`cell`] made a cell of.
pub fn of_cell(cell: &str) -> &str {
    cell.strip_prefix('\'').unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(printable("plain é\n\ttext"), "plain é\n\ttext");
        assert_eq!(printable("a\x1b[2Jb\x07\r\x7f"), "a\u{241b}[2Jb\u{2407}\u{240d}\u{2421}");
        assert_eq!(printable("\u{9b}31m\u{202e}x"), "\u{fffd}31m\u{fffd}x");
    }

    #[test]
    fn long_texts_are_cut_in_the_middle() {
        let long = "é".repeat(1000);
        let short = cut(&long);
        assert!(short.chars().count() < 110 && short.contains("[920 characters more]"), "{short}");
        assert_eq!(cut("short"), "short");
        assert_eq!(cut_to("éééé", 4), "éééé");
    }

    #[test]
    fn a_part_of_a_line_holds_its_place() {
        let line = format!("{}HERE{}", "é".repeat(500), "x".repeat(500));
        let (part, place) = around(&line, 1000, 1004, 120);
        assert_eq!(&part[place], "HERE");
        assert!(part.chars().count() <= 126 && part.starts_with("...") && part.ends_with("..."));
        let (part, place) = around(&line, 1000, 5000, 120);
        assert!(part[place].starts_with("HERE"));
        assert_eq!(around("short", 2, 3, 120), ("short".to_owned(), 2..3));
        let (part, place) = around(&line, line.len(), line.len(), 60);
        assert_eq!((place.start, place.end), (part.len(), part.len()));
    }

    #[test]
    fn formulas_are_texts_and_numbers_are_numbers() {
        for text in ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-x", "\t=1"] {
            assert_eq!(cell(text), format!("'{text}"));
        }
        for text in ["=1", "'=1", "'", "-x", "x", "-1"] {
            assert_eq!(of_cell(&cell(text)), text);
        }
        for text in ["-1.5", "+2", "1e3", "vllm", "a=b", ""] {
            assert_eq!(cell(text), text);
        }
    }
}
