//! The block entity and its storage.
//!
//! All blocks have the same archetype and are never despawned, so a block's id is
//! its row in the component table, and the table is worked on as one slice. Blocks are spawned as
//! the high-water mark rises; one that is handed out in the middle of a step lives in
//! `StagedBlocks` until the step's end, when the entities are spawned in the same order.

use bevy_ecs::change_detection::ContiguousMut;
use bevy_ecs::prelude::*;

use crate::engine::Control;

/// Index of a block over all replicas: its row in the block table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

impl BlockId {
    /// No block: the end of the free list.
    pub(super) const NONE: BlockId = BlockId(u32::MAX);
}

/// A KV block: `block_size` tokens of one replica's KV cache. As small as can be: a cluster has
/// millions of them.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvBlock {
    /// Number of block tables that hold it in a pool that caches prefixes; 0 when free. In a pool that
    /// does not, a block has one holder or none, and nobody counts: its row is not even touched.
    pub references: u32,
}

/// What prefix caching knows of a block. Block entities have it if a pool of the cluster caches.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedBlock {
    /// Identity of its tokens and all before them, once it is full. A free block keeps it until it
    /// is handed out again.
    pub hash: Option<PrefixHash>,
    /// Neighbours in the free list, least recently used first; only meaningful when free.
    pub(super) previous: BlockId,
    pub(super) next: BlockId,
}

/// Identity of a block's tokens and of everything before them: equal hashes, equal prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixHash(pub std::num::NonZeroU64);

impl Default for CachedBlock {
    fn default() -> CachedBlock {
        CachedBlock { hash: None, previous: BlockId::NONE, next: BlockId::NONE }
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
    /// Of each of them, if a pool of the cluster caches prefixes.
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
}

/// The table of the block entities, as slices.
pub(crate) struct BlockRows<'w>(
    Option<(ContiguousMut<'w, KvBlock>, Option<ContiguousMut<'w, CachedBlock>>)>,
);

impl<'w> BlockRows<'w> {
    /// None where no pool of the cluster caches prefixes.
    pub fn of(
        query: &'w mut BlockQuery<'_, '_>,
        staged: &StagedBlocks,
    ) -> Result<BlockRows<'w>, BevyError> {
        if !staged.caching {
            return Ok(BlockRows(None));
        }
        Ok(BlockRows(query.contiguous_iter_mut().map_err(|e| e.to_string())?.next()))
    }

    /// Its blocks, with those of this step.
    pub fn with<'a>(&'a mut self, staged: &'a mut StagedBlocks) -> BlockStore<'a> {
        let (spawned, cached): (&mut [_], &mut [_]) = match &mut self.0 {
            None => (&mut [], &mut []),
            Some((blocks, cached)) => (
                blocks.bypass_change_detection(),
                cached.as_mut().map_or(&mut [], |cached| cached.bypass_change_detection()),
            ),
        };
        BlockStore { spawned, cached, staged }
    }
}

/// Every block there is, by id, where a pool of the cluster caches prefixes; elsewhere just new ones.
pub(crate) struct BlockStore<'a> {
    spawned: &'a mut [KvBlock],
    cached: &'a mut [CachedBlock],
    staged: &'a mut StagedBlocks,
}

impl<'a> BlockStore<'a> {
    /// For tests and audits, which have rows of their own.
    pub fn over(
        spawned: &'a mut [KvBlock],
        cached: &'a mut [CachedBlock],
        staged: &'a mut StagedBlocks,
    ) -> BlockStore<'a> {
        BlockStore { spawned, cached, staged }
    }

    pub fn get_mut(&mut self, id: BlockId) -> &mut KvBlock {
        let row = id.0 as usize;
        match row.checked_sub(self.spawned.len()) {
            None => &mut self.spawned[row],
            Some(row) => &mut self.staged.blocks[row],
        }
    }

    /// What prefix caching knows of a block of a pool that caches.
    pub fn cached_mut(&mut self, id: BlockId) -> &mut CachedBlock {
        let row = id.0 as usize;
        match row.checked_sub(self.cached.len()) {
            None => &mut self.cached[row],
            Some(row) => &mut self.staged.cached[row],
        }
    }

    /// A block that no replica has used before.
    pub fn mint(&mut self) -> BlockId {
        let id = self.staged.spawned + self.staged.blocks.len() as u32;
        self.staged.blocks.push(KvBlock::default());
        if self.staged.caching {
            self.staged.cached.push(CachedBlock::default());
        }
        BlockId(id)
    }

    pub fn reborrow(&mut self) -> BlockStore<'_> {
        BlockStore { spawned: self.spawned, cached: self.cached, staged: self.staged }
    }
}

/// Observe phase, first: gives the blocks that this step handed out their entities. Exclusive, so
/// that they are there at once, without a command queue.
pub(crate) fn spawn_staged_blocks(InMut(control): InMut<Control>, world: &mut World) {
    let staged = &mut control.lists.staged;
    if staged.is_empty() {
        return;
    }
    staged.spawned += staged.blocks.len() as u32;
    match staged.caching {
        false => _ = world.spawn_batch(staged.blocks.drain(..)),
        true => _ = world.spawn_batch(staged.blocks.drain(..).zip(staged.cached.drain(..))),
    }
}
