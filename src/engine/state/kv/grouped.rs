//! The tables of requests that have blocks in several groups.

use std::collections::{HashMap, HashSet};

use bevy_ecs::prelude::*;

use super::groups::{GroupRules, KvCacheGroup};
use super::{BlockId, BlockPool, BlockStore, Moved, PrefixHash, PrefixHashes};
use crate::engine::state::request::Sequence;

/// What the requests of a replica hold, group by group.
#[derive(Debug)]
pub(crate) struct Grouped {
    rules: GroupRules,
    /// Groups of the same kind, those that keep every token first.
    kinds: Vec<Vec<usize>>,
    /// The group in whose blocks tokens are counted; without one, those of each request.
    counted: Option<usize>,
    held: HashMap<Entity, Held>,
    /// States that the plan being made has made findable: nobody can begin with them yet.
    fresh: HashSet<PrefixHash>,
    /// Batches of the replica so far.
    pub batches: u64,
}

/// What a request holds.
#[derive(Debug, Default)]
struct Held {
    tables: Vec<Table>,
    /// End of a prefix that some groups had when it was admitted and others had not.
    junction: u32,
    /// Blocks in its tables.
    count: u32,
    /// The number of its last batch, and its tokens there.
    fed: (u64, u32),
}

/// A request's blocks in one group; `BlockId::NONE` where it holds none any more.
#[derive(Debug, Default)]
struct Table {
    blocks: Vec<BlockId>,
    /// Blocks that were looked at to be made findable.
    cached: usize,
    /// The state that the next one is computed from, for states at the ends of blocks.
    last_state: Option<usize>,
    /// Whether it has got a block since it was admitted.
    allocated: bool,
}

/// What a waiting request finds in the cache.
#[derive(Debug, Default)]
pub(crate) struct Hit {
    /// Tokens that every group has what it needs of.
    pub tokens: u32,
    /// The blocks of each group, `BlockId::NONE` for those that it does not need.
    blocks: Vec<Vec<BlockId>>,
    /// End of a longer prefix that some groups have, or 0.
    pub junction: u32,
}

impl Grouped {
    pub fn new(rules: GroupRules) -> Grouped {
        let mut kinds: Vec<Vec<usize>> = Vec::new();
        for (index, group) in rules.groups.iter().enumerate() {
            match kinds.iter_mut().find(|kind| rules.groups[kind[0]] == *group) {
                Some(kind) => kind.push(index),
                None => kinds.push(vec![index]),
            }
        }
        kinds.sort_by_key(|kind| !rules.groups[kind[0]].is_full());
        let (held, fresh) = (HashMap::new(), HashSet::new());
        // Groups with states at the ends of blocks have no blocks for the tokens between.
        let counted = rules.groups.iter().position(|group| !group.is_aligned());
        Grouped { rules, kinds, counted, held, fresh, batches: 0 }
    }

    pub fn rules(&self) -> &GroupRules {
        &self.rules
    }

    /// A plan begins.
    pub fn begin(&mut self) {
        self.fresh.clear();
    }

    /// Notes that a request gets so many tokens in the batch that is being planned.
    pub fn feed(&mut self, request: Entity, tokens: u32) {
        if let Some(held) = self.held.get_mut(&request) {
            held.fed = (self.batches, tokens);
        }
    }

    /// Tokens of a request in the batch before the one that is being planned.
    pub fn fed_before(&self, request: Entity) -> u32 {
        match self.held.get(&request) {
            Some(held) if held.fed.0 + 1 == self.batches => held.fed.1,
            _ => 0,
        }
    }

    /// End of the prefix that some groups had when the request was admitted and others had not.
    pub fn junction(&self, request: Entity) -> u32 {
        self.held.get(&request).map_or(0, |held| held.junction)
    }

    /// Whether a request's tables hold its tokens, and as many blocks as were counted.
    ///
    /// # Errors
    /// A sentence that says what differs.
    pub fn audit(&self, of: &Sequence) -> Result<(), String> {
        let Some(held) = self.held.get(&of.entity) else {
            return Err(format!("request {} has no tables of its groups", of.id));
        };
        let tables = held.tables.iter().flat_map(|table| &table.blocks);
        let count = tables.filter(|id| **id != BlockId::NONE).count() as u32;
        if (count, count) != (held.count, of.blocks) {
            let (a, b) = (held.count, of.blocks);
            return Err(format!("request {} holds {count} blocks, counted {a} and {b}", of.id));
        }
        let tokens = of.kv_tokens() + of.tokens;
        let groups = self.rules.groups.iter().zip(&held.tables);
        let short = |(group, table): (&KvCacheGroup, &Table)| {
            table.blocks.len() as u32 * group.block_size() < tokens
        };
        match groups.into_iter().any(short) {
            true => Err(format!("request {} has {tokens} tokens in its groups", of.id)),
            false => Ok(()),
        }
    }

    /// How many blocks a request holds.
    pub fn num_held(&self, request: Entity) -> u32 {
        self.held.get(&request).map_or(0, |held| held.count)
    }

    /// All blocks that requests hold, once for each that holds them.
    pub fn blocks(&self) -> impl Iterator<Item = &BlockId> {
        let tables = self.held.values().flat_map(|held| &held.tables);
        tables.flat_map(|table| &table.blocks).filter(|id| **id != BlockId::NONE)
    }

    /// Gives back the blocks that no token after the first `processed` ones needs.
    pub fn remove_skipped(
        &mut self,
        request: Entity,
        processed: u32,
        kv: &mut BlockPool,
        blocks: &mut BlockStore<'_>,
    ) -> Moved {
        let mut moved = Moved::default();
        let Some(held) = self.held.get_mut(&request) else { return moved };
        let groups = self.rules.groups.iter().enumerate();
        for ((index, group), table) in groups.zip(&mut held.tables) {
            let size = group.block_size();
            let skipped = ((group.skipped(processed) / size) as usize).min(table.blocks.len());
            let mut freed: Vec<BlockId> = Vec::new();
            for id in table.blocks[..skipped].iter_mut().rev() {
                match std::mem::replace(id, BlockId::NONE) {
                    // All before it are gone already, but for states between others.
                    BlockId::NONE if !group.is_aligned() => break,
                    BlockId::NONE => {}
                    id => freed.push(id),
                }
            }
            if group.is_aligned()
                && let Some(last) = table.last_state
                && last + 1 < processed.div_ceil(size) as usize
                && let Some(id) = table.blocks.get_mut(last)
                && *id != BlockId::NONE
            {
                freed.push(std::mem::replace(id, BlockId::NONE));
            }
            held.count -= freed.len() as u32;
            let gone = kv.give(&freed, blocks);
            moved.blocks += gone;
            moved.tokens += if self.counted == Some(index) { gone * size } else { 0 };
        }
        moved
    }

    /// Blocks that a request lacks for its first `end` tokens.
    pub fn missing(&self, request: Entity, end: u32) -> u32 {
        let Some(held) = self.held.get(&request) else { return 0 };
        let groups = self.rules.groups.iter().zip(&held.tables);
        groups.map(|(group, table)| missing(*group, table, end)).sum()
    }

    /// Gives a request the blocks that it lacks for its first `end` tokens.
    pub fn grow(
        &mut self,
        request: Entity,
        end: u32,
        kv: &mut BlockPool,
        blocks: &mut BlockStore<'_>,
    ) {
        let Some(held) = self.held.get_mut(&request) else { return };
        for (group, table) in self.rules.groups.iter().zip(&mut held.tables) {
            let missing = missing(*group, table, end);
            if group.is_aligned() {
                let needed = end.div_ceil(group.block_size()) as usize;
                if needed > table.blocks.len() {
                    if !table.blocks.is_empty() {
                        table.last_state = Some(table.blocks.len() - 1);
                    }
                    // Only the state of the last token is computed.
                    table.blocks.resize(needed - missing as usize, BlockId::NONE);
                }
                table.allocated = true;
            }
            held.count += missing;
            kv.take(missing, &mut table.blocks, blocks);
        }
    }

    /// What a waiting request with these hashes finds of its first `limit` tokens.
    pub fn find(&self, hashes: &PrefixHashes, limit: u32, kv: &BlockPool) -> Hit {
        let count = self.rules.groups.len();
        let mut hit = Hit { blocks: vec![Vec::new(); count], ..Hit::default() };
        if !kv.caches_prefixes() {
            return hit;
        }
        let simple = self.kinds.len() == 2 && self.rules.groups[self.kinds[0][0]].is_full();
        let mut full: Option<u32> = None;
        let (mut end, mut longest) = (limit, 0);
        loop {
            let mut here = end;
            for kind in &self.kinds {
                let group = self.rules.groups[kind[0]];
                if let (true, Some(found)) = (group.is_full(), full) {
                    here = here.min(found);
                    continue;
                }
                let found = self.find_kind(kind, hashes, here, kv);
                here = found.first().map_or(0, |blocks| blocks.len() as u32 * group.block_size());
                if group.is_full() {
                    here -= here % self.rules.alignment();
                    full = Some(here);
                }
                for (index, blocks) in kind.iter().zip(found) {
                    hit.blocks[*index] = blocks;
                }
                longest = longest.max(here);
            }
            if here >= end {
                break;
            }
            end = here;
            if simple {
                break;
            }
        }
        for (group, blocks) in self.rules.groups.iter().zip(&mut hit.blocks) {
            blocks.truncate(end.div_ceil(group.block_size()) as usize);
        }
        hit.tokens = end;
        hit.junction = if longest > end { longest } else { 0 };
        hit
    }

    /// What the groups of a kind have of the first `limit` tokens, each the same number of blocks.
    fn find_kind(
        &self,
        kind: &[usize],
        hashes: &PrefixHashes,
        limit: u32,
        kv: &BlockPool,
    ) -> Vec<Vec<BlockId>> {
        let group = self.rules.groups[kind[0]];
        let (size, align) = (group.block_size(), self.rules.alignment());
        let most = ((limit / size) as usize).min(self.full_blocks(group, hashes));
        let aligned = |blocks: usize| (blocks as u32 * size).is_multiple_of(align);
        // A block counts if every group of the kind has it.
        let at = |index: usize| -> Option<Vec<BlockId>> {
            kind.iter().map(|of| kv.findable(self.hash(*of, hashes, index)?)).collect()
        };
        let mut found: Vec<Vec<BlockId>> = vec![Vec::new(); kind.len()];
        let mut put = |index: usize, ids: Vec<BlockId>| {
            for (blocks, id) in found.iter_mut().zip(ids) {
                if blocks.len() <= index {
                    blocks.resize(index + 1, BlockId::NONE);
                }
                blocks[index] = id;
            }
        };
        let mut length = 0;
        match group {
            KvCacheGroup::Full { .. } => {
                while length < most
                    && let Some(ids) = at(length)
                {
                    put(length, ids);
                    length += 1;
                }
            }
            KvCacheGroup::SlidingWindow { window, .. } => {
                let row = KvCacheGroup::row(window, size) as usize;
                let (mut in_row, mut whole) = (0, false);
                for index in (0..most).rev() {
                    match at(index) {
                        Some(ids) => {
                            if in_row == 0 && size != align && !aligned(index + 1) {
                                continue;
                            }
                            put(index, ids);
                            in_row += 1;
                            if in_row >= row {
                                length = index + in_row;
                                whole = true;
                                break;
                            }
                        }
                        None => in_row = 0,
                    }
                }
                if !whole {
                    // A run that reaches the start.
                    length = in_row;
                    while length > 0 && !aligned(length) {
                        length -= 1;
                    }
                }
            }
            KvCacheGroup::ChunkedLocal { chunk, .. } => {
                length = ((limit / chunk * chunk / size) as usize).min(most);
                while length < most
                    && let Some(ids) = at(length)
                {
                    put(length, ids);
                    length += 1;
                }
            }
            KvCacheGroup::Mamba { .. } => {
                for index in (0..most).rev().filter(|index| aligned(index + 1)) {
                    if let Some(ids) = at(index) {
                        put(index, ids);
                        length = index + 1;
                        break;
                    }
                }
            }
        }
        for blocks in &mut found {
            blocks.resize(length, BlockId::NONE);
            // What a longer run had that began later is of no use.
        }
        found
    }

    /// Blocks that a request needs which is admitted with `hit`: new ones for its first `end`
    /// tokens, and those of the hit that nobody holds. `whole`: of a window no more than it ever
    /// holds at once. `None` if it would begin with a state that is not computed yet.
    pub fn needed(
        &self,
        hit: &Hit,
        end: u32,
        whole: bool,
        blocks: &mut BlockStore<'_>,
    ) -> Option<u32> {
        let mut needed = 0;
        for (group, found) in self.rules.groups.iter().zip(&hit.blocks) {
            let size = group.block_size();
            let skipped = (group.skipped(hit.tokens) / size) as usize;
            let mut wanted = end.div_ceil(size);
            if let (true, Some(most)) =
                (whole, group.most_blocks(self.rules.in_flight, self.rules.longest))
            {
                wanted = wanted.min(most);
            }
            if group.is_aligned() {
                let last = found.last().and_then(|id| blocks.prefix(*id));
                if last.is_some_and(|hash| self.fresh.contains(&hash)) {
                    return None;
                }
                needed += wanted.saturating_sub(found.len() as u32).min(1);
            } else {
                needed += wanted.saturating_sub(skipped.max(found.len()) as u32);
            }
            let kept =
                if group.is_aligned() { &found[..] } else { found.get(skipped..).unwrap_or(&[]) };
            let free = kept.iter().filter(|id| **id != BlockId::NONE && blocks.is_free(**id));
            needed += free.count() as u32;
        }
        Some(needed)
    }

    /// A request is admitted with what it found.
    pub fn adopt(
        &mut self,
        request: Entity,
        hit: Hit,
        kv: &mut BlockPool,
        blocks: &mut BlockStore<'_>,
    ) -> Moved {
        let mut moved = Moved::default();
        let mut held = Held { junction: hit.junction, ..Held::default() };
        if self.counted.is_none() {
            moved.tokens = hit.tokens;
        }
        for (index, (group, mut found)) in self.rules.groups.iter().zip(hit.blocks).enumerate() {
            let skipped = (group.skipped(hit.tokens) / group.block_size()) as usize;
            let skipped = skipped.min(found.len());
            for id in &mut found[..skipped] {
                *id = BlockId::NONE;
            }
            for id in found.iter().filter(|id| **id != BlockId::NONE) {
                held.count += 1;
                let new = u32::from(kv.touch(*id, blocks));
                moved.blocks += new;
                let is_counted = self.counted == Some(index);
                moved.tokens += if is_counted { new * group.block_size() } else { 0 };
            }
            let last_state = None;
            let cached = found.len();
            held.tables.push(Table { blocks: found, cached, last_state, allocated: false });
        }
        self.held.insert(request, held);
        moved
    }

    /// Makes the full blocks of a request's first `tokens` tokens findable, as far as later
    /// requests can have a use for them. `prompt`: the tokens of its prompt.
    pub fn cache(
        &mut self,
        request: Entity,
        (tokens, prompt): (u32, u32),
        hashes: &PrefixHashes,
        kv: &mut BlockPool,
        blocks: &mut BlockStore<'_>,
    ) {
        let align = self.rules.alignment();
        let tokens = tokens / align * align;
        let Some(held) = self.held.get(&request) else { return };
        let junction = held.junction;
        let mut cached = Vec::with_capacity(held.tables.len());
        for (index, (group, table)) in self.rules.groups.iter().zip(&held.tables).enumerate() {
            let size = group.block_size();
            let full = ((tokens / size) as usize).min(self.full_blocks(*group, hashes));
            let full = full.min(table.blocks.len()).max(table.cached);
            let wanted = self.wanted(*group, (prompt, junction));
            for block in (table.cached..full).filter(|block| wanted(*block)) {
                let id = table.blocks[block];
                if let (true, Some(hash)) = (id != BlockId::NONE, self.hash(index, hashes, block)) {
                    kv.cache_block(id, hash, blocks);
                    if group.is_aligned() {
                        self.fresh.insert(hash);
                    }
                }
            }
            cached.push(full);
        }
        if let Some(held) = self.held.get_mut(&request) {
            for (table, full) in held.tables.iter_mut().zip(cached) {
                table.cached = full;
            }
        }
    }

    /// Which blocks of a group stay findable: whether later requests can have a use for them.
    fn wanted(&self, group: KvCacheGroup, ends: (u32, u32)) -> impl Fn(usize) -> bool + use<> {
        let (prompt, junction) = ends;
        let (size, align) = (group.block_size(), self.rules.alignment());
        let retention = self.rules.retention;
        // So many blocks before an end that a request may begin at.
        let tail = match group {
            KvCacheGroup::Full { .. } | KvCacheGroup::ChunkedLocal { .. } => None,
            KvCacheGroup::SlidingWindow { window, .. } => Some(KvCacheGroup::row(window, size)),
            KvCacheGroup::Mamba { .. } => Some(1),
        };
        let is_state = matches!(group, KvCacheGroup::Mamba { .. });
        move |block: usize| {
            let (Some(tail), block) = (tail, block as u32) else { return true };
            if retention > 0 {
                let blocks = retention / size;
                if tail >= blocks || (is_state && blocks <= 1) {
                    return true;
                }
                if block % blocks >= blocks - tail {
                    return true;
                }
            }
            let before = |end: u32| {
                let end = end / align * align / size;
                (end.saturating_sub(tail)..end).contains(&block)
            };
            before(prompt - 1) || (junction > 0 && before(junction))
        }
    }

    /// Takes everything off a request, whose KV cache has `tokens` tokens.
    pub fn release(
        &mut self,
        request: Entity,
        tokens: u32,
        kv: &mut BlockPool,
        blocks: &mut BlockStore<'_>,
    ) -> Moved {
        let mut moved = Moved::default();
        let Some(held) = self.held.remove(&request) else { return moved };
        if self.counted.is_none() {
            moved.tokens = tokens;
        }
        for (index, (group, table)) in self.rules.groups.iter().zip(held.tables).enumerate() {
            let size = group.block_size();
            // The last first, so that a prefix is evicted from its end.
            for (at, id) in table.blocks.iter().enumerate().rev() {
                if *id != BlockId::NONE && kv.give(&[*id], blocks) > 0 {
                    moved.blocks += 1;
                    let content = tokens.saturating_sub(at as u32 * size).min(size);
                    moved.tokens += if self.counted == Some(index) { content } else { 0 };
                }
            }
        }
        moved
    }

    /// Full blocks of a group that have a hash.
    fn full_blocks(&self, group: KvCacheGroup, hashes: &PrefixHashes) -> usize {
        hashes.0.len() / (group.block_size() / self.rules.hash_block).max(1) as usize
    }

    /// The hash of a block of a group: that of its last tokens, told apart by group.
    fn hash(&self, group: usize, hashes: &PrefixHashes, block: usize) -> Option<PrefixHash> {
        let parts = (self.rules.groups[group].block_size() / self.rules.hash_block).max(1) as usize;
        let hash = hashes.0.get((block + 1) * parts - 1)?;
        Some(hash.of_group(group))
    }
}

/// Blocks that a table lacks for the first `end` tokens.
fn missing(group: KvCacheGroup, table: &Table, end: u32) -> u32 {
    let lacking = end.div_ceil(group.block_size()).saturating_sub(table.blocks.len() as u32);
    if group.is_aligned() { lacking.min(1) } else { lacking }
}
