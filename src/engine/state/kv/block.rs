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
    /// Whether holders are marked only when somebody can look: see [`StagedBlocks::mark_late`].
    late: bool,
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

    /// From now on blocks do not learn who holds them until [`mark_holders`] tells them:
    /// where no prefixes are cached, nothing else depends on it.
    pub fn mark_late(&mut self) {
        self.late = !self.caching;
    }

    /// From now on blocks learn at once who holds them. Returns whether they did not until now.
    pub fn mark_at_once(&mut self) -> bool {
        std::mem::take(&mut self.late)
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

/// Marks which of a world's blocks have a holder, in a cluster that caches no prefixes: all but
/// those that are `free`.
pub(crate) fn mark_holders(world: &mut World, free: &[BlockId]) {
    let mut blocks = world.query::<&mut KvBlock>();
    let mut references = vec![1; blocks.iter(world).len()];
    for &BlockId(id) in free {
        references[id as usize] = 0;
    }
    // A block's id is its row.
    for (mut block, references) in blocks.iter_mut(world).zip(references) {
        block.references = references;
    }
}

/// The block entities' components, by row.
enum BlockRows<'a> {
    /// There are none yet, or nobody looks at them.
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
        if staged.late {
            return Ok(BlockStore { rows: BlockRows::None, staged });
        }
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
        if self.staged.late {
            return;
        }
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

    /// The prefix that a block of a pool that caches holds, if any.
    pub fn prefix(&mut self, id: BlockId) -> Option<PrefixHash> {
        self.cached_mut(id).hash
    }

    /// Whether nobody holds a block.
    pub fn is_free(&mut self, id: BlockId) -> bool {
        self.get_mut(id).references == 0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Nanos;
    use crate::engine::policy::VllmV0;
    use crate::engine::{SimSpec, Simulation};
    use crate::records::{BatchRecord, RequestRecord, RunSink};
    use crate::testing::RandomScenario;

    struct Nobody;

    impl RunSink for Nobody {
        fn request(&mut self, _: &RequestRecord) {}
        fn batch(&mut self, _: &BatchRecord) {}
    }

    fn blocks(simulation: &mut Simulation) -> Vec<KvBlock> {
        let mut blocks = simulation.world.query::<&KvBlock>();
        blocks.iter(&simulation.world).copied().collect()
    }

    /// After a run, whose blocks nobody could look at, they say who holds them as they do after
    /// every step, also where a time limit ended it, and where it goes on after steps.
    #[test]
    fn blocks_have_the_same_holders_after_a_run_as_after_its_last_step() {
        let (mut held, mut free) = (0, 0);
        for seed in 0..120 {
            let scenario = RandomScenario::new(seed);
            let spec = |time_limit| {
                let spec = scenario.spec(Box::new(VllmV0::default()));
                SimSpec { time_limit, ..spec }
            };
            let end = Simulation::new(spec(None)).unwrap().run(&mut Nobody).unwrap().end;
            let limit = Some(Nanos(end.0 / 2));
            let mut stepped = Simulation::new(spec(limit)).unwrap();
            while stepped.step(&mut Nobody).unwrap().is_some() {}
            let expected = blocks(&mut stepped);
            let mut run = Simulation::new(spec(limit)).unwrap();
            for _ in 0..seed % 3 {
                run.step(&mut Nobody).unwrap();
            }
            run.run(&mut Nobody).unwrap();
            assert_eq!(blocks(&mut run), expected, "seed {seed}");
            held += expected.iter().filter(|block| block.references > 0).count();
            free += expected.iter().filter(|block| block.references == 0).count();
        }
        assert!(held > 100 && free > 100, "{held} and {free}");
    }
}
