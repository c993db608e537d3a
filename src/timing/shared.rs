//! What configurations with the same times share.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Predictor, TimingContext};
use crate::base::SettingError;
use crate::profile;
use crate::profile::{Profile, ProfileError, Shipped};
use crate::timing::AnyTiming;

/// Profiles that were read and predictors that were built, so that neither is done twice: many
/// variants and points of a sweep have the same timing.
///
/// It belongs to whoever loads scenarios, who hands it to all that may share. Predictors keep alive
/// what they share, so it can be dropped when everything is loaded, and the profiles with it.
#[derive(Default)]
pub struct SharedTables {
    shipped: Mutex<HashMap<&'static str, Arc<Profile>>>,
    files: Mutex<HashMap<PathBuf, Arc<Profile>>>,
    predictors: Mutex<HashMap<String, Arc<dyn Predictor>>>,
}

impl SharedTables {
    /// A profile that is part of the program.
    ///
    /// # Errors
    /// As [`Shipped::load`].
    pub fn shipped(&self, shipped: &'static Shipped) -> Result<Arc<Profile>, ProfileError> {
        once(&self.shipped, &shipped.name, || shipped.load())
    }

    /// The profile at `path`.
    ///
    /// # Errors
    /// As [`profile::read`].
    pub fn file(&self, path: &Path) -> Result<Arc<Profile>, ProfileError> {
        once(&self.files, &path.to_owned(), || profile::read(path))
    }

    /// The predictor of `timing` in `context`, for one configuration: with the tables of an equal
    /// one if there is any, and with warnings of its own.
    ///
    /// # Errors
    /// As [`crate::timing::TimingSettings::build`].
    pub fn predictor(
        &self,
        timing: &dyn AnyTiming,
        context: &TimingContext,
    ) -> Result<Arc<dyn Predictor>, SettingError> {
        let key = key(timing, context);
        let known = lock(&self.predictors).get(&key).and_then(|built| built.afresh());
        if let Some(predictor) = known {
            return Ok(predictor);
        }
        let built = timing.build(context)?;
        if let Some(kept) = built.afresh() {
            lock(&self.predictors).insert(key, kept);
        }
        Ok(built)
    }
}

impl fmt::Debug for SharedTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedTables").finish_non_exhaustive()
    }
}

/// Everything that a predictor may depend on, as text; numbers are written so that unequal ones
/// differ.
fn key(timing: &dyn AnyTiming, context: &TimingContext) -> String {
    // Without `..`: a field that is added to the context has to be added here.
    let TimingContext {
        model,
        device,
        parallel,
        block_size,
        network,
        step_overhead_ms,
        base_dir,
        tables: _,
    } = context;
    let timing = timing.to_ron();
    format!(
        "{timing} {model:?} {device:?} {parallel:?} {block_size} {network:?} {step_overhead_ms:?} \
         {base_dir:?}"
    )
}

/// What is known under `key`, or what `read` gives.
fn once<K: Clone + Eq + std::hash::Hash>(
    known: &Mutex<HashMap<K, Arc<Profile>>>,
    key: &K,
    read: impl FnOnce() -> Result<Profile, ProfileError>,
) -> Result<Arc<Profile>, ProfileError> {
    if let Some(profile) = lock(known).get(key) {
        return Ok(profile.clone());
    }
    let profile = Arc::new(read()?);
    lock(known).insert(key.clone(), profile.clone());
    Ok(profile)
}

/// A map in which every entry is whole at any time, whoever panicked.
fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}
