//! Batches: one persistent entity per replica and pipeline slot, filled anew for each iteration.

mod run;

use bevy_ecs::prelude::*;

pub(crate) use run::{Growth, Run};

use crate::request::Sequence;
use crate::sim::{Instant, Nanos};
use crate::timing::BatchShape;

/// A batch slot and, while it is in use, the batch in it.
#[derive(Component, Debug, Default)]
pub struct Batch {
    /// Number of the batch over the whole run.
    pub id: u64,
    /// Index of its replica.
    pub replica: u32,
    /// Its requests, in the order in which the policy chose them.
    pub(crate) members: Vec<Sequence>,
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
    /// The iterations that the launch covers.
    pub(crate) run: Run,
}

impl Batch {
    /// Fills the slot with a planned batch. `members` is swapped with the slot's old, empty list.
    pub(crate) fn fill(&mut self, id: u64, members: &mut Vec<Sequence>, now: Instant) {
        debug_assert!(self.members.is_empty());
        std::mem::swap(&mut self.members, members);
        self.id = id;
        self.scheduled_at = now.tick;
        self.ready = now;
        self.execution = Nanos::ZERO;
        self.run.most = 1;
        self.shape.clear();
        for member in &self.members {
            if member.prefilled {
                self.shape.add_decode(member.processed);
            } else {
                self.shape.add_prefill(member.tokens, member.processed);
            }
        }
    }
}
