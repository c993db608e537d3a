//! Evenly spaced arrivals.

use super::{ArrivalProcess, ArrivalTimes};
use crate::base::{Nanos, SettingError};
use crate::workload::checks;

/// One arrival every `1/qps` seconds, the first after one gap.
#[derive(Clone, Copy, Debug)]
pub struct Even {
    qps: f64,
}

impl Even {
    /// # Errors
    /// `qps` is not a sensible number above 0.
    pub fn new(qps: f64) -> Result<Even, SettingError> {
        checks::rate("qps", qps)?;
        Ok(Even { qps })
    }
}

impl ArrivalProcess for Even {
    fn times(&self, _seed: u64) -> ArrivalTimes {
        let qps = self.qps;
        // A division for each, as a sum of gaps would drift.
        Box::new((1_u64..).map(move |n| Nanos::from_secs_f64(n as f64 / qps)))
    }

    fn rate(&self) -> Option<f64> {
        Some(self.qps)
    }
}
