//! The streams of requests behind a workload.

use std::sync::Arc;

use super::arrivals::ArrivalTimes;
use super::lengths::LengthPairs;
use super::plan::Plan;
use super::replayed::Replaying;
use super::{NewRequest, RequestSource};
use crate::base::Nanos;

/// Arrival times and lengths drawn as they are asked for.
pub(super) struct Generated {
    times: ArrivalTimes,
    pairs: LengthPairs,
    next_id: u64,
    limit: u64,
    end: Nanos,
}

impl Generated {
    pub fn new(
        times: ArrivalTimes,
        pairs: LengthPairs,
        limit: Option<u64>,
        duration: Option<Nanos>,
    ) -> Generated {
        Generated {
            times,
            pairs,
            next_id: 0,
            limit: limit.unwrap_or(u64::MAX),
            end: duration.unwrap_or(Nanos::MAX),
        }
    }
}

impl RequestSource for Generated {
    fn next_request(&mut self) -> Option<NewRequest> {
        if self.next_id >= self.limit {
            return None;
        }
        let arrived_at = self.times.next().filter(|&time| time < self.end);
        let request = arrived_at.zip(self.pairs.next()).map(|(arrived_at, pair)| NewRequest {
            priority: 0,
            class: 0,
            adapter: None,
            content: None,
            id: self.next_id,
            arrived_at,
            prompt_tokens: pair.prompt,
            output_tokens: pair.output,
        });
        match request {
            Some(_) => self.next_id += 1,
            // Over is over, even for a process that could go on.
            None => self.limit = 0,
        }
        request
    }
}

/// The rows of a trace.
pub(super) struct Replay {
    requests: Replaying,
    end: Nanos,
}

impl Replay {
    pub fn new(requests: Replaying, duration: Option<Nanos>) -> Replay {
        Replay { requests, end: duration.unwrap_or(Nanos::MAX) }
    }
}

impl RequestSource for Replay {
    fn next_request(&mut self) -> Option<NewRequest> {
        self.requests.next().filter(|request| request.arrived_at < self.end)
    }
}

/// The requests of a plan, which end when one of its files turns out to have gone or changed.
pub(super) struct Watched {
    source: Box<dyn RequestSource>,
    plan: Arc<Plan>,
    /// So many are made at once: what makes one is more code than a processor keeps at hand beside
    /// a simulation's. One where requests follow others, since what ends may decide on the next
    /// one.
    at_once: usize,
    /// Requests that are made, the last one first.
    made: Vec<NewRequest>,
}

/// Requests that are made at once where none follows another.
const MADE_AT_ONCE: usize = 32;

impl Watched {
    pub fn new(source: Box<dyn RequestSource>, plan: Arc<Plan>) -> Watched {
        let at_once = if plan.has_followers() { 1 } else { MADE_AT_ONCE };
        Watched { source, plan, at_once, made: Vec::new() }
    }
}

impl RequestSource for Watched {
    fn next_request(&mut self) -> Option<NewRequest> {
        if self.made.is_empty() {
            let source = std::iter::from_fn(|| self.source.next_request());
            self.made.extend(source.take(self.at_once));
            self.made.reverse();
        }
        self.made.pop().filter(|_| self.plan.failure().is_none())
    }

    fn ended(&mut self, id: u64, finished: bool, now: Nanos) -> Option<NewRequest> {
        self.source.ended(id, finished, now).filter(|_| self.plan.failure().is_none())
    }

    fn failure(&self) -> Option<&str> {
        self.plan.failure()
    }
}
