//! Points in time, exact below the nanosecond.

use vidur_ecs::base::Nanos;
use vidur_ecs::timing::StageTime;

/// A point in time. Stage times need not be whole nanoseconds: what is left over is kept, so that
/// a chain of them has no drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Moment {
    nanos: u64,
    /// 0 or more, below 1.
    fraction: f64,
}

impl Moment {
    pub fn at(time: Nanos) -> Moment {
        Moment { nanos: time.0, fraction: 0.0 }
    }

    pub fn after(self, time: &StageTime) -> Moment {
        let fraction = self.fraction + time.rest_ns;
        let whole = fraction.floor();
        let nanos = (self.nanos + time.total.0).saturating_add_signed(whole as i64);
        Moment { nanos, fraction: fraction - whole }
    }

    /// What the clock shows then: the nearest nanosecond.
    pub fn shown(self) -> Nanos {
        Nanos(self.nanos + u64::from(self.fraction >= 0.5))
    }

    /// This moment, if the clock shows `now` then; else `now`.
    pub fn or_now(self, now: Nanos) -> Moment {
        if self.shown() == now { self } else { Moment::at(now) }
    }
}
