//! A replica's pool of blocks: how many there are, which are free.

use super::{BlockId, BlockStore, BlockTable};

/// The blocks of one replica. Free blocks are reused last in, first out; blocks that were never
/// used are minted when the list is empty.
#[derive(Clone, Debug)]
pub struct BlockPool {
    total: u32,
    allocated: u32,
    free_list: Vec<BlockId>,
}

impl BlockPool {
    /// A pool of `total` blocks, all free.
    pub fn new(total: u32) -> BlockPool {
        BlockPool { total, allocated: 0, free_list: Vec::new() }
    }

    /// Blocks of the replica.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Blocks that nobody holds.
    pub fn free(&self) -> u32 {
        self.total - self.allocated
    }

    /// Blocks that somebody holds.
    pub fn allocated(&self) -> u32 {
        self.allocated
    }

    /// Blocks in the free list (the others that are free were never used).
    pub(crate) fn free_list(&self) -> &[BlockId] {
        &self.free_list
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
        table.0.reserve(count as usize);
        for _ in 0..count {
            let id = self.free_list.pop().unwrap_or_else(|| blocks.mint());
            let block = blocks.get_mut(id);
            debug_assert_eq!(block.references, 0, "a free block has no holder");
            block.references = 1;
            table.0.push(id);
        }
    }

    /// Gives all blocks of `table` back, last first, so that the next request gets them in the
    /// same order.
    pub(crate) fn release(&mut self, table: &mut BlockTable, blocks: &mut BlockStore<'_>) {
        for id in table.0.drain(..).rev() {
            let block = blocks.get_mut(id);
            block.references -= 1;
            if block.references == 0 {
                self.allocated -= 1;
                self.free_list.push(id);
            }
        }
    }
}
