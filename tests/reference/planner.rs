//! What a policy does to a replica while it plans one batch.

use std::collections::VecDeque;

use vidur_ecs::base::Nanos;
use vidur_ecs::engine::policy::EngineLimits;

use super::groups::{self, Groups, Hit};
use super::job::Job;
use super::memory::Memory;

/// The scheduler's side of a replica. Requests are numbers of jobs.
pub struct Scheduler {
    pub waiting: VecDeque<usize>,
    /// Admitted requests that are in no batch, in the policy's order.
    pub running: Vec<usize>,
    /// Requests that were admitted and have not left, wherever they are.
    pub holders: Vec<usize>,
    pub memory: Memory,
    /// The KV cache groups of the model's layers, if there are several.
    pub kv: Option<Groups>,
    pub admissions: usize,
    /// Blocks that static batches hold for members that ended.
    pub parked: Vec<(u32, Vec<usize>)>,
    /// Number of static batches so far.
    pub groups: u32,
    /// Decode batches in a row of LightLLM.
    pub waited: u32,
    /// Batches of this replica that are under way.
    pub in_flight: usize,
    /// Asynchronous scheduling: requests that arrived later are not seen.
    pub horizon: Nanos,
    /// Asynchronous scheduling: requests that ended but are still there.
    pub lingering: Vec<usize>,
    /// Steps planned so far; the last of them that processed prompts; whether requests were left
    /// waiting when prompts were last let in (vLLM V1).
    pub steps: u32,
    pub last_prefill: Option<u32>,
    pub short_of_room: bool,
}

/// When a decoding request may go on.
#[derive(Clone, Copy, PartialEq)]
pub enum Room {
    /// If the block is free that it may need.
    Needed,
    /// If one block is free, needed or not (Vidur).
    Spare,
    /// Always: its blocks are reserved.
    Reserved,
}

/// One batch in the making.
pub struct Planner<'a> {
    pub now: Nanos,
    pub limits: EngineLimits,
    pub jobs: &'a mut [Job],
    pub s: &'a mut Scheduler,
    pub batch: Vec<usize>,
    pub tokens: u32,
    pub preempted: u32,
    /// Whether the last token of a decoding request is not known yet, so that the block that it
    /// fills is named with the next one.
    pub asynchronous: bool,
    pub rejected: Vec<usize>,
}

impl Planner<'_> {
    pub fn blocks_for(&self, tokens: u32) -> usize {
        tokens.div_ceil(self.limits.block_size) as usize
    }

    pub fn num_running(&self) -> u32 {
        self.s.holders.len() as u32
    }

    /// Place in the queue of each waiting request that is seen.
    pub fn visible(&self) -> impl Iterator<Item = (usize, &Job)> {
        let waiting = self.s.waiting.iter().map(|&job| &self.jobs[job]).enumerate();
        waiting.filter(|(_, job)| job.arrived_at <= self.s.horizon)
    }

    /// The head of the queue.
    pub fn head(&self) -> Option<&Job> {
        self.visible().next().map(|(_, job)| job)
    }

    /// Its prompt.
    pub fn head_prompt(&self) -> Option<u32> {
        self.head().map(|job| job.prompt)
    }

    /// Refuses the waiting request at `place` for good.
    pub fn reject(&mut self, place: usize) {
        self.rejected.extend(self.s.waiting.remove(place));
    }

    pub fn reject_head(&mut self) {
        self.reject(0);
    }

    /// Cached blocks of the prompt of the waiting request at `place`: whole ones, and never those
    /// of its last token, which must be processed.
    pub fn look_up(&self, place: usize) -> Vec<usize> {
        let job = &self.jobs[self.s.waiting[place]];
        let most = ((job.prompt - 1) / self.limits.block_size) as usize;
        self.s.memory.look_up(&job.names[..most.min(job.names.len())])
    }

    /// Free blocks that a request takes for `blocks` blocks in all, of which `found` are cached.
    pub fn takes(&self, blocks: usize, found: &[usize]) -> usize {
        let idle = found.iter().filter(|&&block| !self.s.memory.is_held(block)).count();
        blocks.saturating_sub(found.len()) + idle
    }

    /// Puts a request and its next tokens into the batch. Blocks that it fills are found from now
    /// on.
    fn put(&mut self, job: usize, tokens: u32) {
        let block_size = self.limits.block_size;
        let it = &mut self.jobs[job];
        let before = it.cached_context();
        it.planned = tokens;
        it.fed = (self.s.steps + 1, tokens);
        if let Some(groups) = &mut self.s.kv {
            if self.s.memory.caching() {
                let late = self.asynchronous && it.prefilled;
                let known = if late { before } else { before + tokens };
                groups.give_names(it, known, &mut self.s.memory);
            }
        } else if it.group.is_none() && self.s.memory.caching() {
            let known = match self.asynchronous && it.prefilled {
                true => before,
                false => before + tokens,
            };
            for full in before.saturating_sub(1) / block_size..known / block_size {
                self.s.memory.give_name(it.table[full as usize], it.names[full as usize]);
            }
        }
        self.tokens += tokens;
        self.batch.push(job);
    }

    /// Takes a request out of the batch again. Blocks that it would have filled keep their names.
    pub fn take_back(&mut self, job: usize) {
        let it = &mut self.jobs[job];
        self.tokens -= it.planned;
        it.planned = 0;
        self.batch.retain(|&other| other != job);
    }

    /// Admits the waiting request at `place` with its next `tokens` tokens, so that it holds
    /// `blocks` blocks. Does nothing if there are no tokens or the blocks are not free.
    pub fn admit(&mut self, place: usize, tokens: u32, blocks: usize, group: Option<u32>) -> bool {
        if let Some(hit) = self.find_in_groups(place) {
            return self.admit_to_groups(place, &hit, tokens);
        }
        let found = if group.is_some() { Vec::new() } else { self.look_up(place) };
        let job = self.s.waiting[place];
        let cached = found.len() as u32 * self.limits.block_size;
        let tokens = tokens.min(self.jobs[job].prompt - cached);
        if tokens == 0 || self.takes(blocks, &found) > self.s.memory.free() {
            return false;
        }
        for &block in &found {
            self.s.memory.share(block);
        }
        let new = self.s.memory.take(blocks.saturating_sub(found.len()));
        let it = &mut self.jobs[job];
        it.table = found.into_iter().chain(new).collect();
        it.group = group;
        self.let_in(place, cached, tokens);
        true
    }

    /// The waiting request at `place`, which holds its blocks, goes on after `cached` tokens.
    fn let_in(&mut self, place: usize, cached: u32, tokens: u32) {
        let job = self.s.waiting[place];
        let it = &mut self.jobs[job];
        if it.scheduled_at.is_none() {
            it.scheduled_at = Some(self.now);
            it.cached = cached;
        }
        it.done = cached;
        it.admission = self.s.admissions;
        self.s.admissions += 1;
        self.s.waiting.remove(place);
        self.s.holders.push(job);
        self.put(job, tokens);
    }

    /// What the waiting request at `place` finds, if there are several groups.
    pub fn find_in_groups(&self, place: usize) -> Option<Hit> {
        let job = &self.jobs[self.s.waiting[place]];
        Some(self.s.kv.as_ref()?.find(&job.names, job.prompt - 1, &self.s.memory))
    }

    /// Whether the groups' blocks are free that it takes for its first `end` tokens, and `spare`
    /// beside them.
    pub fn groups_fit(&self, place: usize, hit: &Hit, end: u32, whole: bool, spare: usize) -> bool {
        let names = &self.jobs[self.s.waiting[place]].names;
        let takes = |groups: &Groups| groups.takes(hit, end, whole, names, &self.s.memory);
        let takes = self.s.kv.as_ref().and_then(takes);
        takes.is_some_and(|takes| takes + spare <= self.s.memory.free())
    }

    fn admit_to_groups(&mut self, place: usize, hit: &Hit, tokens: u32) -> bool {
        if tokens == 0 || !self.groups_fit(place, hit, hit.tokens + tokens, false, 0) {
            return false;
        }
        let job = &mut self.jobs[self.s.waiting[place]];
        if let Some(groups) = &self.s.kv {
            groups.adopt(job, hit, &mut self.s.memory);
            groups.grow(job, hit.tokens + tokens, &mut self.s.memory);
        }
        self.let_in(place, hit.tokens, tokens);
        true
    }

    /// Admits the head with its whole prompt.
    pub fn admit_whole_prompt(&mut self) -> bool {
        let Some(prompt) = self.head_prompt() else { return false };
        self.admit(0, prompt, self.blocks_for(prompt), None)
    }

    /// Preemption by recomputation of a request that is in no list.
    pub fn preempt(&mut self, job: usize, forget_rest_of_prompt: bool) {
        let it = &mut self.jobs[job];
        groups::give_back(it, &mut self.s.memory);
        it.restart(forget_rest_of_prompt);
        self.s.holders.retain(|&holder| holder != job);
        self.s.waiting.push_front(job);
        self.preempted += 1;
    }

    /// Preemption of a request that has its last token, though the scheduler does not know: it
    /// leaves at once.
    pub fn preempt_lingering(&mut self, job: usize) {
        self.s.lingering.retain(|&other| other != job);
        self.s.holders.retain(|&holder| holder != job);
        groups::give_back(&mut self.jobs[job], &mut self.s.memory);
        self.jobs[job].restarts += 1;
        self.preempted += 1;
    }

    /// One token more for each running request that decodes, in order, up to a batch of `limit`.
    /// Where one finds no room, the last of the list is preempted, or it itself. Returns the
    /// requests with an incomplete prefill that it came past.
    pub fn decode(&mut self, limit: usize, room: Room, forget_rest_of_prompt: bool) -> Vec<usize> {
        let mut passed = Vec::new();
        while self.batch.len() < limit && !self.s.running.is_empty() {
            let job = self.s.running.remove(0);
            if !self.jobs[job].prefilled {
                passed.push(job);
                continue;
            }
            let held = self.jobs[job].table.len();
            let needed = self.blocks_for(self.jobs[job].done).saturating_sub(held);
            let fits = loop {
                let free = self.s.memory.free();
                let fits = match room {
                    Room::Needed => needed <= free,
                    Room::Spare => free >= 1,
                    Room::Reserved => true,
                };
                if fits {
                    break true;
                }
                let Some(victim) = self.s.running.pop() else { break false };
                self.preempt(victim, forget_rest_of_prompt);
            };
            if !fits {
                self.preempt(job, forget_rest_of_prompt);
                continue;
            }
            if room != Room::Reserved {
                self.grow(job, needed);
            }
            self.put(job, 1);
        }
        passed
    }

    fn grow(&mut self, job: usize, blocks: usize) {
        let new = self.s.memory.take(blocks);
        self.jobs[job].table.extend(new);
    }

    /// Next tokens of a request, with the blocks that they need and that are free.
    pub fn extend(&mut self, job: usize, tokens: u32) {
        if let Some(groups) = &self.s.kv {
            let end = self.jobs[job].cached_context() + tokens;
            groups.grow(&mut self.jobs[job], end, &mut self.s.memory);
        } else {
            let needed = self.missing(job, tokens);
            self.grow(job, needed);
        }
        self.put(job, tokens);
    }

    /// Blocks that a request lacks for its next `tokens` tokens.
    /// Groups give back first what they need no more: of what is known to be processed, without
    /// the step under way.
    pub fn missing(&mut self, job: usize, tokens: u32) -> usize {
        let is_early = self.s.horizon != Nanos::MAX;
        let job = &mut self.jobs[job];
        if let Some(groups) = &self.s.kv {
            let held = job.cached_context();
            let under_way = if is_early && job.fed.0 == self.s.steps { job.fed.1 } else { 0 };
            groups.pass(job, held - under_way, &mut self.s.memory);
            return groups.missing(job, held + tokens);
        }
        let (end, held) = (job.cached_context() + tokens, job.table.len());
        self.blocks_for(end).saturating_sub(held)
    }

    /// Next tokens of a request whose blocks are all there.
    pub fn put_reserved(&mut self, job: usize, tokens: u32) {
        self.put(job, tokens);
    }

    pub fn sort_running_by_arrival(&mut self) {
        let jobs = &*self.jobs;
        self.s.running.sort_by_key(|&job| jobs[job].arrived_at);
    }
}
