//! The files of a wheel or of a folder.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use zip::ZipArchive;

use crate::base::input::{MOST_OF_LONG, read_most};
use crate::profile::ProfileError;

/// The `systems` folder, packed or not.
pub(super) enum Archive {
    Folder(PathBuf),
    Wheel { file: String, prefix: String, zip: RefCell<ZipArchive<File>> },
}

impl Archive {
    /// Opens a wheel, a `systems` folder or a folder with `aisimulate_core/systems` in it.
    pub(super) fn open(path: &Path) -> Result<Archive, ProfileError> {
        let file = path.display().to_string();
        let unreadable = |source| ProfileError::Io { action: "read", file: file.clone(), source };
        if fs::metadata(path).map_err(unreadable)?.is_dir() {
            let inner = path.join("aisimulate_core/systems");
            return Ok(Archive::Folder(if inner.is_dir() { inner } else { path.to_owned() }));
        }
        let zip = ZipArchive::new(File::open(path).map_err(unreadable)?)
            .map_err(|error| ProfileError::Options(format!("{file} is not a wheel: {error}")))?;
        let prefix = zip
            .file_names()
            .find_map(|name| name.find("systems/data/").map(|at| name[..at].to_owned()))
            .ok_or_else(|| ProfileError::Options(format!("{file} has no systems/data")))?;
        let prefix = format!("{prefix}systems/");
        Ok(Archive::Wheel { file, prefix, zip: RefCell::new(zip) })
    }

    /// The names in `folder`, sorted; none if it is not there.
    pub(super) fn list(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Archive::Folder(root) => match fs::read_dir(root.join(folder)) {
                Ok(entries) => {
                    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
                }
                Err(_) => Vec::new(),
            },
            Archive::Wheel { prefix, zip, .. } => {
                let start = format!("{prefix}{folder}/");
                zip.borrow()
                    .file_names()
                    .filter_map(|name| name.strip_prefix(&start)?.split('/').next())
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect()
            }
        };
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The file called `name`.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, ProfileError> {
        match self {
            Archive::Folder(root) => {
                let path = root.join(name);
                let read = File::open(&path).and_then(|file| read_most(file, MOST_OF_LONG));
                read.map_err(|source| ProfileError::Io {
                    action: "read",
                    file: path.display().to_string(),
                    source,
                })
            }
            Archive::Wheel { file, prefix, zip } => {
                let inner = format!("{prefix}{name}");
                let mut zip = zip.borrow_mut();
                let failed = |source: std::io::Error| ProfileError::Io {
                    action: "read",
                    file: format!("{file}/{inner}"),
                    source,
                };
                let packed = zip.by_name(&inner).map_err(|error| failed(error.into()))?;
                // What it unpacks to is for the archive to say, and may be anything.
                read_most(packed, MOST_OF_LONG).map_err(failed)
            }
        }
    }
}
