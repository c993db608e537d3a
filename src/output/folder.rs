//! Result folders that are there whole or not at all.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::base::paths::file_name;

use super::claim::{Claim, Replace, real_target};
use super::error::OutputError;
use super::exchange::{Placed, move_beside, put_in_place, recover};
use super::lock::Lock;
use super::manifest::{Manifest, Origin, State};
use super::names::hidden;
use super::unfinished::{self, Unfinished, create_folders, remove_any, remove_empty};

/// A folder that is being filled.
#[derive(Clone, Debug)]
pub struct OpenFolder {
    path: PathBuf,
    target: PathBuf,
}

impl OpenFolder {
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
    pub fn subfolder(&self, name: &str) -> Result<OpenFolder, OutputError> {
        let name = file_name(name);
        let path = self.path.join(&name);
        // Not with its parents: when a signal has removed the results they are not to come back.
        match fs::create_dir(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(OutputError::io("create", &path)(error))
            }
            _ => Ok(OpenFolder { path, target: self.target.join(name) }),
        }
    }
}

/// A folder that is filled under a hidden name beside its target and put in its place by
/// [`ResultFolder::commit`]. Dropped without, it leaves nothing behind.
#[derive(Debug)]
pub struct ResultFolder {
    place: OpenFolder,
    claim: Claim,
    /// The target, links followed.
    real: PathBuf,
    origin: Origin,
    created: Vec<PathBuf>,
    notes: Vec<String>,
    /// Until it is committed.
    lock: Option<Lock>,
}

/// Results that are in their place.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Where.
    pub target: PathBuf,
    /// What the user should know, a sentence each.
    pub notes: Vec<String>,
}

impl ResultFolder {
    /// Starts a folder that will be `target` and comes from no scenario. What is there already is
    /// an error, unless `force` is given and the program wrote it: then it is replaced, but only at
    /// the commit.
    ///
    /// # Errors
    /// As [`ResultFolder::claim`].
    pub fn create(target: &Path, force: bool) -> Result<ResultFolder, OutputError> {
        let replace = Replace::of(force, true);
        ResultFolder::claim(Claim { target: target.to_owned(), replace, ..Claim::default() })
    }

    /// Starts a folder; its parents are created. Links are followed, and what a killed run has left
    /// in this place is mended first.
    ///
    /// # Errors
    /// Everything that is known to fail at the commit: the target can be no result folder, may not
    /// be replaced, or somebody else writes there.
    pub fn claim(claim: Claim) -> Result<ResultFolder, OutputError> {
        let real = real_target(&claim.target)?;
        claim.check_place(&real)?;
        let mut list = unfinished::list();
        let parent = real.parent().unwrap_or(Path::new("."));
        let created = create_folders(parent).map_err(OutputError::io("create", parent))?;
        let started = start(&claim, &real);
        let (lock, notes, path) = started.inspect_err(|_| remove_empty(&created))?;
        list.push(Unfinished {
            target: claim.target.clone(),
            partial: path.clone(),
            lock: hidden(&real, "lock"),
            created: created.clone(),
        });
        let place = OpenFolder { path, target: claim.target.clone() };
        let origin = claim.origin(&real);
        Ok(ResultFolder { place, claim, real, origin, created, notes, lock: Some(lock) })
    }

    /// What was mended in this place, a sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Lists the files in the manifest and puts the folder in its place. At every moment the old or
    /// the new one is there, and whole.
    ///
    /// # Errors
    /// A file cannot be written. If the folder cannot be put in its place it is not lost: it is
    /// kept beside ([`OutputError::Kept`]).
    pub fn commit(mut self) -> Result<Committed, OutputError> {
        let manifest = Manifest::new(self.origin.clone(), State::Writing);
        let manifest = manifest.list(&self.place.path)?;
        // No signal comes in between from here on.
        let mut list = unfinished::list();
        manifest.write(&self.place.path)?;
        let placed = self
            .claim
            .check_contents(&self.real, false)
            .and_then(|()| put_in_place(&self.place.path, &self.real));
        unfinished::forget(&mut list, &self.place.path);
        let _lock = self.lock.take();
        match placed {
            Ok(placed) => {
                let notes = match placed {
                    Placed::Clean => Vec::new(),
                    Placed::Remains(path) => vec![format!(
                        "what could not be removed from the old results is in {}",
                        path.display()
                    )],
                };
                Ok(Committed { target: self.claim.target.clone(), notes })
            }
            Err(reason) => {
                let kept = move_beside(&self.place.path, &self.real, "new");
                let kept = kept.unwrap_or_else(|_| self.place.path.clone());
                Err(OutputError::Kept { kept, reason: Box::new(reason) })
            }
        }
    }
}

/// What is done while the lock is held: the lock, what was mended, and the folder to fill.
fn start(claim: &Claim, real: &Path) -> Result<(Lock, Vec<String>, PathBuf), OutputError> {
    let lock = Lock::take(&hidden(real, "lock"), &claim.target)?;
    let notes = recover(real)?;
    claim.check_contents(real, true)?;
    let path = hidden(real, "partial");
    fs::create_dir(&path).map_err(OutputError::io("create", &path))?;
    let manifest = Manifest::new(claim.origin(real), State::Writing);
    manifest.write(&path).inspect_err(|_| remove_any(&path))?;
    Ok((lock, notes, path))
}

impl Deref for ResultFolder {
    type Target = OpenFolder;

    fn deref(&self) -> &OpenFolder {
        &self.place
    }
}

impl Drop for ResultFolder {
    fn drop(&mut self) {
        if self.lock.is_none() {
            return;
        }
        let mut list = unfinished::list();
        // Nothing can be done about a failure here; the next run in this place tries again.
        remove_any(&self.place.path);
        self.lock = None;
        remove_empty(&self.created);
        unfinished::forget(&mut list, &self.place.path);
    }
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
        assert_eq!(folder.commit().unwrap().target, target);
        assert_eq!(names(&target), ["manifest.json", "summary.json"]);
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
        folder.write("summary.json", "new").unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(target.join("letter.txt"), "dear").unwrap();
        let error = folder.commit().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("the new results are complete, in"), "{text}");
        let OutputError::Kept { kept, .. } = error else { panic!("{error}") };
        assert_eq!(fs::read_to_string(target.join("letter.txt")).unwrap(), "dear");
        assert_eq!(fs::read_to_string(kept.join("summary.json")).unwrap(), "new");
        assert_eq!(names(root.path()), ["run", "run.new"]);
    }

    #[test]
    fn two_do_not_write_in_one_place() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("run");
        let first = ResultFolder::create(&target, true).unwrap();
        let second = ResultFolder::create(&target, true);
        assert!(matches!(second, Err(OutputError::InUse { .. })));
        first.commit().unwrap();
        ResultFolder::create(&target, true).unwrap().commit().unwrap();
        assert_eq!(names(root.path()), ["run"]);
    }

    #[test]
    fn what_the_program_did_not_write_is_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("run");
        committed(&target, "old");
        fs::create_dir(target.join("src")).unwrap();
        fs::write(target.join("src/main.c"), "mine").unwrap();
        fs::write(target.join("summary.json"), "old, with my notes").unwrap();
        let error = ResultFolder::create(&target, true).unwrap_err().to_string();
        assert!(error.contains("src/main.c") && !error.contains("summary"), "{error}");
        fs::remove_dir_all(target.join("src")).unwrap();
        ResultFolder::create(&target, true).unwrap().commit().unwrap();
        assert_eq!(names(&target), ["manifest.json"]);
    }

    /// A claim of the results of a scenario, without `--out`.
    fn same(target: &Path, file: &Path, settings: &[&str]) -> Claim {
        Claim {
            target: target.to_owned(),
            replace: Replace::Same,
            command: "run",
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            scenario: ("s".to_owned(), file.to_owned(), String::new()),
            inputs: Vec::new(),
        }
    }

    #[test]
    fn results_of_the_same_scenario_are_replaced_if_unchanged() {
        let root = tempfile::tempdir().unwrap();
        let (target, file) = (root.path().join("run"), root.path().join("s.ron"));
        let again = |file: &Path, settings: &[&str]| {
            let folder = ResultFolder::claim(same(&target, file, settings))?;
            folder.write("summary.json", "{}")?;
            folder.commit()
        };
        again(&file, &[]).unwrap();
        again(&file, &[]).unwrap();
        let error = |file: &Path, settings: &[&str]| again(file, settings).unwrap_err().to_string();
        let other = error(&root.path().join("b/s.ron"), &[]);
        assert!(other.contains("another scenario (../s.ron)"), "{other}");
        let other = error(&file, &["seeds=2"]);
        assert!(other.contains("there: none, now: seeds=2"), "{other}");
        fs::write(target.join("summary.json"), "[]").unwrap();
        let other = error(&file, &[]);
        assert!(other.contains("was changed since it was written (summary.json)"), "{other}");
        // What is gone cannot be lost.
        fs::remove_file(target.join("summary.json")).unwrap();
        again(&file, &[]).unwrap();
        assert_eq!(names(root.path()), ["run"]);
    }

    #[test]
    fn what_a_run_reads_is_not_replaced_by_it() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("run");
        committed(&target, "old");
        let claim = Claim { replace: Replace::Always, ..same(&target, Path::new(""), &[]) };
        let claim = Claim { inputs: vec![target.join("summary.json")], ..claim };
        let error = ResultFolder::claim(claim).unwrap_err();
        assert!(matches!(error, OutputError::InputInside { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("real")).unwrap();
        symlink("real", root.path().join("link")).unwrap();
        symlink("far/new", root.path().join("dangling")).unwrap();
        for (link, real) in [("link", "real"), ("dangling", "far/new")] {
            committed(&root.path().join(link), link);
            let read = fs::read_to_string(root.path().join(real).join("summary.json"));
            assert_eq!(read.unwrap(), link);
            assert!(fs::symlink_metadata(root.path().join(link)).unwrap().is_symlink());
        }
        symlink("round", root.path().join("round")).unwrap();
        assert!(ResultFolder::create(&root.path().join("round"), true).is_err());
        assert_eq!(names(root.path()), ["dangling", "far", "link", "real", "round"]);
    }

    #[test]
    fn odd_targets_are_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        assert!(ResultFolder::create(&root.path().join("file"), true).is_err());
        let long = root.path().join("x".repeat(250));
        for target in [Path::new("/"), Path::new(".."), Path::new("."), Path::new("/proc"), &long] {
            let error = ResultFolder::create(target, true).unwrap_err();
            assert!(matches!(error, OutputError::Unsuitable { .. }), "{error}");
        }
        assert_eq!(names(root.path()), ["file"]);
    }

    #[test]
    fn an_empty_target_is_filled() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("run");
        fs::create_dir(&target).unwrap();
        committed(&target, "new");
        assert_eq!(names(root.path()), ["run"]);
    }
}
