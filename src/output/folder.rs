//! Result folders that are there whole or not at all.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process;

use super::error::OutputError;
use crate::base::paths::file_name;

/// Files of which one tells a result folder from any other.
const MARKS: [&str; 3] = ["summary.json", "run.log", "runs.csv"];

/// A folder that is being filled.
#[derive(Clone, Debug)]
pub struct Place {
    path: PathBuf,
    target: PathBuf,
}

impl Place {
    /// Where to write until the commit.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the results will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Writes a whole file of that name.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<(), OutputError> {
        let path = self.path.join(name);
        fs::write(&path, contents).map_err(OutputError::io("write", &path))
    }

    /// Creates a folder inside, for a variant or a run. What a file name should not hold becomes
    /// `_`.
    pub fn subfolder(&self, name: &str) -> Result<Place, OutputError> {
        let name = file_name(name);
        let path = self.path.join(&name);
        fs::create_dir_all(&path).map_err(OutputError::io("create", &path))?;
        Ok(Place { path, target: self.target.join(name) })
    }
}

/// A folder that is filled under a temporary name beside its target and renamed by
/// [`ResultFolder::commit`]. Dropped without, it leaves nothing behind.
#[derive(Debug)]
pub struct ResultFolder {
    place: Place,
    force: bool,
    committed: bool,
}

impl ResultFolder {
    /// Starts a folder that will be `target`; parents are created. A target that holds something is
    /// an error, unless `force` is given and it is a result folder: then it is replaced, but only at
    /// the commit.
    pub fn create(target: &Path, force: bool) -> Result<ResultFolder, OutputError> {
        let (Some(parent), Some(_)) = (target.parent(), target.file_name()) else {
            return Err(OutputError::NoName(target.to_owned()));
        };
        check_target(target, force)?;
        if !parent.as_os_str().is_empty() {
            fs::create_dir_all(parent).map_err(OutputError::io("create", parent))?;
        }
        let partial = create_beside(target, "partial")?;
        let place = Place { path: partial, target: target.to_owned() };
        Ok(ResultFolder { place, force, committed: false })
    }

    /// Moves the folder into place. An old one is moved aside first and deleted last, so that at
    /// every moment one of the two is whole.
    pub fn commit(mut self) -> Result<PathBuf, OutputError> {
        check_target(&self.place.target, self.force)?;
        let old = match fs::symlink_metadata(&self.place.target) {
            Ok(_) => Some(self.move_aside()?),
            Err(_) => None,
        };
        if let Err(source) = fs::rename(&self.place.path, &self.place.target) {
            if let Some(old) = &old {
                // Best effort: the error below is what matters.
                let _ = fs::rename(old, &self.place.target);
            }
            return Err(OutputError::io("create", &self.place.target)(source));
        }
        self.committed = true;
        if let Some(old) = old {
            fs::remove_dir_all(&old).map_err(OutputError::io("remove", &old))?;
        }
        Ok(self.place.target.clone())
    }

    fn move_aside(&self) -> Result<PathBuf, OutputError> {
        let old = create_beside(&self.place.target, "old")?;
        // Renaming a folder onto an empty one replaces it.
        if let Err(source) = fs::rename(&self.place.target, &old) {
            let _ = fs::remove_dir(&old);
            return Err(OutputError::io("move", &self.place.target)(source));
        }
        Ok(old)
    }
}

impl Deref for ResultFolder {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Drop for ResultFolder {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing can be done about a failure here; the name says what the folder is.
            let _ = fs::remove_dir_all(&self.place.path);
        }
    }
}

/// Writes a file that is there whole or not at all, and replaces an old one.
pub fn write_file(path: &Path, contents: &str) -> Result<(), OutputError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(OutputError::io("create", parent))?;
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", process::id()));
    let partial = PathBuf::from(partial);
    fs::write(&partial, contents).and_then(|()| fs::rename(&partial, path)).map_err(|source| {
        let _ = fs::remove_file(&partial);
        OutputError::io("write", path)(source)
    })
}

fn check_target(target: &Path, force: bool) -> Result<(), OutputError> {
    let mut entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(OutputError::io("use", target)(error)),
    };
    if entries.next().is_none() {
        return Ok(());
    }
    match force {
        false => Err(OutputError::Exists(target.to_owned())),
        true if MARKS.iter().any(|mark| target.join(mark).is_file()) => Ok(()),
        true => Err(OutputError::NotResults(target.to_owned())),
    }
}

/// Creates `.<name>.<kind>-<pid>` beside `target`, with a number behind if that is taken.
fn create_beside(target: &Path, kind: &str) -> Result<PathBuf, OutputError> {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{kind}-{}", process::id()));
    let mut path = target.with_file_name(&name);
    for attempt in 2.. {
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => {
                let mut numbered = name.clone();
                numbered.push(format!("-{attempt}"));
                path = target.with_file_name(numbered);
            }
            result => {
                result.map_err(OutputError::io("create", &path))?;
                break;
            }
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn committed(target: &Path, content: &str) {
        let folder = ResultFolder::create(target, false).unwrap();
        folder.write("summary.json", content).unwrap();
        folder.commit().unwrap();
    }

    #[test]
    fn appears_at_the_commit() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("results/run");
        let folder = ResultFolder::create(&target, false).unwrap();
        folder.write("summary.json", "{}").unwrap();
        assert!(!target.exists());
        assert_eq!(folder.commit().unwrap(), target);
        assert_eq!(names(&target), ["summary.json"]);
        assert_eq!(names(&root.path().join("results")), ["run"]);
    }

    #[test]
    fn an_abort_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = ResultFolder::create(&root.path().join("run"), false).unwrap();
        folder.write("summary.json", "{}").unwrap();
        folder.subfolder("a/b").unwrap();
        drop(folder);
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn an_existing_one_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("run");
        committed(&target, "old");
        let error = ResultFolder::create(&target, false).unwrap_err().to_string();
        assert!(error.contains("run exists") && error.contains("--force"), "{error}");
        assert_eq!(names(root.path()), ["run"]);
    }

    #[test]
    fn force_replaces_only_at_the_commit() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("run");
        committed(&target, "old");
        let read = || fs::read_to_string(target.join("summary.json")).unwrap();

        let aborted = ResultFolder::create(&target, true).unwrap();
        aborted.write("summary.json", "new").unwrap();
        drop(aborted);
        assert_eq!(read(), "old");

        let folder = ResultFolder::create(&target, true).unwrap();
        folder.write("summary.json", "new").unwrap();
        folder.commit().unwrap();
        assert_eq!(read(), "new");
        assert_eq!(names(root.path()), ["run"]);
    }

    #[test]
    fn force_does_not_replace_what_is_no_result() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("home");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("letter.txt"), "dear").unwrap();
        let error = ResultFolder::create(&target, true).unwrap_err();
        assert!(matches!(error, OutputError::NotResults(_)), "{error}");
    }

    #[test]
    fn one_that_appears_meanwhile_is_not_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("run");
        let folder = ResultFolder::create(&target, false).unwrap();
        committed(&target, "other");
        assert!(matches!(folder.commit(), Err(OutputError::Exists(_))));
        assert_eq!(fs::read_to_string(target.join("summary.json")).unwrap(), "other");
        assert_eq!(names(root.path()), ["run"]);
    }

    #[test]
    fn odd_targets_are_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        assert!(ResultFolder::create(&root.path().join("file"), true).is_err());
        assert!(matches!(ResultFolder::create(Path::new("/"), false), Err(OutputError::NoName(_))));
        assert!(matches!(
            ResultFolder::create(Path::new(".."), false),
            Err(OutputError::NoName(_))
        ));
    }

    #[test]
    fn an_empty_target_is_filled() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("run");
        fs::create_dir(&target).unwrap();
        committed(&target, "new");
        assert_eq!(names(root.path()), ["run"]);
    }

    #[test]
    fn names_of_variants_stay_inside() {
        assert_eq!(file_name("../../x"), "_._.._x");
        assert_eq!(file_name("qps 4.0"), "qps_4.0");
        assert_eq!(file_name(""), "_");
    }
}
