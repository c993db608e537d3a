//! Reads a CSV trace and checks every row.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use csv::{ErrorKind, StringRecord, Trim};
use flate2::read::MultiGzDecoder;

use super::rows::Row;
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
        let mut csv = csv::ReaderBuilder::new().trim(Trim::All).from_reader(self.open(base_dir)?);
        let header = csv.headers().map_err(|e| self.complaint(&e))?.clone();
        let columns = self.columns(&header, need)?;
        let mut rows = Vec::new();
        let mut record = StringRecord::new();
        while csv.read_record(&mut record).map_err(|e| self.complaint(&e))? {
            rows.push(self.row(&record, &columns)?);
        }
        if rows.is_empty() {
            return Err(SettingError::new(
                "file",
                format!("no rows in {}", self.file.display()),
                "a header and at least one row",
            ));
        }
        self.check_ids(&rows)?;
        let mut start = 0;
        if need.times {
            if self.sort {
                rows.sort_by_key(|row| row.time);
            }
            self.check_times(&rows, columns.rebase)?;
            if columns.rebase {
                start = rows[0].time;
            }
        }
        Ok(Trace { rows, start })
    }

    fn open(&self, base_dir: &Path) -> Result<Box<dyn Read>, SettingError> {
        let path = base_dir.join(self.file);
        let unreadable = |error: std::io::Error| {
            SettingError::new("file", format!("{}: {error}", path.display()), "a readable file")
                .help("paths are relative to the scenario")
        };
        if path.is_dir() {
            return Err(SettingError::new(
                "file",
                format!("{}: a directory", path.display()),
                "a readable file",
            ));
        }
        let file = BufReader::new(File::open(&path).map_err(unreadable)?);
        let zipped = path.extension().is_some_and(|extension| extension == "gz");
        Ok(if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
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

    fn row(&self, record: &StringRecord, columns: &Columns) -> Result<Row, SettingError> {
        let line = record.position().map_or(0, |position| position.line());
        let refuse = |column: &Column, expected: &str| {
            bad_cell(column.cell(record), &column.name, &self.place(line), expected)
        };
        let time = match &columns.arrived_at {
            None => 0,
            Some(column) => {
                let unit = columns.time_unit;
                let time = unit.parse(column.cell(record));
                let time = time.ok_or_else(|| refuse(column, unit.expected()))?;
                if time < 0 && !columns.rebase {
                    return Err(refuse(column, "a time of at least 0"));
                }
                time
            }
        };
        let length = |column: &Option<Column>| match column {
            None => Ok(0),
            Some(column) => whole_number(column.cell(record))
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| (1..=MAX_TOKENS).contains(n))
                .ok_or_else(|| refuse(column, "a whole number of at least 1 token")),
        };
        let lengths =
            LengthPair { prompt: length(&columns.prompt)?, output: length(&columns.output)? };
        let id = match &columns.id {
            None => None,
            Some(column) => Some(
                whole_number(column.cell(record))
                    .ok_or_else(|| refuse(column, "a whole number of at least 0"))?,
            ),
        };
        Ok(Row { line, id, time, lengths })
    }

    fn check_ids(&self, rows: &[Row]) -> Result<(), SettingError> {
        let mut ids: Vec<(u64, u64)> =
            rows.iter().filter_map(|row| row.id.map(|id| (id, row.line))).collect();
        ids.sort_unstable();
        let twice = ids.windows(2).filter(|pair| pair[0].0 == pair[1].0);
        let Some(pair) = twice.min_by_key(|pair| pair[1].1) else { return Ok(()) };
        let [(id, first), (_, second)] = [pair[0], pair[1]];
        Err(SettingError::new(
            "file",
            format!("id {id} at {} and again at {}", self.place(first), self.place(second)),
            "a different id for each request",
        ))
    }

    fn check_times(&self, rows: &[Row], rebase: bool) -> Result<(), SettingError> {
        for pair in rows.windows(2) {
            let [earlier, later] = [pair[0], pair[1]];
            if later.time < earlier.time {
                let seconds = (earlier.time - later.time) as f64 / 1e9;
                return Err(SettingError::new(
                    "file",
                    format!(
                        "a time at {} that is {seconds} s before the one at {}",
                        self.place(later.line),
                        self.place(earlier.line)
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
                format!("a time at {} more than 1e9 s after the start", self.place(last.line)),
                "times within 1e9 s",
            )
            .help("is the unit right? `rebase: true` in `Columns` counts from the first time")),
        }
    }

    /// What the CSV reader found, with file and line.
    fn complaint(&self, error: &csv::Error) -> SettingError {
        let place = match error.position() {
            Some(position) => self.place(position.line()),
            None => self.file.display().to_string(),
        };
        match error.kind() {
            ErrorKind::UnequalLengths { expected_len, len, .. } => SettingError::new(
                "file",
                format!("{len} fields at {place}"),
                format!("{expected_len} fields, as in the header"),
            ),
            ErrorKind::Utf8 { err, .. } => SettingError::new(
                "file",
                format!("bytes that are no UTF-8 in field {} at {place}", err.field() + 1),
                "UTF-8 text",
            ),
            _ => SettingError::new("file", format!("{place}: {error}"), "a readable CSV file"),
        }
    }

    /// `requests.csv:17`
    fn place(&self, line: u64) -> String {
        format!("{}:{line}", self.file.display())
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

/// A whole number, also if it is written as `395.0`, as pandas writes columns with a gap.
fn whole_number(cell: &str) -> Option<u64> {
    if let Ok(number) = cell.parse::<u64>() {
        return Some(number);
    }
    let number = cell.parse::<f64>().ok()?;
    let exact = number.fract() == 0.0 && (0.0..9e15).contains(&number);
    exact.then_some(number as u64)
}
