//! What arrives, and when: arrival processes, length distributions, trace readers.
//!
//! A [`WorkloadSpec`] is what a scenario says; [`WorkloadSpec::check`] reads its files and turns
//! it into a [`Workload`], which yields a [`RequestSource`] per seed. All that can go wrong
//! afterwards is that a long trace, which a source reads again row by row, is no longer the file
//! that was checked: [`RequestSource::failure`].
//! Each arrival process, length distribution and trace format has a file of its own and one line
//! in `Arrivals`, `Lengths`, `TraceFormat` or `Prefix`. `Conversations` make closed loops of
//! turns.

pub(crate) mod arrivals;
mod checks;
mod classes;
mod content;
pub(crate) mod conversations;
#[cfg(feature = "cli")]
mod fit;
pub(crate) mod lengths;
mod plan;
mod prefix;
mod ranks;
mod recording;
mod replay;
mod replayed;
mod shared;
mod slo;
mod source;
mod spec;
mod survey;
mod tagged;
mod ticks;
pub(crate) mod traces;
mod window;

pub(crate) use arrivals::Arrivals;
pub(crate) use classes::ClassSpec;
pub use content::{Content, TokenSpan};
pub(crate) use conversations::Conversations;
#[cfg(feature = "cli")]
pub(crate) use fit::FitArgs;
#[doc(hidden)]
pub use lengths::LengthPair;
pub(crate) use lengths::Lengths;
pub use plan::Workload;
pub(crate) use prefix::Prefix;
pub(crate) use ranks::Ranks;
pub(crate) use replay::TraceReplay;
pub use slo::Slo;
pub(crate) use spec::Margin;
pub use spec::WorkloadSpec;
pub(crate) use tagged::{Changed, Tagged};
#[doc(hidden)]
pub use window::Window;

use std::sync::Arc;

use crate::base::Nanos;

/// A request as the workload describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRequest {
    /// Unique within a run. Generated workloads number from 0; a trace may bring its own.
    pub id: u64,
    /// When it arrives. Times never go backwards. In a closed loop it is the earliest time.
    pub arrived_at: Nanos,
    /// Prompt length in tokens, at least 1.
    pub prompt_tokens: u32,
    /// Output length in tokens, at least 1. Known to the simulator, hidden from policies.
    pub output_tokens: u32,
    /// Smaller is more urgent, as in vLLM; only a policy that schedules by priority looks at it.
    pub priority: i32,
    /// Index of its class; 0 in a workload without classes.
    pub class: u32,
    /// The LoRA adapter that it wants, counted from 0; `None` for the model itself.
    pub adapter: Option<u32>,
    /// What its tokens have in common with those of other requests; `None` for nothing.
    pub content: Option<Arc<Content>>,
}

/// A stream of requests in order of arrival.
pub trait RequestSource: Send {
    /// The next request, or `None` when the workload is over but for requests that follow others.
    fn next_request(&mut self) -> Option<NewRequest>;

    /// Request `id` ended `now`: it finished, or it was refused. Returns the request that follows
    /// it, which arrives now or later, if this is one of a chain such as a conversation.
    fn ended(&mut self, id: u64, finished: bool, now: Nanos) -> Option<NewRequest> {
        let _ = (id, finished, now);
        None
    }

    /// Why the requests ended before their time, if they did: a trace that is read while the run
    /// goes on has gone or changed. A run with such a source fails when nothing is left to do. A
    /// source made of another one hands on what that says.
    fn failure(&self) -> Option<&str> {
        None
    }
}

#[cfg(test)]
mod conversation_tests;
#[cfg(test)]
mod distribution_tests;
#[cfg(test)]
mod jsonl_tests;
#[cfg(test)]
mod prefix_tests;
#[cfg(test)]
mod recorded_tests;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod trace_tests;
#[cfg(test)]
mod workload_tests;
