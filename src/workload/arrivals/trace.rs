//! Arrival times from a file.

use std::path::Path;
use std::sync::Arc;

use super::{ArrivalProcess, ArrivalTimes};
use crate::base::{Nanos, SettingError};
use crate::workload::plan::rate_of;
use crate::workload::recording::{Convert, Recording};
use crate::workload::traces::{Clock, Need, Row, TraceSettings};

/// Recorded arrival times.
#[derive(Clone, Debug)]
pub struct RecordedTimes {
    times: Arc<Recording<Clock>>,
    first: Nanos,
    last: Nanos,
    warnings: Vec<String>,
}

impl Convert for Clock {
    type Item = Nanos;

    fn convert(&mut self, row: Row) -> Nanos {
        self.time(&row)
    }
}

impl RecordedTimes {
    /// Reads the times of a trace.
    ///
    /// # Errors
    /// The file cannot be read, or a row of it makes no sense.
    pub(crate) fn read(
        trace: TraceSettings,
        time_scale: f64,
        base_dir: &Path,
    ) -> Result<RecordedTimes, SettingError> {
        let clock = Clock::new(time_scale)?;
        let file = trace.find(base_dir, Need::TIMES)?;
        let (mut first, mut last) = (None, Nanos::ZERO);
        let (times, reader) = Recording::read(file, clock.clone(), false, |&time| {
            first.get_or_insert(time);
            last = time;
        })?;
        clock.check_end(reader.last_time())?;
        Ok(RecordedTimes {
            times: Arc::new(times),
            first: first.unwrap_or(last),
            last,
            warnings: reader.warnings(),
        })
    }
}

impl ArrivalProcess for RecordedTimes {
    fn times(&self, _seed: u64) -> ArrivalTimes {
        Box::new(self.times.items())
    }

    fn rate(&self) -> Option<f64> {
        rate_of(self.times.count(), self.first, self.last)
    }

    fn count(&self) -> Option<u64> {
        Some(self.times.count())
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn failure(&self) -> Option<&str> {
        self.times.failure()
    }
}
