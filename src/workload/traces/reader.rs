//! Reads a trace of any format and checks what concerns its rows together.

use std::path::Path;

use super::rows::Row;
use super::text::Text;
use super::{Need, Trace, TraceFormat, csv_rows, jsonl, share_gpt};
use crate::scenario::SettingError;

/// What a scenario says about a trace file.
pub(crate) struct TraceSettings<'a> {
    pub file: &'a Path,
    pub format: &'a TraceFormat,
    pub sort: bool,
    /// Tokens that each of a prompt's hash ids stands for.
    pub tokens_per_hash: u32,
}

impl<'a> TraceSettings<'a> {
    /// A file in a format, in its own order.
    pub fn new(file: &'a Path, format: &'a TraceFormat) -> TraceSettings<'a> {
        TraceSettings { file, format, sort: false, tokens_per_hash: super::TOKENS_PER_HASH }
    }

    /// Reads the whole file.
    ///
    /// # Errors
    /// The first thing wrong with it, with its place in `found`.
    pub fn read(&self, base_dir: &Path, need: Need) -> Result<Trace, SettingError> {
        let text = Text::load(self.file, base_dir)?;
        let (mut trace, rebase) = match self.format.json(&text)? {
            Some(format) => (jsonl::read(&text, format, need, self.tokens_per_hash)?, false),
            None => csv_rows::read(self, &text, need)?,
        };
        let rows = &mut trace.rows;
        if rows.is_empty() {
            return Err(SettingError::new(
                "file",
                format!("no rows in {}", self.file.display()),
                "at least one row",
            ));
        }
        check_ids(rows, &text)?;
        if need.times {
            if self.sort {
                rows.sort_by_key(|row| row.time);
            }
            check_times(rows, rebase, &text)?;
            if rebase {
                trace.start = rows[0].time;
            }
        }
        if need.lengths {
            share_gpt::join_turns(rows, &text)?;
        }
        Ok(trace)
    }
}

fn check_ids(rows: &[Row], text: &Text) -> Result<(), SettingError> {
    let mut ids: Vec<(u64, u64)> =
        rows.iter().filter_map(|row| row.id.map(|id| (id, row.at))).collect();
    ids.sort_unstable();
    let twice = ids.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    let Some(pair) = twice.min_by_key(|pair| pair[1].1) else { return Ok(()) };
    let [(id, first), (_, second)] = [pair[0], pair[1]];
    Err(SettingError::new(
        "file",
        format!("id {id} at {} and again at {}", text.place(first), text.place(second)),
        "a different id for each request",
    ))
}

fn check_times(rows: &[Row], rebase: bool, text: &Text) -> Result<(), SettingError> {
    for pair in rows.windows(2) {
        let [earlier, later] = [&pair[0], &pair[1]];
        if later.time < earlier.time {
            let seconds = (earlier.time as f64 - later.time as f64) / 1e9;
            return Err(SettingError::new(
                "file",
                format!(
                    "a time at {} that is {seconds} s before the one at {}",
                    text.place(later.at),
                    text.place(earlier.at)
                ),
                "times that never go backwards",
            )
            .help("`sort: true` sorts the rows by time"));
        }
    }
    let start = if rebase { rows[0].time } else { 0 };
    let last = &rows[rows.len() - 1];
    match last.time.checked_sub(start) {
        Some(span) if span as f64 <= 1e18 => Ok(()),
        _ => Err(SettingError::new(
            "file",
            format!("a time at {} more than 1e9 s after the start", text.place(last.at)),
            "times within 1e9 s",
        )
        .help("is the unit right? `rebase: true` in `Columns` counts from the first time")),
    }
}
