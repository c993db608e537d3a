//! An exact replay of a trace: arrival times and lengths from one file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::lengths::trim;
use super::traces::{Need, TraceFormat, TraceSettings};
use super::{NewRequest, checks};
use crate::scenario::SettingError;

/// A trace replayed as it is.
///
/// Rules: the run ends with the last row. Times must not go backwards unless `sort` is set. A
/// length that is not a whole number of at least 1, a repeated id and an empty file are errors. An
/// `id` (or `request_id`) column gives the requests their ids; without one they are numbered from 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceReplay {
    /// CSV file, relative to the scenario; `.gz` is unpacked on the fly.
    pub file: PathBuf,
    /// How its columns are to be read.
    #[serde(default)]
    pub format: TraceFormat,
    /// Arrival times are multiplied by it: 0.5 doubles the rate.
    #[serde(default = "one")]
    pub time_scale: f64,
    /// Prompt lengths are multiplied by it, rounded down, at least 1.
    #[serde(default = "one")]
    pub prompt_scale: f64,
    /// Output lengths are multiplied by it, rounded down, at least 1.
    #[serde(default = "one")]
    pub output_scale: f64,
    /// Most tokens of prompt plus output. What is too much is taken off the prompt (as Vidur's
    /// replay does), and off the output only when the prompt is down to 1 token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_total: Option<u32>,
    /// Takes only the first rows (after sorting).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Sorts the rows by time (rows of equal times keep their order).
    #[serde(default)]
    pub sort: bool,
}

pub(super) fn one() -> f64 {
    1.0
}

impl TraceReplay {
    /// Reads the file.
    ///
    /// # Errors
    /// A setting or a row that makes no sense.
    pub(super) fn check(&self, base_dir: &Path) -> Result<Arc<[NewRequest]>, SettingError> {
        checks::scale("prompt_scale", self.prompt_scale)?;
        checks::scale("output_scale", self.output_scale)?;
        checks::max_total("max_total", self.max_total)?;
        if self.limit == Some(0) {
            return Err(SettingError::new("limit", 0, "at least 1 request"));
        }
        let trace = TraceSettings { file: &self.file, format: &self.format, sort: self.sort }
            .read(base_dir, Need::TIMES_AND_LENGTHS)?;
        let rows = trace.rows.len() as u64;
        let taken = self.limit.unwrap_or(rows);
        if taken > rows {
            return Err(SettingError::new(
                "limit",
                taken,
                format!("at most the {rows} rows of {}", self.file.display()),
            ));
        }
        let times = trace.times(self.time_scale)?;
        let requests = trace.rows.iter().zip(times).enumerate().take(taken as usize);
        Ok(requests
            .map(|(index, (row, arrived_at))| {
                let pair = row.lengths.scaled(self.prompt_scale, self.output_scale);
                let pair = self.max_total.map_or(pair, |most| trim::off_prompt(pair, most));
                NewRequest {
                    priority: 0,
                    content: None,
                    id: row.id.unwrap_or(index as u64),
                    arrived_at,
                    prompt_tokens: pair.prompt,
                    output_tokens: pair.output,
                }
            })
            .collect())
    }
}
