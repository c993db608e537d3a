//! What a time rests on.

use std::ops::AddAssign;

/// What the time of an operator rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeBasis {
    /// On a measurement of this shape, or between two of them.
    #[default]
    Measured,
    /// On measurements of other shapes, scaled by work; or on bytes moved at a known speed.
    Transferred,
    /// On measurements that ended before this shape, continued by work.
    Extrapolated,
}

/// The time of an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Microseconds.
    pub us: f64,
    /// What it rests on.
    pub basis: TimeBasis,
}

impl Cost {
    /// A measured time.
    pub(super) fn measured(us: f64) -> Cost {
        Cost { us, basis: TimeBasis::Measured }
    }

    /// A transferred time.
    pub(super) fn transferred(us: f64) -> Cost {
        Cost { us, basis: TimeBasis::Transferred }
    }

    /// The cost with another time.
    pub(super) fn with(self, us: f64) -> Cost {
        Cost { us, ..self }
    }

    /// The cost, resting on `basis` if that is weaker.
    pub(super) fn at_best(self, basis: TimeBasis) -> Cost {
        Cost { basis: self.basis.max(basis), ..self }
    }
}

/// Microseconds by what they rest on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Parts {
    pub(super) measured: f64,
    pub(super) transferred: f64,
    pub(super) extrapolated: f64,
}

impl Parts {
    pub(super) fn total(&self) -> f64 {
        self.measured + self.transferred + self.extrapolated
    }

    /// `times` these.
    pub(super) fn times(self, times: f64) -> Parts {
        Parts {
            measured: self.measured * times,
            transferred: self.transferred * times,
            extrapolated: self.extrapolated * times,
        }
    }
}

impl AddAssign<Cost> for Parts {
    fn add_assign(&mut self, cost: Cost) {
        match cost.basis {
            TimeBasis::Measured => self.measured += cost.us,
            TimeBasis::Transferred => self.transferred += cost.us,
            TimeBasis::Extrapolated => self.extrapolated += cost.us,
        }
    }
}

impl AddAssign for Parts {
    fn add_assign(&mut self, other: Parts) {
        self.measured += other.measured;
        self.transferred += other.transferred;
        self.extrapolated += other.extrapolated;
    }
}
