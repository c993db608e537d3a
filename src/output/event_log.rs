//! The events of a run in `run.log`: admissions, preemptions, completions.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use super::error::OutputError;
use super::folder::OpenFolder;
use super::run_log::RUN_LOG;
use crate::base::paths::file_name;
use crate::records::{BatchRecord, EventKind, EventRecord, RequestRecord, RunSink};

/// Writes the events of one run into a file of its own, which the log takes in at the end: runs go
/// on side by side.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    out: BufWriter<File>,
    error: Option<io::Error>,
}

impl EventLog {
    /// Starts the file of a run of this name: `variant paged, seed 42`.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn create(folder: &OpenFolder, run: &str) -> Result<EventLog, OutputError> {
        let path = path(folder, run);
        let file = File::create(&path).map_err(OutputError::io("create", &path))?;
        let mut out = BufWriter::new(file);
        let error = writeln!(out, "\nevents of {run} (simulated seconds)").err();
        Ok(EventLog { path, out, error })
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The first error there was while writing.
    pub fn finish(mut self) -> Result<(), OutputError> {
        let failed = OutputError::io("write", &self.path);
        match self.error {
            Some(error) => Err(failed(error)),
            None => self.out.flush().map_err(failed),
        }
    }

    fn write(&mut self, event: &EventRecord) -> io::Result<()> {
        let EventRecord { time, kind, request, replica } = event;
        let what = match kind {
            EventKind::Admitted => "admitted",
            EventKind::Preempted => "preempted",
            EventKind::Finished => "finished",
            EventKind::Rejected => "rejected",
        };
        write!(self.out, "{time} {what} request {request}")?;
        match replica {
            Some(replica) => writeln!(self.out, " replica {replica}"),
            None => writeln!(self.out),
        }
    }
}

impl RunSink for EventLog {
    fn request(&mut self, _: &RequestRecord) {}
    fn batch(&mut self, _: &BatchRecord) {}

    fn event(&mut self, record: &EventRecord) {
        if self.error.is_none() {
            self.error = self.write(record).err();
        }
    }
}

fn path(folder: &OpenFolder, run: &str) -> PathBuf {
    folder.path().join(format!("{RUN_LOG}.{}", file_name(run)))
}

/// Moves the events of a run to the end of the log.
pub(super) fn append(folder: &OpenFolder, run: &str) -> Result<(), OutputError> {
    let (part, log) = (path(folder, run), folder.path().join(RUN_LOG));
    let mut events = File::open(&part).map_err(OutputError::io("read", &part))?;
    let write = OutputError::io("write", &log);
    let mut log = File::options().append(true).open(&log).map_err(write)?;
    io::copy(&mut events, &mut log).map_err(OutputError::io("read", &part))?;
    fs::remove_file(&part).map_err(OutputError::io("remove", &part))
}
