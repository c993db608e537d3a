//! The transaction in which a policy plans one batch of one replica.

use super::EngineLimits;
use super::draft::PlanDraft;
use super::waiting::{Running, RunningRequest, WaitingRequest};
use crate::base::Nanos;
use crate::engine::Ledger;
use crate::engine::state::batch::BlockChange;
use crate::engine::state::kv::BlockStore;
use crate::engine::state::request::{RequestQuery, Sequence};
use crate::engine::state::{Replica, Techniques};
use crate::timing::Predictor;

/// A replica as its policy sees it, while one batch is planned.
///
/// Whatever the policy calls, all counts stay right: a call that cannot be done returns `false` and
/// changes nothing.
pub struct PlanView<'a> {
    pub(super) now: Nanos,
    pub(super) limits: &'a EngineLimits,
    pub(super) oracle: bool,
    pub(super) replica: &'a mut Replica,
    pub(super) techniques: Techniques<'a>,
    pub(super) blocks: BlockStore<'a>,
    pub(super) requests: RequestQuery<'a, 'a>,
    pub(super) ledger: &'a mut Ledger,
    pub(super) changes: &'a mut Vec<BlockChange>,
    /// The batch so far, and what the policy said about it.
    pub(super) draft: &'a mut PlanDraft,
    /// What batches cost.
    pub(super) predictor: &'a dyn Predictor,
}

impl PlanView<'_> {
    /// Now.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// The engine's limits.
    pub fn limits(&self) -> &EngineLimits {
        self.limits
    }

    /// Blocks that nobody holds.
    pub fn free_blocks(&self) -> u32 {
        self.replica.kv.free()
    }

    /// Admitted requests that have not ended, those in other batches and in this one included.
    pub fn num_running(&self) -> usize {
        self.replica.num_admitted as usize
    }

    /// Admitted requests that are in no batch, in the policy's order.
    pub fn running(&self) -> impl ExactSizeIterator<Item = RunningRequest> + '_ {
        let replica = &*self.replica;
        let group = self.group_is_idle().then(|| replica.decoding.members());
        let grouped = if self.group_is_idle() { replica.decoding.len() } else { 0 };
        Running {
            group: group.into_iter().flatten().peekable(),
            others: replica.running.iter().copied().peekable(),
            left: replica.running.len() + grouped,
            oracle: self.oracle,
        }
    }

    /// Waiting requests, first come first; preempted ones are in front.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = WaitingRequest> + '_ {
        let oracle = self.oracle;
        let visible = self.visible();
        let waiting = self.replica.waiting.range(..visible);
        waiting.map(move |&sequence| WaitingRequest { sequence, oracle })
    }

    /// How many requests of the waiting queue had arrived when this plan was made.
    fn visible(&self) -> usize {
        let waiting = &self.replica.waiting;
        match self.techniques.async_cutoff() {
            None => waiting.len(),
            Some(cutoff) => {
                let late = waiting.iter().rev().take_while(|s| s.arrived_at > cutoff).count();
                waiting.len() - late
            }
        }
    }

    /// The head of the waiting queue.
    pub fn first_waiting(&self) -> Option<WaitingRequest> {
        let oracle = self.oracle;
        let cutoff = self.techniques.async_cutoff().unwrap_or(Nanos::MAX);
        let first = self.replica.waiting.front().filter(|s| s.arrived_at <= cutoff);
        first.map(|&sequence| WaitingRequest { sequence, oracle })
    }

    /// Requests in the batch so far.
    pub fn planned(&self) -> usize {
        let grouped = if self.draft.group_planned { self.replica.decoding.len() } else { 0 };
        self.draft.planned.len() + grouped
    }

    /// Tokens in the batch so far.
    pub fn planned_tokens(&self) -> u32 {
        self.draft.planned_tokens
    }

    /// Promises that the policy would plan exactly this batch again and again, as long as the batch
    /// only decodes, no request arrives at this replica, none ends and each finds its blocks. The
    /// engine may then launch several iterations at once. Without the promise every iteration is
    /// planned.
    pub fn hold_until_change(&mut self) {
        self.draft.hold = u32::MAX;
    }

    /// Holds as [`PlanView::hold_until_change`] does, for at most so many iterations, this one
    /// included.
    pub fn hold_for(&mut self, iterations: u32) {
        self.draft.hold = iterations;
    }

    /// Iterations of this replica that ended since the last plan: more than one after a run.
    pub fn committed(&self) -> u32 {
        self.draft.committed
    }

    /// Batches of this replica that are under way, on its stages or before them.
    pub fn batches_under_way(&self) -> u32 {
        self.limits.stages.saturating_sub(self.replica.free_slots.len() as u32)
    }

    /// Whether a prompt goes on or begins in the batch so far.
    pub fn plans_prefill(&self) -> bool {
        self.draft.planned.iter().any(|sequence| !sequence.prefilled)
    }

    /// Whether some admitted request decodes that is in no batch, or has ended with the last batch
    /// without the engine knowing (asynchronous scheduling).
    pub fn any_decodes(&self) -> bool {
        !self.finished().is_empty() || self.running().any(|request| request.is_decoding())
    }

    /// Asks to be called again at `time` even if nothing happens on the replica.
    pub fn wake_at(&mut self, time: Nanos) {
        self.draft.wake_at = Some(self.draft.wake_at.map_or(time, |t| t.min(time)));
    }

    /// If this plan preempts every request and plans nothing, waits for the replica's next event
    /// instead of planning again at once: Vidur's behaviour, for parity only.
    pub fn stay_idle_after_preemption(&mut self) {
        self.draft.stay_idle = true;
    }

    /// Ends the run with a message: something is there that cannot be.
    #[cold]
    pub fn fail(&mut self, message: impl Into<String>) {
        let message = message.into();
        self.ledger.note_fault(|| message);
    }

    /// A request without an entity ends the run.
    #[cold]
    pub(super) fn lost(&mut self, sequence: &Sequence) {
        let (id, replica) = (sequence.id, self.replica.index);
        self.fail(format!("request {id} of replica {replica} has no entity"));
    }

    /// Counts tokens that requests get in this batch.
    pub(super) fn count_tokens(&mut self, tokens: u32) {
        self.draft.planned_tokens += tokens;
        self.ledger.hold(self.replica.pool_index, 0, tokens);
    }
}
