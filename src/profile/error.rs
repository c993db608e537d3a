//! What can be wrong with a profile, or with the files it is computed from.

/// A profile cannot be read, is inconsistent, or cannot be computed from the files given.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A file cannot be read or written.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A profile is not in the format.
    #[error("{file}:{line}:{column}: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What was found and what was expected.
        message: String,
    },
    /// A profile is in the format but contradicts itself.
    #[error("{file}: {place}: {message}")]
    Inconsistent {
        /// The file.
        file: String,
        /// The table.
        place: String,
        /// What is wrong.
        message: String,
    },
    /// A CSV file lacks a column.
    #[error("{file}:1: there is no column `{column}`")]
    Column {
        /// The file.
        file: String,
        /// The column.
        column: String,
    },
    /// A row of a CSV file is malformed.
    #[error("{file}:{line}: {message}")]
    Row {
        /// The file.
        file: String,
        /// Line, from 1.
        line: u64,
        /// What was found and what was expected.
        message: String,
    },
    /// A CSV file has no measurement of what was asked for.
    #[error("{file}: no row has {wanted}")]
    NothingMeasured {
        /// The file.
        file: String,
        /// The conditions.
        wanted: String,
    },
    /// The options of an import make no sense.
    #[error("{0}")]
    Options(String),
}
