//! Recounts everything that the simulation keeps count of.

use bevy_ecs::prelude::*;

use crate::engine::policy::EngineLimits;
use crate::engine::state::batch::Batch;
use crate::engine::state::kv::{
    BlockId, BlockStore, BlockTable, CachedBlock, HostTier, KvBlock, StagedBlocks,
};
use crate::engine::state::request::{Request, RequestState, Sequence};
use crate::engine::state::{BatchOf, Replica};
use crate::engine::{Counts, Simulation};

/// Compares the simulation's books with what is really there, between two steps: block tables,
/// pools, free lists and reference counts agree; a block has two holders only if its prefix is
/// cached; every request is in exactly one place; its tokens fit its blocks; what is in host
/// memory is what was copied there and neither came back nor was dropped; the counts of each pool are the
/// sums.
///
/// # Errors
/// A sentence that names the first discrepancy.
pub fn audit(simulation: &mut Simulation) -> Result<(), String> {
    let Simulation { world, control, .. } = simulation;
    let limits: Vec<EngineLimits> = control.engine.pools.iter().map(|p| p.limits).collect();
    let mut rows: Vec<KvBlock> = world.query::<&KvBlock>().iter(world).copied().collect();
    let mut cached: Vec<CachedBlock> = world.query::<&CachedBlock>().iter(world).copied().collect();
    let mut held = vec![Held::default(); rows.len()];
    let mut sums = vec![Counts::default(); limits.len()];
    let mut present = vec![0_u64; limits.len()];
    let mut places = 0;

    let mut replicas = world.query::<(Entity, &Replica)>();
    let mut batches = world.query::<(&Batch, &BatchOf)>();
    for (entity, replica) in replicas.iter(world) {
        adapters_add_up(replica, batches.iter(world).filter(|(_, of)| of.0 == entity))?;
        let index = replica.index;
        let pool = replica.pool_index as usize;
        let size = limits[pool].block_size;
        let in_batches: Vec<&Sequence> = batches
            .iter(world)
            .filter(|(_, of)| of.0 == entity)
            .flat_map(|(batch, _)| &batch.members)
            .collect();
        let mut allocated = 0;
        for sequence in &replica.waiting {
            check_place(world, sequence, RequestState::Waiting, index)?;
            equal("blocks of a waiting request", sequence.blocks, 0)?;
        }
        let grouped: Vec<(Sequence, u32)> = replica.decoding.members_and_owed().collect();
        let others = replica.running.iter().chain(in_batches.iter().copied());
        let mut on_pile = (0, 0);
        for (sequence, owed) in others.map(|&sequence| (sequence, 0)).chain(grouped.iter().copied())
        {
            let own = Sequence { blocks: sequence.blocks - owed, ..sequence };
            check_place(world, &own, RequestState::Running, index)?;
            let tokens = sequence.kv_tokens() + sequence.tokens;
            if tokens > sequence.blocks * size {
                return Err(format!("request {} has {tokens} tokens in its blocks", sequence.id));
            }
            let table = world.get::<BlockTable>(sequence.entity);
            allocated += hold(table, tokens, (pool, size), &mut held)?;
            on_pile.0 += owed;
            on_pile.1 += tokens.saturating_sub(own.blocks * size);
        }
        let pile = replica.decoding.pile();
        equal("blocks on the pile of a group", pile.0.len() as u32, on_pile.0)?;
        allocated += hold(Some(pile), on_pile.1, (pool, size), &mut held)?;
        for swapped in &replica.swapped {
            check_place(world, &swapped.sequence, RequestState::Waiting, index)?;
            equal("blocks of a swapped request", swapped.sequence.blocks, 0)?;
            let tokens = swapped.sequence.kv_tokens();
            equal("its blocks in host memory", swapped.copied, tokens.div_ceil(size))?;
        }
        let in_host: u32 = replica.swapped.iter().map(|swapped| swapped.copied).sum();
        let host = replica.pool.host();
        equal("swapped blocks", host.map_or(0, |host| host.held().0), in_host)?;
        host.map_or(Ok(()), HostTier::audit)?;
        let transfers = &replica.transfers;
        for sequence in &transfers.handed {
            check_place(world, sequence, RequestState::Waiting, index)?;
            equal("blocks of a request handed over", sequence.blocks, 0)?;
        }
        for sequence in transfers.on_the_way() {
            check_place(world, sequence, RequestState::Running, index)?;
            let table = world.get::<BlockTable>(sequence.entity);
            allocated += hold(table, sequence.kv_tokens(), (pool, size), &mut held)?;
        }
        for sent in &transfers.sending {
            allocated += hold(Some(&sent.table), sent.tokens, (pool, size), &mut held)?;
        }
        for group in &replica.groups {
            allocated += hold(Some(&group.ended), 0, (pool, size), &mut held)?;
        }
        equal("allocated blocks of a replica", replica.pool.allocated(), allocated)?;
        let mut staged = StagedBlocks::default();
        let mut blocks = BlockStore::over(&mut rows, &mut cached, &mut staged);
        let free = replica.pool.free_list(&mut blocks);
        for &BlockId(id) in &free {
            equal("holders of a free block", held[id as usize].holders, 0)?;
        }
        let minted = replica.pool.minted();
        equal("blocks of a replica", minted, allocated + free.len() as u32)?;
        let listed = replica.running.len() + grouped.len() + in_batches.len();
        let running = (listed + transfers.on_the_way().count()) as u32;
        let waiting = replica.waiting.len() + transfers.handed.len() + replica.swapped.len();
        let waiting = waiting as u32;
        equal("running requests of a replica", replica.holding, running)?;
        let seen = control.ledger.loads.on(index);
        equal("waiting requests as routers see them", seen.0, waiting)?;
        equal("running requests as routers see them", seen.1, running)?;
        sums[pool].allocated += u64::from(allocated);
        sums[pool].running += u64::from(running);
        sums[pool].waiting += u64::from(waiting);
        places += u64::from(running + waiting);
    }
    for ((block, counted), id) in rows.iter().zip(&held).zip(0..) {
        let counts = control.engine.pools[counted.pool].prefix_caching;
        let references = if counts { counted.holders } else { 0 };
        equal("references of a block", block.references, references)?;
        let hash = |id: usize| cached.get(id).and_then(|cached| cached.hash);
        if counted.holders > 1 && hash(id).is_none() {
            return Err("a block that is not cached has two holders".to_owned());
        }
        sums[counted.pool].used += u64::from(counted.tokens);
    }
    for request in world.query::<&Request>().iter(world) {
        // It counts where it arrived, wherever it is now.
        present[request.pool as usize] += 1;
    }
    equal("request entities", present.iter().sum::<u64>(), places)?;
    let ledger = &control.ledger;
    for ((sums, present), pool) in sums.iter().zip(&present).zip(0..) {
        let (counts, totals) = ledger.page(pool);
        if counts != sums {
            return Err(format!("the counts of pool {pool} are {counts:?}, counted {sums:?}"));
        }
        let accounted = totals.finished + totals.rejected + present;
        equal("requests that arrived", totals.arrived, accounted)?;
    }
    Ok(())
}

/// Who holds a block, and how many tokens are in it.
#[derive(Clone, Copy, Default)]
struct Held {
    holders: u32,
    tokens: u32,
    pool: usize,
}

fn check_place(
    world: &World,
    sequence: &Sequence,
    state: RequestState,
    replica: u32,
) -> Result<(), String> {
    let Some(request) = world.get::<Request>(sequence.entity) else {
        return Err(format!("request {} has no entity", sequence.id));
    };
    if request.state != state || request.replica != Some(replica) || request.id != sequence.id {
        return Err(format!("request {} is {:?}, found as {state:?}", sequence.id, request));
    }
    let blocks = world.get::<BlockTable>(sequence.entity).map_or(0, |table| table.0.len());
    equal("length of a block table", blocks as u32, sequence.blocks)
}

/// Adds a holder, in this pool and with its block size, to each block of a table with `tokens`
/// tokens. Returns how many of the blocks had none before.
fn hold(
    table: Option<&BlockTable>,
    tokens: u32,
    (pool, block_size): (usize, u32),
    held: &mut [Held],
) -> Result<u32, String> {
    let mut first = 0;
    let mut left = tokens;
    for &BlockId(id) in table.into_iter().flat_map(|table| &table.0) {
        let Some(block) = held.get_mut(id as usize) else {
            return Err(format!("block {id} is in a table but not there"));
        };
        if block.holders > 0 && block.pool != pool {
            return Err(format!("block {id} is held by pools {pool} and {}", block.pool));
        }
        block.pool = pool;
        first += u32::from(block.holders == 0);
        block.holders += 1;
        block.tokens = block.tokens.max(left.min(block_size));
        left = left.saturating_sub(block_size);
    }
    Ok(first)
}

fn equal<T: PartialEq + std::fmt::Display>(what: &str, is: T, counted: T) -> Result<(), String> {
    match is == counted {
        true => Ok(()),
        false => Err(format!("{what}: {is} in the books, counted {counted}")),
    }
}

/// Every admitted request holds its LoRA adapter, there are no more of these than slots, and what
/// runs is in one.
fn adapters_add_up<'a>(
    replica: &Replica,
    batches: impl Iterator<Item = (&'a Batch, &'a BatchOf)> + Clone,
) -> Result<(), String> {
    let Some(adapters) = &replica.adapters else { return Ok(()) };
    let mut found: std::collections::BTreeMap<u32, u32> = std::collections::BTreeMap::new();
    let in_batches = batches.flat_map(|(batch, _)| &batch.members);
    let on_the_way = replica.transfers.on_the_way();
    let held = replica.running.iter().chain(&replica.lingering).chain(on_the_way);
    for sequence in held.chain(in_batches.clone()) {
        if sequence.adapter != 0 {
            *found.entry(sequence.adapter).or_default() += 1;
        }
    }
    if found.len() > adapters.max_loras() {
        return Err(format!("replica {} runs {} adapters", replica.index, found.len()));
    }
    if found != *adapters.running() {
        let running = adapters.running();
        return Err(format!("replica {} counts {running:?}, has {found:?}", replica.index));
    }
    adapters.audit(in_batches).map_err(|why| format!("replica {}: {why}", replica.index))
}
