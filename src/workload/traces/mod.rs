//! Trace formats, one per file. To add one: a file that maps its columns to a `ColumnMap`, a
//! variant of [`TraceFormat`], and its line in `TraceFormat::column_map`.

mod azure;
mod datetime;
mod lengths_only;
mod reader;
mod rows;
mod text;
mod time_unit;
mod vidur;

pub(crate) use reader::TraceSettings;
pub(crate) use rows::{Need, Trace};
pub use time_unit::TimeUnit;

use csv::StringRecord;
use serde::{Deserialize, Serialize};

use crate::scenario::SettingError;

/// How the columns of a CSV file are to be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TraceFormat {
    /// Azure, Vidur or Lengths, whichever the header fits.
    #[default]
    Auto,
    /// `arrived_at,num_prefill_tokens,num_decode_tokens` (Vidur, Splitwise), times in seconds,
    /// and an `id` or `request_id` column if there is one. Times are taken as they are.
    Vidur,
    /// `TIMESTAMP,ContextTokens,GeneratedTokens` (Azure 2023 and 2024), dates with a time of
    /// day. The first request arrives at 0.
    Azure,
    /// `num_prefill_tokens,num_decode_tokens`, without times.
    Lengths,
    /// Any CSV file: the names of the columns that are needed.
    Columns {
        /// Arrival times.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arrived_at: Option<String>,
        /// Prompt lengths in tokens.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prompt: Option<String>,
        /// Output lengths in tokens.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<String>,
        /// Request ids, whole numbers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Unit of the arrival times.
        #[serde(default)]
        time_unit: TimeUnit,
        /// Counts time from the first request, as is always done with `DateTime`.
        #[serde(default)]
        rebase: bool,
    },
}

/// Which column holds what.
#[derive(Clone, Debug, Default)]
pub(crate) struct ColumnMap {
    pub arrived_at: Option<String>,
    pub prompt: Option<String>,
    pub output: Option<String>,
    pub id: Option<String>,
    pub time_unit: TimeUnit,
    /// Whether time is counted from the first request.
    pub rebase: bool,
}

impl TraceFormat {
    /// The names a scenario may use, in the order of the documentation.
    pub const NAMES: [&str; 5] = ["Auto", "Vidur", "Azure", "Lengths", "Columns"];

    /// The columns to read from a file with this header; `None` if `Auto` does not know it.
    pub(crate) fn column_map(&self, header: &StringRecord) -> Option<ColumnMap> {
        match self {
            TraceFormat::Auto => {
                let known = [azure::column_map(), vidur::column_map(header)];
                let fits = |map: &ColumnMap| map.has_lengths(header) || map.has_times(header);
                known.into_iter().find(fits)
            }
            TraceFormat::Vidur => Some(vidur::column_map(header)),
            TraceFormat::Azure => Some(azure::column_map()),
            TraceFormat::Lengths => Some(lengths_only::column_map()),
            TraceFormat::Columns { arrived_at, prompt, output, id, time_unit, rebase } => {
                Some(ColumnMap {
                    arrived_at: arrived_at.clone(),
                    prompt: prompt.clone(),
                    output: output.clone(),
                    id: id.clone(),
                    time_unit: *time_unit,
                    rebase: *rebase || *time_unit == TimeUnit::DateTime,
                })
            }
        }
    }
}

impl ColumnMap {
    fn has_lengths(&self, header: &StringRecord) -> bool {
        position(header, &self.prompt).is_some() && position(header, &self.output).is_some()
    }

    fn has_times(&self, header: &StringRecord) -> bool {
        position(header, &self.arrived_at).is_some()
    }
}

/// Where the column of that name is.
fn position(header: &StringRecord, name: &Option<String>) -> Option<usize> {
    let name = name.as_ref()?;
    header.iter().position(|column| column == name)
}

/// A complaint about one cell of a file, or about its place.
fn bad_cell(cell: &str, column: &str, place: &str, expected: &str) -> SettingError {
    SettingError::new("file", format!("`{cell}` in column {column} at {place}"), expected)
}
