//! Which blocks hold a prefix.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{BlockId, BlockStore, PrefixHash};

/// A map by prefix. Prefixes are hashes already; a map is only looked up, never iterated, so that
/// its order decides nothing.
pub(crate) type ByPrefix<V> = HashMap<PrefixHash, V, BuildHasherDefault<AlreadyHashed>>;

/// The full blocks of a pool by prefix. As in vLLM, several blocks may hold the same one: each is
/// remembered, the oldest is found, and when that is reused the next takes over. Blocks of a prefix
/// are linked through themselves.
#[derive(Debug, Default)]
pub(crate) struct PrefixIndex(ByPrefix<Holders>);

/// The first and the last block that became full with a prefix.
#[derive(Clone, Copy, Debug)]
struct Holders {
    oldest: BlockId,
    newest: BlockId,
}

impl PrefixIndex {
    /// The oldest block that holds a prefix.
    pub fn get(&self, hash: PrefixHash) -> Option<BlockId> {
        self.0.get(&hash).map(|holders| holders.oldest)
    }

    /// Makes a full block findable, unless it is already.
    pub fn insert(&mut self, id: BlockId, hash: PrefixHash, blocks: &mut BlockStore<'_>) {
        let block = blocks.cached_mut(id);
        if block.hash.is_some() {
            return;
        }
        block.hash = Some(hash);
        (block.older, block.newer) = (BlockId::NONE, BlockId::NONE);
        let holders = self.0.entry(hash).or_insert(Holders { oldest: id, newest: id });
        let before = std::mem::replace(&mut holders.newest, id);
        if before != id {
            blocks.cached_mut(before).newer = id;
            blocks.cached_mut(id).older = before;
        }
    }

    /// Makes a block unfindable that is reused. Returns its prefix if no other block holds it.
    pub fn remove(&mut self, id: BlockId, blocks: &mut BlockStore<'_>) -> Option<PrefixHash> {
        let block = blocks.cached_mut(id);
        let hash = block.hash.take()?;
        let older = std::mem::replace(&mut block.older, BlockId::NONE);
        let newer = std::mem::replace(&mut block.newer, BlockId::NONE);
        if older == BlockId::NONE && newer == BlockId::NONE {
            self.0.remove(&hash);
            return Some(hash);
        }
        if older != BlockId::NONE {
            blocks.cached_mut(older).newer = newer;
        }
        if newer != BlockId::NONE {
            blocks.cached_mut(newer).older = older;
        }
        if let Some(holders) = self.0.get_mut(&hash) {
            if older == BlockId::NONE {
                holders.oldest = newer;
            }
            if newer == BlockId::NONE {
                holders.newest = older;
            }
        }
        None
    }
}

/// Prefix hashes are uniform already.
#[derive(Debug, Default)]
pub(crate) struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
