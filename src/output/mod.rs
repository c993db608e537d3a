//! Everything a run leaves behind, one writer per file: `request_metrics.csv`, `batch_metrics.csv`,
//! `summary.json`, `seeds.csv`, `variants.csv`, `run.log`, and the report on the terminal.

pub mod batch_csv;
mod csv_sink;
pub mod decimal;
mod error;
mod folder;
pub mod request_csv;
mod rows;
mod run_log;

pub use csv_sink::{BATCHES, CsvSink, REQUESTS};
pub use error::OutputError;
pub use folder::{ResultFolder, file_name};
pub use run_log::{RunLog, cpu_seconds};
