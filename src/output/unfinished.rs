//! What the process has not finished writing, so that it can be removed when a signal ends the
//! process.

use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Threads that go on writing may refill a folder while it is being removed.
const ATTEMPTS: usize = 200;

static UNFINISHED: Mutex<Vec<Unfinished>> = Mutex::new(Vec::new());

/// Something that is written under a hidden name.
#[derive(Clone, Debug)]
pub(super) struct Unfinished {
    /// What it is to be, as the user wrote it.
    pub target: PathBuf,
    /// The hidden file or folder.
    pub partial: PathBuf,
    /// The file with the lock.
    pub lock: PathBuf,
    /// Folders that were created for it, outermost first.
    pub created: Vec<PathBuf>,
}

impl Unfinished {
    /// Removes all of it.
    fn remove(&self) {
        for _ in 0..ATTEMPTS {
            remove_any(&self.partial);
            if fs::symlink_metadata(&self.partial).is_err() {
                break;
            }
        }
        let _ = fs::remove_file(&self.lock);
        remove_empty(&self.created);
    }
}

/// The list, locked. Whoever puts something into place holds it, so that a signal finds it either
/// unfinished or finished.
pub(super) fn list() -> MutexGuard<'static, Vec<Unfinished>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes something off the list.
pub(super) fn forget(list: &mut Vec<Unfinished>, partial: &Path) {
    list.retain(|one| one.partial != partial);
}

/// Removes everything that this process has not finished, and returns what it was to be. Other
/// threads can neither begin nor finish anything from then on: the process must end.
pub fn abandon_all() -> Vec<PathBuf> {
    let mut list = list();
    let targets = list.iter().map(|one| one.target.clone()).collect();
    for one in list.drain(..) {
        one.remove();
    }
    // The lock is never given back.
    mem::forget(list);
    targets
}

/// Removes a file or a whole folder. That it fails shows in that it is still there.
pub(super) fn remove_any(path: &Path) {
    let _ = match fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
}

/// Creates the missing folders of a path and returns them, outermost first.
pub(super) fn create_folders(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let missing = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists());
    let mut created: Vec<PathBuf> = missing.map(Path::to_owned).collect();
    created.reverse();
    match fs::create_dir_all(path) {
        Ok(()) => Ok(created),
        Err(error) => {
            remove_empty(&created);
            Err(error)
        }
    }
}

/// Removes folders that were created for nothing.
pub(super) fn remove_empty(created: &[PathBuf]) {
    for folder in created.iter().rev() {
        // One that holds something now is needed.
        let _ = fs::remove_dir(folder);
    }
}
