//! Rows of a CSV trace.

use std::collections::BTreeSet;
use std::path::Path;

use csv::{StringRecord, Trim};

use super::reader::TraceSettings;
use super::rows::{ClassNames, Identity, Row};
use super::text::{BUFFER, RowLimit, Rows, Text};
use super::{Need, TimeUnit, bad_cell, position};
use crate::base::SettingError;
use crate::base::text::cut;
use crate::workload::LengthPair;
use crate::workload::checks::MAX_TOKENS;

/// Other values of a filtered column that a complaint shows.
const SHOWN: usize = 8;

/// Columns of a header that a complaint shows.
const SHOWN_COLUMNS: usize = 20;

/// The rows of a file, one at a time.
pub(super) struct CsvRows {
    csv: csv::Reader<Rows>,
    limit: RowLimit,
    columns: Columns,
    record: StringRecord,
    classes: ClassNames,
    /// Rows that are used, and those left out since they failed.
    used: u64,
    failed: u64,
    /// Some values of a filtered column that are left out.
    others: BTreeSet<String>,
}

impl CsvRows {
    /// # Errors
    /// The file cannot be read, or its header does not fit.
    pub fn open(
        settings: &TraceSettings,
        text: &Text,
        need: Need,
    ) -> Result<CsvRows, SettingError> {
        let mut csv = csv::ReaderBuilder::new();
        let (rows, limit) = Rows::new(text.open()?);
        let mut csv = csv.trim(Trim::Headers).buffer_capacity(BUFFER).from_reader(rows);
        let header = csv.headers().map_err(|e| text.complaint(&e))?.clone();
        Ok(CsvRows {
            csv,
            limit,
            columns: find_columns(settings, &header, need)?,
            record: StringRecord::new(),
            classes: ClassNames::default(),
            used: 0,
            failed: 0,
            others: BTreeSet::new(),
        })
    }

    /// Whether times count from the first one.
    pub fn rebase(&self) -> bool {
        self.columns.rebase
    }

    /// The next row that is not left out.
    ///
    /// # Errors
    /// A row that does not fit.
    pub fn next(&mut self, text: &Text) -> Result<Option<Row>, SettingError> {
        let CsvRows { csv, columns, record, limit, .. } = self;
        while csv.read_record(record).map_err(|e| text.complaint(&e))? {
            limit.next_row();
            match columns.skipped(record) {
                None => {
                    let mut row = columns.row(record, text)?;
                    if let Some(column) = &columns.class {
                        row.class = self.classes.number(column.cell(record), row.at);
                    }
                    self.used += 1;
                    return Ok(Some(row));
                }
                Some(Skipped::Failed) => self.failed += 1,
                Some(Skipped::Other(value)) => {
                    if self.others.len() < SHOWN && !self.others.contains(value) {
                        self.others.insert(cut(value).into_owned());
                    }
                }
            }
        }
        Ok(None)
    }

    /// Complains about `file`, which is read to its end, if every row was left out.
    ///
    /// # Errors
    /// It has rows, and none is used.
    pub fn check_any(&self, file: &Path) -> Result<(), SettingError> {
        if self.used > 0 || (self.failed == 0 && self.others.is_empty()) {
            return Ok(());
        }
        let (file, failed) = (file.display(), self.failed);
        let found =
            format!("nothing left of {file}: {failed} failed requests, the others filtered out");
        let mut error = SettingError::new("format", found, "at least one row");
        if let Some((column, _)) = &self.columns.only {
            let others: Vec<&str> = self.others.iter().map(String::as_str).collect();
            error = error.help(format!("other values of {}: {}", column.name, others.join(", ")));
        }
        Err(error)
    }

    /// What the user should know of `file`, as far as it is read.
    pub fn warnings(&self, file: &Path) -> Vec<String> {
        let (failed, all) = (self.failed, self.failed + self.used);
        let warning =
            || format!("{failed} of {all} requests in {} failed and are left out", file.display());
        (failed > 0).then(warning).into_iter().collect()
    }

    /// Names of the classes so far.
    pub fn classes(&self) -> &ClassNames {
        &self.classes
    }
}

fn find_columns(
    settings: &TraceSettings,
    header: &StringRecord,
    need: Need,
) -> Result<Columns, SettingError> {
    let file = settings.file.display();
    let found = || match header.is_empty() {
        true => format!("{file}, which is empty"),
        false => {
            let names: Vec<_> = header.iter().take(SHOWN_COLUMNS).map(cut).collect();
            let more = header.len() - names.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{file} with columns {}{more}", names.join(", "))
        }
    };
    let map = settings.format.column_map(header).ok_or_else(|| {
        SettingError::new("file", found(), "a header of a known format").help(
            "known: arrived_at,num_prefill_tokens,num_decode_tokens, \
             TIMESTAMP,ContextTokens,GeneratedTokens and BurstGPT's; \
             others with `format: Columns(...)`",
        )
    })?;
    let time_unit = settings.time_unit.unwrap_or(map.time_unit);
    let find = |name: &Option<String>, what: &str| match name {
        None => Err(SettingError::new("format", found(), format!("a column of {what}"))
            .help("`Lengths` has no times; `Columns` needs the name of each column")),
        Some(name) => match position(header, &Some(name.clone())) {
            Some(index) => Ok(Some(Column { index, name: name.clone() })),
            None => Err(SettingError::new("file", found(), format!("a column {name} of {what}"))),
        },
    };
    let named = |name: &Option<String>, what: &str, wanted: bool| match name {
        Some(_) if wanted => find(name, what),
        _ => Ok(None),
    };
    let only = match &map.only {
        None => None,
        Some((name, value)) => {
            find(&Some(name.clone()), "models")?.map(|column| (column, value.clone()))
        }
    };
    Ok(Columns {
        arrived_at: if need.times { find(&map.arrived_at, "arrival times")? } else { None },
        prompt: if need.lengths { find(&map.prompt, "prompt lengths")? } else { None },
        output: if need.lengths { find(&map.output, "output lengths")? } else { None },
        id: named(&map.id, "ids", need.replay())?,
        priority: named(&map.priority, "priorities", need.replay())?,
        class: named(&map.class, "classes", need.replay())?,
        only,
        failures: named(&map.output, "output lengths", map.zero_output_failed)?,
        time_unit,
        rebase: map.rebase || time_unit == TimeUnit::DateTime,
    })
}

/// Why a row is left out.
enum Skipped<'a> {
    /// The request failed.
    Failed,
    /// The column is not the one that the scenario asks for.
    Other(&'a str),
}

/// A column that is there.
struct Column {
    index: usize,
    name: String,
}

impl Column {
    fn cell<'a>(&self, record: &'a StringRecord) -> &'a str {
        // The CSV reader's own trimming copies each row, which takes longer than all else.
        record.get(self.index).unwrap_or("").trim()
    }
}

/// The columns that are read.
struct Columns {
    arrived_at: Option<Column>,
    prompt: Option<Column>,
    output: Option<Column>,
    id: Option<Column>,
    priority: Option<Column>,
    class: Option<Column>,
    /// A column, and the only value of it that is read.
    only: Option<(Column, String)>,
    /// A row whose output is 0 failed.
    failures: Option<Column>,
    time_unit: TimeUnit,
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
        let priority = match &self.priority {
            None => 0,
            Some(column) => column
                .cell(record)
                .parse()
                .map_err(|_| refuse(column, "a whole number, the smaller the more urgent"))?,
        };
        let id = match &self.id {
            None => None,
            Some(column) => Some(
                whole_number(column.cell(record))
                    .ok_or_else(|| refuse(column, "a whole number of at least 0"))?,
            ),
        };
        let (class, identity) = (0, Identity::Unique);
        Ok(Row { at, id, time, written, lengths, priority, class, identity, link: None })
    }

    /// Whether the scenario or the format leaves the row out.
    fn skipped<'a>(&self, record: &'a StringRecord) -> Option<Skipped<'a>> {
        if let Some((column, wanted)) = &self.only
            && column.cell(record) != wanted
        {
            return Some(Skipped::Other(column.cell(record)));
        }
        let failed =
            self.failures.as_ref().is_some_and(|c| whole_number(c.cell(record)) == Some(0));
        failed.then_some(Skipped::Failed)
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
