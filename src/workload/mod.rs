//! What arrives, and when: arrival processes, length distributions, trace readers.

use crate::sim::Nanos;

/// A request as the workload describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRequest {
    /// Unique within a run. Generated workloads number from 0; a trace may bring its own.
    pub id: u64,
    /// When it arrives. Times never go backwards. In a closed loop it is the earliest time.
    pub arrived_at: Nanos,
    /// Prompt length in tokens, at least 1.
    pub prompt_tokens: u32,
    /// Output length in tokens, at least 1. Known to the simulator, hidden from policies.
    pub output_tokens: u32,
}

/// A stream of requests in order of arrival.
pub trait RequestSource: Send {
    /// The next request, or `None` when the workload is over.
    fn next_request(&mut self) -> Option<NewRequest>;
}
