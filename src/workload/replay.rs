//! An exact replay of a trace: arrival times and lengths from one file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::conversations::{Chains, Think};
use super::lengths::trim;
use super::shared::Rows;
use super::traces::{
    ClassName, Histories, Identity, Need, Row, TOKENS_PER_HASH, TraceFormat, TraceSettings,
    join_prefixes,
};
use super::{LengthPair, NewRequest, checks};
use crate::scenario::SettingError;
use crate::sim::Nanos;

/// A trace replayed as it is.
///
/// Rules: the run ends with the last row. Times must not go backwards unless `sort` is set. A
/// length that is not a whole number of at least 1, a repeated id and an empty file are errors. An
/// `id` (or `request_id`) column gives the requests their ids; without one they are numbered from 0.
/// Scaling and `max_total` change a prompt at its end, so that what it has in common with others
/// stays; in conversations they apply to what each turn adds, and `max_total` to the whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceReplay {
    /// CSV file or JSON Lines, relative to the scenario; `.gz` is unpacked on the fly.
    pub file: PathBuf,
    /// How it is to be read.
    #[serde(default)]
    pub format: TraceFormat,
    /// A file beside it that says what its prompts have in common: JSON Lines with `request_id` and
    /// `hash_ids` (and perhaps `input_length`, which must then be the trace's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefixes: Option<PathBuf>,
    /// Tokens that each of `hash_ids` stands for: 512 (Mooncake's) unless given; Alibaba's have 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_hash: Option<u32>,
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
    /// Reads the file, and what the user should know of it.
    ///
    /// # Errors
    /// A setting or a row that makes no sense.
    pub(super) fn check(&self, base_dir: &Path) -> Result<Rows, SettingError> {
        if let Some(think) = &self.think {
            think.check().map_err(|error| error.within("think"))?;
        }
        checks::scale("prompt_scale", self.prompt_scale)?;
        checks::scale("output_scale", self.output_scale)?;
        checks::max_total("max_total", self.max_total)?;
        if self.limit == Some(0) {
            return Err(SettingError::new("limit", 0, "at least 1 request"));
        }
        let tokens_per_hash = self.tokens_per_hash.unwrap_or(TOKENS_PER_HASH);
        checks::tokens("tokens_per_hash", tokens_per_hash)?;
        let settings = TraceSettings {
            file: &self.file,
            format: &self.format,
            sort: self.sort,
            tokens_per_hash,
        };
        let mut trace = settings.read(base_dir, Need::REPLAY)?;
        if let Some(file) = &self.prefixes {
            if trace.rows.iter().any(|row| !matches!(row.identity, Identity::Unique)) {
                let found = "given for a trace that has its own";
                return Err(SettingError::new("prefixes", found, "one source of prefixes"));
            }
            join_prefixes(&mut trace, file, base_dir, tokens_per_hash)
                .map_err(|error| SettingError { path: "prefixes".to_owned(), ..error })?;
        }
        let rows = trace.rows.len() as u64;
        let taken = self.limit.unwrap_or(rows);
        if taken > rows {
            return Err(SettingError::new(
                "limit",
                taken,
                format!("at most the {rows} rows of {}", self.file.display()),
            ));
        }
        let chains = self.chains(&trace.rows[..taken as usize])?;
        let times: Vec<Nanos> = trace.times(self.time_scale)?.collect();
        let classes: Arc<[ClassName]> = trace.classes.into();
        let mut histories = Histories::default();
        let limit =
            |pair: LengthPair| self.max_total.map_or(pair, |most| trim::off_prompt(pair, most));
        let scale = |pair: LengthPair| pair.scaled(self.prompt_scale, self.output_scale);
        let requests = trace.rows.into_iter().zip(times).enumerate().take(taken as usize);
        let requests = requests.map(|(index, (row, arrived_at))| {
            let (pair, content) = match row.identity {
                Identity::Unique => (limit(scale(row.lengths)), None),
                Identity::Named(content) => (limit(scale(row.lengths)), Some(content)),
                Identity::Turn(turn) => {
                    let added = scale(LengthPair { prompt: turn.added, ..row.lengths });
                    let (pair, content) = histories.turn(&turn.conversation, added, limit);
                    (pair, Some(content))
                }
            };
            NewRequest {
                id: row.id.unwrap_or(index as u64),
                arrived_at,
                prompt_tokens: pair.prompt,
                output_tokens: pair.output,
                priority: row.priority,
                // By the names of the trace, until it is known which classes there are.
                class: row.class,
                adapter: None,
                content,
            }
        });
        Ok(Rows { requests: requests.collect(), chains, classes, warnings: trace.warnings })
    }

    /// Which rows follow others, if they are to wait for them.
    fn chains(&self, rows: &[Row]) -> Result<Option<Chains>, SettingError> {
        let Some(think) = self.think else { return Ok(None) };
        let conversations = rows.iter().map(|row| match &row.identity {
            Identity::Turn(turn) => Some(&*turn.conversation),
            _ => None,
        });
        let chains = Chains::new(think, conversations);
        if !chains.any() {
            let found = "given for a trace in which no request follows another";
            return Err(SettingError::new("think", found, "a file with conversations")
                .help("`format: ShareGpt` has them"));
        }
        Ok(Some(chains))
    }
}
