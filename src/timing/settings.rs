//! What a predictor is built from.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::base::{SettingError, suggest};
use crate::hardware::model::ModelSpec;
use crate::hardware::{DeviceSpec, Parallelism};
use crate::profile;
use crate::profile::Shipped;

use super::{Predictor, SharedTables};

/// The rest of the scenario, as far as execution time depends on it.
#[derive(Clone, Copy, Debug)]
pub struct TimingContext<'a> {
    /// The model that is served.
    pub model: &'a ModelSpec,
    /// The GPU it runs on.
    pub device: &'a DeviceSpec,
    /// How it is spread over GPUs.
    pub parallel: Parallelism,
    /// Tokens per KV block.
    pub block_size: u32,
    /// The network between the GPUs of a replica, if the scenario names one.
    pub network: Option<&'a str>,
    /// Milliseconds of each step in which the GPU waits for the engine, by its policy
    /// ([`crate::engine::policy::Policy::step_overhead_ms`]).
    pub step_overhead_ms: f64,
    /// The folder that relative paths in the settings start from.
    pub base_dir: &'a Path,
    /// Where profiles are read from, so that each is read once.
    pub tables: &'a SharedTables,
}

/// Whether a network that a scenario names at `setting` exists: it may matter only to some
/// variants, or to none, and a slip of the pen is to be noticed all the same.
///
/// # Errors
/// It is neither a shipped network nor an existing file.
pub(crate) fn check_network(
    setting: &str,
    name: &str,
    base_dir: &Path,
) -> Result<(), SettingError> {
    let mut shipped = profile::shipped().iter();
    if profile::shipped_network(name).is_some()
        || shipped.any(|shipped| shipped.name == name)
        || base_dir.join(name).is_file()
    {
        return Ok(());
    }
    let names: Vec<&str> = profile::shipped().iter().filter_map(Shipped::network).collect();
    let known = format!("shipped networks: {}", names.join(", "));
    let expected = "the name of a shipped network or an existing file";
    Err(SettingError::new(setting, format!("`{name}`"), expected).help(
        match suggest::closest(name, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? {known}"),
            None => known,
        },
    ))
}

/// The settings of one kind of predictor: what a scenario writes after the kind's name, as in
/// `timing: Formula(base: 0.005)`.
pub trait TimingSettings: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Name in scenarios.
    const NAME: &'static str;
    /// One line for `vidur-ecs list`.
    const ABOUT: &'static str;

    /// Checks the settings and builds the predictor.
    ///
    /// # Errors
    /// Names the setting, relative to these settings, that makes no sense or does not go with the
    /// rest of the scenario.
    fn build(&self, context: &TimingContext) -> Result<Arc<dyn Predictor>, SettingError>;
}
