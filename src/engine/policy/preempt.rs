//! Preempting running requests when KV blocks run out.

use bevy_ecs::prelude::*;

use super::PlanView;
use crate::engine::state::request::{Request, RequestState, Sequence};
use crate::records::EventKind;

/// Who gives way when KV blocks run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The last of the running list.
    Tail,
    /// The least urgent, the latest arrival among equals, even if it is in the batch already.
    LeastUrgent,
}

impl Victim {
    /// Index of the victim. `running` is not empty.
    pub(super) fn choose(self, running: &[Sequence]) -> usize {
        let last = running.len() - 1;
        match self {
            Victim::Tail => last,
            Victim::LeastUrgent => (0..running.len())
                .max_by_key(|&i| (running[i].priority, running[i].arrived_at))
                .unwrap_or(last),
        }
    }
}

impl PlanView<'_> {
    /// Takes a running request that was planned already out of the batch again.
    pub(super) fn take_back(&mut self, index: usize) {
        let sequence = self.replica.running[index];
        let full = self.filled(&sequence);
        if let Ok((table, ..)) = self.requests.get(sequence.entity) {
            // They will not be computed after all.
            for &id in &table.0[full] {
                self.replica.pool.disown(id, &mut self.blocks);
            }
        }
        let sequence = &mut self.replica.running[index];
        self.planned_tokens -= sequence.tokens;
        self.ledger.counts.used -= u64::from(sequence.tokens);
        sequence.tokens = 0;
    }

    /// Requests that this plan has preempted so far.
    pub fn preempted(&self) -> usize {
        self.preempted as usize
    }

    /// Preempts the last running request by recomputation: its blocks are freed and it goes to
    /// the head of the waiting queue. `false` if none is left.
    pub fn preempt_tail(&mut self) -> bool {
        self.list_running();
        match self.replica.running.len() {
            0 => false,
            n => {
                self.preempt_at(n - 1, false);
                true
            }
        }
    }

    /// Preempts the running request with this id by recomputation. `false` if there is none that
    /// is in no batch.
    pub fn preempt(&mut self, id: u64) -> bool {
        self.list_running();
        match self.replica.running.iter().position(|s| s.id == id) {
            None => false,
            Some(index) => {
                self.preempt_at(index, false);
                true
            }
        }
    }

    /// Makes all requests that are in no batch elements of the running list.
    fn list_running(&mut self) {
        if self.group_is_idle() {
            self.replica.dissolve(&mut self.requests);
        }
    }

    /// Preempts the running request at `index`: by swapping, if the engine does that and host memory
    /// has room, otherwise by recomputation.
    pub(super) fn preempt_at(&mut self, index: usize, vidur_partial_restart: bool) {
        if self.swap_out(index) {
            return;
        }
        let mut sequence = self.replica.running.remove(index);
        if let Some(mut request) = self.give_up(&mut sequence) {
            request.restarts += 1;
            let restarts = request.restarts;
            let max = &mut self.ledger.totals.preemptions_max;
            *max = (*max).max(restarts);
        }
        self.ledger.totals.preemptions += 1;
        sequence.restart(vidur_partial_restart);
        self.replica.waiting.push_front(sequence);
    }

    /// Takes the blocks off a request that is preempted and counts it as waiting.
    pub(super) fn give_up(&mut self, sequence: &mut Sequence) -> Option<Mut<'_, Request>> {
        self.ledger.counts.running -= 1;
        self.ledger.counts.waiting += 1;
        self.ledger.loads.add_running(self.replica.index, -1);
        self.ledger.loads.add_waiting(self.replica.index, 1);
        self.ledger.note(self.now, EventKind::Preempted, sequence.id, Some(self.replica.index));
        self.replica.holding -= 1;
        if let Some(adapters) = &mut self.replica.adapters {
            adapters.leave(sequence.adapter);
        }
        self.preempted += 1;
        let (mut table, mut request, _) = self.requests.get_mut(sequence.entity).ok()?;
        let block_size = self.limits.block_size;
        let moved = self.replica.give_back(sequence, &mut table, block_size, &mut self.blocks);
        self.ledger.counts.allocated -= u64::from(moved.blocks);
        self.ledger.counts.used -= u64::from(moved.tokens);
        sequence.blocks = 0;
        request.state = RequestState::Waiting;
        Some(request)
    }
}
