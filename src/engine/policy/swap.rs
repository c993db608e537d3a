//! Swapping: preempted requests whose KV blocks wait in host memory, with all that was computed.

use super::PlanView;
use crate::engine::state::Swapped;
use crate::engine::state::kv::HostTier;
use crate::engine::state::request::Sequence;
use crate::engine::transition::{At, Standing};

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
        self.techniques.swapped.as_ref().map_or(0, |swapped| swapped.0.len())
    }

    /// Preempts the running request at `index` by copying its blocks to host memory, if that is how
    /// this engine preempts, it has computed something, and there is room.
    pub(super) fn swap_out(&mut self, index: usize) -> bool {
        if self.techniques.swapped.is_none() {
            return false;
        }
        let copied = self.limits.blocks_for(self.replica.running[index].kv_tokens());
        let room = |host: &mut HostTier| host.swap_out(copied);
        if !self.replica.kv.host_mut().is_some_and(room) {
            return false;
        }
        let mut sequence = self.replica.running.remove(index);
        let held = sequence.blocks;
        self.give_up(&mut sequence, |request| request.swaps += 1);
        sequence.tokens = 0;
        if let Some(swapped) = &mut self.techniques.swapped {
            swapped.0.push(Swapped { sequence, copied, held });
        }
        true
    }

    /// Lets swapped requests go on, in their order, while slots, budget and blocks last; none if
    /// this plan has preempted any. Each gets the blocks that it had and those for its tokens in
    /// this batch. As in vLLM, one more than it had must be free beside the watermark.
    pub fn resume(&mut self, rule: ResumeRule) {
        while self.draft.preempted == 0
            && self.num_running() < rule.max_num_seqs
            && self.planned() < rule.limit
            && let Some(next) = self.next_swapped(rule.by_priority)
            && self.swap_in(next, &rule)
        {}
    }

    /// The next request to swap in. As in vLLM's `_schedule_swapped`, one whose LoRA adapter would
    /// be one too many is passed over.
    fn next_swapped(&self, by_priority: bool) -> Option<usize> {
        let swapped = self.techniques.swapped.iter().flat_map(|swapped| &swapped.0).enumerate();
        let swapped = swapped.filter(|(_, swapped)| self.techniques.allow(&swapped.sequence));
        let key = |s: &Sequence| (if by_priority { s.priority } else { 0 }, s.arrived_at, s.id);
        swapped.min_by_key(|(_, swapped)| key(&swapped.sequence)).map(|(index, _)| index)
    }

    fn swap_in(&mut self, index: usize, rule: &ResumeRule) -> bool {
        let Some(swapped) = &self.techniques.swapped else { return false };
        let Some(&Swapped { mut sequence, copied, held }) = swapped.0.get(index) else {
            return false;
        };
        let left = |budget: u32| budget.saturating_sub(self.draft.planned_tokens);
        let tokens = match sequence.prefilled {
            true => self.fed(&sequence).min(left(rule.budget)),
            false => {
                let left = left(rule.prefill_budget.min(rule.budget));
                left.min(rule.chunk).min(sequence.prompt - sequence.processed)
            }
        };
        let (size, kv_tokens) = (self.limits.block_size, sequence.kv_tokens());
        let Ok((mut table, mut request, hashes)) = self.requests.get_mut(sequence.entity) else {
            self.lost(&sequence);
            return false;
        };
        let full = (kv_tokens / size) as usize;
        let hashes = hashes.map_or(&[][..], |hashes| &hashes.0[..full.min(hashes.0.len())]);
        let kv = &mut self.replica.kv;
        let (found, unheld) = kv.find(hashes, &mut self.blocks);
        let blocks = held.max(self.limits.blocks_for(kv_tokens + tokens));
        let wanted = match self.replica.num_admitted {
            0 => blocks,
            _ => blocks.max(held + 1) + rule.watermark,
        };
        if tokens == 0 || wanted - found + unheld > kv.free() {
            return false;
        }
        if let Some(swapped) = &mut self.techniques.swapped {
            swapped.0.remove(index);
        }
        let (there, not_there) = hashes.split_at(found as usize);
        let shared = kv.share(there, &mut table, size, &mut self.blocks);
        kv.allocate(blocks - found, &mut table, &mut self.blocks);
        for (&id, &hash) in table.0[found as usize..].iter().zip(not_there) {
            kv.cache_block(id, hash, &mut self.blocks);
        }
        if let Some(host) = kv.host_mut() {
            host.swap_in(copied, copied - found);
        }
        sequence.blocks = blocks;
        sequence.tokens = tokens;
        let pool = self.replica.pool_index;
        let computed = kv_tokens - found * size + shared.tokens + tokens;
        self.ledger.hold(pool, blocks - found + shared.blocks, computed);
        let adapters = self.techniques.adapters.as_deref_mut();
        let at = At { replica: self.replica, adapters };
        let (before, after) = (Standing::Waiting, Standing::Running);
        self.ledger.transition(&mut sequence, Some(&mut request), at, before, after);
        self.draft.planned_tokens += tokens;
        self.cache_filled(&sequence);
        self.draft.planned.push(sequence);
        true
    }
}
