//! A stream of CSV rows: built in one reused buffer, written in large pieces.

use std::io::{self, Write};

use super::decimal::{push_integer, push_ratio, push_seconds};
use crate::sim::Nanos;

/// Bytes gathered before they are written.
const PIECE: usize = 256 * 1024;

/// Writes rows of fields. The first I/O error is kept and ends the writing; [`Rows::finish`]
/// returns it.
#[derive(Debug)]
pub struct Rows<W> {
    buffer: Vec<u8>,
    out: W,
    error: Option<io::Error>,
}

/// Where a cell of the row that is being made begins.
#[derive(Clone, Copy, Debug)]
pub struct Cell(usize);

impl<W: Write> Rows<W> {
    /// Starts a file with its header (without line end).
    pub fn new(out: W, header: &str) -> Rows<W> {
        let mut buffer = Vec::with_capacity(PIECE + 4096);
        buffer.extend_from_slice(header.as_bytes());
        buffer.push(b'\n');
        Rows { buffer, out, error: None }
    }

    /// Adds columns to the header, before the first row.
    pub fn more_columns(&mut self, header: &str) {
        self.buffer.pop();
        self.buffer.push(b',');
        self.buffer.extend_from_slice(header.as_bytes());
        self.buffer.push(b'\n');
    }

    /// A whole number.
    pub fn integer(&mut self, value: impl itoa::Integer) {
        push_integer(&mut self.buffer, value);
        self.buffer.push(b',');
    }

    /// A time in seconds, exactly; an empty cell if there is none.
    pub fn time(&mut self, value: impl Into<Option<Nanos>>) {
        if let Some(Nanos(nanos)) = value.into() {
            push_seconds(&mut self.buffer, nanos);
        }
        self.buffer.push(b',');
    }

    /// A float, as short as it reads back the same; an empty cell if there is none.
    pub fn ratio(&mut self, value: impl Into<Option<f64>>) {
        if let Some(value) = value.into() {
            push_ratio(&mut self.buffer, value);
        }
        self.buffer.push(b',');
    }

    /// Where the next cell begins.
    pub fn here(&self) -> Cell {
        Cell(self.buffer.len())
    }

    /// The cells from `from` to `to` of this row once more: copying is cheaper than formatting.
    pub fn again(&mut self, from: Cell, to: Cell) {
        self.buffer.extend_from_within(from.0..to.0);
    }

    /// Text that needs no quotes, or has them ([`quoted`]).
    pub fn text(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(b',');
    }

    /// Ends the row that the last fields made.
    pub fn end_row(&mut self) {
        if let Some(last) = self.buffer.last_mut() {
            *last = b'\n';
        }
        if self.buffer.len() >= PIECE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.error.is_none() {
            self.error = self.out.write_all(&self.buffer).err();
        }
        self.buffer.clear();
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

/// A text field as CSV has it: in quotes if it needs them.
pub fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
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
