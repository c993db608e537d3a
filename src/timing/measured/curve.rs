//! Interpolation in one dimension, and what lies beyond.

use super::axis::Axis;

/// A measured function of one quantity: linear between the points.
#[derive(Clone, Debug)]
pub(in crate::timing) struct Curve {
    x: Axis,
    y: Vec<f64>,
}

impl Curve {
    /// `x` ascends and is as long as `y`; neither is empty (profiles are checked for that).
    pub(in crate::timing) fn new(x: Vec<f64>, y: Vec<f64>) -> Curve {
        Curve { x: Axis::new(x), y }
    }

    /// The last measured point.
    pub(in crate::timing) fn limit(&self) -> f64 {
        self.x.last()
    }

    /// The value at `x`. Below the first point its value is held: there a kernel costs its launch.
    /// Beyond the last one the value grows linearly, see [`beyond`].
    pub(in crate::timing) fn at(&self, x: f64) -> f64 {
        if x > self.limit() {
            let last = (self.limit(), self.within(self.limit()));
            let half = (self.limit() / 2.0, self.within(self.limit() / 2.0));
            return beyond(half, last, x);
        }
        self.within(x)
    }

    /// The value at `x`, held at both ends.
    pub(super) fn within(&self, x: f64) -> f64 {
        let (index, fraction) = self.x.locate(x);
        let low = self.y[index];
        match fraction {
            0.0 => low,
            _ => low + fraction * (self.y[index + 1] - low),
        }
    }
}

/// Extrapolates a time that is linear in `work`: along the chord from the middle of the measured
/// range to its end, which single noisy points cannot tilt, and continuous there. A chord that
/// falls is noise in a kernel that costs its launch alone: then the time grows in proportion, so
/// that more work never comes free.
pub(super) fn beyond(half: (f64, f64), last: (f64, f64), work: f64) -> f64 {
    let chord = (last.1 - half.1) / (last.0 - half.0);
    let rate = if chord > 0.0 { chord } else { last.1 / last.0 };
    last.1 + rate * (work - last.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_met_and_joined_by_lines() {
        let curve = Curve::new(vec![2.0, 4.0, 8.0], vec![1.0, 3.0, 4.0]);
        let values = [0.0, 2.0, 3.0, 4.0, 5.0, 8.0].map(|x| curve.at(x));
        assert_eq!(values, [1.0, 1.0, 2.0, 3.0, 3.25, 4.0]);
    }

    #[test]
    fn beyond_the_end_the_chord_of_the_upper_half_goes_on() {
        let curve = Curve::new(vec![0.0, 4.0, 8.0], vec![1.0, 3.0, 11.0]);
        assert_eq!(curve.at(12.0), 19.0);
        assert_eq!(curve.at(8.0 + 1e-9), 11.0 + 2e-9);
    }

    #[test]
    fn more_work_never_comes_free() {
        let falling = Curve::new(vec![1.0, 4.0, 8.0], vec![9.0, 9.0, 8.0]);
        assert_eq!(falling.at(16.0), 16.0);
        let single = Curve::new(vec![8.0], vec![8.0]);
        assert_eq!(single.at(16.0), 16.0);
    }
}
