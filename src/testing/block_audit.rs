//! Recounts KV blocks: what their entities say against those who hold them.

use bevy_ecs::prelude::*;

use super::audit::equal;
use crate::engine::state::kv::{BlockId, BlockPool, CachedBlock, KvBlock};

/// What block entities say, and who was found to hold them.
pub(super) struct BlockAudit {
    rows: Vec<KvBlock>,
    /// In clusters that cache prefixes.
    cached: Vec<CachedBlock>,
    held: Vec<Held>,
}

/// Who holds a block, and how many tokens are in it.
#[derive(Clone, Copy, Default)]
struct Held {
    holders: u32,
    tokens: u32,
    pool: usize,
}

/// What a holder has in its blocks.
#[derive(Clone, Copy)]
pub(super) struct Holding {
    /// Its tokens.
    pub tokens: u32,
    /// Index of its pool.
    pub pool: usize,
    /// Tokens of a block there.
    pub size: u32,
}

impl BlockAudit {
    /// What the block entities of a world say.
    pub fn new(world: &mut World) -> BlockAudit {
        let rows: Vec<KvBlock> = world.query::<&KvBlock>().iter(world).copied().collect();
        let cached = world.query::<&CachedBlock>().iter(world).copied().collect();
        BlockAudit { held: vec![Held::default(); rows.len()], rows, cached }
    }

    /// Adds a holder of these blocks. Returns how many of them had none before.
    pub fn hold(
        &mut self,
        blocks: impl Iterator<Item = BlockId>,
        holding: Holding,
    ) -> Result<u32, String> {
        let Holding { tokens, pool, size } = holding;
        let (mut first, mut left) = (0, tokens);
        for BlockId(id) in blocks {
            let Some(block) = self.held.get_mut(id as usize) else {
                return Err(format!("block {id} is in a table but has no entity"));
            };
            if block.holders > 0 && block.pool != pool {
                return Err(format!("block {id} is held by pools {pool} and {}", block.pool));
            }
            block.pool = pool;
            first += u32::from(block.holders == 0);
            block.holders += 1;
            block.tokens = block.tokens.max(left.min(size));
            left = left.saturating_sub(size);
        }
        Ok(first)
    }

    /// The free blocks of a replica that were used before.
    pub fn free_list(&self, kv: &BlockPool) -> Vec<BlockId> {
        kv.free_list(|BlockId(id)| self.cached.get(id as usize).map_or(BlockId::NONE, |c| c.next))
    }

    /// Whether nobody holds these blocks, and their entities say so.
    pub fn are_free(&self, free: &[BlockId]) -> Result<(), String> {
        for &BlockId(id) in free {
            equal("holders of a free block", self.held[id as usize].holders, 0)?;
            equal("references of a free block", self.rows[id as usize].references, 0)?;
        }
        Ok(())
    }

    /// Whether every block entity says how many hold it, and only cached ones are held by several.
    /// Returns the tokens in the blocks of each pool.
    pub fn finish(&self, pools: usize) -> Result<Vec<u64>, String> {
        let mut used = vec![0; pools];
        for ((block, counted), id) in self.rows.iter().zip(&self.held).zip(0..) {
            equal("references of a block", block.references, counted.holders)?;
            let cached: Option<&CachedBlock> = self.cached.get::<usize>(id);
            if counted.holders > 1 && cached.is_none_or(|cached| cached.hash.is_none()) {
                return Err(format!(
                    "block {id} is not cached and has {} holders",
                    counted.holders
                ));
            }
            used[counted.pool] += u64::from(counted.tokens);
        }
        Ok(used)
    }
}
