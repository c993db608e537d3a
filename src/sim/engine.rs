//! What does not change during a run.

use std::sync::Arc;

use bevy_ecs::prelude::*;

use crate::scheduling::EngineLimits;
use crate::timing::Predictor;

/// The engine that every replica runs.
#[derive(Resource)]
pub(crate) struct Engine {
    /// Its limits.
    pub limits: EngineLimits,
    /// Whether full blocks are found again by their prefix.
    pub prefix_caching: bool,
    /// What its batches cost.
    pub predictor: Arc<dyn Predictor>,
    /// The replicas' entities, by index.
    pub replicas: Vec<Entity>,
}
