//! Putting a finished folder in the place of an old one, and mending what a killed run has left
//! there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::OutputError;
use super::manifest::{MANIFEST, Manifest, State, files_in};
use super::names::hidden;

/// How a folder came to its place.
pub(super) enum Placed {
    /// Nothing is left beside it.
    Clean,
    /// What the old folder held and the program did not write, or could not remove, is here.
    Remains(PathBuf),
}

/// Makes `new` the folder at `target`. An old one is exchanged for it at one moment where the file
/// system can do that; its listed files are removed then.
pub(super) fn put_in_place(new: &Path, target: &Path) -> Result<Placed, OutputError> {
    let failed = || OutputError::io("replace", target);
    if fs::symlink_metadata(target).is_err() {
        match rename_to_new(new, target) {
            Err(error) if is_taken(&error) => {}
            done => return done.map(|()| Placed::Clean).map_err(OutputError::io("create", target)),
        }
    }
    if let Ok(data) = fs::metadata(target) {
        // Whom the old folder was open to, the new one is. No reason to fail.
        let _ = fs::set_permissions(new, data.permissions());
    }
    match exchange(new, target) {
        Ok(()) => Ok(remove_old(new, target)),
        Err(error) if is_unsupported(&error) => replace_in_two(new, target),
        Err(error) => Err(failed()(error)),
    }
}

/// Without an exchange there is a moment at which nothing is at `target`. A run that is killed then
/// leaves both folders, and [`recover`] finds them.
fn replace_in_two(new: &Path, target: &Path) -> Result<Placed, OutputError> {
    let failed = |source| OutputError::io("replace", target)(source);
    let old = hidden(target, "old");
    fs::rename(target, &old).map_err(failed)?;
    if let Err(error) = fs::rename(new, target) {
        let _ = fs::rename(&old, target);
        return Err(failed(error));
    }
    Ok(remove_old(&old, target))
}

/// Mends what a run that was killed has left at `target`, whose lock is held. Returns what was
/// done, a sentence each.
pub(super) fn recover(target: &Path) -> Result<Vec<String>, OutputError> {
    let mut done = Vec::new();
    let (new, old) = (hidden(target, "partial"), hidden(target, "old"));
    let is_there = |path: &Path| fs::symlink_metadata(path).is_ok();
    let is_complete =
        |path: &Path| Manifest::read(path).is_some_and(|found| found.state == State::Complete);
    if is_there(&old) {
        if is_there(target) {
            done.extend(remains(remove_old(&old, target)));
        } else {
            let better = if is_complete(&new) { &new } else { &old };
            fs::rename(better, target).map_err(OutputError::io("restore", target))?;
            done.push(format!("restored {}, which a killed run was replacing", target.display()));
            if is_there(&old) {
                done.extend(remains(remove_old(&old, target)));
            }
        }
    }
    if !is_there(&new) {
        return Ok(done);
    }
    if is_complete(&new) {
        // Either new results that did not come into place, or old ones that were being removed.
        done.extend(remains(remove_old(&new, target)));
    } else {
        remove_unfinished(&new)?;
    }
    done.push(format!("removed the remains of a killed run beside {}", target.display()));
    Ok(done)
}

fn remains(placed: Placed) -> Option<String> {
    match placed {
        Placed::Clean => None,
        Placed::Remains(path) => Some(format!(
            "{} holds files of the old results that vidur-ecs did not write",
            path.display()
        )),
    }
}

/// Removes a folder that was never finished. A killed run may have left it without its manifest.
fn remove_unfinished(folder: &Path) -> Result<(), OutputError> {
    let is_ours = match files_in(folder) {
        Ok(files) => {
            files.iter().all(|file| file.to_string_lossy().contains(MANIFEST))
                || Manifest::read(folder).is_some()
        }
        Err(_) => false,
    };
    if !is_ours {
        return Err(OutputError::InTheWay(folder.to_owned()));
    }
    // The manifest goes last: as long as it is there, the folder is known to be ours.
    let failed = OutputError::io("remove", folder);
    let remove = || {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false if entry.file_name() == MANIFEST => {}
                false => fs::remove_file(entry.path())?,
            }
        }
        remove_if_there(&folder.join(MANIFEST))?;
        fs::remove_dir(folder)
    };
    remove().map_err(failed)
}

/// Removes an old result folder, but only what its manifest lists. The rest gets a visible name.
fn remove_old(folder: &Path, target: &Path) -> Placed {
    let _ = match Manifest::read(folder) {
        Some(manifest) => remove_listed(folder, &manifest),
        None => fs::remove_dir(folder),
    };
    if fs::symlink_metadata(folder).is_err() {
        return Placed::Clean;
    }
    match move_beside(folder, target, "old") {
        Ok(path) => Placed::Remains(path),
        Err(_) => Placed::Remains(folder.to_owned()),
    }
}

/// Removes the files that a manifest lists, the folders that are empty then, and the manifest last.
fn remove_listed(folder: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for entry in &manifest.files {
        remove_if_there(&folder.join(&entry.name))?;
        let parents = Path::new(&entry.name).ancestors().skip(1);
        folders.extend(parents.filter(|p| !p.as_os_str().is_empty()).map(Path::to_owned));
    }
    for inner in &manifest.folders {
        let inner = folder.join(inner);
        if let Some(own) = Manifest::read(&inner) {
            remove_listed(&inner, &own)?;
        }
    }
    folders.sort();
    folders.dedup();
    for inner in folders.iter().rev() {
        // One that is not empty holds what is not ours.
        let _ = fs::remove_dir(folder.join(inner));
    }
    if fs::read_dir(folder)?.count() == 1 {
        remove_if_there(&folder.join(MANIFEST))?;
        fs::remove_dir(folder)?;
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Gives `folder` a free name beside `target`: `<target>.<kind>`, or with a number behind it.
pub(super) fn move_beside(folder: &Path, target: &Path, kind: &str) -> io::Result<PathBuf> {
    let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
    for number in 1..1000 {
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{kind}"));
        if number > 1 {
            name.push(format!("-{number}"));
        }
        let path = target.with_file_name(name);
        match rename_to_new(folder, &path) {
            Ok(()) => return Ok(path),
            Err(error) if is_taken(&error) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists
            | io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
    )
}

/// Renames where nothing is yet.
pub(super) fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match rename_with(from, to, Rename::ToNew) {
        // As much as such a file system can do.
        Err(error) if is_unsupported(&error) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        done => done,
    }
}

/// Exchanges two names at one moment.
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    rename_with(one, other, Rename::Exchange)
}

#[derive(Clone, Copy)]
enum Rename {
    ToNew,
    Exchange,
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_with(from: &Path, to: &Path, how: Rename) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let flags = match how {
        Rename::ToNew => RenameFlags::NOREPLACE,
        Rename::Exchange => RenameFlags::EXCHANGE,
    };
    renameat_with(CWD, from, CWD, to, flags).map_err(io::Error::from)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_with(_: &Path, _: &Path, _: Rename) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether the system or the file system knows no such renaming.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::manifest::Origin;

    /// A result folder whose file says `text`.
    fn results(path: &Path, text: &str, state: State) {
        fs::create_dir_all(path.join("v")).unwrap();
        fs::write(path.join("v/x.csv"), text).unwrap();
        let manifest = Manifest::new(Origin::default(), State::Writing);
        let manifest = match state {
            State::Complete => manifest.list(path).unwrap(),
            State::Writing => manifest,
        };
        manifest.write(path).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// What is found at the target after a run was killed with these folders there, and what else.
    fn recovered(folders: &[(&str, &str, State)]) -> (Option<String>, Vec<String>) {
        let room = tempfile::tempdir().unwrap();
        let target = room.path().join("t");
        for (kind, text, state) in folders {
            let path = if kind.is_empty() { target.clone() } else { hidden(&target, kind) };
            results(&path, text, *state);
        }
        recover(&target).unwrap();
        (fs::read_to_string(target.join("v/x.csv")).ok(), names(room.path()))
    }

    #[test]
    fn wherever_a_run_is_killed_one_result_is_found() {
        use State::{Complete, Writing};
        let whole = |text: &str| (Some(text.to_owned()), vec!["t".to_owned()]);
        let none = (None, vec![]);
        assert_eq!(recovered(&[("partial", "new", Writing)]), none);
        let old = ("", "old", Complete);
        assert_eq!(recovered(&[old, ("partial", "new", Writing)]), whole("old"));
        // Before the exchange, and after it.
        assert_eq!(recovered(&[old, ("partial", "new", Complete)]), whole("old"));
        let new = ("", "new", Complete);
        assert_eq!(recovered(&[new, ("partial", "old", Complete)]), whole("new"));
        // Between two renames, and after them.
        let aside = ("old", "old", Complete);
        assert_eq!(recovered(&[aside, ("partial", "new", Complete)]), whole("new"));
        assert_eq!(recovered(&[aside]), whole("old"));
        assert_eq!(recovered(&[aside, new]), whole("new"));
    }

    #[test]
    fn folders_are_exchanged_with_and_without_the_system() {
        for how in [put_in_place, replace_in_two] {
            let room = tempfile::tempdir().unwrap();
            let target = room.path().join("t");
            let new = hidden(&target, "partial");
            results(&target, "old", State::Complete);
            results(&new, "new", State::Complete);
            assert!(matches!(how(&new, &target).unwrap(), Placed::Clean));
            assert_eq!(fs::read_to_string(target.join("v/x.csv")).unwrap(), "new");
            assert_eq!(names(room.path()), ["t"]);
        }
    }

    #[test]
    fn what_came_in_at_the_last_moment_is_kept_and_visible() {
        let room = tempfile::tempdir().unwrap();
        let target = room.path().join("t");
        let new = hidden(&target, "partial");
        results(&target, "old", State::Complete);
        fs::write(target.join("v/mine.txt"), "mine").unwrap();
        results(&new, "new", State::Complete);
        let Placed::Remains(kept) = put_in_place(&new, &target).unwrap() else {
            panic!("nothing is kept")
        };
        assert_eq!(kept, room.path().join("t.old"));
        assert_eq!(fs::read_to_string(kept.join("v/mine.txt")).unwrap(), "mine");
        assert!(!kept.join("v/x.csv").exists());
    }

    #[test]
    fn a_hidden_folder_of_somebody_else_is_left_alone() {
        let room = tempfile::tempdir().unwrap();
        let target = room.path().join("t");
        let new = hidden(&target, "partial");
        fs::create_dir(&new).unwrap();
        fs::write(new.join("letter.txt"), "dear").unwrap();
        assert!(matches!(recover(&target), Err(OutputError::InTheWay(_))));
        assert!(new.join("letter.txt").exists());
    }
}
