//! Single files that are there whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};

use super::claim::{check_length, real_target};
use super::error::OutputError;
use super::exchange::rename_to_new;
use super::lock::Lock;
use super::names::hidden;
use super::unfinished::{self, Unfinished, create_folders, remove_empty};

/// A file that is to be written. It is claimed before the work whose result it holds, so that what
/// can go wrong goes wrong then. Dropped without a commit, it leaves nothing behind.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    /// The target with its links followed.
    real: PathBuf,
    force: bool,
    way: Way,
}

/// How the content comes into the file.
#[derive(Debug)]
enum Way {
    /// Under a hidden name first.
    Renamed { partial: PathBuf, created: Vec<PathBuf>, lock: Lock },
    /// Straight: it is a pipe or a device, such as `/dev/stdout`.
    Straight,
    /// It is there.
    Done,
}

impl NewFile {
    /// Makes sure that `path` can be written; parents are created. A file that is there is only
    /// replaced with `force`.
    ///
    /// # Errors
    /// It is there, is a folder, another process is writing it, or its folder cannot be written.
    pub fn claim(path: &Path, force: bool) -> Result<NewFile, OutputError> {
        // Also `/` and `..`, which have no name.
        if path.is_dir() {
            return Err(OutputError::NotAFile(path.to_owned()));
        }
        let real = real_target(path)?;
        check_length(path, &real)?;
        let new = |way| NewFile { path: path.to_owned(), real: real.clone(), force, way };
        match fs::metadata(&real) {
            Ok(data) if !data.is_file() => return Ok(new(Way::Straight)),
            Ok(_) if !force => return Err(exists(path)),
            _ => {}
        }
        let mut list = unfinished::list();
        let parent = real.parent().unwrap_or(Path::new("."));
        let created = create_folders(parent).map_err(OutputError::io("create", parent))?;
        let partial = hidden(&real, "partial");
        let lock = hidden(&real, "lock");
        let started = Lock::take(&lock, path).and_then(|lock| {
            // Replaces what a killed process has left.
            fs::write(&partial, "").map_err(OutputError::io("write", &partial))?;
            Ok(lock)
        });
        let taken = started.inspect_err(|_| remove_empty(&created))?;
        list.push(Unfinished {
            target: path.to_owned(),
            partial: partial.clone(),
            lock,
            created: created.clone(),
        });
        Ok(new(Way::Renamed { partial, created, lock: taken }))
    }

    /// Writes the content and puts the file in its place.
    ///
    /// # Errors
    /// The operating system refuses, or a file has appeared there meanwhile.
    pub fn commit(mut self, contents: impl AsRef<[u8]>) -> Result<(), OutputError> {
        let failed = || OutputError::io("write", &self.path);
        let Way::Renamed { partial, .. } = &self.way else {
            return fs::write(&self.real, contents).map_err(failed());
        };
        fs::write(partial, contents).map_err(failed())?;
        let mut list = unfinished::list();
        if self.force {
            if let Ok(data) = fs::metadata(&self.real) {
                // Who could read the old file can read the new one. No reason to fail.
                let _ = fs::set_permissions(partial, data.permissions());
            }
            fs::rename(partial, &self.real).map_err(failed())?;
        } else {
            rename_to_new(partial, &self.real).map_err(|error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => exists(&self.path),
                _ => failed()(error),
            })?;
        }
        unfinished::forget(&mut list, partial);
        self.way = Way::Done;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Way::Renamed { partial, created, lock } = std::mem::replace(&mut self.way, Way::Done)
        {
            let mut list = unfinished::list();
            // Nothing can be done about a failure here.
            let _ = fs::remove_file(&partial);
            drop(lock);
            remove_empty(&created);
            unfinished::forget(&mut list, &partial);
        }
    }
}

fn exists(path: &Path) -> OutputError {
    OutputError::Exists { path: path.to_owned(), why: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_file_is_replaced_whole_and_only_by_force() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("new/a.ron");
        NewFile::claim(&path, false).unwrap().commit("one").unwrap();
        let error = NewFile::claim(&path, false).unwrap_err().to_string();
        assert!(error.contains("a.ron exists") && error.contains("--force"), "{error}");
        let file = NewFile::claim(&path, true).unwrap();
        assert!(matches!(NewFile::claim(&path, true), Err(OutputError::InUse { .. })));
        assert_eq!(read(&path), "one");
        file.commit("two").unwrap();
        assert_eq!(read(&path), "two");
        assert_eq!(fs::read_dir(room.path().join("new")).unwrap().count(), 1);
    }

    #[test]
    fn nothing_is_left_of_a_file_that_was_not_written() {
        let room = tempfile::tempdir().unwrap();
        drop(NewFile::claim(&room.path().join("new/deep/a.ron"), false).unwrap());
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0);
        let path = room.path().join("a.ron");
        let file = NewFile::claim(&path, false).unwrap();
        fs::write(&path, "another's").unwrap();
        assert!(matches!(file.commit("mine"), Err(OutputError::Exists { .. })));
        assert_eq!(read(&path), "another's");
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 1);
        assert!(matches!(NewFile::claim(room.path(), true), Err(OutputError::NotAFile(_))));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_stay_what_they_are() {
        let room = tempfile::tempdir().unwrap();
        let (link, real) = (room.path().join("link"), room.path().join("real"));
        std::os::unix::fs::symlink("real", &link).unwrap();
        NewFile::claim(&link, false).unwrap().commit("one").unwrap();
        assert_eq!(read(&real), "one");
        NewFile::claim(&link, true).unwrap().commit("two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink() && read(&real) == "two");
        NewFile::claim(Path::new("/dev/null"), false).unwrap().commit("gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
