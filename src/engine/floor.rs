//! What the phases of a step read and write of the world, those that spawn and despawn aside.

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;

use crate::engine::state::batch::Batch;
use crate::engine::state::kv::BlockQuery;
use crate::engine::state::request::RequestQuery;
use crate::engine::state::{BatchOf, Replica, SharedGpus, Stage, StageQueue, Stages};

/// Replicas with their stages and batch slots, requests and KV blocks.
#[derive(SystemParam)]
pub(crate) struct Floor<'w, 's> {
    pub replicas: Query<'w, 's, (&'static mut Replica, &'static Stages)>,
    pub stages: Query<'w, 's, (&'static Stage, &'static mut StageQueue)>,
    pub shared: Query<'w, 's, &'static mut SharedGpus>,
    pub batches: Query<'w, 's, (&'static mut Batch, &'static BatchOf)>,
    pub requests: RequestQuery<'w, 's>,
    pub blocks: BlockQuery<'w, 's>,
}
