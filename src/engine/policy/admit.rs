//! Admitting waiting requests, or refusing them.

use std::ops::Range;

use super::PlanView;
use super::draft::Refused;
use super::kv_groups::{Taken, take_from_groups};
use super::reload::reloaded;
use crate::engine::policy::EngineLimits;
use crate::engine::state::BlockGroup;
use crate::engine::state::kv::{BlockPool, BlockStore, BlockTable, PrefixHash, PrefixHashes};
use crate::engine::state::request::Sequence;
use crate::engine::transition::{At, Standing};
use crate::timing::Predictor;

/// How a waiting request is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionTerms {
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

impl PlanView<'_> {
    /// Tokens of the waiting request at `index` that are in the prefix cache, or copied to it from
    /// host memory if it is admitted now, and need not be processed: full blocks, at most all
    /// tokens but one. 0 if prefix caching is off.
    pub fn cached_tokens(&mut self, index: usize) -> u32 {
        if !self.replica.kv.caches_prefixes() {
            return 0;
        }
        if self.has_groups() {
            return self.find_in_groups(index).map_or(0, |hit| hit.tokens);
        }
        let Some(&sequence) = self.replica.waiting.get(index) else { return 0 };
        let Ok((_, _, hashes)) = self.requests.get(sequence.entity) else {
            self.lost(&sequence);
            return 0;
        };
        let hashes = usable(hashes, &sequence, self.limits.block_size);
        let (pool, block_size) = (&self.replica.kv, self.limits.block_size);
        let (found, _) = pool.find(hashes, &mut self.blocks);
        (found + reloaded(pool, self.predictor, sequence.prompt, hashes, found, block_size))
            * block_size
    }

    /// Whether blocks for the first `tokens` tokens of the waiting request at `index` are free,
    /// those that the prefix cache has put aside.
    pub fn fits(&mut self, index: usize, tokens: u32) -> bool {
        self.fits_beside(index, tokens, 0)
    }

    /// Whether blocks for the first `tokens` tokens of the waiting request at `index` are free, as
    /// [`PlanView::fits`] tells, and `spare` blocks beside them.
    pub fn fits_beside(&mut self, index: usize, tokens: u32, spare: u32) -> bool {
        if self.has_groups() {
            return self.groups_fit(index, tokens, spare, false);
        }
        let Some(&sequence) = self.replica.waiting.get(index) else { return false };
        let Ok((_, _, hashes)) = self.requests.get(sequence.entity) else {
            self.lost(&sequence);
            return false;
        };
        let hashes = usable(hashes, &sequence, self.limits.block_size);
        let (found, unheld) = self.replica.kv.find(hashes, &mut self.blocks);
        let new = self.limits.blocks_for(tokens).saturating_sub(found);
        u64::from(new) + u64::from(unheld) + u64::from(spare) <= u64::from(self.replica.kv.free())
    }

    /// Moves the waiting request at `index` (0 is the head) into the batch and allocates its
    /// blocks, after those that the prefix cache has. `false` if there is no such request,
    /// `tokens` is zero, or the blocks do not hold the tokens or are not free.
    #[must_use = "a request that does not fit stays where it is"]
    pub fn admit(&mut self, index: usize, admission: AdmissionTerms) -> bool {
        let Some(&(mut sequence)) = self.replica.waiting.get(index) else { return false };
        let Ok((mut table, mut request, hashes)) = self.requests.get_mut(sequence.entity) else {
            self.lost(&sequence);
            return false;
        };
        let pool = &mut self.replica.kv;
        let taken = if pool.grouped().is_some() {
            let (tokens, blocks) = (admission.tokens, &mut self.blocks);
            take_from_groups(pool, &sequence, tokens, hashes, blocks)
        } else {
            let from = Pool { pool, blocks: &mut self.blocks, limits: self.limits };
            from.take(&sequence, admission, hashes, &mut table, self.predictor)
        };
        let Some(Taken { cached, copied, tokens, blocks, new_blocks, new_tokens }) = taken else {
            return false;
        };
        self.replica.waiting.remove(index);
        if request.scheduled_at.is_none() {
            request.scheduled_at = Some(self.now);
            request.cached_tokens = cached - copied;
            request.reloaded_tokens = copied;
        }
        sequence.blocks = blocks;
        sequence.processed = cached;
        sequence.tokens = tokens;
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
        let pool = self.replica.pool_index;
        self.ledger.hold(pool, new_blocks, new_tokens);
        let adapters = self.techniques.adapters.as_deref_mut();
        let at = At { replica: self.replica, adapters };
        let (before, after) = (Standing::Waiting, Standing::Running);
        self.ledger.transition(&mut sequence, Some(&mut request), at, before, after);
        self.draft.planned_tokens += tokens;
        self.cache_filled(&sequence);
        self.draft.planned.push(sequence);
        true
    }

    /// Admits the waiting request at `index` with its whole prompt and the blocks for it.
    #[must_use = "a request that does not fit stays where it is"]
    pub fn admit_whole_prompt(&mut self, index: usize) -> bool {
        let Some(prompt) = self.replica.waiting.get(index).map(|s| s.prompt) else { return false };
        let blocks = self.limits.blocks_for(prompt);
        let tokens = prompt - self.cached_tokens(index);
        self.admit(index, AdmissionTerms { tokens, blocks, group: None })
    }

    /// Refuses the waiting request at `index` for good. `false` if there is no such request.
    pub fn reject(&mut self, index: usize, reason: impl Into<String>) -> bool {
        let Some(mut sequence) = self.replica.waiting.remove(index) else { return false };
        let Ok((_, mut request, _)) = self.requests.get_mut(sequence.entity) else {
            self.lost(&sequence);
            return false;
        };
        let at = At { replica: self.replica, adapters: None };
        let (before, after) = (Standing::Waiting, Standing::Ended);
        self.ledger.transition(&mut sequence, Some(&mut request), at, before, after);
        self.draft.refused.push(Refused { sequence, reason: reason.into() });
        true
    }

    /// Makes the blocks that this batch fills findable by their prefix; under asynchronous
    /// scheduling, of a request that decodes, the one that the batch before filled.
    pub(super) fn cache_filled(&mut self, sequence: &Sequence) {
        if !self.replica.kv.caches_prefixes() || sequence.group != 0 {
            return;
        }
        if self.has_groups() {
            return self.cache_groups(sequence);
        }
        let full = self.filled(sequence);
        if full.is_empty() {
            return;
        }
        let Ok((table, _, hashes)) = self.requests.get(sequence.entity) else {
            return self.lost(sequence);
        };
        let Some(hashes) = hashes else { return };
        for (&id, &hash) in table.0[full.clone()].iter().zip(&hashes.0[full]) {
            self.replica.kv.cache_block(id, hash, &mut self.blocks);
        }
    }

    /// Which of its blocks a request is sure to fill in this batch (drafts may be refused), or has
    /// filled with the token that was not known when the last one was planned.
    fn filled(&self, sequence: &Sequence) -> Range<usize> {
        if sequence.prefilled && sequence.tokens > 1 {
            return 0..0;
        }
        let (held, size) = (sequence.kv_tokens(), self.limits.block_size);
        if sequence.prefilled && self.replica.kv.caches_decoded_late() {
            return last_filled(sequence, size);
        }
        (held / size) as usize..((held + sequence.tokens) / size) as usize
    }
}

/// What a replica's blocks are taken from.
struct Pool<'a, 'b> {
    pool: &'a mut BlockPool,
    blocks: &'a mut BlockStore<'b>,
    limits: &'a EngineLimits,
}

impl Pool<'_, '_> {
    /// Gives a waiting request its blocks, after what the cache has. `None` if they do not hold its
    /// tokens or are not free.
    fn take(
        self,
        sequence: &Sequence,
        admission: AdmissionTerms,
        hashes: Option<&PrefixHashes>,
        table: &mut BlockTable,
        predictor: &dyn Predictor,
    ) -> Option<Taken> {
        let Pool { pool, blocks, limits } = self;
        let block_size = limits.block_size;
        let hashes = match admission.group {
            None => usable(hashes, sequence, block_size),
            // A group's blocks are its own.
            Some(_) => &[],
        };
        let (found, unheld) = pool.find(hashes, blocks);
        let copied = reloaded(pool, predictor, sequence.prompt, hashes, found, block_size);
        let cached = (found + copied) * block_size;
        let tokens = admission.tokens.min(sequence.prompt - cached);
        let total = cached + tokens;
        let new = admission.blocks.saturating_sub(found);
        if tokens == 0
            || admission.blocks < limits.blocks_for(total) && !limits.vidur_lengths
            || new + unheld > pool.free()
        {
            return None;
        }
        let (there, copied) = hashes[..(found + copied) as usize].split_at(found as usize);
        let shared = pool.share(there, table, block_size, blocks);
        if let Some(host) = pool.host_mut() {
            host.load(copied, block_size);
        }
        pool.allocate(new, table, blocks);
        for (&id, &hash) in table.0[there.len()..].iter().zip(copied) {
            pool.cache_block(id, hash, blocks);
        }
        let copied = copied.len() as u32 * block_size;
        Some(Taken {
            cached,
            copied,
            tokens,
            blocks: admission.blocks,
            new_blocks: new + shared.blocks,
            new_tokens: copied + tokens + shared.tokens,
        })
    }
}

/// The block that the last token in the KV cache of a decoding request filled.
pub(super) fn last_filled(sequence: &Sequence, block_size: u32) -> Range<usize> {
    let held = sequence.kv_tokens();
    (held.saturating_sub(1) / block_size) as usize..(held / block_size) as usize
}

/// The hashes of the blocks that a waiting request may take from the cache.
fn usable<'a>(
    hashes: Option<&'a PrefixHashes>,
    sequence: &Sequence,
    block_size: u32,
) -> &'a [PrefixHash] {
    hashes.map_or(&[], |hashes| hashes.of_prompt(sequence.prompt, block_size))
}
