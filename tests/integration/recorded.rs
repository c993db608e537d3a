//! Recorded data that does not travel with the repository. Unit tests include this file too.

use std::io::Write;
use std::path::{Path, PathBuf};

/// A file or folder below `../shared`. Where it is absent, one line says which test is skipped,
/// past the test harness, which would show it only if the test failed.
pub fn shared(path: &str) -> Option<PathBuf> {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path);
    if found.exists() {
        return Some(found);
    }
    skip(&format!("../shared/{path}"));
    None
}

/// Says in one visible line that the running test is skipped for lack of something.
pub fn skip(lacking: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Who closed standard error does not want to know.
    let _ = writeln!(std::io::stderr().lock(), "skipped: {test} needs {lacking}");
}
