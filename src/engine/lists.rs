//! Lists that one phase fills and a later one of the same step empties.

use bevy_ecs::prelude::*;

use crate::base::memory::OutOfMemory;
use crate::engine::state::kv::StagedBlocks;
use crate::engine::state::request::Sequence;
use crate::records::RequestStatus;

/// What the phases of a step hand to each other.
#[derive(Default, Debug)]
pub(crate) struct Worklists {
    /// Requests that arrived and are not routed yet, with the pool that is to serve them.
    pub incoming: Vec<(u32, Sequence)>,
    /// Whether requests were routed in this step.
    pub routed: bool,
    /// Replicas that may plan.
    pub touched: Touched,
    /// Blocks handed out in this step whose entities are not spawned yet.
    pub staged: StagedBlocks,
    /// Stages that became idle or got a batch.
    pub to_serve: Vec<Entity>,
    /// Requests that ended, and how.
    pub ended: Vec<(Sequence, RequestStatus)>,
    /// That there is no memory for what arrives, which ends the run.
    pub out_of_memory: Option<OutOfMemory>,
}

impl Worklists {
    /// Whether a batch may be planned or launched.
    pub fn is_to_plan(&self) -> bool {
        !self.touched.list.is_empty() || !self.to_serve.is_empty()
    }

    /// Whether a request ended, or blocks wait for their entities.
    pub fn is_to_observe(&self) -> bool {
        !self.ended.is_empty() || !self.staged.is_empty()
    }
}

/// Replicas for which something happened that lets them plan: a request was routed to them, a
/// batch ended, or they asked to be woken.
#[derive(Default, Debug)]
pub(crate) struct Touched {
    list: Vec<(u32, Entity)>,
}

impl Touched {
    pub fn add(&mut self, index: u32, replica: Entity) {
        if self.list.last() != Some(&(index, replica)) {
            self.list.push((index, replica));
        }
    }

    /// The replicas, each once, by index.
    pub fn in_order(&mut self) -> &[(u32, Entity)] {
        if self.list.len() > 1 {
            self.list.sort_unstable_by_key(|&(index, _)| index);
            self.list.dedup();
        }
        &self.list
    }

    /// Keeps those that `may` plan.
    pub fn retain(&mut self, mut may: impl FnMut(Entity) -> bool) {
        self.list.retain(|&(_, replica)| may(replica));
    }

    pub fn clear(&mut self) {
        self.list.clear();
    }
}
