//! What does not change during a run.

use std::sync::Arc;

use bevy_ecs::prelude::*;

use crate::base::Nanos;
use crate::engine::HandOver;
use crate::engine::lora::Lora;
use crate::engine::policy::{BatchLimits, EngineLimits};
use crate::engine::speculation::Speculation;
use crate::engine::state::kv::GroupRules;
use crate::records::BatchRecords;
use crate::timing::Predictor;

/// The cluster: pools of equal replicas.
pub(crate) struct Engine {
    /// The pools, by index.
    pub pools: Vec<Pool>,
    /// Nothing happens after this time.
    pub time_limit: Option<Nanos>,
    /// Which batches somebody listens to.
    pub batch_records: BatchRecords,
    /// The replicas' entities, by index; those of a pool lie next to each other.
    pub replicas: Vec<Entity>,
}

/// The engine that every replica of a pool runs.
pub(crate) struct Pool {
    /// Its limits.
    pub limits: EngineLimits,
    /// Upper bounds on a batch of its policy.
    pub batch_limits: BatchLimits,
    /// Whether its policy may see true output lengths.
    pub oracle: bool,
    /// Whether full blocks are found again by their prefix.
    pub prefix_caching: bool,
    /// How requests speculate, if they do.
    pub speculation: Option<Speculation>,
    /// The LoRA adapters that it serves, if any.
    pub lora: Option<Lora>,
    /// The KV cache groups of the model's layers; `None` if all layers keep every token.
    pub kv_groups: Option<GroupRules>,
    /// Its name, which its random streams depend on.
    pub name: String,
    /// The run's seed.
    pub seed: u64,
    /// What its batches cost.
    pub predictor: Arc<dyn Predictor>,
    /// Whether a launch may cover several iterations.
    pub fast_forward: bool,
    /// Where its requests go when their prompt is processed.
    pub hand_over: Option<HandOver>,
    /// Index of its first replica.
    pub first_replica: u32,
}

impl Engine {
    /// The pool of this index, which a replica, stage or request of it bears.
    pub fn pool(&self, index: u32) -> &Pool {
        &self.pools[index as usize]
    }
}
