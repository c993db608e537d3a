//! When the requests of a trace arrive.

use super::rows::Row;
use crate::base::{Nanos, SettingError};
use crate::workload::checks;
use crate::workload::ticks::Ticks;

/// Latest time of a request whose trace is not yet known to be longer than any run, so that nothing
/// overflows until it is refused.
const LATEST: f64 = 2.0 * checks::MAX_SECONDS * 1e9;

/// Arrival times of rows that come one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    scale: f64,
    ticks: Ticks,
}

impl Clock {
    /// Multiplies times by `scale`.
    ///
    /// # Errors
    /// The scale makes no sense.
    pub fn new(scale: f64) -> Result<Clock, SettingError> {
        checks::scale("time_scale", scale)?;
        Ok(Clock { scale, ticks: Ticks::default() })
    }

    /// When the request of the next row arrives.
    pub fn time(&mut self, row: &Row) -> Nanos {
        // A scale of 1 leaves even those times alone that a float cannot hold.
        let nanos = if self.scale == 1.0 {
            Nanos(row.time as u64)
        } else {
            Nanos((row.time as f64 * self.scale).min(LATEST).round_ties_even() as u64)
        };
        self.ticks.next(row.written, nanos)
    }

    /// Whether the time of the last row, in nanoseconds from the trace's start, is within reach.
    ///
    /// # Errors
    /// The scale makes the trace longer than any run.
    pub fn check_end(&self, last: i64) -> Result<(), SettingError> {
        let (scale, last) = (self.scale, last as f64 / 1e9);
        if last * scale <= checks::MAX_SECONDS {
            return Ok(());
        }
        Err(SettingError::new(
            "time_scale",
            format!("{scale} for a trace of {last} s"),
            "arrivals within 1e9 seconds",
        ))
    }
}
