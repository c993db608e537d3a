//! What a simulation is built from.

use std::sync::Arc;

use super::Nanos;
use super::arrive::Window;
use crate::metrics::BatchRecords;
use crate::registry::{AnyPolicy, AnyRouter};
use crate::scheduling::EngineLimits;
use crate::speculation::Speculation;
use crate::timing::Predictor;
use crate::workload::RequestSource;

/// Everything that one run needs, validated.
pub struct SimSpec {
    /// Number of replicas.
    pub replicas: u32,
    /// Limits of each replica's engine.
    pub limits: EngineLimits,
    /// Whether full KV blocks are found again by their prefix.
    pub prefix_caching: bool,
    /// How requests speculate, if they do. `predictor` is then that of the speculation.
    pub speculation: Option<Speculation>,
    /// The scheduling policy of every replica.
    pub policy: Box<dyn AnyPolicy>,
    /// The router.
    pub router: Box<dyn AnyRouter>,
    /// The model of execution time.
    pub predictor: Arc<dyn Predictor>,
    /// The workload.
    pub source: Box<dyn RequestSource>,
    /// Closed loop: how many requests are under way at once.
    pub concurrency: Option<u32>,
    /// From a request's arrival until the engine has it; part of its TTFT and E2E.
    pub api_overhead: Nanos,
    /// No request arrives at or after this time.
    pub arrivals_until: Option<Nanos>,
    /// Which requests the statistics count, by place in the order of arrivals and arrival time.
    pub window: Window,
    /// Seed of the random streams that are not the workload's.
    pub seed: u64,
    /// Nothing happens after this time.
    pub time_limit: Option<Nanos>,
    /// Which batches the sink is told of. Every batch of several replicas takes single steps.
    pub batch_records: BatchRecords,
    /// The interval of the time series that the sink is told of, if any; not 0.
    pub time_series: Option<Nanos>,
    /// Whether every iteration is a step of its own. The results are the same; it is the
    /// reference that fast-forward is tested against.
    pub exact_steps: bool,
    /// Whether replicas keep their running requests as a plain list, of which every iteration
    /// touches every request. The results are the same; it is the reference that decode groups are
    /// tested against.
    pub plain_lists: bool,
}

/// Why a run stopped early.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A system or a plug-in failed.
    #[error("the simulation failed at {time} s: {message}")]
    Failed {
        /// Simulated time.
        time: Nanos,
        /// What the failing system said.
        message: String,
    },
    /// The schedule could not be built, for example because two systems' order is ambiguous.
    #[error("the simulation's schedule is not well defined: {0}")]
    Schedule(String),
    /// The listener gave up, for example because a disk is full.
    #[error("{0}")]
    Sink(String),
}
