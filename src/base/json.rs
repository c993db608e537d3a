//! JSON files whose values can be pointed at.

use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Diagnostic, Place, Source, suggest};

/// A JSON text with its values.
///
/// `Infinity`, `-Infinity` and `NaN`, which Python writes although JSON has no such numbers, are
/// read as strings of that name: who expects a number refuses them by name, who knows better takes
/// them.
#[derive(Clone, Debug)]
pub struct JsonDocument {
    source: Arc<Source>,
    value: Value,
}

/// The names of numbers that JSON does not have.
const NON_FINITE: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

impl JsonDocument {
    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, is no text or no JSON; with the place.
    pub fn read(path: &Path) -> Result<JsonDocument, Box<Diagnostic>> {
        let file = path.display();
        let text = super::input::read_to_string(path)
            .map_err(|error| Diagnostic::error(format!("cannot read {file}: {error}")))?;
        JsonDocument::parse(Source::new(file.to_string(), text))
    }

    /// Reads a text.
    ///
    /// # Errors
    /// The text is no JSON, with the place.
    pub fn parse(source: Arc<Source>) -> Result<JsonDocument, Box<Diagnostic>> {
        let (masked, quoted) = quote_non_finite(&source.text);
        match serde_json::from_str(&masked) {
            Ok(value) => Ok(JsonDocument { source, value }),
            Err(error) => {
                let place = place_of(&source, &masked, &quoted, &error);
                let title = format!("{} is no JSON", source.name);
                Err(Box::new(Diagnostic::error(title).at(place, reason(&error))))
            }
        }
    }

    /// The values.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The values as a type. A field that the type does not have is named, with the nearest that it
    /// has.
    ///
    /// # Errors
    /// The values are not those of the type, with the place.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Box<Diagnostic>> {
        let (masked, quoted) = quote_non_finite(&self.source.text);
        serde_json::from_str(&masked).map_err(|error| {
            let diagnostic = explained(&self.source.name, &error);
            let place = self.place_of(&masked, &quoted, &error);
            Box::new(diagnostic.at(place, "here"))
        })
    }

    /// Where an error in the text with quotes is in the one without.
    fn place_of(&self, masked: &str, quoted: &[usize], error: &serde_json::Error) -> Place {
        place_of(&self.source, masked, quoted, error)
    }

    /// The place of the key at the end of `path`, or of the last one on the way that there is.
    pub fn place(&self, path: &[&str]) -> Place {
        let mut scan = Scan { text: self.source.text.as_bytes(), at: 0 };
        let span = scan.find(path, 0..0).unwrap_or(0..0);
        Place { source: self.source.clone(), span }
    }
}

/// Where an error in a text with quotes is in the one without.
fn place_of(
    source: &Arc<Source>,
    masked: &str,
    quoted: &[usize],
    error: &serde_json::Error,
) -> Place {
    let offset = offset_of(masked, error.line(), error.column());
    // Two quotes stand around each number that JSON does not have.
    let before = quoted.iter().filter(|start| **start < offset).count();
    let offset = offset.saturating_sub(2 * before).min(source.text.len());
    let near = (0..=offset).rev().find(|&at| source.text.is_char_boundary(at)).unwrap_or(0);
    Place { source: source.clone(), span: near..near }
}

/// What is wrong, without the place.
fn reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
    shortened_text(reason, 160)
}

/// What is wrong with a value; a field that is not known gets suggestions.
fn explained(file: &str, error: &serde_json::Error) -> Diagnostic {
    let message = error.to_string();
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
    let Some((found, rest)) = unknown else {
        return Diagnostic::error(format!("{file}: {}", reason(error)));
    };
    // serde names what it knows in backticks.
    let known = rest.split('`').skip(1).step_by(2);
    Diagnostic::error(format!("{file}: unknown key `{}`", shortened_text(found, 80)))
        .helps(suggest::help(found, known))
}

/// `text` with quotes around the numbers that JSON does not have, and where these quotes are.
fn quote_non_finite(text: &str) -> (std::borrow::Cow<'_, str>, Vec<usize>) {
    let bytes = text.as_bytes();
    let mut starts = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at),
            b'-' | b'I' | b'N' => match NON_FINITE.iter().find(|n| text[at..].starts_with(**n)) {
                Some(name) => {
                    starts.push((at, name.len()));
                    at += name.len();
                }
                None => at += 1,
            },
            _ => at += 1,
        }
    }
    if starts.is_empty() {
        return (std::borrow::Cow::Borrowed(text), Vec::new());
    }
    let mut quoted = String::with_capacity(text.len() + 2 * starts.len());
    let mut places = Vec::with_capacity(starts.len());
    let mut done = 0;
    for (start, length) in starts {
        quoted.push_str(&text[done..start]);
        places.push(quoted.len());
        quoted.push('"');
        quoted.push_str(&text[start..start + length]);
        quoted.push('"');
        done = start + length;
    }
    quoted.push_str(&text[done..]);
    (std::borrow::Cow::Owned(quoted), places)
}

/// The byte behind the string that begins at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The byte at a line and column as serde_json counts them: columns in bytes, from 1.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let lines = text.split_inclusive('\n').take(line.saturating_sub(1));
    let start: usize = lines.map(str::len).sum();
    (start + column.saturating_sub(1)).min(text.len())
}

/// Walks over a text that is known to be JSON.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    /// The span of the key at the end of `path` in the value that comes next; `near` if this has
    /// none. Where a key is there twice the last one counts, as it does for readers of JSON.
    fn find(
        &mut self,
        path: &[&str],
        near: std::ops::Range<usize>,
    ) -> Option<std::ops::Range<usize>> {
        let mut found = near;
        self.blanks();
        let open = *self.text.get(self.at)?;
        if !matches!(open, b'{' | b'[') {
            self.scalar();
            return Some(found);
        }
        self.at += 1;
        let mut index = 0_usize;
        loop {
            self.blanks();
            match self.text.get(self.at)? {
                b'}' | b']' => {
                    self.at += 1;
                    return Some(found);
                }
                b',' => self.at += 1,
                _ => {
                    let (name, span) = match open {
                        b'{' => self.key()?,
                        _ => (index.to_string(), self.at..self.at + 1),
                    };
                    index += 1;
                    match path.split_first() {
                        Some((first, rest)) if *first == name => found = self.find(rest, span)?,
                        _ => {
                            self.find(&[], 0..0)?;
                        }
                    }
                }
            }
        }
    }

    /// A key and the colon behind it.
    fn key(&mut self) -> Option<(String, std::ops::Range<usize>)> {
        let start = self.at;
        self.at = end_of_string(self.text, start);
        let span = start..self.at;
        let name: String = serde_json::from_slice(&self.text[span.clone()]).ok()?;
        self.blanks();
        self.at += 1;
        Some((name, span))
    }

    fn scalar(&mut self) {
        if self.text.get(self.at) == Some(&b'"') {
            self.at = end_of_string(self.text, self.at);
            return;
        }
        while self
            .text
            .get(self.at)
            .is_some_and(|b| !matches!(b, b',' | b'}' | b']') && !b.is_ascii_whitespace())
        {
            self.at += 1;
        }
    }

    fn blanks(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }
}

/// A value in at most about 80 characters.
pub fn shortened(value: &Value) -> String {
    const LONGEST: usize = 80;
    // Long texts are cut before they are written.
    let text = match value {
        Value::String(text) if text.len() > LONGEST => {
            format!("{:?}", text.chars().take(LONGEST).collect::<String>())
        }
        Value::Array(values) if values.len() > 8 => {
            format!("[{} ({} values)]", first_of(values.iter().map(shortened)), values.len())
        }
        Value::Object(keys) if keys.len() > 8 => {
            let names = keys.keys().map(|key| format!("{:?}", shortened_text(key, LONGEST)));
            format!("{{{} ({} keys)}}", first_of(names), keys.len())
        }
        other => other.to_string(),
    };
    shortened_text(&text, LONGEST)
}

/// The first few parts, of some 40 characters at most, and an ellipsis.
fn first_of(parts: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    for part in parts.take(3) {
        if !text.is_empty() && text.len() + part.len() > 40 {
            break;
        }
        text.push_str(&shortened_text(&part, 40));
        text.push_str(", ");
    }
    text.push_str("...");
    text
}

/// A text in at most `longest` characters and an ellipsis.
pub fn shortened_text(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> JsonDocument {
        JsonDocument::parse(Source::new("c.json", text)).unwrap()
    }

    #[test]
    fn what_python_writes_is_read() {
        let document =
            document(r#"{"a": [0.0, Infinity], "b": -Infinity, "c": NaN, "d": "Infinity \" NaN"}"#);
        assert_eq!(document.value()["a"][1], "Infinity");
        assert_eq!(document.value()["b"], "-Infinity");
        assert_eq!(document.value()["c"], "NaN");
        assert_eq!(document.value()["d"], "Infinity \" NaN");
    }

    #[test]
    fn keys_are_found() {
        let text = "{\n  \"a\": {\"x\": 1, \"y\": [1, {\"z\": NaN}]},\n  \"b\": \"}\",\n  \"c\": Infinity\n}";
        let document = document(text);
        let at = |path: &[&str]| document.place(path).line_column();
        assert_eq!(at(&["a"]), (2, 3));
        assert_eq!(at(&["a", "y"]), (2, 17));
        assert_eq!(at(&["a", "y", "1", "z"]), (2, 27));
        assert_eq!(at(&["a", "w"]), (2, 3), "the nearest that there is");
        assert_eq!(at(&["c"]), (4, 3));
        assert_eq!(at(&["d"]), (1, 1));
    }

    #[test]
    fn errors_stand_where_they_are() {
        let wrong = |text: &str| JsonDocument::parse(Source::new("c.json", text)).unwrap_err();
        let error = wrong("{\"a\": Infinity, \"b\": ?}");
        assert_eq!(error.place.as_ref().unwrap().line_column(), (1, 22), "{error}");
        assert!(error.to_string().contains("expected value"), "{error}");
        assert!(wrong("").to_string().contains("c.json is no JSON"));
        let missing = JsonDocument::read(Path::new("/nonexistent.json")).unwrap_err();
        assert!(missing.to_string().starts_with("error: cannot read /nonexistent.json"));
    }

    #[test]
    fn unknown_keys_get_suggestions() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Small {
            max_num_seqs: Option<u32>,
        }
        let document = document("{\n  \"max_num_seq\": 4\n}");
        let error = document.to::<Small>().unwrap_err();
        assert_eq!(error.title, "c.json: unknown key `max_num_seq`");
        assert_eq!(error.place.as_ref().unwrap().line_column().0, 2);
        assert_eq!(error.help[0], "did you mean `max_num_seqs`?");
        let document = super::tests::document("{\"max_num_seqs\": \"4\"}");
        let error = document.to::<Small>().unwrap_err();
        assert!(error.title.contains("invalid type: string \"4\", expected u32"), "{error}");
        assert!(super::tests::document("{}").to::<Small>().unwrap().max_num_seqs.is_none());
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(shortened(&serde_json::json!([1, "a"])), "[1,\"a\"]");
        let long: Vec<u32> = (0..100).collect();
        assert_eq!(shortened(&serde_json::json!(long)), "[0, 1, 2, ... (100 values)]");
        assert!(shortened(&Value::String("é".repeat(1000))).chars().count() < 90);
        let nested = serde_json::json!({"a": {"b": "c".repeat(70), "d": "e".repeat(70)}});
        assert!(shortened(&nested).len() < 90);
    }
}
