//! The block entity and its storage.
//!
//! All blocks have the same one-component archetype and are never despawned, so a block's id is
//! its row in the component table, and the table is worked on as one slice. Blocks are spawned as
//! the high-water mark rises; one that is handed out in the middle of a step lives in
//! [`StagedBlocks`] until the step's end, when the entities are spawned in the same order.

use bevy_ecs::prelude::*;

/// Index of a block over all replicas: its row in the block table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// A KV block: `block_size` tokens of one replica's KV cache.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvBlock {
    /// Number of block tables that hold it; 0 when free.
    pub references: u32,
}

/// The blocks that hold a request's KV cache, first tokens first.
#[derive(Component, Clone, Debug, Default)]
pub struct BlockTable(pub Vec<BlockId>);

/// Blocks handed out in this step whose entities are not spawned yet.
#[derive(Resource, Default)]
pub(crate) struct StagedBlocks(pub Vec<KvBlock>);

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

/// Gives the blocks that this step handed out their entities.
pub(crate) fn spawn_staged_blocks(mut staged: ResMut<StagedBlocks>, mut commands: Commands) {
    if !staged.0.is_empty() {
        commands.spawn_batch(std::mem::take(&mut staged.0));
    }
}
