//! The plan that is being made, between the calls of a policy.

use bevy_ecs::prelude::*;

use super::Fit;
use crate::base::Nanos;
use crate::engine::state::request::Sequence;

/// A batch that is being planned. Its lists are used again by the next.
#[derive(Debug)]
pub(crate) struct PlanDraft {
    /// The replica, and the slot for the batch; `None` between plans.
    pub of: Option<Planning>,
    /// The batch so far, but for the decode group.
    pub planned: Vec<Sequence>,
    /// Running requests with an incomplete prefill that the plan came past.
    pub chunks: Vec<Sequence>,
    /// Waiting requests that the policy refused.
    pub refused: Vec<Refused>,
    /// Whether the decode group is in the batch, before `planned`.
    pub group_planned: bool,
    /// Tokens in the batch so far.
    pub planned_tokens: u32,
    /// Most drafts that each decoding request feeds in this batch (speculative decoding).
    pub drafts: u32,
    /// Requests that the plan preempted.
    pub preempted: u32,
    /// Iterations of the replica that ended since its last plan.
    pub committed: u32,
    /// Whether a plan that preempts everything is not made again at once.
    pub stay_idle: bool,
    /// Most iterations of this batch that may be launched at once.
    pub hold: u32,
    /// How the decoding requests of this batch get their blocks.
    pub fit: Fit,
    /// When the policy wants to be called again.
    pub wake_at: Option<Nanos>,
}

/// For which replica a plan is made, and the batch slot that it fills.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planning {
    pub replica: Entity,
    pub slot: Entity,
}

/// A waiting request that the policy refused, and why.
#[derive(Debug)]
pub(crate) struct Refused {
    pub sequence: Sequence,
    pub reason: String,
}

impl Default for PlanDraft {
    fn default() -> PlanDraft {
        PlanDraft {
            of: None,
            planned: Vec::new(),
            chunks: Vec::new(),
            refused: Vec::new(),
            group_planned: false,
            planned_tokens: 0,
            drafts: 0,
            preempted: 0,
            committed: 0,
            stay_idle: false,
            hold: 1,
            fit: Fit::Reserved,
            wake_at: None,
        }
    }
}

impl PlanDraft {
    /// Whether a plan is being made.
    pub fn is_open(&self) -> bool {
        self.of.is_some()
    }

    /// Begins another plan of the same replica.
    pub fn begin(&mut self, planning: Planning) {
        self.of = Some(planning);
        self.group_planned = false;
        self.planned_tokens = 0;
        self.preempted = 0;
        self.stay_idle = false;
        self.hold = 1;
        self.fit = Fit::Reserved;
        self.wake_at = None;
    }
}
