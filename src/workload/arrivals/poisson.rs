//! Independent arrivals.

use super::{ArrivalProcess, ArrivalTimes, from_gaps};
use crate::base::SettingError;
use crate::workload::checks;

/// Exponential gaps with mean `1/qps`, cut at `clip` mean gaps if asked for.
#[derive(Clone, Copy, Debug)]
pub struct Poisson {
    qps: f64,
    clip: f64,
}

impl Poisson {
    /// # Errors
    /// `qps` or `clip` is not a sensible number above 0.
    pub fn new(qps: f64, clip: Option<f64>) -> Result<Poisson, SettingError> {
        checks::rate("qps", qps)?;
        if let Some(clip) = clip {
            checks::positive("clip", clip)?;
        }
        Ok(Poisson { qps, clip: clip.unwrap_or(f64::INFINITY) })
    }
}

impl ArrivalProcess for Poisson {
    fn times(&self, seed: u64) -> ArrivalTimes {
        let Poisson { qps, clip } = *self;
        from_gaps(seed, move |stream| stream.exponential().min(clip) / qps)
    }

    /// An exponential gap of mean 1 that is cut at c has mean 1 - e^-c.
    fn rate(&self) -> Option<f64> {
        Some(self.qps / -libm::expm1(-self.clip))
    }
}
