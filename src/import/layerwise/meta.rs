//! `meta.yaml` of a bundle.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::profile::ProfileError;

/// What is used of it.
#[derive(Debug, Deserialize)]
pub(super) struct Meta {
    pub vllm_version: String,
    pub gpu: String,
    pub hardware: String,
    pub model: String,
    pub variant: String,
    pub tp_degrees: Vec<u32>,
    pub engine_effective: Engine,
    #[serde(default)]
    pub skew_fit: SkewFit,
}

#[derive(Debug, Deserialize)]
pub(super) struct Engine {
    pub block_size: u32,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct SkewFit {
    #[serde(default)]
    pub enabled: bool,
    #[serde(default)]
    pub bucket_axes: Option<Buckets>,
    #[serde(default)]
    pub per_tp: BTreeMap<u32, Fit>,
}

/// Classes `(bins[i], bins[i + 1]]` and their names in `skew_fit.csv`.
#[derive(Debug, Deserialize)]
pub(super) struct Buckets {
    pub n_bins: Vec<f64>,
    pub n_labels: Vec<String>,
    pub skew_rate_bins: Vec<f64>,
    pub skew_rate_labels: Vec<String>,
    pub kv_big_bins: Vec<f64>,
    pub kv_big_labels: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Fit {
    pub alpha_default: f64,
}

impl Meta {
    pub(super) fn read(path: &Path) -> Result<Meta, ProfileError> {
        let file = path.display().to_string();
        let text = crate::base::input::read_to_string(path).map_err(|source| ProfileError::Io {
            action: "read",
            file: file.clone(),
            source,
        })?;
        serde_norway::from_str(&text).map_err(|error| ProfileError::Syntax {
            file,
            line: error.location().map_or(1, |place| place.line()),
            column: error.location().map_or(1, |place| place.column()),
            message: error.to_string(),
        })
    }
}
