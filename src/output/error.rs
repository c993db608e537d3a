//! What can go wrong while results are written.

use std::io;
use std::path::{Path, PathBuf};

/// A result that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Results or a file are there already.
    #[error("{} exists{why}; choose another name, or replace it with --force", .path.display())]
    Exists {
        /// Where.
        path: PathBuf,
        /// Why they are not simply replaced, behind `exists`; may be empty.
        why: String,
    },
    /// The folder holds what the program did not write: not even force replaces it.
    #[error(
        "{} holds something that vidur-ecs did not write and that would be lost: {}; move it elsewhere, or choose \
         another result folder with --out", .path.display(), listed(.files)
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What is not ours, below the folder.
        files: Vec<PathBuf>,
    },
    /// The folder has no manifest: not even force replaces it.
    #[error(
        "{} exists and has no manifest.json, so vidur-ecs cannot tell which files are its own (older \
         versions wrote no manifest); move or remove it, or choose another result folder with --out", .0.display()
    )]
    NotResults(PathBuf),
    /// What the run reads lies in the folder that it would replace.
    #[error(
        "{} lies in {}, which this run would replace; move it, or choose another result folder with \
         --out", .input.display(), .path.display()
    )]
    InputInside {
        /// The result folder.
        path: PathBuf,
        /// The file that is read.
        input: PathBuf,
    },
    /// The path can be no result folder.
    #[error("{} cannot be a result folder: {why}", .path.display())]
    Unsuitable {
        /// The path.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// A file is to be written where a folder is.
    #[error("{} is a folder; name a file", .0.display())]
    NotAFile(PathBuf),
    /// Another process is writing there.
    #[error(
        "another run is writing {}{}; wait until it has ended, or choose another name with --out", .path.display(),
        .process.as_ref().map_or_else(String::new, |id| format!(" (process {id})"))
    )]
    InUse {
        /// What it writes.
        path: PathBuf,
        /// Its process, if known.
        process: Option<String>,
    },
    /// A hidden file or folder has the name that unfinished results would get.
    #[error("{} is in the way, and vidur-ecs did not write it; move or remove it", .0.display())]
    InTheWay(PathBuf),
    /// The results are complete, but could not be put where they belong.
    #[error("{reason}; the new results are complete, in {}", .kept.display())]
    Kept {
        /// Where they are instead.
        kept: PathBuf,
        /// Why.
        reason: Box<OutputError>,
    },
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

    /// Whether the user can do something about it with other arguments.
    pub fn is_argument(&self) -> bool {
        !matches!(self, OutputError::Io { .. } | OutputError::Kept { .. })
    }
}

/// The first names of a list.
pub(super) fn listed(files: &[PathBuf]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<String> = files.iter().take(SHOWN).map(|f| f.display().to_string()).collect();
    let more = match files.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names.join(", ") + &more
}
