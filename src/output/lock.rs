//! A lock on a place where results will be, so that two runs do not write there at once.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process;

use super::error::OutputError;

/// Another process may remove its lock between our opening and locking the file.
const ATTEMPTS: usize = 1000;

/// A locked hidden file beside what is written. The operating system frees the lock when the
/// process ends, however it ends; dropping it also removes the file.
#[derive(Debug)]
pub(super) struct Lock {
    // Held for its lock.
    _file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock at `path`, which protects `target`.
    pub(super) fn take(path: &Path, target: &Path) -> Result<Lock, OutputError> {
        let parent = path.parent().unwrap_or(path);
        let failed = |source| OutputError::io("write in", parent)(source);
        for _ in 0..ATTEMPTS {
            let (mut file, is_new) = match options().create_new(true).open(path) {
                Ok(file) => (file, true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    match options().open(path) {
                        Ok(file) => (file, false),
                        // Its owner has just removed it.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        Err(error) => return Err(failed(error)),
                    }
                }
                Err(error) => return Err(failed(error)),
            };
            match file.try_lock() {
                Ok(()) if !is_at(&file, path) => continue,
                Ok(()) => {}
                // A file system without locks: who created the file has it.
                Err(TryLockError::Error(_)) if is_new => {}
                Err(_) => return Err(in_use(&mut file, target)),
            }
            // Only a message depends on this.
            let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", process::id()));
            return Ok(Lock { _file: file, path: path.to_owned() });
        }
        Err(OutputError::InUse { path: target.to_owned(), process: None })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked: nobody else can take the file for theirs.
        let _ = fs::remove_file(&self.path);
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A link that somebody else has put there is not followed.
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32);
    }
    options
}

fn in_use(file: &mut File, target: &Path) -> OutputError {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let process = text.trim();
    let process = process.parse::<u32>().is_ok().then(|| process.to_owned());
    OutputError::InUse { path: target.to_owned(), process }
}

/// Whether the open file is still the one at this path.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// An open file cannot be removed there.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let room = tempfile::tempdir().unwrap();
        let (path, target) = (room.path().join(".x.lock"), room.path().join("x"));
        let first = Lock::take(&path, &target).unwrap();
        let error = Lock::take(&path, &target).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", process::id())), "{error}");
        drop(first);
        assert!(!path.exists());
        // What a killed process leaves is a file without a lock.
        fs::write(&path, "999999\n").unwrap();
        drop(Lock::take(&path, &target).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn of_many_threads_each_has_it_alone() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let room = tempfile::tempdir().unwrap();
        let (path, target) = (room.path().join(".x.lock"), room.path().join("x"));
        let (inside, times) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(_lock) = Lock::take(&path, &target) else { continue };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        times.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(times.into_inner() > 0);
        assert!(!path.exists());
    }
}
