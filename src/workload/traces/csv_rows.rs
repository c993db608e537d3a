//! Rows of a CSV trace.

use std::collections::BTreeSet;

use csv::{StringRecord, Trim};

use super::reader::TraceSettings;
use super::rows::{ClassNames, Identity, Row};
use super::text::Text;
use super::{Need, TimeUnit, Trace, bad_cell, position};
use crate::scenario::SettingError;
use crate::workload::LengthPair;
use crate::workload::checks::MAX_TOKENS;

/// Other values of a filtered column that a complaint shows.
const SHOWN: usize = 8;

/// Reads the rows, and says whether their times count from the first.
///
/// # Errors
/// The header or a row that does not fit.
pub(super) fn read(
    settings: &TraceSettings<'_>,
    text: &Text,
    need: Need,
) -> Result<(Trace, bool), SettingError> {
    let mut csv = csv::ReaderBuilder::new().trim(Trim::All).from_reader(text.bytes());
    let header = csv.headers().map_err(|e| text.complaint(&e))?.clone();
    let columns = find_columns(settings, &header, need)?;
    let mut rows = Vec::new();
    let mut failed = 0_u64;
    let mut others = BTreeSet::new();
    let mut classes = ClassNames::default();
    let mut record = StringRecord::new();
    while csv.read_record(&mut record).map_err(|e| text.complaint(&e))? {
        match columns.skipped(&record) {
            None => {
                let mut row = columns.row(&record, text)?;
                if let Some(column) = &columns.class {
                    row.class = classes.number(column.cell(&record), || text.place(row.at));
                }
                rows.push(row);
            }
            Some(Skipped::Failed) => failed += 1,
            Some(Skipped::Other(value)) => {
                if others.len() < SHOWN {
                    others.insert(value);
                }
            }
        }
    }
    let file = settings.file.display();
    if rows.is_empty() && (failed > 0 || !others.is_empty()) {
        let mut error = SettingError::new(
            "format",
            format!("nothing left of {file}: {failed} failed requests, the others filtered out"),
            "at least one row",
        );
        if let Some((column, _)) = &columns.only {
            let others: Vec<String> = others.into_iter().collect();
            error = error.help(format!("other values of {}: {}", column.name, others.join(", ")));
        }
        return Err(error);
    }
    let mut warnings = Vec::new();
    if failed > 0 {
        let all = failed + rows.len() as u64;
        warnings.push(format!("{failed} of {all} requests in {file} failed and are left out"));
    }
    Ok((Trace { rows, start: 0, classes: classes.done(), warnings }, columns.rebase))
}

fn find_columns(
    settings: &TraceSettings<'_>,
    header: &StringRecord,
    need: Need,
) -> Result<Columns, SettingError> {
    let file = settings.file.display();
    let found = || match header.is_empty() {
        true => format!("{file}, which is empty"),
        false => {
            let names: Vec<&str> = header.iter().collect();
            format!("{file} with columns {}", names.join(", "))
        }
    };
    let map = settings.format.column_map(header).ok_or_else(|| {
        SettingError::new("file", found(), "a header of a known format").help(
            "known: arrived_at,num_prefill_tokens,num_decode_tokens, \
             TIMESTAMP,ContextTokens,GeneratedTokens and BurstGPT's; \
             others with `format: Columns(...)`",
        )
    })?;
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
        time_unit: map.time_unit,
        rebase: map.rebase,
    })
}

/// Why a row is left out.
enum Skipped {
    /// The request failed.
    Failed,
    /// It is not the one that the scenario asks for.
    Other(String),
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
        Ok(Row { at, id, time, written, lengths, priority, class, identity })
    }

    /// Whether the scenario or the format leaves the row out.
    fn skipped(&self, record: &StringRecord) -> Option<Skipped> {
        if let Some((column, wanted)) = &self.only
            && column.cell(record) != wanted
        {
            return Some(Skipped::Other(column.cell(record).to_owned()));
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
