//! The per-request and per-batch files of a run, written while it runs.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::batch_csv::{BatchCsv, RunLengthCsv};
use super::error::OutputError;
use super::request_csv::RequestCsv;
use super::series_csv::SeriesCsv;
use crate::base::Nanos;
use crate::records::{BatchRecord, BatchRecords, IntervalRecord, RequestRecord, RunSink};
use crate::scenario::OutputSettings;

/// File name of the requests.
pub const REQUESTS: &str = "request_metrics.csv";
/// File name of the batches.
pub const BATCHES: &str = "batch_metrics.csv";
/// File name of the time series.
pub const TIME_SERIES: &str = "time_series.csv";

/// Writes `request_metrics.csv` and `batch_metrics.csv`, each if wanted. Errors do not stop the
/// run; [`CsvSink::finish`] returns the first one.
#[derive(Debug)]
pub struct CsvSink {
    folder: PathBuf,
    requests_name: String,
    requests: Option<RequestCsv<File>>,
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
        output: &OutputSettings,
    ) -> Result<CsvSink, OutputError> {
        CsvSink::create_named(REQUESTS.to_owned(), folder, models, output)
    }

    /// Creates the files of one of several seeds, whose requests have a file of their own until
    /// [`join_seeds`] makes one of all.
    pub fn create_for_seed(
        folder: &Path,
        models: &[&str],
        output: &OutputSettings,
        seed: u64,
    ) -> Result<CsvSink, OutputError> {
        CsvSink::create_named(requests_of(seed), folder, models, output)
    }

    fn create_named(
        requests_name: String,
        folder: &Path,
        models: &[&str],
        output: &OutputSettings,
    ) -> Result<CsvSink, OutputError> {
        let create = |name: &str| {
            let path = folder.join(name);
            File::create(&path).map_err(OutputError::io("create", &path))
        };
        Ok(CsvSink {
            folder: folder.to_owned(),
            requests: match output.request_metrics {
                true => Some(RequestCsv::new(create(&requests_name)?, models)),
                false => None,
            },
            batches: match output.batch_metrics {
                BatchRecords::Off => Batches::None,
                BatchRecords::Each => Batches::Each(BatchCsv::new(create(BATCHES)?)),
                BatchRecords::RunLength => Batches::Runs(RunLengthCsv::new(create(BATCHES)?)),
            },
            series: None,
            requests_name,
        })
    }

    /// Also writes `time_series.csv`, of intervals of this length in a cluster of so many KV
    /// blocks.
    pub fn with_time_series(self, interval: Nanos, blocks: u64) -> Result<CsvSink, OutputError> {
        let path = self.folder.join(TIME_SERIES);
        let file = File::create(&path).map_err(OutputError::io("create", &path))?;
        Ok(CsvSink { series: Some(SeriesCsv::new(file, interval, blocks)), ..self })
    }

    fn with_columns(self, add: impl FnOnce(RequestCsv<File>) -> RequestCsv<File>) -> CsvSink {
        CsvSink { requests: self.requests.map(add), ..self }
    }

    /// Also writes the columns of speculative decoding. Before the first request.
    pub fn with_drafts(self) -> CsvSink {
        self.with_columns(|requests| requests.with_drafts())
    }

    /// Also writes the column of disaggregation. Before the first request.
    pub fn with_transfers(self) -> CsvSink {
        self.with_columns(|requests| requests.with_transfers())
    }

    /// Also writes the column of LoRA adapters. Before the first request.
    pub fn with_adapters(self) -> CsvSink {
        self.with_columns(|requests| requests.with_adapters())
    }

    /// Also writes the column of classes with these names. Before the first request, after the
    /// others but for [`CsvSink::with_seed`].
    pub fn with_classes(self, names: &[String]) -> CsvSink {
        self.with_columns(|requests| requests.with_classes(names))
    }

    /// Also writes the column of the seed. Before the first request, the last of the additions.
    pub fn with_seed(self, seed: u64) -> CsvSink {
        self.with_columns(|requests| requests.with_seed(seed))
    }

    /// Also writes the columns of host memory. Before the first request.
    pub fn with_offload(self) -> CsvSink {
        self.with_columns(|requests| requests.with_offload())
    }

    /// Ends the files; returns the first error there was while writing.
    pub fn finish(self) -> Result<(), OutputError> {
        let failed = |name: &str| OutputError::io("write", &self.folder.join(name));
        if let Some(requests) = self.requests {
            requests.finish().map_err(failed(&self.requests_name))?;
        }
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

/// The file of one seed's requests, as long as it is apart.
fn requests_of(seed: u64) -> String {
    format!("{REQUESTS}.{seed}")
}

/// Makes one file of the requests of these seeds, in their order, and removes those of each.
///
/// # Errors
/// A file could not be read or written.
pub fn join_seeds(folder: &Path, seeds: Range<u64>) -> Result<(), OutputError> {
    let target = folder.join(REQUESTS);
    let mut all: Option<File> = None;
    for seed in seeds {
        let part = folder.join(requests_of(seed));
        match &mut all {
            None => {
                fs::rename(&part, &target).map_err(OutputError::io("create", &target))?;
                let file = File::options().append(true).open(&target);
                all = Some(file.map_err(OutputError::io("write", &target))?);
            }
            Some(all) => {
                let file = File::open(&part).map_err(OutputError::io("read", &part))?;
                let mut rows = BufReader::with_capacity(1 << 18, file);
                // The header, which the first has.
                rows.skip_until(b'\n').map_err(OutputError::io("read", &part))?;
                io::copy(&mut rows, all).map_err(OutputError::io("write", &target))?;
                fs::remove_file(&part).map_err(OutputError::io("remove", &part))?;
            }
        }
    }
    Ok(())
}

impl RunSink for CsvSink {
    fn request(&mut self, record: &RequestRecord) {
        if let Some(requests) = &mut self.requests {
            requests.write(record);
        }
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
    fn each_file_is_optional() {
        let there = |request_metrics, batch_metrics| {
            let folder = tempfile::tempdir().unwrap();
            let output =
                OutputSettings { request_metrics, batch_metrics, ..OutputSettings::default() };
            CsvSink::create(folder.path(), &["m"], &output).unwrap().finish().unwrap();
            [REQUESTS, BATCHES].map(|name| fs::read_to_string(folder.path().join(name)).ok())
        };
        let header = format!("{}\n", super::super::request_csv::HEADER);
        assert_eq!(there(true, BatchRecords::Off), [Some(header), None]);
        let [requests, batches] = there(false, BatchRecords::Each);
        assert!(requests.is_none() && batches.is_some());
    }

    #[test]
    fn seeds_are_joined_in_their_order_under_one_header() {
        let folder = tempfile::tempdir().unwrap();
        let output =
            OutputSettings { batch_metrics: BatchRecords::Off, ..OutputSettings::default() };
        for seed in [9, 8, 7] {
            let csv = CsvSink::create_for_seed(folder.path(), &["m"], &output, seed).unwrap();
            let mut csv = csv.with_seed(seed);
            csv.request(&super::super::request_csv::example());
            csv.finish().unwrap();
        }
        join_seeds(folder.path(), 7..10).unwrap();
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let text = fs::read_to_string(folder.path().join(REQUESTS)).unwrap();
        let last: Vec<&str> = text.lines().map(|line| line.rsplit(',').next().unwrap()).collect();
        assert_eq!(last, ["seed", "7", "8", "9"]);
    }

    #[test]
    fn an_absent_folder_is_named() {
        let folder = Path::new("/nonexistent/x");
        let error = CsvSink::create(folder, &["m"], &OutputSettings::default()).unwrap_err();
        assert!(error.to_string().starts_with("cannot create /nonexistent/x/request_metrics.csv"));
    }
}
