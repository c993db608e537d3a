//! What planning and committing read and write of the world.

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;

use super::state::batch::Batch;
use super::state::kv::BlockQuery;
use super::state::request::RequestQuery;
use super::state::{BatchOf, ReplicaParts, Stage, StageQueue};

/// Replicas with their techniques, stages and batch slots, requests and KV blocks.
#[derive(SystemParam)]
pub(crate) struct EngineQueries<'w, 's> {
    pub replicas: Query<'w, 's, ReplicaParts>,
    pub stages: StageQuery<'w, 's>,
    pub batches: Query<'w, 's, (&'static mut Batch, &'static BatchOf)>,
    pub requests: RequestQuery<'w, 's>,
    pub blocks: BlockQuery<'w, 's>,
}

/// Stages and what they work on.
pub(crate) type StageQuery<'w, 's> = Query<'w, 's, (&'static Stage, &'static mut StageQueue)>;
