//! The transaction in which a policy plans one batch of one replica.

use std::cmp::Ordering;
use std::ops::Range;

use super::EngineLimits;
use super::waiting::{Running, RunningRequest, WaitingRequest};
use crate::batch::{BlockChange, DecodeGroup};
use crate::cluster::{BlockGroup, Replica};
use crate::kv::{BlockStore, BlockTable, PrefixHash, PrefixHashes};
use crate::request::{RequestQuery, RequestState, Sequence};
use crate::sim::{Ledger, Nanos};

/// How a waiting request is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Prompt tokens to process in this batch: the whole prompt or its first chunk. What the
    /// prefix cache has is not processed; `tokens` then counts from there, at most to the end of
    /// the prompt.
    pub tokens: u32,
    /// Blocks that it then holds, cached ones included.
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
    fn choose(self, running: &[Sequence]) -> usize {
        let last = running.len() - 1;
        match self {
            Victim::Tail => last,
            Victim::LeastUrgent => (0..running.len())
                .max_by_key(|&i| (running[i].priority, running[i].arrived_at))
                .unwrap_or(last),
        }
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

    /// Tokens of the waiting request at `index` that are in the prefix cache and need not be
    /// processed: full blocks, at most all tokens but one. 0 if prefix caching is off.
    pub fn cached_tokens(&mut self, index: usize) -> u32 {
        if !self.replica.pool.caches_prefixes() {
            return 0;
        }
        let Some(&sequence) = self.replica.waiting.get(index) else { return 0 };
        let Ok((_, _, hashes)) = self.requests.get(sequence.entity) else { return 0 };
        let hashes = usable(hashes, &sequence, self.limits.block_size);
        self.replica.pool.find(hashes, &mut self.blocks).0 * self.limits.block_size
    }

    /// Whether blocks for the first `tokens` tokens of the waiting request at `index` are free,
    /// those that the prefix cache has put aside.
    pub fn fits(&mut self, index: usize, tokens: u32) -> bool {
        let Some(&sequence) = self.replica.waiting.get(index) else { return false };
        let Ok((_, _, hashes)) = self.requests.get(sequence.entity) else { return false };
        let hashes = usable(hashes, &sequence, self.limits.block_size);
        let (found, unheld) = self.replica.pool.find(hashes, &mut self.blocks);
        let new = self.limits.blocks_for(tokens).saturating_sub(found);
        new + unheld <= self.replica.pool.free()
    }

    /// Moves the waiting request at `index` (0 is the head) into the batch and allocates its
    /// blocks, after those that the prefix cache has. `false` if there is no such request,
    /// `tokens` is zero, or the blocks do not hold the tokens or are not free.
    #[must_use = "a request that does not fit stays where it is"]
    pub fn admit(&mut self, index: usize, admission: Admission) -> bool {
        let Some(&(mut sequence)) = self.replica.waiting.get(index) else { return false };
        let Ok((mut table, mut request, hashes)) = self.requests.get_mut(sequence.entity) else {
            return false;
        };
        let block_size = self.limits.block_size;
        let pool = &mut self.replica.pool;
        let hashes = match admission.group {
            None => usable(hashes, &sequence, block_size),
            // A group's blocks are its own.
            Some(_) => &[],
        };
        let (found, unheld) = pool.find(hashes, &mut self.blocks);
        let cached = found * block_size;
        let tokens = admission.tokens.min(sequence.prompt - cached);
        let total = cached + tokens;
        let new = admission.blocks.saturating_sub(found);
        if tokens == 0
            || admission.blocks < self.limits.blocks_for(total) && !self.limits.vidur_lengths
            || new + unheld > pool.free()
        {
            return false;
        }
        let adopted =
            pool.adopt(&hashes[..found as usize], &mut table, block_size, &mut self.blocks);
        pool.allocate(new, &mut table, &mut self.blocks);
        self.replica.waiting.remove(index);
        request.state = RequestState::Running;
        if request.scheduled_at.is_none() {
            request.scheduled_at = Some(self.now);
            request.cached_tokens = cached;
        }
        sequence.blocks = admission.blocks;
        sequence.processed = cached;
        sequence.tokens = tokens;
        sequence.admission = self.replica.admissions;
        self.replica.admissions += 1;
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
        if let Some(adapters) = &mut self.replica.adapters {
            adapters.admit(sequence.adapter);
        }
        self.ledger.counts.allocated += u64::from(new + adopted.blocks);
        self.ledger.counts.used += u64::from(tokens + adopted.tokens);
        self.ledger.counts.running += 1;
        self.ledger.counts.waiting -= 1;
        self.ledger.loads.add_waiting(self.replica.index, -1);
        self.ledger.loads.add_running(self.replica.index, 1);
        self.planned_tokens += tokens;
        self.remember(&sequence);
        self.planned.push(sequence);
        true
    }

    /// Makes the blocks that this batch fills findable by their prefix.
    fn remember(&mut self, sequence: &Sequence) {
        if !self.replica.pool.caches_prefixes() || sequence.group != 0 {
            return;
        }
        let full = self.filled(sequence);
        if full.is_empty() {
            return;
        }
        let Ok((table, _, Some(hashes))) = self.requests.get(sequence.entity) else { return };
        for (&id, &hash) in table.0[full.clone()].iter().zip(&hashes.0[full]) {
            self.replica.pool.remember(id, hash, &mut self.blocks);
        }
    }

    /// Which of its blocks a request is sure to fill in this batch: drafts may be refused.
    fn filled(&self, sequence: &Sequence) -> Range<usize> {
        if sequence.prefilled && sequence.tokens > 1 {
            return 0..0;
        }
        let (held, size) = (sequence.kv_tokens(), self.limits.block_size);
        (held / size) as usize..((held + sequence.tokens) / size) as usize
    }

    /// Admits the waiting request at `index` with its whole prompt and the blocks for it.
    #[must_use = "a request that does not fit stays where it is"]
    pub fn admit_whole_prompt(&mut self, index: usize) -> bool {
        let Some(prompt) = self.replica.waiting.get(index).map(|s| s.prompt) else { return false };
        let blocks = self.limits.blocks_for(prompt);
        let tokens = prompt - self.cached_tokens(index);
        self.admit(index, Admission { tokens, blocks, group: None })
    }

    /// Refuses the waiting request at `index` for good. `false` if there is no such request.
    pub fn reject(&mut self, index: usize, reason: impl Into<String>) -> bool {
        let Some(sequence) = self.replica.waiting.remove(index) else { return false };
        self.ledger.counts.waiting -= 1;
        self.ledger.loads.add_waiting(self.replica.index, -1);
        self.refused.push((sequence, reason.into()));
        true
    }

    /// Lets the running requests decode one token each, in order, until `rule.limit` is reached.
    /// One that does not fit makes room by preempting from the tail of the list; if it is the last
    /// itself, it is preempted. Requests with an incomplete prefill do not count: they are set
    /// aside for [`PlanView::extend_prefills`]. Under speculative decoding each feeds its drafts too,
    /// for which it needs blocks; if they are reserved, as many drafts as these hold.
    pub fn decode(&mut self, rule: DecodeRule) {
        self.fit = rule.fit;
        let room = rule.limit.saturating_sub(self.planned());
        if self.group_is_idle() && !self.plan_group(rule.fit, room, 0) {
            self.replica.dissolve();
        }
        let room = rule.limit.saturating_sub(self.planned());
        let (walked, decoding, tokens) = self.walk(rule, room);
        self.planned_tokens += tokens;
        self.ledger.counts.used += u64::from(tokens);
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

    /// Gives each running request, in order, its blocks if it needs some. Returns how many requests
    /// it came past, how many of them decode, and their tokens.
    fn walk(&mut self, rule: DecodeRule, room: usize) -> (usize, u32, u32) {
        let mut index = 0;
        let (mut decoding, mut tokens) = (0, 0);
        while index < self.replica.running.len() && (decoding as usize) < room {
            let block_size = self.limits.block_size;
            let sequence = &self.replica.running[index];
            if !sequence.prefilled {
                index += 1;
                continue;
            }
            let (fed, missing) = match self.drafts {
                0 => (1, u32::from(sequence.processed > sequence.blocks * block_size)),
                _ => self.fed_and_missing(sequence, rule.fit),
            };
            let free = self.replica.pool.free();
            let fits = match rule.fit {
                Fit::Needed => missing <= free,
                Fit::SpareBlock => missing.max(1) <= free,
                Fit::Reserved => true,
            };
            if !fits {
                // The tail gives way; that may be this request itself.
                let victim = self.replica.running.len() - 1;
                self.preempt_at(victim, rule.vidur_partial_restart);
                continue;
            }
            if missing > 0 && rule.fit != Fit::Reserved {
                self.grow(index, missing);
            }
            let sequence = &mut self.replica.running[index];
            sequence.tokens = fed;
            let sequence = *sequence;
            self.remember(&sequence);
            decoding += 1;
            tokens += fed;
            index += 1;
        }
        (index, decoding, tokens)
    }

    /// Gives the running request at `index` `count` more blocks, which are free.
    fn grow(&mut self, index: usize, count: u32) {
        let sequence = &mut self.replica.running[index];
        if let Ok((mut table, ..)) = self.requests.get_mut(sequence.entity) {
            sequence.blocks += count;
            self.replica.pool.allocate(count, &mut table, &mut self.blocks);
            self.ledger.counts.allocated += u64::from(count);
        }
    }

    /// Lets the running requests go on, in order, until `budget` tokens are planned: a decoding
    /// one with its token (and its drafts), one with an incomplete prefill with as much of its prompt as is left of
    /// the budget, at most `chunk`. Each gets the blocks that it needs for this batch; if they are not free,
    /// requests are preempted as `victim` says. When it comes to the request itself, the walk
    /// ends; it is preempted then unless other batches of a pipeline are under way. This is how vLLM V1 schedules its running list.
    pub fn advance(&mut self, budget: u32, chunk: u32, victim: Victim) {
        self.fit = Fit::Needed;
        if self.group_is_idle() && !self.plan_group_within(budget, chunk) {
            self.replica.dissolve();
        }
        let mut index = 0;
        // As many tokens as it asked for before others were preempted, although they may have left
        // more of the budget.
        let mut asked = None;
        while index < self.replica.running.len() {
            let left = budget.saturating_sub(self.planned_tokens);
            let sequence = self.replica.running[index];
            let tokens = asked.take().unwrap_or(match sequence.prefilled {
                true => self.fed(&sequence).min(left),
                false => left.min(chunk).min(sequence.prompt - sequence.processed),
            });
            if tokens == 0 {
                break;
            }
            let held = self.limits.blocks_for(sequence.kv_tokens() + tokens);
            let missing = held.saturating_sub(sequence.blocks);
            if missing > self.replica.pool.free() {
                let chosen = victim.choose(&self.replica.running);
                let in_flight = self.replica.free_slots.len() < self.limits.stages as usize;
                if chosen == index && in_flight {
                    // Others hold the blocks and come back: giving up now could go on for ever.
                    break;
                }
                if chosen < index {
                    self.take_back(chosen);
                }
                self.preempt_at(chosen, false);
                match chosen.cmp(&index) {
                    Ordering::Less => index -= 1,
                    Ordering::Equal => break,
                    Ordering::Greater => {}
                }
                asked = Some(tokens);
                continue;
            }
            if missing > 0 {
                self.grow(index, missing);
            }
            let sequence = &mut self.replica.running[index];
            sequence.tokens = tokens;
            let sequence = *sequence;
            self.remember(&sequence);
            self.planned_tokens += tokens;
            self.ledger.counts.used += u64::from(tokens);
            index += 1;
        }
        match index == self.replica.running.len() && self.planned.is_empty() {
            true => std::mem::swap(&mut self.replica.running, self.planned),
            false => self.planned.extend(self.replica.running.drain(..index)),
        }
    }

    /// Takes a running request that was planned already out of the batch again.
    fn take_back(&mut self, index: usize) {
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

    /// Lets the group of the first running request decode (all its members, one token each and the
    /// drafts for which their blocks have room).
    pub fn decode_first_group(&mut self) {
        self.fit = Fit::Reserved;
        if self.group_is_idle() {
            let alone = self.replica.running.is_empty();
            if alone
                && self.replica.decoding.is_one_block_group()
                && self.plan_group(Fit::Reserved, usize::MAX, 0)
            {
                return;
            }
            self.replica.dissolve();
        }
        let Some(group) = self.replica.running.first().map(|s| s.group) else { return };
        let before = self.planned.len();
        self.planned.extend(self.replica.running.extract_if(.., |s| s.group == group));
        let mut added = 0;
        for index in before..self.planned.len() {
            let fed = self.fed_within_blocks(&self.planned[index]);
            self.planned[index].tokens = fed;
            added += fed;
        }
        self.planned_tokens += added;
        self.ledger.counts.used += u64::from(added);
    }

    /// Continues the incomplete prefills that [`PlanView::decode`] came past, in order, each with
    /// the rest of its prompt or what is left of `budget` tokens for the whole batch. Those for
    /// which nothing is left go to the front of the running list.
    pub fn extend_prefills(&mut self, budget: u32) {
        let before = self.planned.len();
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
        if self.replica.pool.caches_prefixes() {
            for index in before..self.planned.len() {
                let sequence = self.planned[index];
                self.remember(&sequence);
            }
        }
        self.return_chunks();
    }

    /// Puts the incomplete prefills that get nothing in this batch in front of the running list.
    pub(super) fn return_chunks(&mut self) {
        self.replica.running.splice(0..0, self.chunks.drain(..));
    }

    /// Sorts the running requests that are not in the batch by arrival (stable).
    pub fn sort_running_by_arrival(&mut self) {
        let idle = self.group_is_idle();
        self.replica.sort_running(|s| s.arrived_at, DecodeGroup::last_arrival, idle);
    }

    /// Sorts the running requests that are not in the batch in the order of their admission.
    pub fn sort_running_by_admission(&mut self) {
        let idle = self.group_is_idle();
        self.replica.sort_running(|s| s.admission, DecodeGroup::last_admission, idle);
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
            self.replica.dissolve();
        }
    }

    fn preempt_at(&mut self, index: usize, vidur_partial_restart: bool) {
        let mut sequence = self.replica.running.remove(index);
        if let Ok((mut table, mut request, _)) = self.requests.get_mut(sequence.entity) {
            let block_size = self.limits.block_size;
            let moved = self.replica.give_back(&sequence, &mut table, block_size, &mut self.blocks);
            self.ledger.counts.allocated -= u64::from(moved.blocks);
            self.ledger.counts.used -= u64::from(moved.tokens);
            request.state = RequestState::Waiting;
            request.restarts += 1;
            let max = &mut self.ledger.totals.preemptions_max;
            *max = (*max).max(request.restarts);
        }
        self.ledger.counts.running -= 1;
        self.ledger.counts.waiting += 1;
        self.ledger.totals.preemptions += 1;
        self.ledger.loads.add_running(self.replica.index, -1);
        self.ledger.loads.add_waiting(self.replica.index, 1);
        self.replica.holding -= 1;
        if let Some(adapters) = &mut self.replica.adapters {
            adapters.leave(sequence.adapter);
        }
        sequence.blocks = 0;
        sequence.restart(vidur_partial_restart);
        self.replica.waiting.push_front(sequence);
        self.preempted += 1;
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

/// The hashes of the blocks that a waiting request may take from the cache.
fn usable<'a>(
    hashes: Option<&'a PrefixHashes>,
    sequence: &Sequence,
    block_size: u32,
) -> &'a [PrefixHash] {
    hashes.map_or(&[], |hashes| hashes.of_prompt(sequence.prompt, block_size))
}
