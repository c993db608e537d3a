//! What can go wrong while results are written.

use std::io;
use std::path::{Path, PathBuf};

/// A result that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The result folder is there already and holds something.
    #[error("{} exists and is not empty; choose another with --out, or replace it with --force", .0.display())]
    Exists(PathBuf),
    /// The result folder is there, and is not a result folder: not even force replaces it.
    #[error("{} exists and does not look like a result folder (no summary.json or run.log in it); it is not replaced", .0.display())]
    NotResults(PathBuf),
    /// The path names no folder of its own, such as `/` or `..`.
    #[error("{} cannot be a result folder: name one, such as results/run1", .0.display())]
    NoName(PathBuf),
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried: `write`, `create`, `rename`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

impl OutputError {
    /// For `map_err`: what was tried, on what.
    pub(super) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> OutputError + use<> {
        let path = path.to_owned();
        move |source| OutputError::Io { action, path, source }
    }
}
