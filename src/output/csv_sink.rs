//! The per-request and per-batch files of a run, written while it runs.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::batch_csv::BatchCsv;
use super::error::OutputError;
use super::request_csv::RequestCsv;
use crate::metrics::{BatchRecord, RequestRecord, RunSink};

/// File name of the requests.
pub const REQUESTS: &str = "request_metrics.csv";
/// File name of the batches.
pub const BATCHES: &str = "batch_metrics.csv";

/// Writes `request_metrics.csv` and, if wanted, `batch_metrics.csv`. Errors do not stop the run;
/// [`CsvSink::finish`] returns the first one.
#[derive(Debug)]
pub struct CsvSink {
    folder: PathBuf,
    requests: RequestCsv<File>,
    batches: Option<BatchCsv<File>>,
}

impl CsvSink {
    /// Creates the files in an existing folder. Every request's row names `model`.
    pub fn create(folder: &Path, model: &str, batches: bool) -> Result<CsvSink, OutputError> {
        let create = |name: &str| {
            let path = folder.join(name);
            File::create(&path).map_err(OutputError::io("create", &path))
        };
        Ok(CsvSink {
            folder: folder.to_owned(),
            requests: RequestCsv::new(create(REQUESTS)?, model),
            batches: match batches {
                true => Some(BatchCsv::new(create(BATCHES)?)),
                false => None,
            },
        })
    }

    /// Ends the files; returns the first error there was while writing.
    pub fn finish(self) -> Result<(), OutputError> {
        let failed = |name: &str| OutputError::io("write", &self.folder.join(name));
        self.requests.finish().map_err(failed(REQUESTS))?;
        if let Some(batches) = self.batches {
            batches.finish().map_err(failed(BATCHES))?;
        }
        Ok(())
    }
}

impl RunSink for CsvSink {
    fn request(&mut self, record: &RequestRecord) {
        self.requests.write(record);
    }

    fn batch(&mut self, record: &BatchRecord) {
        if let Some(batches) = &mut self.batches {
            batches.write(record);
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
        CsvSink::create(folder.path(), "m", false).unwrap().finish().unwrap();
        assert_eq!(
            fs::read_to_string(folder.path().join(REQUESTS)).unwrap(),
            format!("{}\n", super::super::request_csv::HEADER)
        );
        assert!(!folder.path().join(BATCHES).exists());
        CsvSink::create(folder.path(), "m", true).unwrap().finish().unwrap();
        assert!(folder.path().join(BATCHES).exists());
    }

    #[test]
    fn an_absent_folder_is_named() {
        let error = CsvSink::create(Path::new("/nonexistent/x"), "m", true).unwrap_err();
        assert!(error.to_string().starts_with("cannot create /nonexistent/x/request_metrics.csv"));
    }
}
