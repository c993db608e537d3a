//! An exact replay of a trace: arrival times and lengths from one file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checks;
use super::conversations::Think;
use super::recording::Recorder;
use super::replayed::{Look, Replayed, ToRequests};
use super::traces::{
    Clock, Identity, Need, TOKENS_PER_HASH, TimeUnit, TraceFormat, TraceSettings, grows,
    join_prefixes,
};
use crate::base::SettingError;

/// A trace replayed as it is.
///
/// Rules: the run ends with the last row. Times must not go backwards unless `sort` is set. A
/// length that is not a whole number of at least 1, a repeated id and an empty file are errors. An
/// `id` (or `request_id`) column gives the requests their ids; without one they are numbered from
/// 0. Scaling and `max_total` change a prompt at its end, so that what it has in common with others
/// stays; in conversations they apply to what each turn adds, and `max_total` to the whole.
///
/// The file is read once to check it, and a long one again in each run, row by row, so that it
/// takes no memory; `sort`, `think` and `prefixes` keep its requests in memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceReplay {
    /// CSV file, JSON Lines or a JSON list, relative to the scenario; `.gz` is unpacked on the fly.
    pub file: PathBuf,
    /// How it is to be read.
    #[serde(default)]
    pub format: TraceFormat,
    /// A file beside it that says what its prompts have in common: JSON Lines with `request_id` and
    /// `hash_ids` (and perhaps `input_length`, which must then be the trace's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<PathBuf>,
    /// Tokens that each of `hash_ids` stands for: 512 unless given, 16 in `Bailian`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_hash: Option<u32>,
    /// Unit of the arrival times, where it is not that of the format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_unit: Option<TimeUnit>,
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
    /// Makes closed loops of the file's conversations: a turn after the first arrives this time
    /// after the last answer, whatever the file says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think: Option<Think>,
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
    /// Reads the file to its end, row by row, and what the user should know of it.
    ///
    /// # Errors
    /// A setting or a row that makes no sense.
    pub(super) fn check(&self, base_dir: &Path) -> Result<Replayed, SettingError> {
        if let Some(think) = &self.think {
            think.check().map_err(|error| error.within("think"))?;
        }
        checks::scale("prompt_scale", self.prompt_scale)?;
        checks::scale("output_scale", self.output_scale)?;
        checks::max_total("max_total", self.max_total)?;
        if self.limit == Some(0) {
            return Err(SettingError::new("limit", 0, "at least 1 request"));
        }
        if let Some(tokens) = self.tokens_per_hash {
            checks::tokens("tokens_per_hash", tokens)?;
        }
        let clock = Clock::new(self.time_scale)?;
        let settings = TraceSettings {
            sort: self.sort,
            tokens_per_hash: self.tokens_per_hash,
            time_unit: self.time_unit,
            ..TraceSettings::new(&self.file, &self.format)
        };
        let file = settings.find(base_dir, Need { links: self.think.is_some(), ..Need::REPLAY })?;
        let mut reader = file.open()?;
        // What follows an answer, or stands in another file, is looked up by the row's number.
        let keep_all = self.think.is_some() || self.prefixes.is_some() || file.must_be_kept();
        let requests = ToRequests::new(self, clock.clone());
        let mut look = Look::new(self.limit, self.think, Recorder::new(requests, keep_all));
        match &self.prefixes {
            None => {
                while let Some(row) = reader.next()? {
                    look.at(row)?;
                }
            }
            Some(prefixes) => {
                let mut rows = Vec::new();
                while let Some(row) = reader.next()? {
                    grows(&mut rows, row)?;
                }
                if rows.iter().any(|row| !matches!(row.identity, Identity::Unique)) {
                    let found = "given for a trace that has its own";
                    return Err(SettingError::new("prefixes", found, "one source of prefixes"));
                }
                let tokens = self.tokens_per_hash.unwrap_or(TOKENS_PER_HASH);
                join_prefixes(&mut rows, prefixes, base_dir, tokens)
                    .map_err(|error| SettingError { path: "prefixes".to_owned(), ..error })?;
                rows.into_iter().try_for_each(|row| look.at(row))?;
            }
        }
        if let Some(limit) = self.limit
            && limit > look.rows()
        {
            let most = format!("at most the {} rows of {}", look.rows(), self.file.display());
            return Err(SettingError::new("limit", limit, most));
        }
        let replayed = look.done(file, &reader);
        if self.think.is_some() && !replayed.has_followers() {
            let found = "given for a trace in which no request follows another";
            return Err(SettingError::new("think", found, "a file with conversations").help(
                "ShareGpt has them by `conversation_id`, Mooncake by `session_id`, Bailian by \
                 `parent_chat_id`",
            ));
        }
        clock.check_end(reader.last_time())?;
        Ok(replayed)
    }
}
