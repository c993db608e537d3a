//! Lists that one phase fills and a later one of the same step empties.

use bevy_ecs::prelude::*;

use crate::kv::KvBlock;
use crate::metrics::RequestStatus;
use crate::request::Sequence;

/// What the phases of a step hand to each other. One resource, because fetching one costs as much
/// as using it.
#[derive(Resource, Default, Debug)]
pub(crate) struct Worklists {
    /// Requests that arrived and are not routed yet.
    pub incoming: Vec<Sequence>,
    /// Replicas that may plan.
    pub touched: Touched,
    /// Blocks handed out in this step whose entities are not spawned yet.
    pub staged: Vec<KvBlock>,
    /// Stages that became idle or got a batch.
    pub to_serve: Vec<Entity>,
    /// Requests that ended, and how.
    pub ended: Vec<(Sequence, RequestStatus)>,
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

    pub fn clear(&mut self) {
        self.list.clear();
    }
}
