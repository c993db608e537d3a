//! Arrival processes, one per file. To add one: a file with a type that implements
//! [`ArrivalProcess`], a variant of [`Arrivals`], and its line in [`Arrivals::check`].

mod concurrency;
mod gamma;
mod poisson;
mod static_burst;
mod trace;
mod uniform;

pub(crate) use concurrency::ClosedLoop;
pub(crate) use gamma::Gamma;
pub(crate) use poisson::Poisson;
pub(crate) use static_burst::AllAtOnce;
pub(crate) use trace::RecordedTimes;
pub(crate) use uniform::Even;

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::replay::one;
use super::ticks::Ticks;
use super::traces::{TimeUnit, TraceFormat, TraceSettings};
use crate::base::{Nanos, RandomStream, SettingError};

/// When requests arrive, as a scenario says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Arrivals {
    /// Independent arrivals: exponential gaps.
    Poisson {
        /// Mean rate in requests per second.
        qps: f64,
        /// Longest gap, in mean gaps. Vidur has 3.0, which raises its rate by 5.2 %. Without
        /// it the process is honest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clip: Option<f64>,
    },
    /// Bursty (`cv` above 1) or smoothed (below 1) arrivals: gaps from a gamma distribution.
    Gamma {
        /// Mean rate in requests per second.
        qps: f64,
        /// Coefficient of variation of the gaps: standard deviation over mean. 1 is Poisson.
        cv: f64,
    },
    /// Evenly spaced arrivals, one every `1/qps` seconds.
    Uniform {
        /// Rate in requests per second.
        qps: f64,
    },
    /// All requests arrive at time 0.
    Static,
    /// The arrival times of a trace; its lengths, if it has any, are not used. The run ends with
    /// its last row.
    Trace {
        /// CSV file, JSON Lines or a JSON list, relative to the scenario; `.gz` is unpacked on the
        /// fly.
        file: PathBuf,
        /// How it is to be read.
        #[serde(default)]
        format: TraceFormat,
        /// Unit of the times, where it is not that of the format.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time_unit: Option<TimeUnit>,
        /// Times are multiplied by it: 0.5 doubles the rate.
        #[serde(default = "one")]
        time_scale: f64,
        /// Sorts the times, instead of refusing those that go backwards.
        #[serde(default)]
        sort: bool,
    },
    /// A closed loop: this many requests are in flight at any time, and the next arrives when
    /// one completes.
    Concurrency(u32),
}

/// A stream of arrival times that never go backwards.
pub type ArrivalTimes = Box<dyn Iterator<Item = Nanos> + Send>;

/// A checked arrival process.
pub trait ArrivalProcess: Debug + Send + Sync {
    /// The arrival times under `seed`.
    fn times(&self, seed: u64) -> ArrivalTimes;

    /// Mean rate in requests per second; `None` if time does not advance from one to the next.
    fn rate(&self) -> Option<f64>;

    /// How many arrivals there are, if their number is limited.
    fn count(&self) -> Option<u64> {
        None
    }

    /// Requests in flight, if it is a closed loop.
    fn concurrency(&self) -> Option<u32> {
        None
    }

    /// What the user should know.
    fn warnings(&self) -> &[String] {
        &[]
    }

    /// Why times ended early, if a file that they are read from has gone or changed since.
    fn failure(&self) -> Option<&str> {
        None
    }
}

impl Arrivals {
    /// The names a scenario may use, in the order of the documentation.
    pub const NAMES: [&str; 6] = ["Poisson", "Gamma", "Uniform", "Static", "Trace", "Concurrency"];

    /// Checks the settings and reads the file, if there is one.
    ///
    /// # Errors
    /// A setting that makes no sense, its path relative to the process.
    pub fn check(&self, base_dir: &Path) -> Result<Arc<dyn ArrivalProcess>, SettingError> {
        Ok(match self {
            Arrivals::Poisson { qps, clip } => Arc::new(Poisson::new(*qps, *clip)?),
            Arrivals::Gamma { qps, cv } => Arc::new(Gamma::new(*qps, *cv)?),
            Arrivals::Uniform { qps } => Arc::new(Even::new(*qps)?),
            Arrivals::Static => Arc::new(AllAtOnce),
            Arrivals::Trace { file, format, time_unit, time_scale, sort } => {
                let trace = TraceSettings {
                    sort: *sort,
                    time_unit: *time_unit,
                    ..TraceSettings::new(file, format)
                };
                Arc::new(RecordedTimes::read(trace, *time_scale, base_dir)?)
            }
            Arrivals::Concurrency(users) => Arc::new(ClosedLoop::new(*users)?),
        })
    }
}

/// Arrival times from independent gaps in seconds; the first arrival is the first gap. Seconds
/// are summed in floating point and rounded once, so that rounding does not add up.
fn from_gaps(
    seed: u64,
    mut gap: impl FnMut(&mut RandomStream) -> f64 + Send + 'static,
) -> ArrivalTimes {
    let mut stream = RandomStream::new(seed, "arrivals");
    let mut now = 0.0;
    let mut ticks = Ticks::default();
    Box::new(std::iter::from_fn(move || {
        now += gap(&mut stream);
        Some(ticks.next(now, Nanos::from_secs_f64(now)))
    }))
}
