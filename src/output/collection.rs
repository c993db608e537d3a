//! `runs.csv` of several scenarios, in the folder in which their result folders lie.

use std::path::{Path, PathBuf};

use super::claim::{Claim, Replace, difference};
use super::error::OutputError;
use super::manifest::{MANIFEST, Manifest, Origin, State, WrittenFile, hash_file, hash_text};
use super::new_file::NewFile;
use super::tables::RUNS;

/// The table of several result folders. The folder that holds them may hold other things too, so
/// only the table is replaced, and a manifest says that it is ours.
#[derive(Debug)]
pub struct Collection {
    folder: PathBuf,
    origin: Origin,
    /// Hash of the table that is replaced.
    before: Option<String>,
    file: NewFile,
}

impl Collection {
    /// Makes sure that the table of these results can be written into `folder`.
    ///
    /// # Errors
    /// It is there and may not be replaced, or `folder` is a result folder of its own.
    pub fn claim(folder: &Path, claims: &[Claim]) -> Result<Collection, OutputError> {
        let path = folder.join(RUNS);
        let replace = claims.first().map_or(Replace::Never, |claim| claim.replace);
        let mut origins = claims.iter().map(|claim| claim.origin(folder));
        let mut origin = origins.next().unwrap_or_default();
        origin.scenarios.extend(origins.flat_map(|origin| origin.scenarios));
        let manifest = Manifest::read(folder);
        let foreign = |name: &str| OutputError::Foreign {
            path: folder.to_owned(),
            files: vec![PathBuf::from(name)],
        };
        if manifest.is_none() && folder.join(MANIFEST).exists() {
            return Err(foreign(MANIFEST));
        }
        if manifest.as_ref().is_some_and(|found| found.folders.is_empty()) {
            let why = "it holds the results of a single run; name another folder with --out";
            return Err(OutputError::Unsuitable { path: folder.to_owned(), why: why.to_owned() });
        }
        if !path.exists() {
            let file = NewFile::claim(&path, false)?;
            return Ok(Collection { folder: folder.to_owned(), origin, before: None, file });
        }
        let (_, hash) = hash_file(&path).map_err(OutputError::io("read", &path))?;
        let Some(manifest) = manifest else { return Err(foreign(RUNS)) };
        let exists = |why: String| Err(OutputError::Exists { path: path.clone(), why });
        let is_ours = manifest.files.iter().any(|entry| {
            entry.xxh3.as_ref() == Some(&hash) || entry.before.as_ref() == Some(&hash)
        });
        match replace {
            Replace::Always => {}
            Replace::Never => return exists(String::new()),
            Replace::Same if !manifest.origin.is_same(&origin) => {
                return exists(difference(&manifest.origin, &origin));
            }
            Replace::Same if !is_ours => {
                return exists(" and was changed since it was written".to_owned());
            }
            Replace::Same => {}
        }
        let file = NewFile::claim(&path, true)?;
        Ok(Collection { folder: folder.to_owned(), origin, before: Some(hash), file })
    }

    /// Writes the table. `folders` are the result folders beside it.
    ///
    /// # Errors
    /// The operating system refuses.
    pub fn commit(self, table: &str, folders: Vec<String>) -> Result<(), OutputError> {
        let mut manifest = Manifest::new(self.origin, State::Complete);
        manifest.folders = folders;
        manifest.files = vec![WrittenFile {
            name: RUNS.to_owned(),
            bytes: Some(table.len() as u64),
            xxh3: Some(hash_text(table.as_bytes())),
            before: self.before,
        }];
        // The manifest first, with both hashes: whenever the process is killed, the table is ours.
        let write = |manifest: &Manifest| {
            NewFile::claim(&self.folder.join(MANIFEST), true)?.commit(manifest.text())
        };
        write(&manifest)?;
        self.file.commit(table)?;
        for entry in &mut manifest.files {
            if entry.before.take().is_some() {
                write(&manifest)?;
                break;
            }
        }
        Ok(())
    }
}
