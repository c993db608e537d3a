//! The streams of requests behind a workload.

use std::sync::Arc;

use super::arrivals::ArrivalTimes;
use super::lengths::LengthPairs;
use super::{NewRequest, RequestSource};
use crate::sim::Nanos;

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
    requests: Arc<[NewRequest]>,
    next: usize,
    end: Nanos,
}

impl Replay {
    pub fn new(requests: Arc<[NewRequest]>, duration: Option<Nanos>) -> Replay {
        Replay { requests, next: 0, end: duration.unwrap_or(Nanos::MAX) }
    }
}

impl RequestSource for Replay {
    fn next_request(&mut self) -> Option<NewRequest> {
        let request = self.requests.get(self.next)?.clone();
        self.next += 1;
        (request.arrived_at < self.end).then_some(request)
    }
}
