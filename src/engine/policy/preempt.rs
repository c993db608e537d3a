//! Preempting running requests when KV blocks run out.

use super::PlanView;
use crate::engine::state::request::{Request, Sequence};
use crate::engine::transition::{At, Standing};

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
        let Ok((table, ..)) = self.requests.get(sequence.entity) else {
            return self.lost(&sequence);
        };
        // They will not be computed after all.
        for &id in &table.0[full] {
            self.replica.kv.uncache_block(id, &mut self.blocks);
        }
        let sequence = &mut self.replica.running[index];
        self.draft.planned_tokens -= sequence.tokens;
        self.ledger.let_go(self.replica.pool_index, 0, sequence.tokens);
        sequence.tokens = 0;
    }

    /// Requests that this plan has preempted so far.
    pub fn preempted(&self) -> usize {
        self.draft.preempted as usize
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
            self.dissolve();
        }
    }

    /// Preempts the running request at `index`: by swapping, if the engine does that and host
    /// memory has room, otherwise by recomputation.
    pub(super) fn preempt_at(&mut self, index: usize, vidur_partial_restart: bool) {
        if self.swap_out(index) {
            return;
        }
        let mut sequence = self.replica.running.remove(index);
        let mut restarts = 0;
        self.give_up(&mut sequence, |request| {
            request.restarts += 1;
            restarts = request.restarts;
        });
        let pool = self.pool();
        let totals = self.ledger.totals(pool);
        totals.preemptions_max = totals.preemptions_max.max(restarts);
        totals.preemptions += 1;
        sequence.restart(vidur_partial_restart);
        self.replica.waiting.push_front(sequence);
    }

    /// Takes the blocks off a request that is preempted, which waits then, and notes in it what
    /// `count` says.
    pub(super) fn give_up(&mut self, sequence: &mut Sequence, count: impl FnOnce(&mut Request)) {
        self.draft.preempted += 1;
        let Ok((mut table, mut request, _)) = self.requests.get_mut(sequence.entity) else {
            return self.lost(sequence);
        };
        let block_size = self.limits.block_size;
        let moved = self.replica.give_back(sequence, &mut table, block_size, &mut self.blocks);
        self.ledger.let_go(self.replica.pool_index, moved.blocks, moved.tokens);
        sequence.blocks = 0;
        let adapters = self.techniques.adapters.as_deref_mut();
        let at = At { replica: self.replica, adapters };
        let (before, after) = (Standing::Running, Standing::Waiting);
        self.ledger.transition(sequence, Some(&mut request), at, before, after);
        count(&mut request);
    }
}
