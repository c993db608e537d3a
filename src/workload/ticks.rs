//! Times rounded to nanoseconds that keep their order.

use crate::base::Nanos;

/// Rounds times so that those that differ stay apart, if only by a nanosecond: requests that
/// arrive together are scheduled together, those that arrive one after the other are not. Bursty
/// gamma arrivals have many gaps of less than a nanosecond.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ticks {
    last: Option<(f64, Nanos, Nanos)>,
}

impl Ticks {
    /// The tick for a time: `rounded`, or just after the last one. Times are the same if they are
    /// the same in both forms (`exact` may lack digits of dates, `rounded` those below it).
    pub fn next(&mut self, exact: f64, rounded: Nanos) -> Nanos {
        let tick = match self.last {
            Some((before, raw, tick)) if before == exact && raw == rounded => tick,
            Some((_, _, tick)) => rounded.max(tick + Nanos(1)),
            None => rounded,
        };
        self.last = Some((exact, rounded, tick));
        tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_times_share_a_tick() {
        let mut ticks = Ticks::default();
        let times = [0.0, 0.0, 1e-10, 1.1e-10, 1.1e-10, 2e-9, 3e-9, 4.2e-9];
        let rounded = times.map(|t| ticks.next(t, Nanos::from_secs_f64(t)).0);
        assert_eq!(rounded, [0, 0, 1, 2, 2, 3, 4, 5]);
    }
}
