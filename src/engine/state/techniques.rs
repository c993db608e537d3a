//! What only some replicas have: each technique is a component of its own.

use bevy_ecs::prelude::*;
use bevy_ecs::query::QueryData;

use super::transfers::Transfers;
use super::{AsyncPlanning, Replica, Stages, SwappedRequests};
use crate::base::Nanos;
use crate::engine::lora::Adapters;
use crate::engine::speculation::Estimate;
use crate::engine::state::request::Sequence;

/// A replica with its stages and the techniques that it has.
#[derive(QueryData)]
#[query_data(mutable)]
pub(crate) struct ReplicaParts {
    pub replica: &'static mut Replica,
    pub stages: &'static Stages,
    adapters: Option<&'static mut Adapters>,
    swapped: Option<&'static mut SwappedRequests>,
    transfers: Option<&'static mut Transfers>,
    drafts: Option<&'static mut Estimate>,
    planning: Option<&'static mut AsyncPlanning>,
}

impl<'w> ReplicaPartsItem<'w, '_> {
    /// The replica, its stages and its techniques.
    pub fn split(self) -> (&'w mut Replica, &'w Stages, Techniques<'w>) {
        let techniques = Techniques {
            adapters: self.adapters.map(Mut::into_inner),
            swapped: self.swapped.map(Mut::into_inner),
            transfers: self.transfers.map(Mut::into_inner),
            drafts: self.drafts.map(Mut::into_inner),
            planning: self.planning.map(Mut::into_inner),
        };
        (self.replica.into_inner(), self.stages, techniques)
    }
}

/// The techniques of a replica.
pub(crate) struct Techniques<'a> {
    /// LoRA adapters.
    pub adapters: Option<&'a mut Adapters>,
    /// Preemption by swapping.
    pub swapped: Option<&'a mut SwappedRequests>,
    /// Handing requests over, or taking them.
    pub transfers: Option<&'a mut Transfers>,
    /// What it has seen of drafts, under speculative decoding.
    pub drafts: Option<&'a mut Estimate>,
    /// Asynchronous scheduling.
    pub planning: Option<&'a mut AsyncPlanning>,
}

impl Techniques<'_> {
    /// The last arrival that the next plan sees, under asynchronous scheduling.
    pub fn async_cutoff(&self) -> Option<Nanos> {
        self.planning.as_ref().and_then(|planning| planning.cutoff)
    }

    /// Whether requests are in host memory.
    pub fn has_swapped(&self) -> bool {
        self.swapped.as_ref().is_some_and(|swapped| !swapped.0.is_empty())
    }

    /// Whether the LoRA adapter of a request may be had beside those that run.
    pub fn allow(&self, sequence: &Sequence) -> bool {
        self.adapters.as_ref().is_none_or(|adapters| adapters.allows(sequence.adapter))
    }
}

impl ReplicaPartsReadOnlyItem<'_, '_> {
    /// Whether the replica has something to plan with: a free batch slot, or requests handed over to it
    /// that wait for blocks.
    pub fn may_plan(&self) -> bool {
        let handed = self.transfers.is_some_and(|transfers| !transfers.handed.is_empty());
        !self.replica.free_slots.is_empty() || handed
    }
}
