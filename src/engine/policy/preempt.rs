//! Preempting running requests when KV blocks run out.

use std::cmp::Reverse;

use super::PlanView;
use crate::engine::commit::{Departing, depart};
use crate::engine::state::request::{Request, Sequence};
use crate::engine::transition::{At, Standing};

/// Who gives way when KV blocks run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The last of the running list.
    Tail,
    /// The least urgent, the latest arrival among equals, even if it is in the batch already. Of
    /// simultaneous arrivals, the one with the larger id counts as later.
    LeastUrgent,
}

/// A request that gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// The running request at this index.
    Running(usize),
    /// The one at this index of those that ended with the last batch, which the engine does not
    /// know yet (asynchronous scheduling).
    Finished(usize),
}

impl Victim {
    /// Who gives way, of the running requests, of which there is one at least, and of those that
    /// ended without the engine knowing.
    pub(super) fn choose(self, running: &[Sequence], finished: &[Sequence]) -> Chosen {
        let others = finished.iter().enumerate();
        match self {
            Victim::Tail => {
                let last = running.last().map(|s| s.admission);
                let later = others.filter(|(_, s)| Some(s.admission) > last);
                later
                    .max_by_key(|(_, s)| s.admission)
                    .map_or(Chosen::Running(running.len() - 1), |(index, _)| {
                        Chosen::Finished(index)
                    })
            }
            Victim::LeastUrgent => {
                let running = running.iter().enumerate();
                let running = running.map(|(index, s)| (s, Chosen::Running(index)));
                let others = others.map(|(index, s)| (s, Chosen::Finished(index)));
                let key = |s: &Sequence| (s.priority, s.arrived_at, s.id);
                running
                    .chain(others)
                    .max_by_key(|(s, _)| (key(s), Reverse(s.admission)))
                    .map_or(Chosen::Running(0), |(_, chosen)| chosen)
            }
        }
    }
}

impl PlanView<'_> {
    /// Takes a running request that was planned already out of the batch again. As in vLLM, the
    /// blocks that it would have filled stay findable, although nobody computes them.
    pub(super) fn take_back(&mut self, index: usize) {
        let sequence = &mut self.replica.running[index];
        self.draft.planned_tokens -= sequence.tokens;
        self.ledger.let_go(self.replica.pool_index, 0, sequence.tokens);
        sequence.tokens = 0;
    }

    /// Requests that ended with the last batch, which the engine does not know yet.
    pub(super) fn finished(&self) -> &[Sequence] {
        self.techniques.planning.as_ref().map_or(&[], |planning| &planning.finished)
    }

    /// Preempts a request that ended with the last batch, although the plan that preempts it is
    /// made before: its place and blocks are free now. Its last token comes all the same.
    pub(super) fn preempt_finished(&mut self, index: usize) {
        let Some(planning) = &mut self.techniques.planning else { return };
        let mut member = planning.finished.remove(index);
        let Ok((mut table, mut request, _)) = self.requests.get_mut(member.entity) else {
            return self.lost(&member);
        };
        request.restarts += 1;
        let restarts = request.restarts;
        let held = Departing { table: &mut table, block_size: self.limits.block_size };
        let adapters = self.techniques.adapters.as_deref_mut();
        let at = At { replica: self.replica, adapters };
        depart(&mut member, Some(&mut request), at, held, &mut self.blocks, self.ledger);
        self.count_preemption(restarts);
        self.draft.preempted += 1;
    }

    /// Counts a preemption by recomputation of a request that has had `restarts` of them.
    fn count_preemption(&mut self, restarts: u32) {
        let totals = self.ledger.totals(self.replica.pool_index);
        totals.preemptions_max = totals.preemptions_max.max(restarts);
        totals.preemptions += 1;
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
        self.count_preemption(restarts);
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
