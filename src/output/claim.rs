//! Whether a folder may become a result folder: everything that is checked before a run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::{OutputError, listed};
use super::manifest::{MadeFrom, Manifest, Origin, State};
use super::names::MAX_TARGET_BYTES;
use crate::base::paths;

/// Links are followed so many times.
const MAX_LINKS: usize = 40;

/// When results that are there already are replaced. What the program did not write never is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replace {
    /// Not at all.
    #[default]
    Never,
    /// If they were made from the same scenario with the same settings, and are unchanged.
    Same,
    /// Whatever they are.
    Always,
}

impl Replace {
    /// As the options `--force` and `--out` say: a folder that the user named is only replaced by
    /// force.
    pub fn of(force: bool, named: bool) -> Replace {
        match (force, named) {
            (true, _) => Replace::Always,
            (false, true) => Replace::Never,
            (false, false) => Replace::Same,
        }
    }
}

/// Where results are to be, and what they are made from.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// The folder.
    pub target: PathBuf,
    /// What becomes of results that are there.
    pub replace: Replace,
    /// The subcommand.
    pub command: &'static str,
    /// Settings of the command line that change results.
    pub settings: Vec<String>,
    /// Name, file and hash of the scenario.
    pub scenario: (String, PathBuf, String),
    /// Other files that the run reads.
    pub inputs: Vec<PathBuf>,
}

impl Claim {
    /// What results are made from as the manifest has it, for results in the folder `real`.
    pub(super) fn origin(&self, real: &Path) -> Origin {
        let (name, file, hash) = &self.scenario;
        let scenarios = match file.as_os_str().is_empty() {
            true => Vec::new(),
            false => vec![source(name, file, hash, real)],
        };
        Origin { command: self.command.to_owned(), settings: self.settings.clone(), scenarios }
    }

    /// Checks what has nothing to do with what is in the folder.
    pub(super) fn check_place(&self, real: &Path) -> Result<(), OutputError> {
        let unsuitable = |why: &str| {
            Err(OutputError::Unsuitable { path: self.target.clone(), why: why.to_owned() })
        };
        check_length(&self.target, real)?;
        let inputs = self.inputs.iter().chain([&self.scenario.1]);
        for input in inputs.filter(|input| !input.as_os_str().is_empty()) {
            if input.canonicalize().is_ok_and(|input| input.starts_with(real)) {
                let (path, input) = (self.target.clone(), input.clone());
                return Err(OutputError::InputInside { path, input });
            }
        }
        let Ok(data) = fs::symlink_metadata(real) else { return Ok(()) };
        if !data.is_dir() {
            return unsuitable("it is a file; name a folder, such as results/run1");
        }
        if env::current_dir().is_ok_and(|here| here.starts_with(real)) {
            return unsuitable("it is the current folder; name a folder in it, such as results");
        }
        if is_mount_point(real, &data) {
            return unsuitable("it is a mount point; name a folder in it, with --out");
        }
        if is_kept_by_others(real, &data) {
            return unsuitable(
                "it belongs to another user, in a folder where only the owner may rename it",
            );
        }
        Ok(())
    }

    /// Whether what is in the folder may be replaced. `contents` says whether to look into files.
    pub(super) fn check_contents(&self, real: &Path, contents: bool) -> Result<(), OutputError> {
        let path = || self.target.clone();
        let exists = |why: String| Err(OutputError::Exists { path: path(), why });
        match fs::read_dir(real) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(OutputError::io("read", &self.target)(error)),
            Ok(mut entries) => {
                if entries.next().is_none() {
                    return Ok(());
                }
            }
        }
        let Some(manifest) = Manifest::read(real) else {
            return Err(OutputError::NotResults(path()));
        };
        let same = self.replace == Replace::Same;
        let changes = match contents && same {
            true => manifest.check(real)?,
            false => manifest.check_names(real)?,
        };
        if !changes.foreign.is_empty() {
            return Err(OutputError::Foreign { path: path(), files: changes.foreign });
        }
        let origin = self.origin(real);
        match self.replace {
            Replace::Always => Ok(()),
            Replace::Never => exists(" and is not empty".to_owned()),
            Replace::Same if manifest.state != State::Complete => exists(String::new()),
            Replace::Same if !manifest.origin.is_same(&origin) => {
                exists(difference(&manifest.origin, &origin))
            }
            Replace::Same if !changes.modified.is_empty() => {
                let files = listed(&changes.modified);
                exists(format!(" and was changed since it was written ({files})"))
            }
            Replace::Same => Ok(()),
        }
    }
}

/// Refuses a name beside which no hidden one has room.
pub(super) fn check_length(target: &Path, real: &Path) -> Result<(), OutputError> {
    let bytes = real.file_name().map_or(0, |name| name.len());
    if bytes <= MAX_TARGET_BYTES {
        return Ok(());
    }
    let why = format!("its name has {bytes} bytes; at most {MAX_TARGET_BYTES} are possible");
    Err(OutputError::Unsuitable { path: target.to_owned(), why })
}

/// A scenario as a manifest in `folder` has it.
pub(super) fn source(name: &str, file: &Path, hash: &str, folder: &Path) -> MadeFrom {
    let file = paths::relative(file, folder).to_string_lossy().replace('\\', "/");
    MadeFrom { name: name.to_owned(), file, hash: hash.to_owned() }
}

/// How results there differ from what this run would make.
pub(super) fn difference(found: &Origin, wanted: &Origin) -> String {
    let files = |origin: &Origin| -> Vec<PathBuf> {
        origin.scenarios.iter().map(|source| PathBuf::from(&source.file)).collect()
    };
    let (theirs, ours) = (files(found), files(wanted));
    if theirs != ours {
        let names: Vec<PathBuf> = found.scenarios.iter().map(|s| PathBuf::from(&s.name)).collect();
        return format!(
            " and holds results of another scenario ({})",
            listed(if theirs.is_empty() { &names } else { &theirs })
        );
    }
    let settings = |origin: &Origin| match origin.settings.as_slice() {
        [] => "none".to_owned(),
        settings => settings.join(" "),
    };
    format!(
        " and holds results with other command-line settings (there: {}, now: {})",
        settings(found),
        settings(wanted)
    )
}

/// The folder that a path leads to, links followed; the path itself where nothing is there yet.
pub(super) fn real_target(target: &Path) -> Result<PathBuf, OutputError> {
    let mut path = target.to_owned();
    for _ in 0..MAX_LINKS {
        if path.file_name().is_none() {
            break;
        }
        let is_link = fs::symlink_metadata(&path).is_ok_and(|data| data.file_type().is_symlink());
        if !is_link {
            return Ok(path.canonicalize().unwrap_or_else(|_| paths::absolute(&path)));
        }
        if let Ok(real) = path.canonicalize() {
            return Ok(real);
        }
        // A link to what is not there yet.
        let link = fs::read_link(&path).map_err(OutputError::io("read", &path))?;
        path = path.with_file_name("").join(link);
    }
    let why = "it has no name of its own; name a folder, such as results/run1".to_owned();
    Err(OutputError::Unsuitable { path: target.to_owned(), why })
}

/// Whether a folder cannot be renamed because something is mounted there.
#[cfg(unix)]
fn is_mount_point(real: &Path, data: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
        if let Ok(found) = statx(CWD, real, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty())
            && found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
        {
            return found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT);
        }
    }
    let parent = real.parent().and_then(|parent| fs::metadata(parent).ok());
    parent.is_some_and(|parent| parent.dev() != data.dev())
}

#[cfg(not(unix))]
fn is_mount_point(_: &Path, _: &fs::Metadata) -> bool {
    false
}

/// Whether the parent only lets owners rename what is in it (as /tmp does), and we are none.
#[cfg(unix)]
fn is_kept_by_others(real: &Path, data: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    const STICKY: u32 = 0o1000;
    let user = rustix::process::geteuid();
    let parent = real.parent().and_then(|parent| fs::metadata(parent).ok());
    parent.is_some_and(|parent| {
        let owners = [parent.uid(), data.uid()];
        parent.mode() & STICKY != 0 && !user.is_root() && !owners.contains(&user.as_raw())
    })
}

#[cfg(not(unix))]
fn is_kept_by_others(_: &Path, _: &fs::Metadata) -> bool {
    false
}
