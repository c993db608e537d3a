//! Rows of a parquet file.

use std::collections::BTreeMap;

use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::record::{Field, Row};

use crate::profile::ProfileError;

/// A row with its columns by name.
pub(super) struct Record<'a> {
    file: &'a str,
    line: u64,
    columns: &'a BTreeMap<String, usize>,
    row: &'a Row,
}

impl Record<'_> {
    fn field(&self, column: &str) -> Option<&Field> {
        let index = *self.columns.get(column)?;
        self.row.get_column_iter().nth(index).map(|(_, field)| field)
    }

    fn missing(&self, column: &str) -> ProfileError {
        match self.columns.contains_key(column) {
            false => ProfileError::Column { file: self.file.to_owned(), column: column.to_owned() },
            true => ProfileError::Row {
                file: self.file.to_owned(),
                line: self.line,
                message: format!("`{column}` is not of the expected type"),
            },
        }
    }

    /// A count that fits into 32 bits.
    pub(super) fn count(&self, column: &str) -> Result<u32, ProfileError> {
        self.count_or(column, None)
    }

    /// A count, with what to take where there is none.
    pub(super) fn count_or(&self, column: &str, or: Option<u32>) -> Result<u32, ProfileError> {
        let number = match self.field(column) {
            Some(Field::Long(number)) => u32::try_from(*number).ok(),
            Some(Field::Int(number)) => u32::try_from(*number).ok(),
            Some(Field::Double(number)) if *number >= 0.0 => Some(*number as u32),
            None | Some(Field::Null) => or,
            Some(_) => None,
        };
        number.ok_or_else(|| self.missing(column))
    }

    /// Microseconds, from a column in milliseconds.
    pub(super) fn micros(&self, column: &str) -> Result<f64, ProfileError> {
        match self.field(column) {
            Some(Field::Double(ms)) if *ms > 0.0 && ms.is_finite() => Ok(*ms * 1e3),
            _ => Err(self.missing(column)),
        }
    }

    /// A text; empty if there is none.
    pub(super) fn text(&self, column: &str) -> &str {
        match self.field(column) {
            Some(Field::Str(text)) => text,
            _ => "",
        }
    }
}

/// Calls `each` with every row of the parquet file `bytes`, in the file's order.
pub(super) fn for_each(
    bytes: Vec<u8>,
    file: &str,
    mut each: impl FnMut(&Record) -> Result<(), ProfileError>,
) -> Result<(), ProfileError> {
    let failed = |error: parquet::errors::ParquetError| ProfileError::Row {
        file: file.to_owned(),
        line: 0,
        message: error.to_string(),
    };
    let reader = open(bytes::Bytes::from(bytes)).map_err(failed)?;
    let columns: BTreeMap<String, usize> = reader
        .metadata()
        .file_metadata()
        .schema()
        .get_fields()
        .iter()
        .enumerate()
        .map(|(index, field)| (field.name().to_owned(), index))
        .collect();
    for (line, row) in reader.get_row_iter(None).map_err(failed)?.enumerate() {
        let row = row.map_err(failed)?;
        each(&Record { file, line: line as u64 + 1, columns: &columns, row: &row })?;
    }
    Ok(())
}

fn open<R: ChunkReader + 'static>(
    reader: R,
) -> Result<SerializedFileReader<R>, parquet::errors::ParquetError> {
    SerializedFileReader::new(reader)
}
