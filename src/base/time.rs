//! Simulated time: integer nanoseconds, so that sums are exact and ties are real.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A point in simulated time, or a span of it, in nanoseconds.
///
/// ```
/// use vidur_ecs::base::Nanos;
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
        Nanos(round_ties_even(seconds * 1e9) as u64)
    }

    /// Rounds seconds as [`Nanos::from_secs_f64`] does, with what the rounding left over, in
    /// nanoseconds (-0.5 to 0.5; 0 for what is no time).
    #[inline]
    pub fn from_secs_f64_with_rest(seconds: f64) -> (Nanos, f64) {
        let value = seconds * 1e9;
        if !(0.0..WHOLE / 2.0).contains(&value) {
            return (Nanos::from_secs_f64(seconds), 0.0);
        }
        // The last bits of such a sum are the whole number that it was rounded to.
        let sum = value + WHOLE;
        (Nanos(sum.to_bits() - WHOLE.to_bits()), value - (sum - WHOLE))
    }

    /// Milliseconds to the nearest nanosecond, rounded as in [`Nanos::from_secs_f64`].
    pub fn from_millis_f64(millis: f64) -> Nanos {
        Nanos(round_ties_even(millis * 1e6) as u64)
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

/// From here on to its double a number has no digits behind the point: adding it rounds.
const WHOLE: f64 = (1_u64 << 52) as f64;

/// What rounds small numbers of either sign.
const WHOLE_OR_BELOW: f64 = WHOLE * 1.5;

/// Longer times than any simulation's, in nanoseconds: two of them can be added.
const LONG: u64 = 1 << 62;

/// Rounds to the nearest whole number, ties to the even one. Each iteration is rounded, and the
/// standard library's function is a call on processors without SSE 4.1.
fn round_ties_even(value: f64) -> f64 {
    match (0.0..WHOLE / 2.0).contains(&value) {
        true => (value + WHOLE) - WHOLE,
        false => value.round_ties_even(),
    }
}

/// A point in time with what rounding to nanoseconds left of it. A chain of stage times stays
/// exact this way: 2.5 ns a hundred thousand times are 250 us, not 200 or 300.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub(crate) struct Instant {
    /// The time that the clock shows.
    pub tick: Nanos,
    /// To be added, in nanoseconds.
    pub rest_ns: f64,
}

impl Instant {
    /// Exactly at a tick.
    pub fn at(tick: Nanos) -> Instant {
        Instant { tick, rest_ns: 0.0 }
    }

    /// The later of two.
    pub fn later(self, other: Instant) -> Instant {
        if other > self { other } else { self }
    }

    /// `span + rest_ns` later; never on an earlier tick.
    #[inline]
    pub fn after(self, span: Nanos, rest_ns: f64) -> Instant {
        let rest = self.rest_ns + rest_ns;
        let times = 0 < self.tick.0 | span.0 && (self.tick.0 | span.0) < LONG;
        if rest.abs() < 1.5 && rest.abs() != 0.5 && times {
            // Which way a sum of two roundings is rounded, no processor can guess: so no branch
            // decides.
            let sum = rest + WHOLE_OR_BELOW;
            let whole = sum.to_bits().wrapping_sub(WHOLE_OR_BELOW.to_bits());
            let tick = Nanos((self.tick.0 + span.0).wrapping_add(whole));
            return Instant { tick: self.tick.max(tick), rest_ns: rest - (sum - WHOLE_OR_BELOW) };
        }
        self.after_odd(span, rest)
    }

    /// Where `rest` is halfway between two nanoseconds, or times are none or no simulation's.
    #[cold]
    fn after_odd(self, span: Nanos, rest: f64) -> Instant {
        let tick = self.tick + span;
        let whole = rest.round();
        let tick = Nanos(tick.0.saturating_add_signed(whole as i64));
        Instant { tick: self.tick.max(tick), rest_ns: rest - whole }
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
    fn rests_do_not_add_up() {
        for seconds in [2.5e-9, 7.25e-9, 7.8e-9, 1.0 / 3.0, 4e-9] {
            let (span, rest_ns) = Nanos::from_secs_f64_with_rest(seconds);
            let end =
                (0..100_000).fold(Instant::at(Nanos(7)), |now, _| now.after(span, rest_ns)).tick;
            let off = (end.0 - 7) as f64 - seconds * 1e14;
            assert!(off.abs() <= 1.0, "{seconds} s: {off} ns");
        }
    }

    #[test]
    fn rounds_as_the_standard_library_does() {
        let mut value = 1e-9_f64;
        while value < 1e17 {
            for x in [value, value.floor() + 0.5, value.floor() + 1.5, value.floor(), -value] {
                assert_eq!(round_ties_even(x), x.round_ties_even(), "{x}");
            }
            value *= 1.37;
        }
        assert!(round_ties_even(f64::NAN).is_nan());
    }

    #[test]
    fn later_is_rounded_whichever_way_it_is_computed() {
        let rests = [0.0, -0.0, 0.25, 0.499, -0.3, 0.5, -0.5, 1.0 / 3.0, 0.999, -0.75, 7.5, 1e20];
        let times = [0, 1, 2, 5_000_001, (1 << 62) - 1, 1 << 62, u64::MAX];
        for (tick, span) in times.iter().flat_map(|&tick| times.map(|span| (tick, span))) {
            for (&before, more) in rests.iter().flat_map(|before| rests.map(|more| (before, more)))
            {
                let from = Instant { tick: Nanos(tick), rest_ns: before };
                let later = from.after(Nanos(span), more);
                let whole = (before + more).round();
                let exact = i128::from(tick) + i128::from(span);
                let exact = (exact.min(u64::MAX.into()) + whole as i64 as i128).max(0);
                let exact = exact.min(u64::MAX.into()) as u64;
                assert_eq!(later.tick, Nanos(exact.max(tick)), "{tick} {span} {before} {more}");
                assert_eq!(later.rest_ns, before + more - whole, "{tick} {span} {before} {more}");
            }
        }
    }

    #[test]
    fn what_rounding_leaves_and_the_nanoseconds_are_the_whole() {
        let mut seconds = 1e-12_f64;
        while seconds < 1e6 {
            for seconds in
                [seconds, (seconds * 1e9).floor() / 1e9, (seconds * 1e9).floor() / 1e9 + 5e-10]
            {
                let (nanos, rest) = Nanos::from_secs_f64_with_rest(seconds);
                assert_eq!(nanos, Nanos::from_secs_f64(seconds), "{seconds}");
                assert_eq!(rest, seconds * 1e9 - nanos.0 as f64, "{seconds}");
            }
            seconds *= 1.0037;
        }
        for no_time in [-1.0, f64::NAN, f64::INFINITY, -0.0, 0.0] {
            let (nanos, rest) = Nanos::from_secs_f64_with_rest(no_time);
            assert_eq!((nanos, rest.abs()), (Nanos::from_secs_f64(no_time), 0.0), "{no_time}");
        }
    }

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
