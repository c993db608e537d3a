//! Hidden names of what is not finished.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Names of targets may have so many bytes: file systems allow 255, and hidden names are longer.
pub(super) const MAX_TARGET_BYTES: usize = 235;

/// A hidden name beside `target`.
pub(super) fn hidden(target: &Path, kind: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".vidur-{kind}"));
    target.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names_lie_beside_and_are_short_enough() {
        assert_eq!(hidden(Path::new("a/b"), "lock"), Path::new("a/.b.vidur-lock"));
        let long = "x".repeat(MAX_TARGET_BYTES);
        for kind in ["lock", "partial", "old"] {
            let name = hidden(Path::new(&long), kind);
            assert!(name.as_os_str().len() <= 255, "{kind}");
        }
    }
}
