//! What only some replicas have: each technique is a component of its own.

use bevy_ecs::prelude::*;
use bevy_ecs::query::QueryData;
use bevy_ecs::system::SystemParam;

use super::transfers::Transfers;
use super::{AsyncPlanning, Replica, Stages, SwappedRequests};
use crate::base::Nanos;
use crate::engine::hot_query::HotQuery;
use crate::engine::lora::Adapters;
use crate::engine::speculation::Estimate;
use crate::engine::state::request::Sequence;

/// Replicas with their stages and the techniques that they have.
#[derive(SystemParam)]
pub(crate) struct Replicas<'w, 's> {
    pub all: HotQuery<'w, 's, (&'static mut Replica, &'static Stages)>,
    techniques: HotQuery<'w, 's, TechniqueParts>,
}

/// The technique components of a replica.
#[derive(QueryData)]
#[query_data(mutable)]
struct TechniqueParts {
    adapters: Option<&'static mut Adapters>,
    swapped: Option<&'static mut SwappedRequests>,
    transfers: Option<&'static mut Transfers>,
    drafts: Option<&'static mut Estimate>,
    planning: Option<&'static mut AsyncPlanning>,
}

/// A replica with its stages and techniques.
pub(crate) struct ReplicaParts<'a> {
    pub replica: &'a mut Replica,
    pub stages: &'a Stages,
    pub techniques: Techniques<'a>,
}

impl Replicas<'_, '_> {
    /// A replica with its stages and techniques. A plain replica has none, and nobody looks for
    /// them.
    ///
    /// # Errors
    /// There is no such replica.
    pub fn get_mut(&mut self, entity: Entity) -> Result<ReplicaParts<'_>> {
        let (replica, stages) = self.all.get_mut(entity)?;
        let techniques = match replica.is_plain {
            true => Techniques::default(),
            false => {
                let parts = self.techniques.get_mut(entity)?;
                Techniques {
                    adapters: parts.adapters.map(Mut::into_inner),
                    swapped: parts.swapped.map(Mut::into_inner),
                    transfers: parts.transfers.map(Mut::into_inner),
                    drafts: parts.drafts.map(Mut::into_inner),
                    planning: parts.planning.map(Mut::into_inner),
                }
            }
        };
        Ok(ReplicaParts { replica: replica.into_inner(), stages, techniques })
    }

    /// Whether a replica has something to plan with: a free batch slot, or requests handed over to
    /// it that wait for blocks.
    pub fn may_plan(&self, entity: Entity) -> bool {
        let Ok((replica, _)) = self.all.get(entity) else { return false };
        let handed = || {
            let parts = self.techniques.get(entity);
            let transfers = parts.ok().and_then(|parts| parts.transfers);
            transfers.is_some_and(|transfers| !transfers.handed.is_empty())
        };
        !replica.free_slots.is_empty() || !replica.is_plain && handed()
    }
}

/// The techniques of a replica.
#[derive(Default)]
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
