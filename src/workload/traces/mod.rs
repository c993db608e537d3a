//! Trace formats, one per file. To add a CSV format: a file that maps its columns to a `ColumnMap`,
//! a variant of [`TraceFormat`], and its line in `TraceFormat::column_map`. To add a format of JSON
//! objects: a file that makes a row of one, a variant, and its lines in `TraceFormat::json` and in
//! `JsonRows::next`.

mod azure;
mod bailian;
mod burst_gpt;
mod clock;
mod columns_json;
mod csv_rows;
mod datetime;
mod ids;
mod json_list;
mod jsonl;
mod lengths_only;
mod mooncake;
mod prefixes;
mod reader;
mod rows;
mod sessions;
mod share_gpt;
mod share_gpt_texts;
mod text;
mod time_unit;
mod vidur;

pub(crate) use clock::Clock;
pub(crate) use prefixes::join_prefixes;
pub(crate) use reader::{TraceFile, TraceReader, TraceSettings, grows, room_for_rows};
pub(crate) use rows::{ClassName, Identity, Link, Need, Row};
pub(crate) use share_gpt::Histories;
pub(crate) use text::Stamp;
pub(crate) use time_unit::TimeUnit;

use csv::StringRecord;
use serde::{Deserialize, Serialize};

use self::jsonl::JsonFormat;
use self::share_gpt_texts::Texts;
use self::text::{Shape, Text};
use crate::base::SettingError;
use crate::base::text::cut;

/// Tokens that each hash id of a prompt stands for, unless a scenario says otherwise: Mooncake's.
pub(crate) const TOKENS_PER_HASH: u32 = 512;

/// How a trace file is to be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum TraceFormat {
    /// Azure, BurstGPT, Vidur or Lengths, whichever the header fits. A file of JSON objects goes by
    /// the keys of the first: Bailian with `chat_id` or `parent_chat_id`, else Mooncake with
    /// `input_length` or `hash_ids`, else ShareGptTexts with `conversations`, else ShareGpt.
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
    /// JSON objects, one a line (Mooncake): `timestamp` (or `timestamp_ms`) in whole milliseconds,
    /// `input_length`, `output_length` and, if they are there, `hash_ids` (equal ids are equal
    /// text, from the prompt's start on), `session_id`, `delay`, `request_id`, `priority` and
    /// `class`. Times are taken as they are.
    Mooncake,
    /// JSON objects, one a line (Alibaba's Bailian): as Mooncake, but `timestamp` in seconds, 16
    /// tokens a hash id, and conversations by `chat_id` and `parent_chat_id`.
    Bailian,
    /// JSON objects, one a line (made from ShareGPT): `output_len` and either `prompt_len` (the
    /// whole prompt) or `user_len` (what the turn adds to the conversation before it); if they are
    /// there, `timestamp` in seconds, `conversation_id`, `turn`, `request_id`, `priority` and
    /// `class`.
    ShareGpt,
    /// ShareGPT as it is published: one JSON list of conversations, `{"id": ..., "conversations":
    /// [{"from": "human", "value": "..."}, ...]}`. It has texts and neither tokens nor times, so it
    /// gives lengths alone, and these are estimated.
    ShareGptTexts {
        /// Characters of a token.
        #[serde(default = "chars_per_token")]
        chars_per_token: f64,
        /// Takes only the first prompt and answer of each conversation.
        #[serde(default)]
        first_turn: bool,
    },
    /// `num_prefill_tokens,num_decode_tokens`, without times.
    Lengths,
    /// Any CSV file, and any file of JSON objects: the names of the columns or keys that are
    /// needed.
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

fn chars_per_token() -> f64 {
    share_gpt_texts::CHARS_PER_TOKEN
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
    pub const NAMES: [&str; 10] = [
        "Auto",
        "Vidur",
        "Azure",
        "BurstGpt",
        "Mooncake",
        "Bailian",
        "ShareGpt",
        "ShareGptTexts",
        "Lengths",
        "Columns",
    ];

    /// The format of JSON objects to read this text in; `None` if it is to be read as CSV.
    ///
    /// # Errors
    /// `Auto`, and the file cannot be read or does not begin with a JSON object; a setting of the
    /// format that makes no sense.
    fn json(&self, text: &Text) -> Result<Option<JsonFormat>, SettingError> {
        Ok(match self {
            TraceFormat::Mooncake => Some(JsonFormat::Mooncake),
            TraceFormat::Bailian => Some(JsonFormat::Bailian),
            TraceFormat::ShareGpt => Some(JsonFormat::ShareGpt),
            TraceFormat::ShareGptTexts { chars_per_token, first_turn } => {
                Some(JsonFormat::Texts(Texts::check(*chars_per_token, *first_turn)?))
            }
            TraceFormat::Auto if text.shape()? != Shape::Table => Some(jsonl::detect(text)?),
            TraceFormat::Columns { .. } if text.shape()? != Shape::Table => {
                let map = self.column_map(&StringRecord::new());
                map.map(|map| JsonFormat::Columns(Box::new(map)))
            }
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
            TraceFormat::Mooncake
            | TraceFormat::Bailian
            | TraceFormat::ShareGpt
            | TraceFormat::ShareGptTexts { .. } => None,
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
    let found = format!("`{}` in column {} at {place}", cut(cell), cut(column));
    SettingError::new("file", found, expected)
}
