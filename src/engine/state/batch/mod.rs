//! Batches: one persistent entity per replica and pipeline slot, filled anew for each iteration.

mod group;
mod regroup;
mod run;

use bevy_ecs::prelude::*;

pub(crate) use group::{BlockChange, DecodeGroup};
pub(crate) use regroup::Form;
pub(crate) use run::Growth;

use crate::base::{Instant, Nanos};
use crate::engine::lora::AdapterTime;
use crate::engine::state::kv::Copies;
use crate::engine::state::request::Sequence;
use crate::timing::{BatchShape, Run};

/// A batch slot and, while it is in use, the batch in it.
#[derive(Component, Debug, Default)]
pub struct Batch {
    /// Number of the batch over the whole run.
    pub id: u64,
    /// Index of its replica.
    pub replica: u32,
    /// Its requests, in the order in which the policy chose them; those of the replica's decode
    /// group stay there.
    pub(crate) members: Vec<Sequence>,
    /// Whether the replica's decode group is in it, before the members.
    pub(crate) with_group: bool,
    /// Number of requests in it.
    pub(crate) size: u32,
    /// Its composition, which decides its execution time.
    pub(crate) shape: BatchShape,
    /// When it was planned.
    pub scheduled_at: Nanos,
    /// When its first stage began.
    pub(crate) started_at: Nanos,
    /// When its last stage ended; before the first, when it was planned.
    pub(crate) ready: Instant,
    /// Sum of its stage times so far.
    pub(crate) execution: Nanos,
    /// What LoRA adapters add to its time, if there are any.
    pub(crate) adapters: Option<AdapterTime>,
    /// Whether members take blocks as they grow, rather than having them reserved.
    pub(crate) grows: bool,
    /// Copies to and from host memory that go with it, if the engine uses it.
    pub(crate) copies: Option<Copies>,
    /// The iterations that the launch covers.
    pub(crate) run: Run,
}

impl Batch {
    /// Fills the slot with a planned batch: `group`, if it is in the batch, and `members`, which is
    /// swapped with the slot's old, empty list.
    pub(crate) fn fill(
        &mut self,
        id: u64,
        group: Option<&mut DecodeGroup>,
        members: &mut Vec<Sequence>,
        now: Instant,
    ) {
        debug_assert!(self.members.is_empty());
        std::mem::swap(&mut self.members, members);
        self.id = id;
        self.scheduled_at = now.tick;
        self.ready = now;
        self.execution = Nanos::ZERO;
        self.run.most = 1;
        self.shape.clear();
        self.size = self.members.len() as u32;
        self.with_group = group.is_some();
        if let Some(group) = group {
            group.in_batch = true;
            group.add_to(&mut self.shape);
            self.size += group.len() as u32;
        }
        for member in &self.members {
            if member.prefilled {
                self.shape.add_decode(member.processed);
                if member.tokens > 1 {
                    self.shape.add_drafts(member.tokens - 1, member.processed);
                }
            } else {
                self.shape.add_prefill(member.tokens, member.processed);
            }
        }
    }
}
