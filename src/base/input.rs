//! Reading of whole files, never more than memory should hold.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

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

/// Reads as text a file that may have [`MOST_OF_LONG`] bytes: what others measured, request by request.
///
/// # Errors
/// As [`read_to_string`].
pub fn read_long(path: &Path) -> io::Result<String> {
    text(read_most(File::open(path)?, MOST_OF_LONG)?)
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
        let mib = most >> 20;
        let error = format!("it has more than {mib} MiB, the most that is read of such a file");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
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
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, b"a\xff").unwrap();
        assert_eq!(read_to_string(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
