//! The block entity and its storage.
//!
//! All blocks have the same archetype and are never despawned, so a block's id is
//! its row in the component table, and the table is worked on as one slice. Blocks are spawned as
//! the high-water mark rises; one that is handed out in the middle of a step lives in
//! `StagedBlocks` until the step's end, when the entities are spawned in the same order.

use bevy_ecs::change_detection::ContiguousMut;
use bevy_ecs::prelude::*;

/// Index of a block over all replicas: its row in the block table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

impl BlockId {
    /// No block: the end of the free list.
    pub(crate) const NONE: BlockId = BlockId(u32::MAX);
}

/// A KV block: `block_size` tokens of one replica's KV cache. As small as can be: a cluster has
/// millions of them.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvBlock {
    /// Number of its holders; 0 when it is free. A holder is the block table of a request, the
    /// decode group of a replica, or content that is on its way to another replica. Only a block
    /// whose prefix is cached may have several.
    pub references: u32,
}

/// What prefix caching knows of a block. Block entities have it if a pool of the cluster caches.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedBlock {
    /// Identity of its tokens and all before them, once it is full. A free block keeps it until it
    /// is handed out again.
    pub hash: Option<PrefixHash>,
    /// Neighbours in the free list, least recently used first; only meaningful when free.
    pub(crate) previous: BlockId,
    pub(crate) next: BlockId,
    /// The blocks with the same hash that became full before and after it; only meaningful with a
    /// hash.
    pub(crate) older: BlockId,
    pub(crate) newer: BlockId,
}

/// Identity of a block's tokens and of everything before them: equal hashes, equal prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixHash(pub std::num::NonZeroU64);

impl Default for CachedBlock {
    fn default() -> CachedBlock {
        CachedBlock {
            hash: None,
            previous: BlockId::NONE,
            next: BlockId::NONE,
            older: BlockId::NONE,
            newer: BlockId::NONE,
        }
    }
}

/// The blocks that hold a request's KV cache, first tokens first.
#[derive(Component, Clone, Debug, Default)]
pub struct BlockTable(pub Vec<BlockId>);

/// What planning and committing change of block entities.
pub(crate) type BlockQuery<'w, 's> =
    Query<'w, 's, (&'static mut KvBlock, Option<&'static mut CachedBlock>)>;

/// Blocks handed out in a step whose entities are not spawned yet.
#[derive(Debug, Default)]
pub(crate) struct StagedBlocks {
    blocks: Vec<KvBlock>,
    /// The prefix of each of them, if a pool of the cluster caches prefixes.
    cached: Vec<CachedBlock>,
    caching: bool,
    /// Blocks that have their entities.
    spawned: u32,
}

impl StagedBlocks {
    pub fn new(caching: bool) -> StagedBlocks {
        StagedBlocks { caching, ..StagedBlocks::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Takes them out, to be spawned.
    pub fn take(&mut self) -> impl FnOnce(&mut World) + use<> {
        let (blocks, cached) = (std::mem::take(&mut self.blocks), std::mem::take(&mut self.cached));
        self.spawned += blocks.len() as u32;
        let caching = self.caching;
        move |world| match caching {
            false => _ = world.spawn_batch(blocks),
            true => _ = world.spawn_batch(blocks.into_iter().zip(cached)),
        }
    }
}

/// The block entities' components, by row.
enum BlockRows<'a> {
    /// There are none yet.
    None,
    /// The blocks of the world.
    World(ContiguousMut<'a, KvBlock>, Option<ContiguousMut<'a, CachedBlock>>),
    /// The blocks of a test.
    #[cfg(test)]
    Slices(&'a mut [KvBlock], &'a mut [CachedBlock]),
}

impl BlockRows<'_> {
    fn blocks(&mut self) -> &mut [KvBlock] {
        match self {
            BlockRows::None => &mut [],
            BlockRows::World(blocks, _) => blocks.bypass_change_detection(),
            #[cfg(test)]
            BlockRows::Slices(blocks, _) => blocks,
        }
    }

    fn cached(&mut self) -> &mut [CachedBlock] {
        match self {
            BlockRows::None | BlockRows::World(_, None) => &mut [],
            BlockRows::World(_, Some(cached)) => cached.bypass_change_detection(),
            #[cfg(test)]
            BlockRows::Slices(_, cached) => cached,
        }
    }
}

/// Every block there is, by id.
pub(crate) struct BlockStore<'a> {
    rows: BlockRows<'a>,
    staged: &'a mut StagedBlocks,
}

impl<'a> BlockStore<'a> {
    /// The blocks of the world and those of this step.
    ///
    /// # Errors
    /// The blocks are not in one table: somebody took some out of it.
    pub fn of(
        query: &'a mut BlockQuery<'_, '_>,
        staged: &'a mut StagedBlocks,
    ) -> Result<BlockStore<'a>> {
        let rows = query.contiguous_iter_mut().map_err(|e| e.to_string())?.next();
        let mut rows = match rows {
            None => BlockRows::None,
            Some((blocks, cached)) => BlockRows::World(blocks, cached),
        };
        if rows.blocks().len() != staged.spawned as usize {
            return Err(
                "the entities of KV blocks are not in one table: nobody may despawn one, or \
                 give it components"
                    .into(),
            );
        }
        Ok(BlockStore { rows, staged })
    }

    /// Rows of a test's own.
    #[cfg(test)]
    pub fn over(
        spawned: &'a mut [KvBlock],
        cached: &'a mut [CachedBlock],
        staged: &'a mut StagedBlocks,
    ) -> BlockStore<'a> {
        BlockStore { rows: BlockRows::Slices(spawned, cached), staged }
    }

    /// A block.
    pub fn get_mut(&mut self, id: BlockId) -> &mut KvBlock {
        let row = id.0 as usize;
        let rows = self.rows.blocks();
        match row.checked_sub(rows.len()) {
            None => &mut rows[row],
            Some(row) => &mut self.staged.blocks[row],
        }
    }

    /// Gives blocks of a pool that caches no prefixes a holder, or none.
    pub fn mark(&mut self, ids: &[BlockId], held: bool) {
        let references = u32::from(held);
        let rows = self.rows.blocks();
        for id in ids {
            let row = id.0 as usize;
            match row.checked_sub(rows.len()) {
                None => rows[row].references = references,
                Some(row) => self.staged.blocks[row].references = references,
            }
        }
    }

    /// What prefix caching knows of a block of a pool that caches.
    pub fn cached_mut(&mut self, id: BlockId) -> &mut CachedBlock {
        let row = id.0 as usize;
        let rows = self.rows.cached();
        match row.checked_sub(rows.len()) {
            None => &mut rows[row],
            Some(row) => &mut self.staged.cached[row],
        }
    }

    /// A block that no replica has used before.
    pub fn new_block(&mut self) -> BlockId {
        let id = self.staged.spawned + self.staged.blocks.len() as u32;
        self.staged.blocks.push(KvBlock::default());
        if self.staged.caching {
            self.staged.cached.push(CachedBlock::default());
        }
        BlockId(id)
    }
}
