//! Admission control: whether a request is let in when it arrives, before it is routed. One file
//! each, and a line in [`crate::registry::Registry::built_in`].

mod any;
mod max_queue;
mod predicted_ttft;
mod token_budget;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use any::AnyAdmission;
pub use max_queue::MaxQueue;
pub use predicted_ttft::PredictedTtft;
pub use token_budget::TokenBudget;

use crate::base::{Nanos, SettingError};
use crate::workload::Slo;

/// A class of requests as admission control knows it. A workload without classes has one, without
/// a name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdmissionClass {
    /// Its name.
    pub name: String,
    /// Its objectives, if any.
    pub slo: Option<Slo>,
}

/// What admission control knows of a request. How long the answer will be it does not.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionRequest<'a> {
    /// Now.
    pub now: Nanos,
    /// Index of its class.
    pub class: u32,
    /// The class.
    pub about: &'a AdmissionClass,
    /// Prompt length in tokens.
    pub prompt_tokens: u32,
    /// Its priority; smaller is more urgent.
    pub priority: i32,
}

/// What admission control sees of the replicas that would serve a request, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolState {
    /// Number of replicas.
    pub replicas: u32,
    /// Whether their policy schedules by priority.
    pub by_priority: bool,
    /// Requests in waiting queues, those that were let in at this very time included.
    pub waiting: u64,
    /// Prompt tokens that were let in and are not processed yet, in queues and in batches.
    pub unprocessed: u64,
    /// The part of them that comes before this request: under a policy that schedules by priority
    /// those of requests that are at least as urgent, otherwise all.
    pub ahead: u64,
    /// Prompt tokens processed so far.
    pub prefilled: u64,
    /// Stage time of the batches that processed them.
    pub prefill_time: Nanos,
}

/// A kind of admission control, which is its own settings at once: the fields that serde sees are
/// what a scenario may set, the others are state.
pub trait Admission: Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Name in scenarios.
    const NAME: &'static str;
    /// One line for `vidur-ecs list`.
    const ABOUT: &'static str;

    /// Complains about settings that make no sense for these classes.
    ///
    /// # Errors
    /// The first such setting, its path relative to the settings.
    fn check(&self, classes: &[AdmissionClass]) -> Result<(), SettingError>;

    /// Lets a request in, or says why not. It is asked once for each request, in the order of
    /// arrivals.
    ///
    /// # Errors
    /// The reason of the refusal, as the request's `reject_reason` has it.
    fn admit(&mut self, request: &AdmissionRequest, pool: &PoolState) -> Result<(), String>;
}

/// The admission control of a pool.
pub struct Gate {
    /// The control.
    pub control: Box<dyn AnyAdmission>,
    /// The classes of its requests, by index; at least one.
    pub classes: Vec<AdmissionClass>,
    /// Whether the pool's policy schedules by priority.
    pub by_priority: bool,
}

/// Complains about a class that there is not.
fn known_class(path: &str, name: &str, classes: &[AdmissionClass]) -> Result<(), SettingError> {
    if classes.iter().any(|class| class.name == name) {
        return Ok(());
    }
    let known: Vec<&str> =
        classes.iter().map(|class| class.name.as_str()).filter(|name| !name.is_empty()).collect();
    let expected = match known.as_slice() {
        [] => "no class: the workload has no `classes`".to_owned(),
        known => format!("one of {}", known.join(", ")),
    };
    Err(SettingError::new(format!("{path}.\"{name}\""), "the name of no class", expected))
}
