//! What the phases of a step read and write of the world, those that spawn and despawn aside.

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;

use crate::batch::Batch;
use crate::cluster::{BatchOf, Replica, SharedGpus, Stage, StageQueue, Stages};
use crate::kv::BlockQuery;
use crate::request::RequestQuery;

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
