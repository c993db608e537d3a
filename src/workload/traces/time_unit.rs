//! Units of time in a trace.

use serde::{Deserialize, Serialize};

use super::datetime;

/// Unit of the arrival times of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeUnit {
    /// Seconds.
    #[default]
    Seconds,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
    /// Dates with a time of day: `2023-11-16 18:17:03.979`, also with `T`, and with `Z` or
    /// `+01:00` behind.
    DateTime,
}

impl TimeUnit {
    /// What a cell should hold.
    pub(super) fn expected(self) -> &'static str {
        match self {
            TimeUnit::Seconds => "a time in seconds",
            TimeUnit::Millis => "a time in milliseconds",
            TimeUnit::Micros => "a time in microseconds",
            TimeUnit::Nanos => "a time in nanoseconds",
            TimeUnit::DateTime => "a date with a time such as `2023-11-16 18:17:03.979`",
        }
    }

    /// The cell in nanoseconds, if it is a time within some 290 years of 0.
    pub(super) fn parse(self, cell: &str) -> Option<i64> {
        let per_unit = match self {
            TimeUnit::Seconds => 1_000_000_000,
            TimeUnit::Millis => 1_000_000,
            TimeUnit::Micros => 1_000,
            TimeUnit::Nanos => 1,
            TimeUnit::DateTime => return datetime::parse(cell),
        };
        // Whole numbers are exact, even those since 1970 that a float cannot hold.
        if let Ok(whole) = cell.parse::<i64>() {
            return whole.checked_mul(per_unit);
        }
        let nanos = cell.parse::<f64>().ok()? * per_unit as f64;
        (nanos.abs() < 9.2e18).then(|| nanos.round_ties_even() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(TimeUnit::Seconds.parse("4.314579"), Some(4_314_579_000));
        assert_eq!(TimeUnit::Millis.parse("1.5"), Some(1_500_000));
        assert_eq!(TimeUnit::Micros.parse("1700000000000001"), Some(1_700_000_000_000_001_000));
        assert_eq!(TimeUnit::Nanos.parse("1700000000000000001"), Some(1_700_000_000_000_000_001));
        for cell in ["", "x", "NaN", "inf", "1e300", "99999999999999999"] {
            assert_eq!(TimeUnit::Seconds.parse(cell), None, "{cell}");
        }
    }
}
