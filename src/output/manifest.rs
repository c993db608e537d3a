//! `manifest.json`: which files of a result folder are the program's, and what they were made from.
//!
//! The manifest is what allows a later run to replace a folder: only files that it lists are ever
//! removed. It holds no times and no machine's name, so equal runs have equal manifests.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use super::error::OutputError;

/// File name of the manifest.
pub const MANIFEST: &str = "manifest.json";

/// The file that differs between equal runs. Its last line is its own hash.
pub(super) const LOG: &str = "run.log";

/// What begins the last line of such a file.
const SEAL: &str = "checksum      xxh3 ";

/// The layout of the manifest that this version writes.
const VERSION: u32 = 1;

/// Whether the files are all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The run goes on, or broke off.
    Writing,
    /// Every file is complete.
    Complete,
}

/// A scenario (or case, or benchmark) that results were made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeFrom {
    /// What its results are called.
    pub name: String,
    /// Its file, as seen from the result folder.
    pub file: String,
    /// Hash of what was run, with every default filled in; empty if nothing was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hash: String,
}

/// What results were made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The subcommand.
    pub command: String,
    /// Settings of the command line that change results: `--set` and what stands for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<String>,
    /// One, or several for a table over several.
    pub scenarios: Vec<MadeFrom>,
}

impl Origin {
    /// Whether the two name the same scenarios with the same settings. The text of a scenario may
    /// have changed.
    pub fn is_same(&self, other: &Origin) -> bool {
        let names = |origin: &Origin| -> Vec<(String, String)> {
            let pairs = origin.scenarios.iter();
            pairs.map(|source| (source.name.clone(), source.file.clone())).collect()
        };
        self.command == other.command
            && self.settings == other.settings
            && names(self) == names(other)
    }
}

/// A file that the program wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenFile {
    /// Path below the folder, with `/`.
    pub name: String,
    /// Its size; not of a file that bears its own hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Hash of its content (XXH3, 128 bits); not of a file that bears its own hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xxh3: Option<String>,
    /// Hash of its content before, while it is being replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
}

/// What the program wrote into a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    manifest: u32,
    /// Name and version of the program.
    pub program: String,
    /// Whether everything is there.
    pub state: State,
    /// What it was made from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The files, sorted by name.
    pub files: Vec<WrittenFile>,
    /// Folders in this one that have a manifest of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
}

impl Manifest {
    /// A manifest of nothing yet.
    pub fn new(origin: Origin, state: State) -> Manifest {
        let program = concat!("vidur-ecs ", env!("CARGO_PKG_VERSION")).to_owned();
        Manifest {
            manifest: VERSION,
            program,
            state,
            origin,
            files: Vec::new(),
            folders: Vec::new(),
        }
    }

    /// Reads the manifest of a folder; `None` if there is none, or none that this program wrote.
    pub fn read(folder: &Path) -> Option<Manifest> {
        let text = crate::base::input::read(&folder.join(MANIFEST)).ok()?;
        let found = serde_json::from_slice::<Manifest>(&text).ok()?;
        let names = found.files.iter().map(|entry| &entry.name).chain(&found.folders);
        // A manifest that somebody else has written must not lead out of its folder.
        let is_inside = |name: &String| {
            let mut parts = Path::new(name).components();
            !name.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
        };
        let is_ours = found.manifest <= VERSION && names.into_iter().all(is_inside);
        is_ours.then_some(found)
    }

    /// The text of the file.
    pub(super) fn text(&self) -> String {
        // Plain texts and numbers: this cannot fail.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Writes it into a folder, at once: a reader sees the old or the new one.
    pub(super) fn write(&self, folder: &Path) -> Result<(), OutputError> {
        let path = folder.join(MANIFEST);
        let partial = folder.join(".manifest.json.partial");
        fs::write(&partial, self.text())
            .and_then(|()| fs::rename(&partial, &path))
            .map_err(OutputError::io("write", &path))
    }

    /// Seals the log and lists every file of a folder that the program alone has filled. Folders in
    /// it that are empty are removed.
    pub(super) fn list(mut self, folder: &Path) -> Result<Manifest, OutputError> {
        for path in files_in(folder)? {
            let full = folder.join(&path);
            let name = slashed(&path);
            if name == MANIFEST || fs::remove_dir(&full).is_ok() {
                continue;
            }
            let failed = OutputError::io("read", &full);
            if is_log(&path) {
                seal(&full).map_err(failed)?;
                self.files.push(WrittenFile { name, bytes: None, xxh3: None, before: None });
                continue;
            }
            let (bytes, hash) = hash_file(&full).map_err(failed)?;
            self.files.push(WrittenFile {
                name,
                bytes: Some(bytes),
                xxh3: Some(hash),
                before: None,
            });
        }
        self.files.sort_by(|a, b| a.name.cmp(&b.name));
        self.state = State::Complete;
        Ok(self)
    }

    /// What has become of the files of `folder` since they were written.
    ///
    /// # Errors
    /// A folder or file cannot be read.
    pub fn check(&self, folder: &Path) -> Result<Changes, OutputError> {
        let mut changes = Changes::default();
        self.compare(folder, Path::new(""), true, &mut changes)?;
        Ok(changes)
    }

    /// What changed by names and sizes alone, which reads no file.
    pub(super) fn check_names(&self, folder: &Path) -> Result<Changes, OutputError> {
        let mut changes = Changes::default();
        self.compare(folder, Path::new(""), false, &mut changes)?;
        Ok(changes)
    }

    /// `below` is where this manifest's folder lies in the one that is being checked.
    fn compare(
        &self,
        folder: &Path,
        below: &Path,
        contents: bool,
        changes: &mut Changes,
    ) -> Result<(), OutputError> {
        for entry in self.files.iter() {
            if !folder.join(&entry.name).exists() {
                changes.missing.push(below.join(&entry.name));
            }
        }
        for path in files_in(folder)? {
            let name = slashed(&path);
            let inner = self.folders.iter().find(|inner| path.starts_with(inner));
            if let Some(inner) = inner {
                // Reported by the folder's own manifest, once.
                if path == Path::new(inner).join(MANIFEST) {
                    match Manifest::read(&folder.join(inner)) {
                        Some(own) => {
                            own.compare(
                                &folder.join(inner),
                                &below.join(inner),
                                contents,
                                changes,
                            )?;
                        }
                        None => changes.foreign.push(below.join(&path)),
                    }
                } else if !folder.join(inner).join(MANIFEST).exists() {
                    changes.foreign.push(below.join(&path));
                }
                continue;
            }
            if name == MANIFEST {
                continue;
            }
            match self.files.iter().find(|entry| entry.name == name) {
                None => changes.foreign.push(below.join(&path)),
                Some(entry) if !entry.holds(&folder.join(&path), contents)? => {
                    changes.modified.push(below.join(&path));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

impl WrittenFile {
    /// Whether a file is as it was written.
    fn holds(&self, path: &Path, contents: bool) -> Result<bool, OutputError> {
        let failed = || OutputError::io("read", path);
        let data = fs::symlink_metadata(path).map_err(failed())?;
        if !data.is_file() {
            return Ok(false);
        }
        let Some(hash) = &self.xxh3 else {
            return if contents { is_sealed(path).map_err(failed()) } else { Ok(true) };
        };
        if self.before.is_none() && self.bytes.is_some_and(|bytes| bytes != data.len()) {
            return Ok(false);
        }
        if !contents {
            return Ok(true);
        }
        let (_, found) = hash_file(path).map_err(failed())?;
        Ok(found == *hash || self.before.as_ref() == Some(&found))
    }
}

/// How a folder differs from its manifest. Paths are below the folder, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What the program did not write.
    pub foreign: Vec<PathBuf>,
    /// Files that have another content now.
    pub modified: Vec<PathBuf>,
    /// Files that are gone.
    pub missing: Vec<PathBuf>,
}

/// Every file, link and empty folder below a folder, sorted. Links are not followed.
pub(super) fn files_in(folder: &Path) -> Result<Vec<PathBuf>, OutputError> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        let path = folder.join(&below);
        let mut empty = true;
        for entry in fs::read_dir(&path).map_err(OutputError::io("read", &path))? {
            let entry = entry.map_err(OutputError::io("read", &path))?;
            empty = false;
            let inner = below.join(entry.file_name());
            match entry.file_type().map_err(OutputError::io("read", &path))?.is_dir() {
                true => open.push(inner),
                false => found.push(inner),
            }
        }
        if empty && !below.as_os_str().is_empty() {
            found.push(below);
        }
    }
    found.sort();
    Ok(found)
}

/// Size and hash of a file.
pub(super) fn hash_file(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3Default::new();
    let mut piece = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((bytes, format!("{:032x}", hash.digest128()))),
            read => {
                hash.update(&piece[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// Hash of a text.
#[cfg(feature = "cli")]
pub(super) fn hash_text(text: &[u8]) -> String {
    format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text))
}

fn is_log(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == LOG)
}

/// Adds a last line with the hash of everything before it.
fn seal(path: &Path) -> io::Result<()> {
    let (_, hash) = hash_file(path)?;
    let mut file = File::options().append(true).open(path)?;
    writeln!(file, "{SEAL}{hash}")
}

/// Whether the last line is the hash of everything before it.
fn is_sealed(path: &Path) -> io::Result<bool> {
    let mut reader = BufReader::with_capacity(256 * 1024, File::open(path)?);
    let mut hash = Xxh3Default::new();
    let (mut line, mut last) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            let wanted = format!("{SEAL}{:032x}\n", hash.digest128());
            return Ok(last == wanted.as_bytes());
        }
        hash.update(&last);
        std::mem::swap(&mut line, &mut last);
    }
}

fn slashed(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(folder: &Path) -> Manifest {
        let manifest = Manifest::new(Origin::default(), State::Writing).list(folder).unwrap();
        manifest.write(folder).unwrap();
        manifest
    }

    #[test]
    fn every_change_is_found() {
        let room = tempfile::tempdir().unwrap();
        let path = |name: &str| room.path().join(name);
        fs::create_dir(path("v")).unwrap();
        for (name, text) in [("summary.json", "{}"), ("v/rows.csv", "a\n"), ("run.log", "x\n")] {
            fs::write(path(name), text).unwrap();
        }
        let manifest = listed(room.path());
        assert_eq!(Manifest::read(room.path()), Some(manifest.clone()));
        assert_eq!(manifest.check(room.path()).unwrap(), Changes::default());

        fs::write(path("v/rows.csv"), "b\n").unwrap();
        File::options().append(true).open(path("run.log")).unwrap().write_all(b"note\n").unwrap();
        fs::remove_file(path("summary.json")).unwrap();
        fs::create_dir(path("mine")).unwrap();
        let names = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let changes = manifest.check(room.path()).unwrap();
        assert_eq!(changes.foreign, names(&["mine"]));
        assert_eq!(changes.modified, names(&["run.log", "v/rows.csv"]));
        assert_eq!(changes.missing, names(&["summary.json"]));
        let changes = manifest.check_names(room.path()).unwrap();
        assert_eq!((changes.modified.len(), changes.foreign.len()), (0, 1));
    }

    #[test]
    fn equal_runs_have_equal_manifests_whatever_their_logs_say() {
        let text = |log: &str| {
            let room = tempfile::tempdir().unwrap();
            fs::write(room.path().join("summary.json"), "{}").unwrap();
            fs::write(room.path().join(LOG), log).unwrap();
            listed(room.path());
            fs::read_to_string(room.path().join(MANIFEST)).unwrap()
        };
        assert_eq!(text("1.5 s\n"), text("2.5 s\n"));
    }

    /// Would have a file elsewhere removed.
    const OUTSIDE: &str = r#"{"manifest": 1, "program": "", "state": "complete", "command": "",
        "scenarios": [], "files": [{"name": "../x"}]}"#;

    #[test]
    fn what_is_no_manifest_is_none() {
        let room = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(room.path()), None);
        for text in ["", "{}", "{\"manifest\": 99}", "{\"name\": \"package\"}", OUTSIDE] {
            fs::write(room.path().join(MANIFEST), text).unwrap();
            assert_eq!(Manifest::read(room.path()), None, "{text}");
        }
        fs::write(room.path().join(MANIFEST), OUTSIDE.replace("../x", "x")).unwrap();
        assert!(Manifest::read(room.path()).is_some());
    }

    #[test]
    fn a_listed_folder_answers_for_itself() {
        let room = tempfile::tempdir().unwrap();
        let inner = room.path().join("a");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("x.csv"), "x").unwrap();
        listed(&inner);
        let mut manifest = Manifest::new(Origin::default(), State::Complete);
        manifest.folders = vec!["a".to_owned()];
        assert_eq!(manifest.check(room.path()).unwrap(), Changes::default());
        fs::write(inner.join("y"), "mine").unwrap();
        assert_eq!(manifest.check(room.path()).unwrap().foreign, [Path::new("a/y")]);
        fs::remove_file(inner.join(MANIFEST)).unwrap();
        assert_eq!(manifest.check(room.path()).unwrap().foreign.len(), 2);
    }
}
