//! The text of a trace file, and where in it something stands.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use csv::ErrorKind;
use flate2::read::MultiGzDecoder;

use crate::scenario::SettingError;

/// A file in memory, unpacked. Line numbers are counted when something is wrong: those of the
/// CSV reader are too small after empty lines.
pub(super) struct Text {
    name: String,
    bytes: Vec<u8>,
}

impl Text {
    /// Reads a file, through gzip if its name ends in `.gz`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn load(file: &Path, base_dir: &Path) -> Result<Text, SettingError> {
        let path = base_dir.join(file);
        let unreadable = |what: String| {
            SettingError::new("file", format!("{}: {what}", path.display()), "a readable file")
                .help("paths are relative to the scenario")
        };
        if path.is_dir() {
            return Err(unreadable("a directory".to_owned()));
        }
        let mut bytes = Vec::new();
        let zipped = path.extension().is_some_and(|extension| extension == "gz");
        File::open(&path)
            .and_then(|mut file| match zipped {
                true => MultiGzDecoder::new(file).read_to_end(&mut bytes),
                false => file.read_to_end(&mut bytes),
            })
            .map_err(|error| unreadable(error.to_string()))?;
        // A byte order mark would be part of the first column's name.
        if bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        Ok(Text { name: file.display().to_string(), bytes })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it looks like JSON Lines: it begins with an object.
    pub fn is_json(&self) -> bool {
        self.bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
    }

    /// The lines that are not empty, each with the byte at which it starts.
    pub fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut at = 0;
        self.bytes.split(|&byte| byte == b'\n').filter_map(move |line| {
            let start = at;
            at += line.len() as u64 + 1;
            let trimmed = line.trim_ascii();
            (!trimmed.is_empty()).then_some((start, trimmed))
        })
    }

    /// `requests.csv:17`: the line of the first text at or after a byte, from 1.
    pub fn place(&self, at: u64) -> String {
        let at = (at as usize).min(self.bytes.len());
        let empty = self.bytes[at..].iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let line = 1 + self.bytes[..at + empty].iter().filter(|&&b| b == b'\n').count();
        format!("{}:{line}", self.name)
    }

    /// What the CSV reader found, with file and line.
    pub fn complaint(&self, error: &csv::Error) -> SettingError {
        let place = match error.position() {
            Some(position) => self.place(position.byte()),
            None => self.name.clone(),
        };
        match error.kind() {
            ErrorKind::UnequalLengths { expected_len, len, .. } => SettingError::new(
                "file",
                format!("{len} fields at {place}"),
                format!("{expected_len} fields, as in the header"),
            ),
            ErrorKind::Utf8 { err, .. } => SettingError::new(
                "file",
                format!("bytes that are no UTF-8 in field {} at {place}", err.field() + 1),
                "UTF-8 text",
            ),
            _ => SettingError::new("file", format!("{place}: {error}"), "a readable CSV file"),
        }
    }
}
