//! A measured function of one quantity.

use crate::profile::operators::{Between, SampleRow};

/// Points and times, ascending.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    x: Vec<f64>,
    us: Vec<f64>,
    between: Between,
}

impl Samples {
    pub(super) fn new(row: SampleRow, between: Between) -> Samples {
        Samples { x: row.x, us: row.us, between }
    }

    /// From `(x, us)` pairs.
    #[cfg(test)]
    pub(super) fn of(points: &[(f64, f64)]) -> Samples {
        let (x, us) = points.iter().copied().unzip();
        Samples { x, us, between: Between::Linear }
    }

    pub(super) fn first(&self) -> f64 {
        self.x.first().copied().unwrap_or(f64::INFINITY)
    }

    pub(super) fn last(&self) -> f64 {
        self.x.last().copied().unwrap_or(f64::NEG_INFINITY)
    }

    pub(super) fn covers(&self, x: f64) -> bool {
        self.first() <= x && x <= self.last()
    }

    /// All points.
    pub(super) fn points(&self) -> impl DoubleEndedIterator<Item = (f64, f64)> + '_ {
        self.x.iter().copied().zip(self.us.iter().copied())
    }

    /// The time at `x`; at the nearest end if it is not covered.
    pub(super) fn at(&self, x: f64) -> f64 {
        let above = self.x.partition_point(|point| *point < x);
        if above == self.x.len() {
            return self.us.last().copied().unwrap_or(0.0);
        }
        if above == 0 || self.x[above] == x {
            return self.us[above];
        }
        let ends = ((self.x[above - 1], self.us[above - 1]), (self.x[above], self.us[above]));
        self.between.at(x, ends.0, ends.1)
    }

    /// The time at `x`, beyond the ends by holding the median utilisation of the three nearest
    /// points, where `bound` is the least time at a point.
    pub(super) fn held(&self, x: f64, bound: impl Fn(f64) -> f64) -> f64 {
        if self.covers(x) {
            return self.at(x);
        }
        let used = |(x, us): (f64, f64)| bound(x) / us;
        let mut nearest: Vec<f64> = match x < self.first() {
            true => self.points().take(3).map(used).collect(),
            false => self.points().rev().take(3).map(used).collect(),
        };
        nearest.sort_unstable_by(f64::total_cmp);
        let median = match nearest.len() {
            0 => return 0.0,
            2 => (nearest[0] + nearest[1]) / 2.0,
            n => nearest[n / 2],
        };
        bound(x) / median
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_between_and_by_utilisation_beyond() {
        let samples = Samples::of(&[(1.0, 10.0), (3.0, 20.0), (4.0, 40.0), (8.0, 80.0)]);
        assert_eq!([1.0, 2.0, 3.0, 8.0].map(|x| samples.at(x)), [10.0, 15.0, 20.0, 80.0]);
        // Utilisation 1/2 at all of the last two, 3/4 at 3: the median is 1/2.
        assert_eq!(samples.held(16.0, |x| x * 5.0), 160.0);
        assert_eq!(samples.held(2.0, |x| x), 15.0);
    }
}
