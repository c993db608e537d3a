//! Lists that one phase fills and a later one of the same step empties.

use bevy_ecs::prelude::*;

use crate::metrics::RequestStatus;
use crate::request::Sequence;
use crate::scheduling::EngineLimits;

/// The engine's limits, the same for all replicas.
#[derive(Resource, Clone, Copy, Debug)]
pub(crate) struct Limits(pub EngineLimits);

/// Replicas for which something happened that lets them plan: a request was routed to them, a
/// batch ended, or they asked to be woken.
#[derive(Resource, Default, Debug)]
pub(crate) struct Touched {
    list: Vec<(u32, Entity)>,
}

impl Touched {
    pub fn add(&mut self, index: u32, replica: Entity) {
        if self.list.last() != Some(&(index, replica)) {
            self.list.push((index, replica));
        }
    }

    /// Orders by replica, each once.
    pub fn sort(&mut self) {
        if self.list.len() > 1 {
            self.list.sort_unstable_by_key(|&(index, _)| index);
            self.list.dedup();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn entities(&self) -> impl Iterator<Item = &Entity> {
        self.list.iter().map(|(_, entity)| entity)
    }

    pub fn clear(&mut self) {
        self.list.clear();
    }
}

/// Stages that became idle or got a batch.
#[derive(Resource, Default, Debug)]
pub(crate) struct ToServe(pub Vec<Entity>);

/// Requests that ended in this step, and how.
#[derive(Resource, Default, Debug)]
pub(crate) struct Ended(pub Vec<(Sequence, RequestStatus)>);
