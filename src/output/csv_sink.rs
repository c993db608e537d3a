//! The per-request and per-batch files of a run, written while it runs.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::batch_csv::{BatchCsv, RunLengthCsv};
use super::error::OutputError;
use super::request_csv::RequestCsv;
use super::series_csv::SeriesCsv;
use crate::metrics::{BatchRecord, BatchRecords, IntervalRecord, RequestRecord, RunSink};
use crate::sim::Nanos;

/// File name of the requests.
pub const REQUESTS: &str = "request_metrics.csv";
/// File name of the batches.
pub const BATCHES: &str = "batch_metrics.csv";
/// File name of the time series.
pub const TIME_SERIES: &str = "time_series.csv";

/// Writes `request_metrics.csv` and, if wanted, `batch_metrics.csv`. Errors do not stop the run;
/// [`CsvSink::finish`] returns the first one.
#[derive(Debug)]
pub struct CsvSink {
    folder: PathBuf,
    requests: RequestCsv<File>,
    batches: Batches,
    series: Option<SeriesCsv<File>>,
}

/// The form of the batches' file.
#[derive(Debug)]
enum Batches {
    None,
    Each(BatchCsv<File>),
    Runs(RunLengthCsv<File>),
}

impl CsvSink {
    /// Creates the files in an existing folder. A request's row names the model of its pool.
    pub fn create(
        folder: &Path,
        models: &[&str],
        batches: BatchRecords,
    ) -> Result<CsvSink, OutputError> {
        let create = |name: &str| {
            let path = folder.join(name);
            File::create(&path).map_err(OutputError::io("create", &path))
        };
        Ok(CsvSink {
            folder: folder.to_owned(),
            requests: RequestCsv::new(create(REQUESTS)?, models),
            batches: match batches {
                BatchRecords::Off => Batches::None,
                BatchRecords::Each => Batches::Each(BatchCsv::new(create(BATCHES)?)),
                BatchRecords::RunLength => Batches::Runs(RunLengthCsv::new(create(BATCHES)?)),
            },
            series: None,
        })
    }

    /// Also writes `time_series.csv`, of intervals of this length in a cluster of so many KV blocks.
    pub fn with_time_series(self, interval: Nanos, blocks: u64) -> Result<CsvSink, OutputError> {
        let path = self.folder.join(TIME_SERIES);
        let file = File::create(&path).map_err(OutputError::io("create", &path))?;
        Ok(CsvSink { series: Some(SeriesCsv::new(file, interval, blocks)), ..self })
    }

    /// Also writes the columns of speculative decoding. Before the first request.
    pub fn with_drafts(self) -> CsvSink {
        CsvSink { requests: self.requests.with_drafts(), ..self }
    }

    /// Also writes the column of disaggregation. Before the first request.
    pub fn with_transfers(self) -> CsvSink {
        CsvSink { requests: self.requests.with_transfers(), ..self }
    }

    /// Also writes the columns of host memory. Before the first request.
    pub fn with_offload(self) -> CsvSink {
        CsvSink { requests: self.requests.with_offload(), ..self }
    }

    /// Also writes the column of LoRA adapters. Before the first request.
    pub fn with_adapters(self) -> CsvSink {
        CsvSink { requests: self.requests.with_adapters(), ..self }
    }

    /// Also writes the column of classes with these names. Before the first request, the last of
    /// the additions.
    pub fn with_classes(self, names: &[String]) -> CsvSink {
        CsvSink { requests: self.requests.with_classes(names), ..self }
    }

    /// Ends the files; returns the first error there was while writing.
    pub fn finish(self) -> Result<(), OutputError> {
        let failed = |name: &str| OutputError::io("write", &self.folder.join(name));
        self.requests.finish().map_err(failed(REQUESTS))?;
        match self.batches {
            Batches::None => {}
            Batches::Each(rows) => drop(rows.finish().map_err(failed(BATCHES))?),
            Batches::Runs(rows) => drop(rows.finish().map_err(failed(BATCHES))?),
        }
        if let Some(series) = self.series {
            series.finish().map_err(failed(TIME_SERIES))?;
        }
        Ok(())
    }
}

impl RunSink for CsvSink {
    fn request(&mut self, record: &RequestRecord) {
        self.requests.write(record);
    }

    fn batch(&mut self, record: &BatchRecord) {
        match &mut self.batches {
            Batches::None => {}
            Batches::Each(rows) => rows.write(record),
            Batches::Runs(rows) => rows.write(record),
        }
    }

    fn interval(&mut self, record: &IntervalRecord) {
        if let Some(series) = &mut self.series {
            series.write(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn batches_are_optional() {
        let folder = tempfile::tempdir().unwrap();
        CsvSink::create(folder.path(), &["m"], BatchRecords::Off).unwrap().finish().unwrap();
        assert_eq!(
            fs::read_to_string(folder.path().join(REQUESTS)).unwrap(),
            format!("{}\n", super::super::request_csv::HEADER)
        );
        assert!(!folder.path().join(BATCHES).exists());
        CsvSink::create(folder.path(), &["m"], BatchRecords::Each).unwrap().finish().unwrap();
        assert!(folder.path().join(BATCHES).exists());
    }

    #[test]
    fn an_absent_folder_is_named() {
        let error =
            CsvSink::create(Path::new("/nonexistent/x"), &["m"], BatchRecords::Each).unwrap_err();
        assert!(error.to_string().starts_with("cannot create /nonexistent/x/request_metrics.csv"));
    }
}
