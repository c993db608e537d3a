//! A CSV file read by column names, with errors that name file and line.

use std::path::Path;

use crate::base::input;
use crate::profile::ProfileError;

/// A CSV file in memory.
pub(in crate::import) struct CsvTable {
    file: String,
    headers: csv::StringRecord,
    records: Vec<csv::StringRecord>,
}

/// A column, found once.
#[derive(Clone, Copy)]
pub(in crate::import) struct Column(usize);

/// A row, which knows where it stands.
#[derive(Clone, Copy)]
pub(in crate::import) struct Row<'a> {
    table: &'a CsvTable,
    record: &'a csv::StringRecord,
}

impl CsvTable {
    pub(in crate::import) fn read(path: &Path) -> Result<CsvTable, ProfileError> {
        let file = path.display().to_string();
        let malformed = |error: csv::Error| {
            let line = error.position().map_or(1, csv::Position::line);
            match error.into_kind() {
                csv::ErrorKind::Io(source) => {
                    ProfileError::Io { action: "read", file: file.clone(), source }
                }
                csv::ErrorKind::UnequalLengths { expected_len, len, .. } => ProfileError::Row {
                    file: file.clone(),
                    line,
                    message: format!("{len} fields were found, expected {expected_len}"),
                },
                kind => {
                    ProfileError::Row { file: file.clone(), line, message: format!("{kind:?}") }
                }
            }
        };
        let rows = input::open_rows(path).map_err(|error| malformed(error.into()))?;
        let mut reader = csv::Reader::from_reader(rows);
        let headers = reader.headers().map_err(malformed)?.clone();
        let records = reader.records().collect::<Result<_, _>>().map_err(malformed)?;
        Ok(CsvTable { file, headers, records })
    }

    pub(in crate::import) fn column(&self, name: &str) -> Result<Column, ProfileError> {
        self.optional_column(name).ok_or_else(|| ProfileError::Column {
            file: self.file.clone(),
            column: name.to_owned(),
        })
    }

    pub(in crate::import) fn optional_column(&self, name: &str) -> Option<Column> {
        self.headers.iter().position(|header| header == name).map(Column)
    }

    pub(in crate::import) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.records.iter().map(|record| Row { table: self, record })
    }

    /// The complaint that no row fulfils `wanted`.
    pub(in crate::import) fn nothing_measured(&self, wanted: String) -> ProfileError {
        ProfileError::NothingMeasured { file: self.file.clone(), wanted }
    }
}

impl<'a> Row<'a> {
    pub(in crate::import) fn text(self, column: Column) -> &'a str {
        self.record.get(column.0).unwrap_or("").trim()
    }

    /// A whole number.
    pub(in crate::import) fn integer(self, column: Column) -> Result<u32, ProfileError> {
        self.text(column).parse().map_err(|_| self.malformed(column, "a whole number"))
    }

    /// A time in milliseconds, as microseconds to three places: the profiler's resolution is a
    /// microsecond and a median of two may end in a half, so this loses nothing.
    pub(in crate::import) fn microseconds(self, column: Column) -> Result<f64, ProfileError> {
        match self.text(column).parse::<f64>() {
            Ok(ms) if ms.is_finite() && ms >= 0.0 => Ok(round3(ms * 1e3)),
            _ => Err(self.malformed(column, "a time in milliseconds, 0 or more")),
        }
    }

    /// A number, 0 or more.
    pub(in crate::import) fn number(self, column: Column) -> Result<f64, ProfileError> {
        match self.text(column).parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
            _ => Err(self.malformed(column, "a number, 0 or more")),
        }
    }

    /// Python's `True` or `False`.
    pub(in crate::import) fn boolean(self, column: Column) -> Result<bool, ProfileError> {
        match self.text(column) {
            "True" | "true" => Ok(true),
            "False" | "false" => Ok(false),
            _ => Err(self.malformed(column, "True or False")),
        }
    }

    fn malformed(self, column: Column, expected: &str) -> ProfileError {
        let name = self.table.headers.get(column.0).unwrap_or("?");
        ProfileError::Row {
            file: self.table.file.clone(),
            line: self.record.position().map_or(0, csv::Position::line),
            message: format!("`{name}` is `{}`, expected {expected}", self.text(column)),
        }
    }
}

/// To three decimal places.
pub(in crate::import) fn round3(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
