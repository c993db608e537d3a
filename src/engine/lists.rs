//! Lists that one system fills and a later one of the same step empties.

use bevy_ecs::prelude::*;

use super::state::batch::BlockChange;
use super::state::kv::StagedBlocks;
use super::state::request::Sequence;
use super::state::transfers::Ready;
use crate::base::memory::OutOfMemory;
use crate::records::RequestStatus;

/// What the systems of a step hand to each other.
#[derive(Default, Debug)]
pub(crate) struct Worklists {
    /// Whether requests arrive in this step.
    pub arrivals_due: bool,
    /// Whether requests may be brought in in this step: they arrive, or another pool hands them
    /// over.
    pub brings_in: bool,
    /// Requests that are not routed yet.
    pub incoming: Vec<Incoming>,
    /// Whether requests were routed in this step.
    pub routed: bool,
    /// Replicas that may plan.
    pub ready: ReadyReplicas,
    /// Blocks handed out in this step whose entities are not spawned yet.
    pub staged: StagedBlocks,
    /// Stages that became idle or got a batch.
    pub to_serve: Vec<Entity>,
    /// KV content whose blocks were found in this step.
    pub transfers: Vec<Ready>,
    /// Requests that ended, and how.
    pub ended: Vec<EndedRequest>,
    /// The error that there is no memory for what arrives, which ends the run.
    pub out_of_memory: Option<OutOfMemory>,
    /// Memory that commits and plans reuse.
    pub changes: Vec<BlockChange>,
}

impl Worklists {
    /// Whether the sets from Scheduling to Transfer have something to do.
    pub fn has_work(&self) -> bool {
        !self.ready.is_empty() || !self.to_serve.is_empty() || !self.transfers.is_empty()
    }
}

/// A request that a pool is to serve.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming {
    /// Index of the pool.
    pub pool: u32,
    /// The request.
    pub sequence: Sequence,
}

/// A request that ended in this step.
#[derive(Debug)]
pub(crate) struct EndedRequest {
    /// The request.
    pub sequence: Sequence,
    /// How it ended.
    pub status: RequestStatus,
}

/// Replicas for which something happened that lets them plan: a request was routed to them, a
/// batch ended, or they asked to be woken.
#[derive(Default, Debug)]
pub(crate) struct ReadyReplicas {
    list: Vec<(u32, Entity)>,
}

impl ReadyReplicas {
    /// Adds a replica, which has this number.
    pub fn add(&mut self, index: u32, replica: Entity) {
        if self.list.last() != Some(&(index, replica)) {
            self.list.push((index, replica));
        }
    }

    /// The replicas, each once, by number.
    pub fn in_order(&mut self) -> &[(u32, Entity)] {
        if self.list.len() > 1 {
            self.list.sort_unstable_by_key(|&(index, _)| index);
            self.list.dedup();
        }
        &self.list
    }

    /// Whether the replica with this number is among them, after [`ReadyReplicas::in_order`].
    pub fn contains(&self, index: u32) -> bool {
        self.list.binary_search_by_key(&index, |&(index, _)| index).is_ok()
    }

    /// Keeps those that `may` plan.
    pub fn retain(&mut self, mut may: impl FnMut(Entity) -> bool) {
        self.list.retain(|&(_, replica)| may(replica));
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.list.clear();
    }
}
