//! Profiles on disk.

use std::fs;
use std::path::Path;

use super::{Profile, ProfileError};
use crate::base::input;

/// Reads the profile at `path`.
///
/// # Errors
/// The file cannot be read, is not in the format or is inconsistent.
pub fn read(path: &Path) -> Result<Profile, ProfileError> {
    let file = path.display().to_string();
    let text = input::read_to_string(path).map_err(|source| ProfileError::Io {
        action: "read",
        file: file.clone(),
        source,
    })?;
    let profile = Profile::parse(&text, &file)?;
    match profile.operators.as_ref().map_or(Ok(()), |operators| operators.check_rows()) {
        Ok(()) => Ok(profile),
        Err((place, message)) => Err(ProfileError::Inconsistent { file, place, message }),
    }
}

/// Writes `profile` to `path`, replacing what is there, by way of a temporary file beside it, so
/// that no half-written profile is ever seen.
///
/// # Errors
/// [`ProfileError::Io`].
pub fn write(profile: &Profile, path: &Path) -> Result<(), ProfileError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".partial");
    let temporary = Path::new(&temporary);
    fs::write(temporary, profile.to_string()).and_then(|()| fs::rename(temporary, path)).map_err(
        |source| ProfileError::Io { action: "write", file: path.display().to_string(), source },
    )
}
