//! How many turns a conversation has, and how long its user thinks.

use serde::{Deserialize, Serialize};

use crate::base::{Nanos, RandomStream, SettingError};
use crate::workload::checks;

/// The most turns of a conversation.
const MAX_TURNS: u32 = 10_000;

/// The 90 % quantile of the standard normal distribution.
const NORMAL_P90: f64 = 1.281_551_565_544_600_4;

/// Number of turns, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Turns {
    /// One value for all.
    Fixed(u32),
    /// Uniform between two ends, both included.
    Uniform(u32, u32),
    /// After each turn the conversation ends with the same probability, `1 / mean`.
    Geometric {
        /// Mean number of turns, 1 or more.
        mean: f64,
    },
}

impl Turns {
    pub(super) fn check(&self) -> Result<(), SettingError> {
        let expected = format!("1 to {MAX_TURNS} turns");
        match *self {
            Turns::Fixed(turns) if !(1..=MAX_TURNS).contains(&turns) => {
                Err(SettingError::new("", turns, expected))
            }
            Turns::Uniform(least, most) if !(1 <= least && least <= most && most <= MAX_TURNS) => {
                let expected = format!("(fewest, most), {expected}, the fewest first");
                Err(SettingError::new("", format!("({least}, {most})"), expected))
            }
            Turns::Geometric { mean } if !(1.0..=1000.0).contains(&mean) => {
                Err(SettingError::new("mean", mean, "1 to 1000 turns"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn draw(&self, stream: &mut RandomStream) -> u32 {
        match *self {
            Turns::Fixed(turns) => turns,
            Turns::Uniform(least, most) => least + stream.below(u64::from(most - least) + 1) as u32,
            Turns::Geometric { mean } => {
                // The number of whole periods in which an exponential clock does not ring.
                let more = stream.exponential() / -libm::log1p(-1.0 / mean);
                1 + (more as u32).min(MAX_TURNS - 1)
            }
        }
    }
}

/// A time of thought, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Think {
    /// One value for all.
    Fixed(f64),
    /// Uniform between two ends.
    Uniform(f64, f64),
    /// Exponential.
    Exponential {
        /// Mean in seconds.
        mean: f64,
    },
    /// Lognormal.
    LogNormal {
        /// Median in seconds.
        median: f64,
        /// 90 % quantile in seconds, above the median.
        p90: f64,
    },
    /// What the trace says: the `delay` of each turn, in milliseconds.
    Recorded,
}

impl Think {
    pub(in crate::workload) fn check(&self) -> Result<(), SettingError> {
        let or_zero = |seconds: f64| match seconds {
            0.0 => Ok(()),
            _ => checks::seconds("", seconds),
        };
        match *self {
            Think::Fixed(seconds) => or_zero(seconds),
            Think::Uniform(least, most) => {
                or_zero(least)?;
                or_zero(most)?;
                match least <= most {
                    true => Ok(()),
                    false => {
                        let found = format!("({least}, {most})");
                        Err(SettingError::new("", found, "(shortest, longest), shortest first"))
                    }
                }
            }
            Think::Recorded => Ok(()),
            Think::Exponential { mean } => checks::seconds("mean", mean),
            Think::LogNormal { median, p90 } => {
                checks::seconds("median", median)?;
                checks::seconds("p90", p90)?;
                match p90 > median {
                    true => Ok(()),
                    false => {
                        let expected = format!("above the median of {median}");
                        Err(SettingError::new("p90", p90, expected))
                    }
                }
            }
        }
    }

    pub(super) fn draw(&self, stream: &mut RandomStream) -> Nanos {
        let seconds = match *self {
            Think::Fixed(seconds) => seconds,
            // Nothing to draw: each turn has its own.
            Think::Recorded => 0.0,
            Think::Uniform(least, most) => least + (most - least) * stream.uniform(),
            Think::Exponential { mean } => mean * stream.exponential(),
            Think::LogNormal { median, p90 } => {
                let sigma = libm::log(p90 / median) / NORMAL_P90;
                median * libm::exp(sigma * stream.normal())
            }
        };
        Nanos::from_secs_f64(seconds.min(checks::MAX_SECONDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_means_that_were_asked_for() {
        let n = 100_000;
        let mut stream = RandomStream::new(3, "test");
        let mut turns = |turns: Turns| {
            let draws: Vec<u32> = (0..n).map(|_| turns.draw(&mut stream)).collect();
            assert!(draws.iter().all(|&turns| turns >= 1));
            draws.iter().map(|&turns| f64::from(turns)).sum::<f64>() / f64::from(n)
        };
        assert_eq!(turns(Turns::Fixed(4)), 4.0);
        assert!((turns(Turns::Uniform(2, 6)) - 4.0).abs() < 0.02);
        assert!((turns(Turns::Geometric { mean: 4.0 }) - 4.0).abs() < 0.05);
        assert_eq!(turns(Turns::Geometric { mean: 1.0 }), 1.0);
        let mut think = |think: Think| {
            let mut draws: Vec<f64> =
                (0..n).map(|_| think.draw(&mut stream).as_secs_f64()).collect();
            draws.sort_by(f64::total_cmp);
            let mean = draws.iter().sum::<f64>() / f64::from(n);
            (mean, draws[n as usize / 2], draws[n as usize * 9 / 10])
        };
        assert_eq!(think(Think::Fixed(2.5)).0, 2.5);
        assert!((think(Think::Uniform(1.0, 3.0)).0 - 2.0).abs() < 0.01);
        assert!((think(Think::Exponential { mean: 5.0 }).0 - 5.0).abs() < 0.08);
        let (_, median, p90) = think(Think::LogNormal { median: 10.0, p90: 40.0 });
        assert!((median - 10.0).abs() < 0.2 && (p90 - 40.0).abs() < 1.0, "{median} {p90}");
    }

    #[test]
    fn settings_that_make_no_sense() {
        for turns in [
            Turns::Fixed(0),
            Turns::Fixed(10_001),
            Turns::Uniform(0, 3),
            Turns::Uniform(4, 3),
            Turns::Geometric { mean: 0.5 },
            Turns::Geometric { mean: f64::NAN },
        ] {
            assert!(turns.check().is_err(), "{turns:?}");
        }
        for think in [
            Think::Fixed(-1.0),
            Think::Fixed(f64::INFINITY),
            Think::Uniform(3.0, 1.0),
            Think::Exponential { mean: 0.0 },
            Think::LogNormal { median: 2.0, p90: 2.0 },
        ] {
            assert!(think.check().is_err(), "{think:?}");
        }
        assert!(Think::Fixed(0.0).check().is_ok());
    }
}
