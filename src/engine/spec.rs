//! What a simulation is built from.

use std::sync::Arc;

use super::arrivals::Window;
use super::series::{MAX_ROWS, USUAL_ROWS};
use super::{Extensions, HandOver};
use crate::base::Nanos;
use crate::base::memory::OutOfMemory;
use crate::engine::admission::Gate;
use crate::engine::lora::Lora;
use crate::engine::policy::{AnyPolicy, EngineLimits};
use crate::engine::routing::AnyRouter;
use crate::engine::speculation::Speculation;
use crate::engine::state::kv::{GroupRules, HostMemory};
use crate::records::BatchRecords;
use crate::timing::Predictor;
use crate::workload::RequestSource;

/// Everything that one run needs, validated.
pub struct SimSpec {
    /// The pools of replicas: one, unless several models or roles share the cluster.
    pub pools: Vec<PoolSpec>,
    /// Seed of the random streams that are not the workload's.
    pub seed: u64,
    /// Nothing happens after this time.
    pub time_limit: Option<Nanos>,
    /// Which batches the sink is told of. Every batch of several replicas takes single steps.
    pub batch_records: BatchRecords,
    /// The interval of the time series that the sink is told of, if any; not 0.
    pub time_series: Option<Nanos>,
    /// Whether the sink is told of what happens to each request.
    pub events: bool,
    /// Whether the totals say what happened while the requests arrived that the statistics count.
    pub steady_window: bool,
    /// Whether every iteration is a step of its own. The results are the same; it is the
    /// reference that fast-forward is tested against.
    pub exact_steps: bool,
    /// Whether replicas keep their running requests as a plain list, of which every iteration
    /// touches every request. The results are the same; it is the reference that decode groups are
    /// tested against.
    pub plain_lists: bool,
    /// What plug-ins add.
    pub extensions: Extensions,
}

/// A pool: replicas that run the same engine, behind a router of their own.
pub struct PoolSpec {
    /// Its name, which its random streams depend on; empty for the only pool.
    pub name: String,
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
    /// The router, which sees only this pool.
    pub router: Box<dyn AnyRouter>,
    /// The model of execution time.
    pub predictor: Arc<dyn Predictor>,
    /// Pools of the same number here take turns on the same GPUs, replica by replica and stage by
    /// stage; `None` for GPUs of their own.
    pub shared_gpus: Option<u32>,
    /// Where its requests go when their prompt is processed; `None` if it decodes them itself.
    pub hand_over: Option<HandOver>,
    /// The LoRA adapters that it serves, if any.
    pub lora: Option<Lora>,
    /// Which of its requests are let in; all without it.
    pub admission: Option<Gate>,
    /// Host memory behind each replica's KV blocks, if the engine uses it. Without it every policy
    /// preempts by recomputation. The pool must have one stage.
    pub host: Option<HostMemory>,
    /// The KV cache groups of the model's layers; `None` if all layers keep every token. The
    /// policy must be one that plans for groups, such as `VllmV1`.
    pub kv_groups: Option<GroupRules>,
    /// The requests that arrive at it.
    pub traffic: Traffic,
}

impl PoolSpec {
    /// The only pool of a cluster: one replica, and none of the techniques that some pools have.
    pub fn new(
        limits: EngineLimits,
        policy: Box<dyn AnyPolicy>,
        router: Box<dyn AnyRouter>,
        predictor: Arc<dyn Predictor>,
        traffic: Traffic,
    ) -> PoolSpec {
        PoolSpec {
            name: String::new(),
            replicas: 1,
            limits,
            prefix_caching: false,
            speculation: None,
            policy,
            router,
            predictor,
            shared_gpus: None,
            hand_over: None,
            lora: None,
            admission: None,
            host: None,
            kv_groups: None,
            traffic,
        }
    }
}

/// The requests that arrive at a pool.
pub struct Traffic {
    /// Where they come from.
    pub source: Box<dyn RequestSource>,
    /// Closed loop: how many of them are under way at once.
    pub concurrency: Option<u32>,
    /// From a request's arrival until the engine has it; part of its TTFT and E2E.
    pub api_overhead: Nanos,
    /// In a closed loop: from the moment when admission control refuses a client's request until
    /// that client sends its next.
    pub retry_after: Nanos,
    /// None arrives at or after this time.
    pub until: Option<Nanos>,
    /// Which of them the statistics count, by place in the order of arrivals and arrival time.
    pub window: Window,
}

impl Traffic {
    /// All requests of a source when it says, each of which counts.
    pub fn of(source: Box<dyn RequestSource>) -> Traffic {
        Traffic {
            source,
            concurrency: None,
            api_overhead: Nanos::ZERO,
            retry_after: Nanos::ZERO,
            until: None,
            window: Box::new(|_, _| true),
        }
    }
}

impl SimSpec {
    /// A run of a single pool, without a time limit or batch records.
    pub fn of_one(pool: PoolSpec, seed: u64) -> SimSpec {
        SimSpec { pools: vec![pool], ..SimSpec::of_none(seed) }
    }

    /// A simulation without a pool yet.
    pub fn of_none(seed: u64) -> SimSpec {
        SimSpec {
            pools: Vec::new(),
            seed,
            time_limit: None,
            batch_records: BatchRecords::Off,
            time_series: None,
            events: false,
            steady_window: false,
            exact_steps: false,
            plain_lists: false,
            extensions: Extensions::default(),
        }
    }
}

impl SimError {
    /// Whether the scenario asks for too much, so that another one would do.
    pub fn is_too_much(&self) -> bool {
        matches!(self, SimError::Memory { .. } | SimError::Series { .. })
    }
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
    /// The pools do not belong together.
    #[error("the cluster is not well defined: {0}")]
    Cluster(String),
    /// The requests ended before their time: a trace that is read while the run goes on has gone or
    /// changed.
    #[error("the requests ended too early: {0}")]
    Workload(String),
    /// The run would take more memory than there is.
    #[error("the simulation ends at {time} s: {error}")]
    Memory {
        /// Simulated time.
        time: Nanos,
        /// How much there is.
        error: OutOfMemory,
    },
    /// The time series has too many rows.
    #[error(
        "the time series has more than {MAX_ROWS} rows at {time} s, expected at most as many in all: \
         an interval of {enough} s gives {USUAL_ROWS} rows until then"
    )]
    Series {
        /// Simulated time.
        time: Nanos,
        /// An interval in seconds that gives `USUAL_ROWS` until then.
        enough: f64,
    },
    /// The listener gave up, for example because a disk is full.
    #[error("{0}")]
    Sink(String),
}
