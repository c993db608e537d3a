//! Arrival times from a file.

use std::path::Path;
use std::sync::Arc;

use super::{ArrivalProcess, ArrivalTimes};
use crate::scenario::SettingError;
use crate::sim::Nanos;
use crate::workload::plan::rate_of;
use crate::workload::traces::{Need, TraceSettings};

/// Recorded arrival times.
#[derive(Clone, Debug)]
pub struct RecordedTimes {
    times: Arc<[Nanos]>,
    warnings: Vec<String>,
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
        let trace = trace.read(base_dir, Need::TIMES)?;
        let times = trace.times(time_scale)?.collect();
        Ok(RecordedTimes { times, warnings: trace.warnings })
    }
}

impl ArrivalProcess for RecordedTimes {
    fn times(&self, _seed: u64) -> ArrivalTimes {
        let times = self.times.clone();
        Box::new((0..times.len()).map(move |index| times[index]))
    }

    fn rate(&self) -> Option<f64> {
        rate_of(self.times.len(), *self.times.first()?, *self.times.last()?)
    }

    fn count(&self) -> Option<u64> {
        Some(self.times.len() as u64)
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
