//! What does not change during a run.

use std::sync::Arc;

use bevy_ecs::prelude::*;

use crate::metrics::BatchRecords;
use crate::scheduling::EngineLimits;
use crate::sim::Nanos;
use crate::speculation::Speculation;
use crate::timing::Predictor;

/// The engine that every replica runs.
#[derive(Resource)]
pub(crate) struct Engine {
    /// Its limits.
    pub limits: EngineLimits,
    /// Whether full blocks are found again by their prefix.
    pub prefix_caching: bool,
    /// How requests speculate, if they do.
    pub speculation: Option<Speculation>,
    /// Seed of the streams of drafts.
    pub seed: u64,
    /// What its batches cost.
    pub predictor: Arc<dyn Predictor>,
    /// Nothing happens after this time.
    pub time_limit: Option<Nanos>,
    /// Whether a launch may cover several iterations.
    pub fast_forward: bool,
    /// Which batches somebody listens to.
    pub batch_records: BatchRecords,
    /// The replicas' entities, by index.
    pub replicas: Vec<Entity>,
}
