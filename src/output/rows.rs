//! A stream of CSV rows: built in one reused buffer, written in large pieces.

use std::io::{self, Write};

use crate::base::text::cell;

use super::decimal::{Short, integer, ratio, seconds};
use crate::base::Nanos;

/// Bytes gathered before they are written.
const PIECE: usize = 256 * 1024;

/// Room beyond them, for the rest of a row. It grows if texts are longer.
const MORE: usize = 4096;

/// Writes rows of fields. The first I/O error is kept and ends the writing; [`Rows::finish`]
/// returns it.
#[derive(Debug)]
pub struct Rows<W> {
    /// What is to be written, and room for more.
    buffer: Vec<u8>,
    /// So much of it is written to.
    filled: usize,
    out: W,
    error: Option<io::Error>,
}

/// Where a cell of the row that is being made begins.
#[derive(Clone, Copy, Debug)]
pub struct Cell(usize);

impl<W: Write> Rows<W> {
    /// Starts a file with its header (without line end).
    pub fn new(out: W, header: &str) -> Rows<W> {
        let mut rows = Rows { buffer: vec![0; PIECE + MORE], filled: 0, out, error: None };
        rows.more_columns(header);
        rows
    }

    /// Adds columns to the header, before the first row.
    pub fn more_columns(&mut self, header: &str) {
        if let Some(end) = self.filled.checked_sub(1) {
            self.buffer[end] = b',';
        }
        self.text(header);
        self.buffer[self.filled - 1] = b'\n';
    }

    /// A whole number.
    pub fn integer(&mut self, value: impl itoa::Integer) {
        self.cell(&integer(value));
    }

    /// A time in seconds, exactly; an empty cell if there is none.
    pub fn time(&mut self, value: impl Into<Option<Nanos>>) {
        self.cell(&value.into().map_or(Short::NONE, |Nanos(nanos)| seconds(nanos)));
    }

    /// A float, as short as it reads back the same; an empty cell if there is none.
    pub fn ratio(&mut self, value: impl Into<Option<f64>>) {
        self.cell(&value.into().map_or(Short::NONE, ratio));
    }

    fn cell(&mut self, text: &Short) {
        let bytes = match text.write_cell(&mut self.buffer[self.filled..]) {
            Some(bytes) => bytes,
            None => {
                self.make_room(0);
                text.write_cell(&mut self.buffer[self.filled..]).unwrap_or(0)
            }
        };
        self.filled += bytes;
    }

    /// Makes room for so many bytes and some cells.
    #[cold]
    fn make_room(&mut self, bytes: usize) {
        self.buffer.resize(self.filled + bytes + MORE, 0);
    }

    /// Where the next cell begins.
    pub fn here(&self) -> Cell {
        Cell(self.filled)
    }

    /// The cells from `from` to `to` of this row once more: copying is cheaper than formatting.
    pub fn again(&mut self, from: Cell, to: Cell) {
        let length = to.0 - from.0;
        if self.buffer.len() - self.filled < length {
            self.make_room(length);
        }
        self.buffer.copy_within(from.0..to.0, self.filled);
        self.filled += length;
    }

    /// Text that needs no quotes, or has them ([`quoted`]).
    pub fn text(&mut self, text: &str) {
        let length = text.len();
        if self.buffer.len() - self.filled <= length {
            self.make_room(length);
        }
        self.buffer[self.filled..self.filled + length].copy_from_slice(text.as_bytes());
        self.buffer[self.filled + length] = b',';
        self.filled += length + 1;
    }

    /// Ends the row that the last fields made.
    pub fn end_row(&mut self) {
        if let Some(last) = self.filled.checked_sub(1) {
            self.buffer[last] = b'\n';
        }
        if self.filled >= PIECE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.error.is_none() {
            self.error = self.out.write_all(&self.buffer[..self.filled]).err();
        }
        self.filled = 0;
    }

    /// Writes what is left; returns the first error there was.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush();
        match self.error {
            Some(error) => Err(error),
            None => self.out.flush().map(|()| self.out),
        }
    }
}

/// A user's text as a field of CSV: no formula ([`cell`]), and in quotes if it needs them.
pub fn quoted(text: &str) -> String {
    let text = cell(text);
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes that many bytes, then the disk is full.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 < bytes.len() {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            self.0 -= bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn fields_make_rows() {
        let mut rows = Rows::new(Vec::new(), "a,b,c,d");
        rows.integer(7_u32);
        rows.time(None);
        rows.ratio(0.5);
        rows.text(&quoted("x, \"y\""));
        rows.end_row();
        let bytes = rows.finish().unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "a,b,c,d\n7,,0.5,\"x, \"\"y\"\"\"\n");
    }

    #[test]
    fn long_texts_and_cells_behind_them_find_room() {
        let mut rows = Rows::new(Vec::new(), "a,b,c,d");
        let long = "x".repeat(PIECE + 2 * MORE - 20);
        for text in [&long, &long[..PIECE + MORE - 8], &long[..PIECE + MORE - 9], "short"] {
            let start = rows.here();
            rows.text(text);
            rows.integer(1_234_567_890_u64);
            rows.again(start, rows.here());
            rows.end_row();
        }
        let text = String::from_utf8(rows.finish().unwrap()).unwrap();
        let lengths: Vec<usize> = text.lines().map(str::len).collect();
        let row = |length: usize| 2 * (length + 1 + 10 + 1) - 1;
        let rows = [long.len(), PIECE + MORE - 8, PIECE + MORE - 9, 5].map(row);
        assert_eq!(lengths, [&[7], &rows[..]].concat());
        assert!(text.ends_with("short,1234567890,short,1234567890\n"));
    }

    #[test]
    fn a_full_disk_is_reported_at_the_end() {
        let mut rows = Rows::new(Full(PIECE + 100), "a");
        for i in 0..200_000_u32 {
            rows.integer(i);
            rows.end_row();
        }
        assert_eq!(rows.finish().err().map(|e| e.kind()), Some(io::ErrorKind::StorageFull));
    }

    #[test]
    fn quoting_is_what_csv_readers_expect() {
        for text in ["plain", "a,b", "say \"no\"", "two\nlines", ""] {
            let line = format!("{},end\n", quoted(text));
            let mut reader =
                csv::ReaderBuilder::new().has_headers(false).from_reader(line.as_bytes());
            assert_eq!(&reader.records().next().unwrap().unwrap()[0], text);
        }
    }
}
