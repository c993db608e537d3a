//! Reads a CSV trace and checks every row.

use std::path::Path;

use csv::{StringRecord, Trim};

use super::rows::Row;
use super::text::Text;
use super::{ColumnMap, Need, Trace, TraceFormat, bad_cell, position};
use crate::scenario::SettingError;
use crate::workload::LengthPair;
use crate::workload::checks::MAX_TOKENS;

/// What a scenario says about a trace file.
pub(crate) struct TraceSettings<'a> {
    pub file: &'a Path,
    pub format: &'a TraceFormat,
    pub sort: bool,
}

impl TraceSettings<'_> {
    /// Reads the whole file.
    ///
    /// # Errors
    /// The first thing wrong with it, with its place in `found`.
    pub fn read(&self, base_dir: &Path, need: Need) -> Result<Trace, SettingError> {
        let text = Text::load(self.file, base_dir)?;
        let mut csv = csv::ReaderBuilder::new().trim(Trim::All).from_reader(text.bytes());
        let header = csv.headers().map_err(|e| text.complaint(&e))?.clone();
        let columns = self.columns(&header, need)?;
        let mut rows = Vec::new();
        let mut record = StringRecord::new();
        while csv.read_record(&mut record).map_err(|e| text.complaint(&e))? {
            rows.push(columns.row(&record, &text)?);
        }
        if rows.is_empty() {
            return Err(SettingError::new(
                "file",
                format!("no rows in {}", self.file.display()),
                "a header and at least one row",
            ));
        }
        check_ids(&rows, &text)?;
        let mut start = 0;
        if need.times {
            if self.sort {
                rows.sort_by_key(|row| row.time);
            }
            check_times(&rows, columns.rebase, &text)?;
            if columns.rebase {
                start = rows[0].time;
            }
        }
        Ok(Trace { rows, start })
    }

    fn columns(&self, header: &StringRecord, need: Need) -> Result<Columns, SettingError> {
        let found = || match header.is_empty() {
            true => format!("{}, which is empty", self.file.display()),
            false => {
                let names: Vec<&str> = header.iter().collect();
                format!("{} with columns {}", self.file.display(), names.join(", "))
            }
        };
        let map = self.format.column_map(header).ok_or_else(|| {
            SettingError::new("file", found(), "a header of a known format").help(
                "known: arrived_at,num_prefill_tokens,num_decode_tokens and \
                 TIMESTAMP,ContextTokens,GeneratedTokens; others with `format: Columns(...)`",
            )
        })?;
        let find = |name: &Option<String>, what: &str| match name {
            None => Err(SettingError::new("format", found(), format!("a column of {what}"))
                .help("`Lengths` has no times; `Columns` needs the name of each column")),
            Some(name) => match position(header, &Some(name.clone())) {
                Some(index) => Ok(Some(Column { index, name: name.clone() })),
                None => {
                    Err(SettingError::new("file", found(), format!("a column {name} of {what}")))
                }
            },
        };
        let ColumnMap { arrived_at, prompt, output, id, .. } = &map;
        Ok(Columns {
            arrived_at: if need.times { find(arrived_at, "arrival times")? } else { None },
            prompt: if need.lengths { find(prompt, "prompt lengths")? } else { None },
            output: if need.lengths { find(output, "output lengths")? } else { None },
            // Only a replay keeps ids.
            id: if id.is_some() && need.times && need.lengths { find(id, "ids")? } else { None },
            time_unit: map.time_unit,
            rebase: map.rebase,
        })
    }
}

/// A column that is there.
struct Column {
    index: usize,
    name: String,
}

impl Column {
    fn cell<'a>(&self, record: &'a StringRecord) -> &'a str {
        record.get(self.index).unwrap_or("")
    }
}

/// The columns that are read.
struct Columns {
    arrived_at: Option<Column>,
    prompt: Option<Column>,
    output: Option<Column>,
    id: Option<Column>,
    time_unit: super::TimeUnit,
    rebase: bool,
}

impl Columns {
    fn row(&self, record: &StringRecord, text: &Text) -> Result<Row, SettingError> {
        let at = record.position().map_or(0, |position| position.byte());
        let refuse = |column: &Column, expected: &str| {
            bad_cell(column.cell(record), &column.name, &text.place(at), expected)
        };
        let (time, written) = match &self.arrived_at {
            None => (0, 0.0),
            Some(column) => {
                let unit = self.time_unit;
                let time = unit.parse(column.cell(record));
                let time = time.ok_or_else(|| refuse(column, unit.expected()))?;
                if time < 0 && !self.rebase {
                    return Err(refuse(column, "a time of at least 0"));
                }
                (time, column.cell(record).parse().unwrap_or(0.0))
            }
        };
        let length = |column: &Option<Column>| match column {
            None => Ok(0),
            Some(column) => whole_number(column.cell(record))
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| (1..=MAX_TOKENS).contains(n))
                .ok_or_else(|| refuse(column, "a whole number of at least 1 token")),
        };
        let lengths = LengthPair { prompt: length(&self.prompt)?, output: length(&self.output)? };
        let id = match &self.id {
            None => None,
            Some(column) => Some(
                whole_number(column.cell(record))
                    .ok_or_else(|| refuse(column, "a whole number of at least 0"))?,
            ),
        };
        Ok(Row { at, id, time, written, lengths })
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
        let [earlier, later] = [pair[0], pair[1]];
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
    let last = rows[rows.len() - 1];
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

/// A whole number, also if it is written as `395.0`, as pandas writes columns with a gap.
fn whole_number(cell: &str) -> Option<u64> {
    if let Ok(number) = cell.parse::<u64>() {
        return Some(number);
    }
    let number = cell.parse::<f64>().ok()?;
    let exact = number.fract() == 0.0 && (0.0..9e15).contains(&number);
    exact.then_some(number as u64)
}
