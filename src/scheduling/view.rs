//! The transaction in which a policy plans one batch of one replica.

use bevy_ecs::prelude::*;

use super::EngineLimits;
use super::waiting::{RunningRequest, WaitingRequest};
use crate::cluster::{BlockGroup, Replica};
use crate::kv::{BlockStore, BlockTable};
use crate::request::{Request, RequestState, Sequence};
use crate::routing::Loads;
use crate::sim::{Ledger, Nanos};

/// How a waiting request is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Prompt tokens to process in this batch: the whole prompt or its first chunk.
    pub tokens: u32,
    /// Blocks to allocate at once.
    pub blocks: u32,
    /// A group whose blocks are given back together when its last member ends (FasterTransformer);
    /// `None` for a request on its own.
    pub group: Option<u32>,
}

/// When a decoding request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// If the blocks that it needs are free: none, or one when its last block is full.
    Needed,
    /// If at least one block is free, needed or not (Vidur's rule).
    SpareBlock,
    /// Always: the blocks were reserved on admission.
    Reserved,
}

/// How [`PlanView::decode`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeRule {
    /// Most requests that decode in this batch.
    pub limit: usize,
    /// When a request fits.
    pub fit: Fit,
    /// Whether a victim with an incomplete prefill forgets the rest of its prompt, which is then
    /// generated as output: Vidur's bug, for parity only.
    pub vidur_partial_restart: bool,
}

impl Default for DecodeRule {
    /// All running requests, with the blocks that they need.
    fn default() -> DecodeRule {
        DecodeRule { limit: usize::MAX, fit: Fit::Needed, vidur_partial_restart: false }
    }
}

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
    pub(super) tables: Query<'a, 'a, &'static mut BlockTable>,
    pub(super) requests: Query<'a, 'a, &'static mut Request>,
    pub(super) ledger: &'a mut Ledger,
    pub(super) loads: &'a mut Loads,
    pub(super) refused: &'a mut Vec<(Sequence, String)>,
    /// The batch so far.
    pub(super) planned: &'a mut Vec<Sequence>,
    /// Running requests with an incomplete prefill that [`PlanView::decode`] came past.
    pub(super) chunks: &'a mut Vec<Sequence>,
    pub(super) planned_tokens: u32,
    pub(super) preempted: u32,
    pub(super) stay_idle: bool,
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
        let oracle = self.oracle;
        self.replica.running.iter().map(move |&sequence| RunningRequest { sequence, oracle })
    }

    /// Waiting requests, first come first; preempted ones are in front.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = WaitingRequest> + '_ {
        let oracle = self.oracle;
        self.replica.waiting.iter().map(move |&sequence| WaitingRequest { sequence, oracle })
    }

    /// The head of the waiting queue.
    pub fn first_waiting(&self) -> Option<WaitingRequest> {
        let oracle = self.oracle;
        self.replica.waiting.front().map(|&sequence| WaitingRequest { sequence, oracle })
    }

    /// Requests in the batch so far.
    pub fn planned(&self) -> usize {
        self.planned.len()
    }

    /// Tokens in the batch so far.
    pub fn planned_tokens(&self) -> u32 {
        self.planned_tokens
    }

    /// Moves the waiting request at `index` (0 is the head) into the batch and allocates its
    /// blocks. `false` if there is no such request, `tokens` is zero or more than its prompt, the
    /// blocks do not hold these tokens, or are not free.
    #[must_use = "a request that does not fit stays where it is"]
    pub fn admit(&mut self, index: usize, admission: Admission) -> bool {
        let Some(sequence) = self.replica.waiting.get(index) else { return false };
        if admission.tokens == 0
            || admission.tokens > sequence.prompt
            || admission.blocks < self.limits.blocks_for(admission.tokens)
            || admission.blocks > self.replica.pool.free()
        {
            return false;
        }
        let entity = sequence.entity;
        let (Ok(mut table), Ok(mut request)) =
            (self.tables.get_mut(entity), self.requests.get_mut(entity))
        else {
            return false;
        };
        let Some(mut sequence) = self.replica.waiting.remove(index) else { return false };
        self.replica.pool.allocate(admission.blocks, &mut table, &mut self.blocks);
        request.state = RequestState::Running;
        request.scheduled_at.get_or_insert(self.now);
        sequence.blocks = admission.blocks;
        sequence.tokens = admission.tokens;
        if let Some(group) = admission.group {
            sequence.group = group + 1;
            match self.replica.groups.iter_mut().find(|g| g.id == sequence.group) {
                Some(group) => group.members += 1,
                None => self.replica.groups.push(BlockGroup {
                    id: sequence.group,
                    members: 1,
                    ended: BlockTable::default(),
                }),
            }
        }
        self.replica.holding += 1;
        self.ledger.counts.allocated += u64::from(admission.blocks);
        self.ledger.counts.used += u64::from(admission.tokens);
        self.ledger.counts.running += 1;
        self.ledger.counts.waiting -= 1;
        self.loads.add_waiting(self.replica.index, -1);
        self.loads.add_running(self.replica.index, 1);
        self.planned_tokens += admission.tokens;
        self.planned.push(sequence);
        true
    }

    /// Admits the waiting request at `index` with its whole prompt and the blocks for it.
    #[must_use = "a request that does not fit stays where it is"]
    pub fn admit_whole_prompt(&mut self, index: usize) -> bool {
        let Some(tokens) = self.replica.waiting.get(index).map(|s| s.prompt) else { return false };
        let blocks = self.limits.blocks_for(tokens);
        self.admit(index, Admission { tokens, blocks, group: None })
    }

    /// Refuses the waiting request at `index` for good. `false` if there is no such request.
    pub fn reject(&mut self, index: usize, reason: impl Into<String>) -> bool {
        let Some(sequence) = self.replica.waiting.remove(index) else { return false };
        self.ledger.counts.waiting -= 1;
        self.loads.add_waiting(self.replica.index, -1);
        self.refused.push((sequence, reason.into()));
        true
    }

    /// Lets the running requests decode one token each, in order, until `rule.limit` is reached.
    /// One that does not fit makes room by preempting from the tail of the list; if it is the last
    /// itself, it is preempted. Requests with an incomplete prefill do not count: they are set
    /// aside for [`PlanView::extend_prefills`].
    pub fn decode(&mut self, rule: DecodeRule) {
        let room = rule.limit.saturating_sub(self.planned.len());
        let (walked, decoding) = self.walk(rule, room);
        self.planned_tokens += decoding;
        self.ledger.counts.used += u64::from(decoding);
        let running = &mut self.replica.running;
        if decoding as usize == walked && self.planned.is_empty() && walked == running.len() {
            std::mem::swap(running, self.planned);
            return;
        }
        for sequence in running.drain(..walked) {
            let list = if sequence.prefilled { &mut *self.planned } else { &mut *self.chunks };
            list.push(sequence);
        }
    }

    /// Gives each running request, in order, its block if it needs one. Returns how many requests
    /// it came past and how many of them decode.
    fn walk(&mut self, rule: DecodeRule, room: usize) -> (usize, u32) {
        let mut index = 0;
        let mut decoding = 0;
        while index < self.replica.running.len() && (decoding as usize) < room {
            let block_size = self.limits.block_size;
            let sequence = &mut self.replica.running[index];
            if !sequence.prefilled {
                index += 1;
                continue;
            }
            let needs = sequence.processed > sequence.blocks * block_size;
            let free = self.replica.pool.free();
            let fits = match rule.fit {
                Fit::Needed => !needs || free >= 1,
                Fit::SpareBlock => free >= 1,
                Fit::Reserved => true,
            };
            if !fits {
                // The tail gives way; that may be this request itself.
                let victim = self.replica.running.len() - 1;
                self.preempt_at(victim, rule.vidur_partial_restart);
                continue;
            }
            if needs && rule.fit != Fit::Reserved {
                sequence.blocks += 1;
                let entity = sequence.entity;
                if let Ok(mut table) = self.tables.get_mut(entity) {
                    self.replica.pool.allocate(1, &mut table, &mut self.blocks);
                    self.ledger.counts.allocated += 1;
                }
            }
            let sequence = &mut self.replica.running[index];
            sequence.tokens = 1;
            decoding += 1;
            index += 1;
        }
        (index, decoding)
    }

    /// Lets the group of the first running request decode (all its members, one token each).
    pub fn decode_first_group(&mut self) {
        let Some(group) = self.replica.running.first().map(|s| s.group) else { return };
        let before = self.planned.len();
        self.planned.extend(self.replica.running.extract_if(.., |s| s.group == group));
        for sequence in &mut self.planned[before..] {
            sequence.tokens = 1;
        }
        let added = (self.planned.len() - before) as u32;
        self.planned_tokens += added;
        self.ledger.counts.used += u64::from(added);
    }

    /// Continues the incomplete prefills that [`PlanView::decode`] came past, in order, each with
    /// the rest of its prompt or what is left of `budget` tokens for the whole batch. Those for
    /// which nothing is left go to the front of the running list.
    pub fn extend_prefills(&mut self, budget: u32) {
        let planned_tokens = &mut self.planned_tokens;
        let mut fed = 0;
        self.planned.extend(self.chunks.extract_if(.., |sequence| {
            let left = budget.saturating_sub(*planned_tokens);
            sequence.tokens = left.min(sequence.prompt - sequence.processed);
            *planned_tokens += sequence.tokens;
            fed += u64::from(sequence.tokens);
            sequence.tokens > 0
        }));
        self.ledger.counts.used += fed;
        self.return_chunks();
    }

    /// Puts the incomplete prefills that get nothing in this batch in front of the running list.
    pub(super) fn return_chunks(&mut self) {
        self.replica.running.splice(0..0, self.chunks.drain(..));
    }

    /// Sorts the running requests that are not in the batch by arrival (stable).
    pub fn sort_running_by_arrival(&mut self) {
        if !self.replica.running.is_sorted_by_key(|s| s.arrived_at) {
            self.replica.running.sort_by_key(|s| s.arrived_at);
        }
    }

    /// Preempts the last running request by recomputation: its blocks are freed and it goes to
    /// the head of the waiting queue. `false` if none is left.
    pub fn preempt_tail(&mut self) -> bool {
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
        match self.replica.running.iter().position(|s| s.id == id) {
            None => false,
            Some(index) => {
                self.preempt_at(index, false);
                true
            }
        }
    }

    fn preempt_at(&mut self, index: usize, vidur_partial_restart: bool) {
        let mut sequence = self.replica.running.remove(index);
        if let Ok(mut table) = self.tables.get_mut(sequence.entity) {
            self.replica.pool.release(&mut table, &mut self.blocks);
        }
        if let Ok(mut request) = self.requests.get_mut(sequence.entity) {
            request.state = RequestState::Waiting;
            request.restarts += 1;
            let max = &mut self.ledger.totals.preemptions_max;
            *max = (*max).max(request.restarts);
        }
        if sequence.group != 0 {
            let freed = self.replica.leave_group(sequence.group, &mut self.blocks);
            self.ledger.counts.allocated -= u64::from(freed);
        }
        self.ledger.counts.allocated -= u64::from(sequence.blocks);
        self.ledger.counts.used -= u64::from(sequence.cached());
        self.ledger.counts.running -= 1;
        self.ledger.counts.waiting += 1;
        self.ledger.totals.preemptions += 1;
        self.loads.add_running(self.replica.index, -1);
        self.loads.add_waiting(self.replica.index, 1);
        self.replica.holding -= 1;
        sequence.blocks = 0;
        sequence.restart(vidur_partial_restart);
        self.replica.waiting.push_front(sequence);
        self.preempted += 1;
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
