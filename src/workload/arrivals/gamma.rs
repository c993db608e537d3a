//! Bursty or smoothed arrivals.

use super::{ArrivalProcess, ArrivalTimes, from_gaps};
use crate::base::SettingError;
use crate::workload::checks;

/// Gaps from a gamma distribution of shape `1/cv^2` and scale `cv^2/qps`, hence mean `1/qps`.
#[derive(Clone, Copy, Debug)]
pub struct Gamma {
    qps: f64,
    cv: f64,
}

impl Gamma {
    /// # Errors
    /// `qps` or `cv` is not a sensible number above 0.
    pub fn new(qps: f64, cv: f64) -> Result<Gamma, SettingError> {
        checks::rate("qps", qps)?;
        checks::positive("cv", cv)?;
        if !(1e-3..=100.0).contains(&cv) {
            return Err(SettingError::new("cv", cv, "between 0.001 and 100")
                .help("`Uniform(qps: ...)` has no variation at all"));
        }
        Ok(Gamma { qps, cv })
    }
}

impl ArrivalProcess for Gamma {
    fn times(&self, seed: u64) -> ArrivalTimes {
        let shape = 1.0 / (self.cv * self.cv);
        let scale = self.cv * self.cv / self.qps;
        from_gaps(seed, move |stream| stream.gamma(shape) * scale)
    }

    fn rate(&self) -> Option<f64> {
        Some(self.qps)
    }
}
