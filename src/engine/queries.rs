//! What planning and committing read and write of the world.

use bevy_ecs::system::SystemParam;

use super::hot_query::HotQuery;
use super::state::batch::Batch;
use super::state::kv::{BlockTable, CachedBlock, KvBlock, PrefixHashes};
use super::state::request::Request;
use super::state::{BatchOf, Replicas, Stage, StageQueue};

/// Replicas with their techniques, stages and batch slots, requests and KV blocks.
#[derive(SystemParam)]
pub(crate) struct EngineQueries<'w, 's> {
    pub replicas: Replicas<'w, 's>,
    pub stages: StageQuery<'w, 's>,
    pub batches: HotQuery<'w, 's, (&'static mut Batch, &'static BatchOf)>,
    pub requests: HotQuery<'w, 's, RequestParts>,
    pub blocks: HotQuery<'w, 's, BlockParts>,
}

/// Stages and what they work on.
pub(crate) type StageQuery<'w, 's> = HotQuery<'w, 's, (&'static Stage, &'static mut StageQueue)>;

/// What planning and committing change of request entities.
type RequestParts = (&'static mut BlockTable, &'static mut Request, Option<&'static PrefixHashes>);

/// What planning and committing change of block entities.
type BlockParts = (&'static mut KvBlock, Option<&'static mut CachedBlock>);
