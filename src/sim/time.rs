//! Simulated time: integer nanoseconds, so that sums are exact and ties are real.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A point in simulated time, or a span of it, in nanoseconds.
///
/// ```
/// use vidur_ecs::sim::Nanos;
/// let step = Nanos::from_secs_f64(0.005);
/// assert_eq!(step + step, Nanos(10_000_000));
/// assert_eq!(step.as_secs_f64(), 0.005);
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The start of every run.
    pub const ZERO: Nanos = Nanos(0);
    /// Later than anything that happens.
    pub const MAX: Nanos = Nanos(u64::MAX);

    /// Seconds to the nearest nanosecond; ties go to the even one, so that a long sum of rounded
    /// spans has no drift. Negative and NaN become zero, what is too large becomes [`Nanos::MAX`].
    pub fn from_secs_f64(seconds: f64) -> Nanos {
        Nanos((seconds * 1e9).round_ties_even() as u64)
    }

    /// Milliseconds to the nearest nanosecond, rounded as in [`Nanos::from_secs_f64`].
    pub fn from_millis_f64(millis: f64) -> Nanos {
        Nanos((millis * 1e6).round_ties_even() as u64)
    }

    /// This time in seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// This time in milliseconds.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The span from `earlier` to this time; zero if `earlier` is later.
    pub fn since(self, earlier: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add for Nanos {
    type Output = Nanos;
    fn add(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, other: Nanos) {
        *self = *self + other;
    }
}

impl Sub for Nanos {
    type Output = Nanos;
    fn sub(self, other: Nanos) -> Nanos {
        Nanos(self.0 - other.0)
    }
}

impl Sum for Nanos {
    fn sum<I: Iterator<Item = Nanos>>(iter: I) -> Nanos {
        iter.fold(Nanos::ZERO, Add::add)
    }
}

impl fmt::Display for Nanos {
    /// Seconds, to the nanosecond: `12.345678901`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_has_no_drift() {
        assert_eq!(Nanos::from_secs_f64(0.5e-9), Nanos(0));
        assert_eq!(Nanos::from_secs_f64(1.5e-9), Nanos(2));
        assert_eq!(Nanos::from_secs_f64(-1.0), Nanos::ZERO);
        assert_eq!(Nanos::from_secs_f64(f64::NAN), Nanos::ZERO);
        assert_eq!(Nanos::from_secs_f64(f64::INFINITY), Nanos::MAX);
    }

    #[test]
    fn shows_seconds() {
        assert_eq!(Nanos(1_500_000_007).to_string(), "1.500000007");
    }
}
