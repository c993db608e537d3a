//! Swapping: preempted requests whose KV blocks wait in host memory, with all that was computed.

use super::PlanView;
use crate::engine::state::kv::HostTier;
use crate::engine::state::request::{RequestState, Sequence};
use crate::records::EventKind;

/// A request whose blocks are in host memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swapped {
    pub sequence: Sequence,
    /// Blocks in host memory: those that held something.
    pub copied: u32,
    /// Blocks that it held on the GPU.
    held: u32,
}

/// How [`PlanView::resume`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeRule {
    /// Most requests running at once.
    pub max_num_seqs: usize,
    /// Most requests in this batch.
    pub limit: usize,
    /// Most tokens in this batch.
    pub budget: u32,
    /// Most tokens in this batch with those of a prompt that goes on.
    pub prefill_budget: u32,
    /// Most tokens of a prompt that goes on.
    pub chunk: u32,
    /// Blocks that must be left free, unless nothing else runs.
    pub watermark: u32,
    /// Whether the most urgent comes first, and not the one that arrived first.
    pub by_priority: bool,
}

impl Default for ResumeRule {
    /// Whoever has blocks, in order of arrival.
    fn default() -> ResumeRule {
        ResumeRule {
            max_num_seqs: usize::MAX,
            limit: usize::MAX,
            budget: u32::MAX,
            prefill_budget: u32::MAX,
            chunk: u32::MAX,
            watermark: 0,
            by_priority: false,
        }
    }
}

impl PlanView<'_> {
    /// Requests whose blocks are in host memory. They come before any that waits.
    pub fn num_swapped(&self) -> usize {
        self.replica.swapped.len()
    }

    /// Preempts the running request at `index` by copying its blocks to host memory, if that is how this
    /// engine preempts, it has computed something, and there is room.
    pub(super) fn swap_out(&mut self, index: usize) -> bool {
        let copied = self.limits.blocks_for(self.replica.running[index].kv_tokens());
        let room = |host: &mut HostTier| host.swap_out(copied);
        if !self.replica.pool.host_mut().is_some_and(room) {
            return false;
        }
        let mut sequence = self.replica.running.remove(index);
        let held = sequence.blocks;
        if let Some(mut request) = self.give_up(&mut sequence) {
            request.swaps += 1;
        }
        sequence.tokens = 0;
        self.replica.swapped.push(Swapped { sequence, copied, held });
        true
    }

    /// Lets swapped requests go on, in their order, while slots, budget and blocks last; none if this plan has preempted any.
    /// Each gets the blocks that it had and those for its tokens in this batch. As in vLLM, one more
    /// than it had must be free beside the watermark.
    pub fn resume(&mut self, rule: ResumeRule) {
        while self.preempted == 0
            && self.num_running() < rule.max_num_seqs
            && self.planned() < rule.limit
            && let Some(next) = self.next_swapped(rule.by_priority)
            && self.swap_in(next, &rule)
        {}
    }

    /// As in vLLM's `_schedule_swapped`, one whose LoRA adapter would be one too many is passed over.
    fn next_swapped(&self, by_priority: bool) -> Option<usize> {
        let adapters = self.replica.adapters.as_ref();
        let fits = |s: &Sequence| adapters.is_none_or(|adapters| adapters.allows(s.adapter));
        let swapped = self.replica.swapped.iter().enumerate();
        let swapped = swapped.filter(|(_, swapped)| fits(&swapped.sequence));
        let key = |s: &Sequence| (if by_priority { s.priority } else { 0 }, s.arrived_at, s.id);
        swapped.min_by_key(|(_, swapped)| key(&swapped.sequence)).map(|(index, _)| index)
    }

    fn swap_in(&mut self, index: usize, rule: &ResumeRule) -> bool {
        let Swapped { mut sequence, copied, held } = self.replica.swapped[index];
        let left = |budget: u32| budget.saturating_sub(self.planned_tokens);
        let tokens = match sequence.prefilled {
            true => self.fed(&sequence).min(left(rule.budget)),
            false => {
                let left = left(rule.prefill_budget.min(rule.budget));
                left.min(rule.chunk).min(sequence.prompt - sequence.processed)
            }
        };
        let (size, kv_tokens) = (self.limits.block_size, sequence.kv_tokens());
        let Ok((mut table, mut request, hashes)) = self.requests.get_mut(sequence.entity) else {
            return false;
        };
        let full = (kv_tokens / size) as usize;
        let hashes = hashes.map_or(&[][..], |hashes| &hashes.0[..full.min(hashes.0.len())]);
        let pool = &mut self.replica.pool;
        let (found, unheld) = pool.find(hashes, &mut self.blocks);
        let blocks = held.max(self.limits.blocks_for(kv_tokens + tokens));
        let wanted = match self.replica.holding {
            0 => blocks,
            _ => blocks.max(held + 1) + rule.watermark,
        };
        if tokens == 0 || wanted - found + unheld > pool.free() {
            return false;
        }
        self.replica.swapped.remove(index);
        let (there, not_there) = hashes.split_at(found as usize);
        let adopted = pool.adopt(there, &mut table, size, &mut self.blocks);
        pool.allocate(blocks - found, &mut table, &mut self.blocks);
        for (&id, &hash) in table.0[found as usize..].iter().zip(not_there) {
            pool.remember(id, hash, &mut self.blocks);
        }
        if let Some(host) = pool.host_mut() {
            host.swap_in(copied, copied - found);
        }
        request.state = RequestState::Running;
        sequence.blocks = blocks;
        sequence.tokens = tokens;
        sequence.admission = self.replica.admissions;
        self.replica.admissions += 1;
        self.replica.holding += 1;
        if let Some(adapters) = &mut self.replica.adapters {
            adapters.admit(sequence.adapter);
        }
        let counts = &mut self.ledger.counts;
        counts.allocated += u64::from(blocks - found + adopted.blocks);
        counts.used += u64::from(kv_tokens - found * size + adopted.tokens + tokens);
        counts.running += 1;
        counts.waiting -= 1;
        self.ledger.loads.add_waiting(self.replica.index, -1);
        self.ledger.loads.add_running(self.replica.index, 1);
        self.ledger.note(self.now, EventKind::Admitted, sequence.id, Some(self.replica.index));
        self.planned_tokens += tokens;
        self.remember(&sequence);
        self.planned.push(sequence);
        true
    }
}
