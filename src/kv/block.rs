//! The block entity and its storage.
//!
//! All blocks have the same one-component archetype and are never despawned, so a block's id is
//! its row in the component table, and the table is worked on as one slice. Blocks are spawned as
//! the high-water mark rises; one that is handed out in the middle of a step lives in
//! `Worklists::staged` until the step's end, when the entities are spawned in the same order.

use bevy_ecs::prelude::*;

use crate::sim::Worklists;

/// Index of a block over all replicas: its row in the block table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

impl BlockId {
    /// No block: the end of the free list.
    pub(super) const NONE: BlockId = BlockId(u32::MAX);
}

/// A KV block: `block_size` tokens of one replica's KV cache.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvBlock {
    /// Number of block tables that hold it; 0 when free.
    pub references: u32,
    /// Identity of its tokens and all before them, once it is full and prefix caching is on.
    /// A free block keeps it until it is handed out again.
    pub hash: Option<PrefixHash>,
    /// Neighbours in the free list, least recently used first; only meaningful when free.
    pub(super) previous: BlockId,
    pub(super) next: BlockId,
}

/// Identity of a block's tokens and of everything before them: equal hashes, equal prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixHash(pub std::num::NonZeroU64);

impl Default for KvBlock {
    fn default() -> KvBlock {
        KvBlock { references: 0, hash: None, previous: BlockId::NONE, next: BlockId::NONE }
    }
}

/// The blocks that hold a request's KV cache, first tokens first.
#[derive(Component, Clone, Debug, Default)]
pub struct BlockTable(pub Vec<BlockId>);

/// Every block there is, by id.
pub(crate) struct BlockStore<'a> {
    pub spawned: &'a mut [KvBlock],
    pub staged: &'a mut Vec<KvBlock>,
}

impl BlockStore<'_> {
    pub fn get_mut(&mut self, id: BlockId) -> &mut KvBlock {
        let row = id.0 as usize;
        match row.checked_sub(self.spawned.len()) {
            None => &mut self.spawned[row],
            Some(row) => &mut self.staged[row],
        }
    }

    /// A block that no replica has used before.
    pub fn mint(&mut self) -> BlockId {
        let id = (self.spawned.len() + self.staged.len()) as u32;
        self.staged.push(KvBlock::default());
        BlockId(id)
    }

    pub fn reborrow(&mut self) -> BlockStore<'_> {
        BlockStore { spawned: self.spawned, staged: self.staged }
    }
}

/// Observe phase, first: gives the blocks that this step handed out their entities. Exclusive, so
/// that they are there at once and steps without new blocks pay for no command queue.
pub(crate) fn spawn_staged_blocks(world: &mut World) {
    let mut lists = world.resource_mut::<Worklists>();
    if lists.staged.is_empty() {
        return;
    }
    let mut staged = std::mem::take(&mut lists.staged);
    world.spawn_batch(staged.drain(..));
    // The list keeps its memory.
    world.resource_mut::<Worklists>().staged = staged;
}
