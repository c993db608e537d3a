//! Plans for models whose layers are in several KV cache groups: each group has its own blocks of a
//! request, gives back those that no later token needs, and finds prefixes by its own rule.

use bevy_ecs::prelude::*;

use super::PlanView;
use crate::engine::state::kv::{BlockPool, BlockStore, Hit, PrefixHashes};
use crate::engine::state::request::Sequence;

/// What a request takes when it is admitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Tokens that it found in the cache, those that are copied there included.
    pub cached: u32,
    /// Those that are copied from host memory.
    pub copied: u32,
    /// Tokens of its prompt to process.
    pub tokens: u32,
    /// Blocks that it holds then.
    pub blocks: u32,
    /// Blocks that nobody held before.
    pub new_blocks: u32,
    /// Tokens in them.
    pub new_tokens: u32,
}

impl PlanView<'_> {
    /// Whether the model's layers are in several KV cache groups.
    pub(super) fn has_groups(&self) -> bool {
        self.replica.kv.grouped().is_some()
    }

    /// Blocks that a request of `tokens` tokens holds at most at once.
    pub(super) fn blocks_of(&self, tokens: u32) -> u32 {
        match self.replica.kv.grouped() {
            None => self.limits.blocks_for(tokens),
            Some(grouped) => grouped.rules().blocks_of(tokens),
        }
    }

    /// Blocks that a running request lacks to process `tokens` more tokens, after those are given
    /// back that it needs no more.
    pub(super) fn missing_of_groups(&mut self, sequence: &Sequence, tokens: u32) -> u32 {
        let (of, held) = (sequence.entity, sequence.kv_tokens());
        let is_ahead = self.techniques.async_cutoff().is_some();
        let blocks = &mut self.blocks;
        let changed = self.replica.kv.with_grouped(|grouped, kv| {
            // What the batch before computes is not known to be there yet.
            let in_flight = if is_ahead { grouped.fed_before(of) } else { 0 };
            let moved = grouped.remove_skipped(of, held.saturating_sub(in_flight), kv, blocks);
            (moved, grouped.missing(of, held + tokens))
        });
        let Some((moved, missing)) = changed else { return 0 };
        self.ledger.let_go(self.replica.pool_index, moved.blocks, moved.tokens);
        missing
    }

    /// Gives the running request at `index` the `count` blocks that its groups lack to process
    /// `tokens` more tokens.
    pub(super) fn grow_groups(&mut self, index: usize, count: u32, tokens: u32) {
        let sequence = &mut self.replica.running[index];
        let (of, end) = (sequence.entity, sequence.kv_tokens() + tokens);
        let blocks = &mut self.blocks;
        let held = self.replica.kv.with_grouped(|grouped, kv| {
            grouped.grow(of, end, kv, blocks);
            grouped.feed(of, tokens);
            grouped.num_held(of)
        });
        self.replica.running[index].blocks = held.unwrap_or(0);
        self.ledger.hold(self.replica.pool_index, count, 0);
    }

    /// What the waiting request at `index` finds in the cache, in every group.
    pub(super) fn find_in_groups(&mut self, index: usize) -> Option<Hit> {
        let &sequence = self.replica.waiting.get(index)?;
        let Ok((_, _, hashes)) = self.requests.get(sequence.entity) else {
            self.lost(&sequence);
            return None;
        };
        let (kv, none) = (&self.replica.kv, PrefixHashes::default());
        Some(kv.grouped()?.find(hashes.unwrap_or(&none), sequence.prompt - 1, kv))
    }

    /// Whether all groups' blocks for the first `tokens` tokens of the waiting request at `index`
    /// are free, and `spare` blocks beside them. `whole`: of windows no more than are held at once.
    pub(super) fn groups_fit(
        &mut self,
        index: usize,
        tokens: u32,
        spare: u32,
        whole: bool,
    ) -> bool {
        let Some(hit) = self.find_in_groups(index) else { return false };
        let kv = &self.replica.kv;
        let needed = kv.grouped().and_then(|g| g.needed(&hit, tokens, whole, &mut self.blocks));
        needed.is_some_and(|needed| u64::from(needed) + u64::from(spare) <= u64::from(kv.free()))
    }

    /// Whether blocks for the whole prompt of the waiting request at `index` are free, and `spare`
    /// blocks beside them: of layers that see a window, as many as they hold at once.
    pub fn fits_whole(&mut self, index: usize, spare: u32) -> bool {
        let Some(prompt) = self.replica.waiting.get(index).map(|s| s.prompt) else { return false };
        match self.has_groups() {
            true => self.groups_fit(index, prompt, spare, true),
            false => self.fits_beside(index, prompt, spare),
        }
    }

    /// How many of `tokens` tokens the waiting request at `index` processes, of whose prompt
    /// `cached` tokens are there: where states of a model are kept at the ends of blocks, a chunk
    /// ends at one.
    pub(super) fn chunk_of_waiting(
        &mut self,
        index: usize,
        cached: u32,
        (tokens, most): (u32, u32),
    ) -> u32 {
        if self.chunk_block().is_none() {
            return tokens;
        }
        let Some(hit) = self.find_in_groups(index) else { return tokens };
        let Some(sequence) = self.replica.waiting.get(index) else { return tokens };
        let (start, known) = (cached, sequence.prompt);
        self.aligned(Chunk { start, tokens, known, prefill: known, junction: hit.junction, most })
    }

    /// How many of `tokens` tokens a running request processes: see
    /// [`PlanView::chunk_of_waiting`].
    pub(super) fn chunk_of_running(&self, sequence: &Sequence, tokens: u32, most: u32) -> u32 {
        if self.chunk_block().is_none() || sequence.prefilled {
            return tokens;
        }
        let Some(grouped) = self.replica.kv.grouped() else { return tokens };
        let (start, known) = (sequence.kv_tokens(), sequence.prompt);
        let junction = grouped.junction(sequence.entity);
        self.aligned(Chunk { start, tokens, known, prefill: known, junction, most })
    }

    /// Tokens of the blocks at whose ends chunks end, if states are cached there.
    fn chunk_block(&self) -> Option<u32> {
        let grouped = self.replica.kv.grouped().filter(|_| self.replica.kv.caches_prefixes());
        grouped?.rules().chunk_block()
    }

    /// The tokens of a chunk up to the first place where a state is to be kept.
    fn aligned(&self, chunk: Chunk) -> u32 {
        let Chunk { start, tokens, known, prefill, junction, most } = chunk;
        let Some(size) = self.chunk_block().filter(|_| start < prefill) else { return tokens };
        let mut end = start + tokens;
        if end < prefill {
            let aligned = end / size * size;
            // A block that no chunk can hold is filled by several.
            if aligned > start || size <= most {
                end = aligned.max(start);
            }
        }
        let next = (!start.is_multiple_of(size)).then(|| start.next_multiple_of(size));
        let last = (known - 1) / size * size;
        let junction = (start < junction).then(|| start + (junction - start) / size * size);
        let stops = [next, Some(last), junction].into_iter().flatten();
        stops.filter(|stop| start < *stop && *stop < end).min().unwrap_or(end) - start
    }

    /// Makes what a request has, or has after this batch, findable in every group.
    pub(super) fn cache_groups(&mut self, sequence: &Sequence) {
        let late = sequence.prefilled && self.replica.kv.caches_decoded_late();
        let tokens = sequence.kv_tokens() + if late { 0 } else { sequence.tokens };
        let Ok((_, request, hashes)) = self.requests.get(sequence.entity) else {
            return self.lost(sequence);
        };
        let Some(hashes) = hashes else { return };
        let (of, prompt) = (sequence.entity, request.prompt_tokens);
        let blocks = &mut self.blocks;
        self.replica.kv.with_grouped(|grouped, kv| {
            grouped.cache(of, (tokens, prompt), hashes, kv, blocks);
        });
    }
}

/// A chunk of a prompt that is to end where states are kept.
#[derive(Clone, Copy)]
struct Chunk {
    /// Tokens that were processed before.
    start: u32,
    /// Tokens that it may have.
    tokens: u32,
    /// Tokens of the request that are known.
    known: u32,
    /// Where the prompt ends.
    prefill: u32,
    /// End of a prefix that some groups had and others had not.
    junction: u32,
    /// Most tokens of any chunk.
    most: u32,
}

/// Gives a waiting request its blocks in every group, after what the cache has. `None` if they are
/// not free.
pub(super) fn take_from_groups(
    pool: &mut BlockPool,
    sequence: &Sequence,
    tokens: u32,
    hashes: Option<&PrefixHashes>,
    blocks: &mut BlockStore<'_>,
) -> Option<Taken> {
    let none = PrefixHashes::default();
    let hashes = hashes.unwrap_or(&none);
    let of: Entity = sequence.entity;
    pool.with_grouped(|grouped, kv| {
        let hit = grouped.find(hashes, sequence.prompt - 1, kv);
        let cached = hit.tokens;
        let tokens = tokens.min(sequence.prompt - cached);
        let needed = grouped.needed(&hit, cached + tokens, false, blocks)?;
        if tokens == 0 || needed > kv.free() {
            return None;
        }
        let before = kv.allocated();
        let shared = grouped.adopt(of, hit, kv, blocks);
        grouped.grow(of, cached + tokens, kv, blocks);
        grouped.feed(of, tokens);
        Some(Taken {
            cached,
            copied: 0,
            tokens,
            blocks: grouped.num_held(of),
            new_blocks: kv.allocated() - before,
            new_tokens: tokens + shared.tokens,
        })
    })?
}
