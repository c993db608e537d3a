//! Trace formats, one per file. To add a CSV format: a file that maps its columns to a `ColumnMap`,
//! a variant of [`TraceFormat`], and its line in `TraceFormat::column_map`. To add a format of JSON
//! objects: a file that makes a row of one, a variant, and its lines in `TraceFormat::json` and in
//! `JsonRows::next`.

mod azure;
mod burst_gpt;
mod clock;
mod csv_rows;
mod datetime;
mod ids;
mod jsonl;
mod lengths_only;
mod mooncake;
mod prefixes;
mod reader;
mod rows;
mod share_gpt;
mod text;
mod time_unit;
mod vidur;

pub(crate) use clock::Clock;
pub(crate) use prefixes::join_prefixes;
pub(crate) use reader::{TraceFile, TraceReader, TraceSettings};
pub(crate) use rows::{ClassName, Identity, Need, Row};
pub(crate) use share_gpt::Histories;
pub(crate) use text::Stamp;
pub use time_unit::TimeUnit;

use csv::StringRecord;
use serde::{Deserialize, Serialize};

use self::jsonl::JsonFormat;
use self::text::Text;
use crate::base::SettingError;

/// Tokens that each hash id of a prompt stands for, unless a scenario says otherwise: Mooncake's.
pub(crate) const TOKENS_PER_HASH: u32 = 512;

/// How a trace file is to be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TraceFormat {
    /// Azure, BurstGPT, Vidur or Lengths, whichever the header fits. A file of JSON objects is
    /// Mooncake if the first of them has `input_length` or `hash_ids`, and ShareGPT otherwise.
    #[default]
    Auto,
    /// `arrived_at,num_prefill_tokens,num_decode_tokens` (Vidur, Splitwise), times in seconds,
    /// and columns `id` or `request_id`, `priority` and `class` if they are there. Times are taken
    /// as they are.
    Vidur,
    /// `TIMESTAMP,ContextTokens,GeneratedTokens` (Azure 2023 and 2024), dates with a time of
    /// day. The first request arrives at 0.
    Azure,
    /// `Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type` (BurstGPT), times in
    /// seconds. Requests without a response failed: they are left out, and a warning counts them.
    /// The first request that is left arrives at 0.
    BurstGpt {
        /// Takes only the requests to this model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    /// JSON objects, one a line (Mooncake, Alibaba): `timestamp` (or `timestamp_ms`) in
    /// milliseconds, `input_length`, `output_length` and, if they are there, `hash_ids` (equal ids
    /// are equal text, from the prompt's start on), `request_id`, `priority` and `class`. Times are
    /// taken as they are.
    Mooncake,
    /// JSON objects, one a line (made from ShareGPT): `output_len` and either `prompt_len` (the
    /// whole prompt) or `user_len` (what the turn adds to the conversation before it); if they are
    /// there, `timestamp` in seconds, `conversation_id`, `turn`, `request_id`, `priority` and
    /// `class`.
    ShareGpt,
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
        /// Priorities, whole numbers, the smaller the more urgent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<String>,
        /// Names of classes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<String>,
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
    pub priority: Option<String>,
    pub class: Option<String>,
    /// A column, and the only value of it that is wanted.
    pub only: Option<(String, String)>,
    /// Whether an output of 0 is a failed request, which is left out.
    pub zero_output_failed: bool,
    pub time_unit: TimeUnit,
    /// Whether time is counted from the first request.
    pub rebase: bool,
}

impl TraceFormat {
    /// The names a scenario may use, in the order of the documentation.
    pub const NAMES: [&str; 8] =
        ["Auto", "Vidur", "Azure", "BurstGpt", "Mooncake", "ShareGpt", "Lengths", "Columns"];

    /// The format of JSON objects to read this text in; `None` if it is to be read as CSV.
    ///
    /// # Errors
    /// `Auto`, and the file cannot be read or its first line is no JSON object.
    fn json(&self, text: &Text) -> Result<Option<JsonFormat>, SettingError> {
        Ok(match self {
            TraceFormat::Mooncake => Some(JsonFormat::Mooncake),
            TraceFormat::ShareGpt => Some(JsonFormat::ShareGpt),
            TraceFormat::Auto if text.is_json()? => Some(jsonl::detect(text)?),
            _ => None,
        })
    }

    /// The columns to read from a file with this header; `None` if `Auto` does not know it.
    pub(crate) fn column_map(&self, header: &StringRecord) -> Option<ColumnMap> {
        match self {
            TraceFormat::Auto => {
                let known =
                    [azure::column_map(), burst_gpt::column_map(None), vidur::column_map(header)];
                let fits = |map: &ColumnMap| map.has_lengths(header) || map.has_times(header);
                known.into_iter().find(fits)
            }
            TraceFormat::Vidur => Some(vidur::column_map(header)),
            TraceFormat::Azure => Some(azure::column_map()),
            TraceFormat::BurstGpt { model } => Some(burst_gpt::column_map(model.as_deref())),
            TraceFormat::Lengths => Some(lengths_only::column_map()),
            TraceFormat::Columns {
                arrived_at,
                prompt,
                output,
                id,
                priority,
                class,
                time_unit,
                rebase,
            } => Some(ColumnMap {
                arrived_at: arrived_at.clone(),
                prompt: prompt.clone(),
                output: output.clone(),
                id: id.clone(),
                priority: priority.clone(),
                class: class.clone(),
                time_unit: *time_unit,
                rebase: *rebase || *time_unit == TimeUnit::DateTime,
                ..ColumnMap::default()
            }),
            // Read elsewhere.
            TraceFormat::Mooncake | TraceFormat::ShareGpt => None,
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
