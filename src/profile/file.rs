//! Profiles on disk.

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
