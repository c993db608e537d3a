//! The transaction in which a policy plans one batch of one replica.

use super::EngineLimits;
use super::go_on::Fit;
use super::waiting::{Running, RunningRequest, WaitingRequest};
use crate::base::Nanos;
use crate::engine::Ledger;
use crate::engine::state::Replica;
use crate::engine::state::batch::BlockChange;
use crate::engine::state::kv::BlockStore;
use crate::engine::state::request::{RequestQuery, Sequence};
use crate::timing::Predictor;

/// A replica as its policy sees it, while one batch is planned.
///
/// Whatever the policy calls, the books stay right: a call that cannot be done returns `false` and
/// changes nothing.
pub struct PlanView<'a> {
    pub(super) now: Nanos,
    pub(super) limits: &'a EngineLimits,
    pub(super) oracle: bool,
    pub(super) replica: &'a mut Replica,
    pub(super) blocks: BlockStore<'a>,
    pub(super) requests: RequestQuery<'a, 'a>,
    pub(super) ledger: &'a mut Ledger,
    pub(super) refused: &'a mut Vec<(Sequence, String)>,
    /// The batch so far.
    pub(super) planned: &'a mut Vec<Sequence>,
    /// Running requests with an incomplete prefill that [`PlanView::decode`] came past.
    pub(super) chunks: &'a mut Vec<Sequence>,
    /// Whether the decode group is in the batch, before `planned`.
    pub(super) group_planned: bool,
    pub(super) changes: &'a mut Vec<BlockChange>,
    pub(super) planned_tokens: u32,
    /// What batches cost.
    pub(super) predictor: &'a dyn Predictor,
    /// Most drafts that each decoding request feeds in this batch (speculative decoding).
    pub(super) drafts: u32,
    pub(super) preempted: u32,
    pub(super) committed: u32,
    pub(super) stay_idle: bool,
    /// Most iterations of this batch that may be launched at once.
    pub(super) hold: u32,
    /// How the decoding requests of this batch get their blocks.
    pub(super) fit: Fit,
    pub(super) wake_at: Option<Nanos>,
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
        self.replica.pool.free()
    }

    /// Admitted requests that have not ended, those in other batches and in this one included.
    pub fn num_running(&self) -> usize {
        self.replica.holding as usize
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
        match self.replica.horizon {
            None => waiting.len(),
            Some(horizon) => {
                let late = waiting.iter().rev().take_while(|s| s.arrived_at > horizon).count();
                waiting.len() - late
            }
        }
    }

    /// The head of the waiting queue.
    pub fn first_waiting(&self) -> Option<WaitingRequest> {
        let oracle = self.oracle;
        let horizon = self.replica.horizon.unwrap_or(Nanos::MAX);
        let first = self.replica.waiting.front().filter(|s| s.arrived_at <= horizon);
        first.map(|&sequence| WaitingRequest { sequence, oracle })
    }

    /// Requests in the batch so far.
    pub fn planned(&self) -> usize {
        let grouped = if self.group_planned { self.replica.decoding.len() } else { 0 };
        self.planned.len() + grouped
    }

    /// Tokens in the batch so far.
    pub fn planned_tokens(&self) -> u32 {
        self.planned_tokens
    }

    /// Promises that the policy would plan exactly this batch again and again, as long as the batch
    /// only decodes, no request arrives at this replica, none ends and each finds its blocks. The
    /// engine may then launch several iterations at once. Without the promise every iteration is
    /// planned.
    pub fn hold_until_change(&mut self) {
        self.hold = u32::MAX;
    }

    /// As [`PlanView::hold_until_change`], for at most so many iterations, this one included.
    pub fn hold_for(&mut self, iterations: u32) {
        self.hold = iterations;
    }

    /// Iterations of this replica that ended since the last plan: more than one after a run.
    pub fn committed(&self) -> u32 {
        self.committed
    }

    /// Asks to be called again at `time` even if nothing happens on the replica.
    pub fn wake_at(&mut self, time: Nanos) {
        self.wake_at = Some(self.wake_at.map_or(time, |t| t.min(time)));
    }

    /// If this plan preempts every request and plans nothing, waits for the replica's next event
    /// instead of planning again at once: Vidur's behaviour, for parity only.
    pub fn stay_idle_after_preemption(&mut self) {
        self.stay_idle = true;
    }
}
