//! Everything a run leaves behind, one writer per file: `request_metrics.csv`, `batch_metrics.csv`,
//! `summary.json`, `seeds.csv`, `variants.csv`, `run.log`, and the report on the terminal.
//!
//! A run is written like this; nothing is visible at the target before `commit`:
//!
//! ```no_run
//! # use std::path::Path;
//! # use vidur_ecs::metrics::{
//! #     ExperimentResult, RunContext, RunSummary, StatsSink,
//! # };
//! # use vidur_ecs::records::RunTotals;
//! # use vidur_ecs::scenario::OutputSettings;
//! # use vidur_ecs::output::{CsvSink, OutputError, ResultFolder, write_results};
//! # fn simulate(_: &mut (StatsSink, CsvSink)) -> RunTotals { RunTotals::default() }
//! # fn collect(_: RunSummary) -> ExperimentResult {
//! #     let (name, title, variants, outcomes) = ("i2_1".into(), None, vec![], vec![]);
//! #     ExperimentResult { name, title, variants, misfits: vec![], exact_steps: false, outcomes }
//! # }
//! # fn run() -> Result<(), OutputError> {
//! let folder = ResultFolder::create(Path::new("results/i2_1"), false)?;
//! let csv = CsvSink::create(folder.path(), &["Llama-2-7B"], &OutputSettings::default())?;
//! let mut sink = (StatsSink::new(None), csv);
//! let totals = simulate(&mut sink);
//! sink.1.finish()?;
//! let summary = sink.0.finish(&totals, &RunContext::default());
//! let files = write_results(&folder, &collect(summary))?;
//! folder.commit()?;
//! # let _ = files; Ok(())
//! # }
//! ```

pub mod batch_csv;
mod claim;
mod collection;
mod csv_sink;
pub mod decimal;
mod error;
mod event_log;
#[cfg(test)]
pub(crate) mod examples;
mod exchange;
mod folder;
mod lock;
mod manifest;
mod names;
mod new_file;
pub mod request_csv;
mod rows;
mod run_log;
mod series_csv;
pub mod summary_json;
pub mod tables;
pub mod text_table;
mod unfinished;

pub use claim::{Claim, Replace};
pub use collection::Collection;
pub use csv_sink::{BATCHES, CsvSink, REQUESTS, TIME_SERIES, join_seeds};
pub use error::OutputError;
pub use event_log::EventLog;
pub use folder::{Committed, OpenFolder, ResultFolder};
pub use manifest::{Changes, MANIFEST, MadeFrom, Manifest, Origin, State, WrittenFile};
pub use new_file::NewFile;
pub use run_log::{RUN_LOG, RunLog, SeedCounts, Work, command_line, cpu_seconds, peak_memory_mib};
pub use unfinished::abandon_all;

use crate::metrics::ExperimentResult;

/// Writes `summary.json`, `seeds.csv` where a variant ran with several seeds and `variants.csv` where
/// there are variants. Returns the names of the files.
pub fn write_results(
    folder: &ResultFolder,
    result: &ExperimentResult,
) -> Result<Vec<String>, OutputError> {
    let mut files = vec![(summary_json::SUMMARY, summary_json::render(result))];
    if result.variants.iter().any(|variant| variant.runs.len() > 1) {
        files.push((tables::SEEDS, tables::seeds_csv(result)));
    }
    if result.variants.iter().any(|variant| !variant.name.is_empty()) {
        files.push((tables::VARIANTS, tables::variants_csv(result)));
    }
    for (name, text) in &files {
        folder.write(name, text)?;
    }
    Ok(files.into_iter().map(|(name, _)| name.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_written_where_they_tell_something() {
        let root = tempfile::tempdir().unwrap();
        let write = |result: ExperimentResult| {
            let folder = ResultFolder::create(&root.path().join("run"), false).unwrap();
            write_results(&folder, &result).unwrap()
        };
        assert_eq!(write(examples::one_run()), ["summary.json"]);
        assert_eq!(write(examples::many_seeds()), ["summary.json", "seeds.csv"]);
        assert_eq!(write(examples::variants()), ["summary.json", "variants.csv"]);
    }
}
