//! A replica's pool of blocks: how many there are, which are free, which prefixes they hold.

use super::{
    BlockId, BlockStore, BlockTable, GroupRules, Grouped, HostMemory, HostTier, PrefixHash,
    PrefixIndex,
};

/// The blocks of one replica.
///
/// Without prefix caching the free blocks lie on stacks, and one of them is reused before a new one
/// is created. With it they form a list from the least to the most recently used, linked through
/// the blocks themselves: blocks that were never used come first and the least recently used one
/// next, so that cached prefixes live as long as they can. Where the list begins with a block that
/// holds no prefix, that one is used before a new one, which makes no difference to prefixes.
#[derive(Debug)]
pub struct BlockPool {
    total: u32,
    allocated: u32,
    created: u32,
    /// Free blocks that were used before, without prefix caching: some one by one, others as the
    /// tables of requests that ended, which are handed on whole, since reading and writing hundreds
    /// of numbers that mean nothing would be most of what an admission does to memory.
    spare: Vec<BlockId>,
    spare_tables: Vec<Vec<BlockId>>,
    /// Ends of the list of free blocks that were used before, with prefix caching.
    least_recent: BlockId,
    most_recent: BlockId,
    /// Full blocks by prefix, if prefix caching is on.
    prefixes: Option<PrefixIndex>,
    /// How it caches prefixes.
    rules: CachingRules,
    /// Host memory behind it, if the engine uses it.
    host: Option<Box<HostTier>>,
    /// What requests hold of it, if the model's layers are in several KV cache groups.
    grouped: Option<Box<Grouped>>,
}

/// How engines differ in caching prefixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CachingRules {
    /// Whether freed blocks without a prefix are reused before all others, and not last.
    pub unhashed_first: bool,
    /// Whether the block that a decoding request fills becomes findable one iteration later, as
    /// under asynchronous scheduling, where its last token is not known before.
    pub decoded_late: bool,
}

/// A table is made with room for so many blocks beyond the first ones.
const FOR_ANSWER: usize = 16;

/// Blocks and tokens that changed hands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Blocks that nobody holds any more, or that somebody holds now and nobody did before.
    pub blocks: u32,
    /// Tokens in them.
    pub tokens: u32,
}

impl BlockPool {
    /// A pool of `total` blocks, all free, with or without prefix caching.
    pub fn new(total: u32, prefix_caching: bool) -> BlockPool {
        BlockPool {
            total,
            allocated: 0,
            created: 0,
            spare: Vec::new(),
            spare_tables: Vec::new(),
            least_recent: BlockId::NONE,
            most_recent: BlockId::NONE,
            prefixes: prefix_caching.then(PrefixIndex::default),
            rules: CachingRules::default(),
            host: None,
            grouped: None,
        }
    }

    /// The pool with these rules of caching.
    pub(crate) fn with_rules(mut self, rules: CachingRules) -> BlockPool {
        self.rules = rules;
        self
    }

    /// Whether the block that a decoding request fills becomes findable one iteration later.
    pub(crate) fn caches_decoded_late(&self) -> bool {
        self.rules.decoded_late
    }

    /// The pool with host memory behind it.
    pub(crate) fn with_host(mut self, memory: Option<HostMemory>) -> BlockPool {
        self.host = memory.map(|memory| Box::new(HostTier::new(memory)));
        self
    }

    /// The pool of several KV cache groups.
    pub(crate) fn with_groups(mut self, rules: Option<GroupRules>) -> BlockPool {
        self.grouped = rules.map(|rules| Box::new(Grouped::new(rules)));
        self
    }

    /// What requests hold of it, if the model's layers are in several KV cache groups.
    pub(crate) fn grouped(&self) -> Option<&Grouped> {
        self.grouped.as_deref()
    }

    /// What requests hold of it, if the model's layers are in several KV cache groups.
    pub(crate) fn grouped_mut(&mut self) -> Option<&mut Grouped> {
        self.grouped.as_deref_mut()
    }

    /// Works on what requests hold of several KV cache groups, and on the pool they take it from.
    /// `None` if there is one group.
    pub(crate) fn with_grouped<T>(
        &mut self,
        work: impl FnOnce(&mut Grouped, &mut BlockPool) -> T,
    ) -> Option<T> {
        let mut grouped = self.grouped.take()?;
        let result = work(&mut grouped, self);
        self.grouped = Some(grouped);
        Some(result)
    }

    /// The host memory behind it.
    pub(crate) fn host(&self) -> Option<&HostTier> {
        self.host.as_deref()
    }

    /// The host memory behind it.
    pub(crate) fn host_mut(&mut self) -> Option<&mut HostTier> {
        self.host.as_deref_mut()
    }

    /// Blocks that nobody holds, whether a prefix is cached in them or not.
    pub fn free(&self) -> u32 {
        self.total - self.allocated
    }

    /// Blocks that somebody holds.
    pub fn allocated(&self) -> u32 {
        self.allocated
    }

    /// Whether full blocks are found again by their prefix.
    pub fn caches_prefixes(&self) -> bool {
        self.prefixes.is_some()
    }

    /// Appends `count` free blocks to `table`. The caller has checked that there are as many.
    pub(crate) fn allocate(
        &mut self,
        count: u32,
        table: &mut BlockTable,
        blocks: &mut BlockStore<'_>,
    ) {
        debug_assert!(count <= self.free());
        self.allocated += count;
        if self.prefixes.is_none() {
            let before = table.0.len();
            self.reuse(count as usize, table);
            let new = self.allocated.saturating_sub(self.created);
            self.created += new;
            table.0.extend((0..new).map(|_| blocks.new_block()));
            blocks.mark(&table.0[before..], true);
            return;
        }
        if table.0.capacity() == 0 {
            table.0.reserve(count as usize + FOR_ANSWER);
        }
        for _ in 0..count {
            let first = self.least_recent;
            let is_empty = first != BlockId::NONE && blocks.cached_mut(first).hash.is_none();
            let id = if !is_empty && self.created < self.total {
                self.created += 1;
                blocks.new_block()
            } else {
                self.unlink(first, blocks);
                first
            };
            let block = blocks.get_mut(id);
            debug_assert_eq!(block.references, 0, "a free block has no holder");
            block.references = 1;
            table.0.push(id);
            let evicted = self.prefixes.as_mut().and_then(|prefixes| prefixes.remove(id, blocks));
            if let (Some(hash), Some(host)) = (evicted, &mut self.host) {
                host.store(hash);
            }
        }
    }

    /// Without prefix caching: appends `count` blocks that were used before to `table`, or all that
    /// there are.
    fn reuse(&mut self, count: usize, table: &mut BlockTable) {
        let mut left = count;
        if table.0.capacity() == 0 {
            match self.spare_tables.pop() {
                Some(whole) => {
                    table.0 = whole;
                    if let Some(beyond) = table.0.get(count..) {
                        self.spare.extend_from_slice(beyond);
                        table.0.truncate(count);
                    }
                    left -= table.0.len();
                }
                None => table.0.reserve(count + FOR_ANSWER),
            }
        }
        while self.spare.len() < left
            && let Some(mut whole) = self.spare_tables.pop()
        {
            self.spare.append(&mut whole);
        }
        let first = self.spare.len().saturating_sub(left);
        table.0.extend_from_slice(&self.spare[first..]);
        self.spare.truncate(first);
    }

    /// Takes all blocks off `table`, which hold `tokens` tokens; those that nobody else holds
    /// become free, the last first, so that a prefix is evicted from its end.
    pub(crate) fn release(
        &mut self,
        table: &mut BlockTable,
        tokens: u32,
        block_size: u32,
        blocks: &mut BlockStore<'_>,
    ) -> Moved {
        if self.prefixes.is_none() {
            let freed = table.0.len() as u32;
            if freed > 0 {
                blocks.mark(&table.0, false);
                self.spare_tables.push(std::mem::take(&mut table.0));
            }
            self.allocated -= freed;
            return Moved { blocks: freed, tokens };
        }
        let mut moved = Moved::default();
        let mut index = table.0.len() as u32;
        for id in table.0.drain(..).rev() {
            index -= 1;
            let block = blocks.get_mut(id);
            block.references -= 1;
            if block.references == 0 {
                moved.blocks += 1;
                moved.tokens += tokens.saturating_sub(index * block_size).min(block_size);
                self.link_free(id, blocks);
            }
        }
        self.allocated -= moved.blocks;
        moved
    }

    /// Takes the last `count` blocks off `table`, which nobody else holds: they become free.
    pub(crate) fn give_back_last(
        &mut self,
        count: u32,
        table: &mut BlockTable,
        blocks: &mut BlockStore<'_>,
    ) {
        let first = table.0.len().saturating_sub(count as usize);
        let ids = &table.0[first..];
        self.allocated -= ids.len() as u32;
        match self.prefixes {
            None => {
                blocks.mark(ids, false);
                self.spare.extend_from_slice(ids);
            }
            Some(_) => {
                for &id in ids.iter().rev() {
                    debug_assert_eq!(blocks.get_mut(id).references, 1, "not a shared block");
                    debug_assert_eq!(blocks.cached_mut(id).hash, None, "not a cached block");
                    blocks.get_mut(id).references = 0;
                    self.link_free(id, blocks);
                }
            }
        }
        table.0.truncate(first);
    }

    /// How many of the blocks with these hashes are cached, from the first on, and how many of
    /// those nobody holds.
    pub(crate) fn find(&self, hashes: &[PrefixHash], blocks: &mut BlockStore<'_>) -> (u32, u32) {
        let Some(prefixes) = &self.prefixes else { return (0, 0) };
        let (mut found, mut free) = (0, 0);
        for id in hashes.iter().map_while(|&hash| prefixes.get(hash)) {
            found += 1;
            free += u32::from(blocks.get_mut(id).references == 0);
        }
        (found, free)
    }

    /// Appends the cached blocks with these hashes to `table`.
    pub(crate) fn share(
        &mut self,
        hashes: &[PrefixHash],
        table: &mut BlockTable,
        block_size: u32,
        blocks: &mut BlockStore<'_>,
    ) -> Moved {
        let mut moved = Moved::default();
        for &hash in hashes {
            let Some(id) = self.prefixes.as_ref().and_then(|prefixes| prefixes.get(hash)) else {
                debug_assert!(false, "only what was found is shared");
                break;
            };
            if blocks.get_mut(id).references == 0 {
                self.unlink(id, blocks);
                moved.blocks += 1;
                moved.tokens += block_size;
            }
            blocks.get_mut(id).references += 1;
            table.0.push(id);
        }
        self.allocated += moved.blocks;
        moved
    }

    /// Appends `count` free blocks to the table of a group. The caller has checked that there are
    /// as many.
    pub(super) fn take(
        &mut self,
        count: u32,
        table: &mut Vec<BlockId>,
        blocks: &mut BlockStore<'_>,
    ) {
        if count > 0 {
            let mut longer = BlockTable(std::mem::take(table));
            self.allocate(count, &mut longer, blocks);
            *table = longer.0;
        }
    }

    /// A holder gives these blocks back. Returns how many nobody holds any more.
    pub(super) fn give(&mut self, ids: &[BlockId], blocks: &mut BlockStore<'_>) -> u32 {
        let mut freed = ids.len() as u32;
        if self.prefixes.is_none() {
            blocks.mark(ids, false);
            self.spare.extend_from_slice(ids);
        } else {
            for &id in ids {
                let block = blocks.get_mut(id);
                block.references -= 1;
                match block.references {
                    0 => self.link_free(id, blocks),
                    _ => freed -= 1,
                }
            }
        }
        self.allocated -= freed;
        freed
    }

    /// A cached block gets one more holder. Whether it had none.
    pub(super) fn touch(&mut self, id: BlockId, blocks: &mut BlockStore<'_>) -> bool {
        let is_new = blocks.is_free(id);
        if is_new {
            self.unlink(id, blocks);
            self.allocated += 1;
        }
        blocks.get_mut(id).references += 1;
        is_new
    }

    /// The block with this hash, if one is cached.
    pub(super) fn findable(&self, hash: PrefixHash) -> Option<BlockId> {
        self.prefixes.as_ref().and_then(|prefixes| prefixes.get(hash))
    }

    /// Makes a full block findable by its prefix, after those that hold the same.
    pub(crate) fn cache_block(
        &mut self,
        id: BlockId,
        hash: PrefixHash,
        blocks: &mut BlockStore<'_>,
    ) {
        if let Some(prefixes) = &mut self.prefixes {
            prefixes.insert(id, hash, blocks);
        }
    }

    /// Puts a block that is free now into the list.
    fn link_free(&mut self, id: BlockId, blocks: &mut BlockStore<'_>) {
        match self.rules.unhashed_first && blocks.cached_mut(id).hash.is_none() {
            true => self.link_least_recent(id, blocks),
            false => self.link_most_recent(id, blocks),
        }
    }

    fn link_least_recent(&mut self, id: BlockId, blocks: &mut BlockStore<'_>) {
        let first = std::mem::replace(&mut self.least_recent, id);
        let block = blocks.cached_mut(id);
        block.previous = BlockId::NONE;
        block.next = first;
        match first {
            BlockId::NONE => self.most_recent = id,
            first => blocks.cached_mut(first).previous = id,
        }
    }

    fn link_most_recent(&mut self, id: BlockId, blocks: &mut BlockStore<'_>) {
        let last = std::mem::replace(&mut self.most_recent, id);
        let block = blocks.cached_mut(id);
        block.previous = last;
        block.next = BlockId::NONE;
        match last {
            BlockId::NONE => self.least_recent = id,
            last => blocks.cached_mut(last).next = id,
        }
    }

    fn unlink(&mut self, id: BlockId, blocks: &mut BlockStore<'_>) {
        let block = blocks.cached_mut(id);
        let (previous, next) = (block.previous, block.next);
        match previous {
            BlockId::NONE => self.least_recent = next,
            previous => blocks.cached_mut(previous).next = next,
        }
        match next {
            BlockId::NONE => self.most_recent = previous,
            next => blocks.cached_mut(next).previous = previous,
        }
    }

    /// The free blocks that were used before; with prefix caching the least recently used first.
    /// `next` tells which block follows one there.
    pub(crate) fn free_list(&self, mut next: impl FnMut(BlockId) -> BlockId) -> Vec<BlockId> {
        let mut list = self.spare.clone();
        list.extend(self.spare_tables.iter().flatten());
        let mut id = self.least_recent;
        while id != BlockId::NONE && list.len() <= self.created as usize {
            list.push(id);
            id = next(id);
        }
        list
    }

    /// Blocks that were handed out at least once.
    pub(crate) fn created(&self) -> u32 {
        self.created
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::state::kv::StagedBlocks;

    fn hash(value: u64) -> PrefixHash {
        PrefixHash(value.try_into().unwrap())
    }

    fn ids(table: &BlockTable) -> Vec<u32> {
        table.0.iter().map(|id| id.0).collect()
    }

    #[test]
    fn a_cached_prefix_is_shared_and_evicted_from_its_end() {
        let mut staged = StagedBlocks::new(true);
        let mut blocks = BlockStore::over(&mut [], &mut [], &mut staged);
        let mut pool = BlockPool::new(4, true);
        let (mut a, mut b) = (BlockTable::default(), BlockTable::default());
        let hashes = [hash(11), hash(12), hash(13)];
        pool.allocate(3, &mut a, &mut blocks);
        for (&id, &hash) in a.0.iter().zip(&hashes[..2]) {
            pool.cache_block(id, hash, &mut blocks);
        }
        assert_eq!(pool.find(&hashes, &mut blocks), (2, 0), "the third is not full yet");
        // A second request holds the same two blocks: nothing new is allocated.
        let moved = pool.share(&hashes[..2], &mut b, 16, &mut blocks);
        assert_eq!((moved, pool.allocated()), (Moved::default(), 3));
        // The first ends with 40 tokens: only its private block, with 8 tokens, becomes free.
        let moved = pool.release(&mut a, 40, 16, &mut blocks);
        assert_eq!(moved, Moved { blocks: 1, tokens: 8 });
        let moved = pool.release(&mut b, 32, 16, &mut blocks);
        assert_eq!(moved, Moved { blocks: 2, tokens: 32 });
        assert_eq!(
            pool.free_list(|id| blocks.cached_mut(id).next),
            [BlockId(2), BlockId(1), BlockId(0)]
        );
        // Blocks without a prefix come first, used or not, then the list; the prefix shrinks from
        // its end.
        pool.allocate(2, &mut a, &mut blocks);
        assert_eq!(ids(&a), [2, 3]);
        assert_eq!(pool.find(&hashes, &mut blocks), (2, 2));
        pool.allocate(1, &mut a, &mut blocks);
        assert_eq!(pool.find(&hashes, &mut blocks), (1, 1));
        let moved = pool.share(&hashes[..1], &mut b, 16, &mut blocks);
        assert_eq!(moved, Moved { blocks: 1, tokens: 16 });
        assert_eq!(pool.free(), 0);
    }

    #[test]
    fn of_blocks_with_the_same_prefix_the_oldest_is_found_and_the_next_takes_over() {
        let mut staged = StagedBlocks::new(true);
        let mut blocks = BlockStore::over(&mut [], &mut [], &mut staged);
        let mut pool = BlockPool::new(3, true);
        let mut tables: [BlockTable; 4] = Default::default();
        for table in &mut tables[..3] {
            pool.allocate(1, table, &mut blocks);
            pool.cache_block(table.0[0], hash(7), &mut blocks);
        }
        let oldest = |pool: &BlockPool| pool.prefixes.as_ref().unwrap().get(hash(7));
        assert_eq!(oldest(&pool), Some(BlockId(0)));
        // The second is reused first, then the first: the third is left.
        for (index, found) in [(1, Some(BlockId(0))), (0, Some(BlockId(2))), (2, None)] {
            pool.release(&mut tables[index], 16, 16, &mut blocks);
            pool.allocate(1, &mut tables[3], &mut blocks);
            assert_eq!(oldest(&pool), found);
        }
    }

    #[test]
    fn blocks_without_a_prefix_are_reused_first_or_last() {
        for (unhashed_first, order) in [(true, [2, 1, 0]), (false, [1, 0, 2])] {
            let mut staged = StagedBlocks::new(true);
            let mut blocks = BlockStore::over(&mut [], &mut [], &mut staged);
            let rules = CachingRules { unhashed_first, ..CachingRules::default() };
            let mut pool = BlockPool::new(3, true).with_rules(rules);
            let (mut a, mut b) = (BlockTable::default(), BlockTable::default());
            pool.allocate(2, &mut a, &mut blocks);
            pool.allocate(1, &mut b, &mut blocks);
            for (&id, value) in a.0.iter().zip(1..) {
                pool.cache_block(id, hash(value), &mut blocks);
            }
            pool.release(&mut a, 32, 16, &mut blocks);
            pool.release(&mut b, 3, 16, &mut blocks);
            pool.allocate(3, &mut a, &mut blocks);
            assert_eq!(ids(&a), order);
        }
    }

    proptest! {
        /// Whatever tables take and give back: a block that was used is reused before a new one is
        /// created, and each is in one place.
        #[test]
        fn without_caching_a_used_block_is_reused_before_a_new_one(
            moves in prop::collection::vec((0..6_usize, 0..3_u8, 1..40_u32), 1..120),
        ) {
            let mut staged = StagedBlocks::new(false);
            let mut blocks = BlockStore::over(&mut [], &mut [], &mut staged);
            let mut pool = BlockPool::new(1000, false);
            let mut tables: [BlockTable; 6] = Default::default();
            let mut most = 0;
            for (index, kind, count) in moves {
                let table = &mut tables[index];
                match kind {
                    0 => pool.allocate(count, table, &mut blocks),
                    1 => _ = pool.release(table, 0, 16, &mut blocks),
                    _ => pool.give_back_last(count, table, &mut blocks),
                }
                let held: Vec<BlockId> = tables.iter().flat_map(|table| &table.0).copied().collect();
                most = most.max(held.len() as u32);
                prop_assert_eq!(pool.allocated(), held.len() as u32);
                prop_assert_eq!(pool.created(), most);
                let mut all = [held, pool.free_list(|id| blocks.cached_mut(id).next)].concat();
                all.sort_unstable();
                prop_assert!(all.iter().copied().eq((0..most).map(BlockId)));
            }
        }
    }
}
