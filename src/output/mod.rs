//! Everything a run leaves behind, one writer per file: `request_metrics.csv`, `batch_metrics.csv`,
//! `summary.json`, `seeds.csv`, `variants.csv`, `run.log`, and the report on the terminal.
//!
//! [`ResultFolder`] keeps what is written out of sight until its `commit`.

pub(crate) mod batch_csv;
mod claim;
#[cfg(feature = "cli")]
mod collection;
mod csv_sink;
pub(crate) mod decimal;
mod error;
mod event_log;
#[cfg(test)]
pub(crate) mod examples;
mod exchange;
mod folder;
mod lock;
mod manifest;
mod names;
#[cfg(feature = "cli")]
mod new_file;
pub(crate) mod request_csv;
mod rows;
mod run_log;
mod series_csv;
pub(crate) mod summary_json;
pub(crate) mod tables;
pub(crate) mod text_table;
mod unfinished;

#[doc(hidden)]
pub use claim::Claim;
pub use claim::Replace;
#[cfg(feature = "cli")]
pub(crate) use collection::Collection;
pub(crate) use csv_sink::{BATCHES, CsvSink, REQUESTS, TIME_SERIES, join_seeds};
pub use error::OutputError;
pub(crate) use event_log::EventLog;
pub use folder::{OpenFolder, ResultFolder};
#[doc(hidden)]
pub use manifest::{Manifest, State};
#[cfg(feature = "cli")]
pub(crate) use new_file::NewFile;
#[doc(hidden)]
pub use run_log::cpu_seconds;
pub(crate) use run_log::{RUN_LOG, RunLog, SeedCounts, Work, command_line, peak_memory_mib};
#[doc(hidden)]
pub use unfinished::abandon_all;
