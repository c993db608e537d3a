//! The text of a trace file, which is read from its start as often as it is asked for, and where in
//! it something stands.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use csv::ErrorKind;
use flate2::read::MultiGzDecoder;

use crate::base::SettingError;
use crate::base::input;
use crate::base::text::cut;

/// Bytes that are read at a time.
pub(super) const BUFFER: usize = 1 << 16;

/// Bytes of a row at most, so that a file of a single endless line takes no memory.
pub(super) const MOST_ROW: usize = 8 << 20;

/// Bytes of a pipe or device at most: all of it is kept, since it is read more than once.
const MOST_PIPED: u64 = 256 << 20;

/// A byte order mark would be part of the first column's name.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Length and time of change of a file, by which it is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64, Option<SystemTime>);

impl Stamp {
    fn new(about: &Metadata) -> Stamp {
        Stamp(about.len(), about.modified().ok())
    }

    /// `None` if there is no such file.
    pub fn of(path: &Path) -> Option<Stamp> {
        Some(Stamp::new(&std::fs::metadata(path).ok()?))
    }
}

/// A file that is there, unpacked on the fly. Nothing of it is kept. Line numbers are counted when
/// something is wrong: those of the CSV reader are too small after empty lines.
#[derive(Clone, Debug)]
pub(super) struct Text {
    name: String,
    path: PathBuf,
    /// As it was at first.
    stamp: Option<Stamp>,
    /// The whole of what can be read only once, such as a pipe.
    piped: Option<Arc<[u8]>>,
}

/// The bytes of a text.
pub(super) type Bytes = Box<dyn Read + Send>;

impl Text {
    /// A file, which is unpacked if its name ends in `.gz`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn find(file: &Path, base_dir: &Path) -> Result<Text, SettingError> {
        let (name, path) = (file.display().to_string(), base_dir.join(file));
        let mut text = Text { name, path, stamp: None, piped: None };
        if text.path.is_dir() {
            return Err(text.unreadable("a directory"));
        }
        let found = File::open(&text.path).and_then(|mut file| {
            let about = file.metadata()?;
            if about.is_file() {
                text.stamp = Some(Stamp::new(&about));
            } else {
                text.piped = Some(input::read_most(&mut file, MOST_PIPED)?.into());
            }
            Ok(())
        });
        match found {
            Ok(()) => Ok(text),
            Err(error) => Err(text.unreadable(error)),
        }
    }

    /// The complaint that it cannot be read, and why.
    pub fn unreadable(&self, why: impl std::fmt::Display) -> SettingError {
        SettingError::new("file", format!("{}: {why}", self.path.display()), "a readable file")
            .help("paths are relative to the scenario")
    }

    /// The complaint about the row that starts at a byte.
    pub fn too_long(&self, at: u64) -> SettingError {
        let found = format!("a row of more than {} MiB at {}", MOST_ROW >> 20, self.place(at));
        SettingError::new("file", found, "rows that are shorter")
    }

    /// Whether all rows must be kept, since they cannot be read again.
    pub fn is_piped(&self) -> bool {
        self.piped.is_some()
    }

    /// Complains if the file is no longer the one that was found at first.
    ///
    /// # Errors
    /// It is not.
    pub fn check_unchanged(&self) -> Result<(), SettingError> {
        match Stamp::of(&self.path) {
            _ if self.is_piped() => Ok(()),
            None => Err(self.unreadable("gone since it was checked")),
            now if now == self.stamp => Ok(()),
            Some(_) => Err(SettingError::new(
                "file",
                format!("{}, which has changed since it was checked", self.path.display()),
                "the same file until the end of the run",
            )),
        }
    }

    /// All bytes from the start on, without a byte order mark.
    ///
    /// # Errors
    /// The file cannot be read, or is no longer the one that was found at first.
    pub fn open(&self) -> Result<Bytes, SettingError> {
        self.check_unchanged()?;
        self.bytes().map_err(|error| self.unreadable(error))
    }

    fn bytes(&self) -> io::Result<Bytes> {
        let packed: Bytes = match &self.piped {
            Some(bytes) => Box::new(Cursor::new(bytes.clone())),
            None => Box::new(File::open(&self.path)?),
        };
        let zipped = self.path.extension().is_some_and(|extension| extension == "gz");
        let mut bytes: Bytes = match zipped {
            true => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, packed))),
            false => packed,
        };
        let mut start = Vec::new();
        bytes.by_ref().take(BYTE_ORDER_MARK.len() as u64).read_to_end(&mut start)?;
        if start == BYTE_ORDER_MARK {
            start.clear();
        }
        Ok(Box::new(Cursor::new(start).chain(bytes)))
    }

    /// What it looks like: it begins with an object, or with a list, or it is something else.
    ///
    /// # Errors
    /// As [`Text::open`].
    pub fn shape(&self) -> Result<Shape, SettingError> {
        for byte in BufReader::new(self.open()?).bytes() {
            let byte = byte.map_err(|error| self.unreadable(error))?;
            if !byte.is_ascii_whitespace() {
                return Ok(match byte {
                    b'{' => Shape::JsonLines,
                    b'[' => Shape::JsonList,
                    _ => Shape::Table,
                });
            }
        }
        Ok(Shape::Table)
    }

    /// The lines that are not empty.
    ///
    /// # Errors
    /// As [`Text::open`].
    pub fn lines(&self) -> Result<Lines, SettingError> {
        let reader = BufReader::with_capacity(BUFFER, self.open()?);
        Ok(Lines { reader, line: Vec::new(), next: 0 })
    }

    /// `requests.csv:17`: the line of the first text at or after a byte, from 1.
    pub fn place(&self, at: u64) -> String {
        self.places(&[at]).pop().unwrap_or_else(|| self.name.clone())
    }

    /// Places of several bytes in rising order.
    pub fn places(&self, at: &[u64]) -> Vec<String> {
        // If the file has gone since, only its name is left to say.
        let lines = self.lines_of(at).unwrap_or_default().into_iter().map(Some);
        let all = lines.chain(std::iter::repeat(None)).take(at.len());
        all.map(|line| match line {
            Some(line) => format!("{}:{line}", self.name),
            None => self.name.clone(),
        })
        .collect()
    }

    /// Reads the file up to there once more, to count the lines: places are hardly ever asked for,
    /// and remembering where lines start would cost memory.
    fn lines_of(&self, at: &[u64]) -> io::Result<Vec<u64>> {
        let mut lines = Vec::new();
        let mut line = 1;
        for (byte, here) in BufReader::with_capacity(BUFFER, self.bytes()?).bytes().zip(0..) {
            let byte = byte?;
            if !matches!(byte, b'\r' | b'\n') {
                while at.get(lines.len()).is_some_and(|&at| at <= here) {
                    lines.push(line);
                }
            }
            if lines.len() == at.len() {
                break;
            }
            line += u64::from(byte == b'\n');
        }
        lines.resize(at.len(), line);
        Ok(lines)
    }

    /// What the CSV reader found, with file and line.
    pub fn complaint(&self, error: &csv::Error) -> SettingError {
        let place = || match error.position() {
            Some(position) => self.place(position.byte()),
            None => self.name.clone(),
        };
        match error.kind() {
            ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                let found = format!("a row of more than {} MiB in {}", MOST_ROW >> 20, self.name);
                SettingError::new("file", found, "rows that are shorter")
                    .help("is a quotation mark not closed, or is it no CSV file?")
            }
            ErrorKind::Io(error) => self.unreadable(error),
            ErrorKind::UnequalLengths { expected_len, len, .. } => SettingError::new(
                "file",
                format!("{len} fields at {}", place()),
                format!("{expected_len} fields, as in the header"),
            ),
            ErrorKind::Utf8 { err, .. } => SettingError::new(
                "file",
                format!("bytes that are no UTF-8 in field {} at {}", err.field() + 1, place()),
                "UTF-8 text",
            ),
            _ => {
                let found = format!("{}: {}", place(), cut(&error.to_string()));
                SettingError::new("file", found, "a readable CSV file")
            }
        }
    }
}

/// What a text looks like by its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// JSON objects, one a line.
    JsonLines,
    /// One JSON list of objects.
    JsonList,
    /// CSV, or nothing known.
    Table,
}

/// The bytes of a CSV text, which end with an error where a row is too long.
pub(super) struct Rows {
    bytes: Bytes,
    left: RowLimit,
}

/// Counts the bytes that a row has left.
#[derive(Clone, Debug)]
pub(super) struct RowLimit(Arc<AtomicUsize>);

impl RowLimit {
    /// The next row may have all of them.
    pub fn next_row(&self) {
        // What is read ahead counts for the row before.
        self.0.store(MOST_ROW + 2 * BUFFER, Ordering::Relaxed);
    }
}

impl Rows {
    /// The bytes, and what to tell of every row.
    pub fn new(bytes: Bytes) -> (Rows, RowLimit) {
        let left = RowLimit(Arc::default());
        left.next_row();
        (Rows { bytes, left: left.clone() }, left)
    }
}

impl Read for Rows {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        let left = self.left.0.load(Ordering::Relaxed);
        match left.checked_sub(read) {
            Some(left) => self.left.0.store(left, Ordering::Relaxed),
            None => return Err(io::ErrorKind::FileTooLarge.into()),
        }
        Ok(read)
    }
}

/// The lines of a text that are not empty, one at a time.
pub(super) struct Lines {
    reader: BufReader<Bytes>,
    line: Vec<u8>,
    next: u64,
}

impl Lines {
    /// The next line without spaces around it, and the byte at which it starts.
    ///
    /// # Errors
    /// `text`, whose lines these are, cannot be read any further.
    pub fn next(&mut self, text: &Text) -> Result<Option<(u64, &[u8])>, SettingError> {
        loop {
            self.line.clear();
            let most = self.reader.by_ref().take(MOST_ROW as u64 + 1);
            let read = { most }.read_until(b'\n', &mut self.line);
            let read = read.map_err(|error| text.unreadable(error))?;
            let at = self.next;
            if read > MOST_ROW {
                return Err(text.too_long(at));
            }
            self.next += read as u64;
            if read == 0 {
                return Ok(None);
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some((at, self.line.trim_ascii())));
            }
        }
    }
}
