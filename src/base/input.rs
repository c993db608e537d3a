//! Reading of whole files, never more than memory should hold.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::memory;

/// The most of a text that is read as a whole: scenarios, models, profiles, cases.
pub const MOST_BYTES: u64 = 64 << 20;

/// The most of a long one.
pub const MOST_OF_LONG: u64 = 512 << 20;

/// All bytes of a file that is no longer than [`MOST_BYTES`], be it a pipe or a device.
///
/// # Errors
/// It cannot be read, or has more.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_most(File::open(path)?, MOST_BYTES)
}

/// Reads a whole file as text.
///
/// # Errors
/// As [`read`]; or it is no UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    text(read(path)?)
}

/// Reads as text a file that may have [`MOST_OF_LONG`] bytes: what others measured, request by
/// request.
///
/// # Errors
/// As [`read_to_string`].
#[cfg(feature = "cli")]
pub fn read_long(path: &Path) -> io::Result<String> {
    text(read_most(File::open(path)?, MOST_OF_LONG)?)
}

/// Opens a file of rows that are read one by one and kept: measurements. It may have
/// [`MOST_OF_LONG`] bytes, and reading ends with an error when memory runs short.
///
/// # Errors
/// It cannot be opened.
pub fn open_rows(path: &Path) -> io::Result<Rows<File>> {
    Ok(Rows::at_most(File::open(path)?, MOST_OF_LONG))
}

/// Bytes of rows between two looks at the memory.
const LOOK_EVERY: u64 = 1 << 20;

/// A reader that ends with an error where it should hold no more.
#[derive(Debug)]
pub struct Rows<R> {
    from: R,
    /// Bytes that it may still read.
    left: u64,
    /// Bytes that it has read since it looked at the memory.
    looked: u64,
}

impl<R> Rows<R> {
    /// Rows of no more than `most` bytes.
    pub fn at_most(from: R, most: u64) -> Rows<R> {
        Rows { from, left: most, looked: 0 }
    }
}

impl<R: Read> Read for Rows<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| too_long(MOST_OF_LONG))?;
        self.looked += count as u64;
        if self.looked >= LOOK_EVERY {
            self.looked = 0;
            memory::check().map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
        }
        Ok(count)
    }
}

fn too_long(most: u64) -> io::Error {
    let mib = most >> 20;
    let error = format!("it has more than {mib} MiB, the most that is read of such a file");
    io::Error::new(io::ErrorKind::FileTooLarge, error)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8 text"))
}

/// All bytes, if they are no more than `most`.
///
/// # Errors
/// They cannot be read, or there are more.
pub fn read_most(from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(too_long(most));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_input_is_refused() {
        let error = read_most(io::repeat(0), 1 << 20).unwrap_err().to_string();
        assert!(error.contains("more than 1 MiB"), "{error}");
        assert_eq!(read_most(&b"abc"[..], 3).unwrap(), b"abc");
        #[cfg(unix)]
        assert!(read(Path::new("/dev/zero")).is_err());
        let mut rows = Rows::at_most(io::repeat(0), 3 << 20);
        let error = io::copy(&mut rows, &mut io::sink()).unwrap_err().to_string();
        assert!(error.contains("more than 512 MiB"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, b"a\xff").unwrap();
        assert_eq!(read_to_string(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
