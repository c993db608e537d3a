//! How much load a configuration can take, and what a given load is to it.

use crate::base::Nanos;
use crate::records::{BatchRecord, RequestRecord, RequestStatus, RunSink};

/// Collects completion times of a saturated run (all requests at time 0).
#[derive(Debug, Default)]
pub struct Completions {
    times: Vec<Nanos>,
}

impl RunSink for Completions {
    fn request(&mut self, record: &RequestRecord) {
        if record.status == RequestStatus::Finished {
            self.times.extend(record.completed_at);
        }
    }

    fn batch(&mut self, _: &BatchRecord) {}
}

/// Least share of the time until the 90 % completion that lies after the 10 % completion, in a run whose
/// completions tell a rate.
const STEADY: f64 = 1.0 / 3.0;

impl Completions {
    /// The capacity in requests per second: the completion rate between the 10 % and the 90 %
    /// completion, which leaves out the filling at the start and the emptying at the end. `None`
    /// for fewer than 20 completions, or when these came within a third of the time until then: such
    /// a run was never steady. So it is where all requests are under way at once and, of one length,
    /// end together: their rate then says how close they were, not how many the engine serves.
    pub fn capacity(mut self) -> Option<f64> {
        let count = self.times.len();
        if count < 20 {
            return None;
        }
        self.times.sort_unstable();
        let (from, to) = (count / 10, count * 9 / 10);
        let seconds = self.times[to].since(self.times[from]).as_secs_f64();
        let steady = seconds > STEADY * self.times[to].as_secs_f64();
        steady.then(|| (to - from) as f64 / seconds)
    }
}

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// At this rate in requests per second, whatever the engine does.
    Open {
        /// Requests per second.
        offered: f64,
    },
    /// All at time 0: nothing is offered over time.
    AllAtOnce,
    /// A fixed number in flight, a new one for each that ends.
    ClosedLoop {
        /// Requests in flight.
        concurrency: u32,
    },
}

/// What the load is to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Below 30 % of capacity.
    Idle,
    /// Below 85 %.
    Loaded,
    /// Below 100 %: bursts decide the tail, seeds differ.
    NearSaturation,
    /// At or above capacity: queues grow until arrivals stop, so means only measure the length of
    /// the run.
    Overloaded,
    /// No offered rate: all requests came at once.
    AllAtOnce,
    /// No offered rate: the load follows the engine.
    ClosedLoop,
    /// The capacity is not known.
    Unknown,
}

impl Verdict {
    /// The verdict on `load` for an engine of this capacity in requests per second.
    pub fn of(load: Load, capacity: Option<f64>) -> Verdict {
        match (load, capacity) {
            (Load::AllAtOnce, _) => Verdict::AllAtOnce,
            (Load::ClosedLoop { .. }, _) => Verdict::ClosedLoop,
            (Load::Open { offered }, Some(capacity)) if capacity > 0.0 => {
                match offered / capacity {
                    ratio if ratio < 0.3 => Verdict::Idle,
                    ratio if ratio < 0.85 => Verdict::Loaded,
                    ratio if ratio < 1.0 => Verdict::NearSaturation,
                    _ => Verdict::Overloaded,
                }
            }
            _ => Verdict::Unknown,
        }
    }

    /// As `summary.json` has it.
    pub fn key(self) -> &'static str {
        match self {
            Verdict::Idle => "idle",
            Verdict::Loaded => "loaded",
            Verdict::NearSaturation => "near saturation",
            Verdict::Overloaded => "overloaded",
            Verdict::AllAtOnce => "all at once",
            Verdict::ClosedLoop => "closed loop",
            Verdict::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_leaves_out_filling_and_emptying() {
        // One completion a second between the 10th and the 90th, none before 100 s, a long tail.
        let mut times: Vec<Nanos> =
            (0..100u64).map(|i| Nanos::from_secs_f64(100.0 + i as f64)).collect();
        times[99] = Nanos::from_secs_f64(10_000.0);
        assert_eq!(Completions { times }.capacity(), Some(1.0));
        assert_eq!(Completions { times: vec![Nanos(1); 19] }.capacity(), None);
        assert_eq!(Completions { times: vec![Nanos(1); 50] }.capacity(), None);
        // All under way at once: they end within 8 of 58 s.
        let together: Vec<Nanos> =
            (0..100u64).map(|i| Nanos::from_secs_f64(50.0 + i as f64 * 0.1)).collect();
        assert_eq!(Completions { times: together }.capacity(), None);
    }

    #[test]
    fn verdicts_change_where_documented() {
        let verdict = |offered| Verdict::of(Load::Open { offered }, Some(2.0));
        assert_eq!(verdict(0.59), Verdict::Idle);
        assert_eq!(verdict(0.6), Verdict::Loaded);
        assert_eq!(verdict(1.7), Verdict::NearSaturation);
        assert_eq!(verdict(1.99), Verdict::NearSaturation);
        assert_eq!(verdict(2.0), Verdict::Overloaded);
        assert_eq!(Verdict::of(Load::AllAtOnce, Some(2.0)), Verdict::AllAtOnce);
        assert_eq!(Verdict::of(Load::Open { offered: 1.0 }, None), Verdict::Unknown);
    }
}
