//! Recounts everything that the simulation keeps count of.

use bevy_ecs::prelude::*;

use super::block_audit::{BlockAudit, Holding};
use crate::engine::lora::Adapters;
use crate::engine::policy::EngineLimits;
use crate::engine::state::batch::Batch;
use crate::engine::state::kv::{BlockTable, HostTier};
use crate::engine::state::request::{Request, RequestState, Sequence};
use crate::engine::state::transfers::Transfers;
use crate::engine::state::{AsyncPlanning, BatchOf, Replica, SwappedRequests};
use crate::engine::{Counts, SimState, Simulation};

/// A replica and its techniques.
type Parts = (
    Entity,
    &'static Replica,
    Option<&'static Adapters>,
    Option<&'static SwappedRequests>,
    Option<&'static Transfers>,
    Option<&'static AsyncPlanning>,
);

/// Compares what the simulation counts with what is really there, between two steps, by queries of
/// its world: block entities and those who hold them, free lists and reference counts agree; a
/// block has two holders only if its prefix is cached; every request is in exactly one place; its
/// tokens fit its blocks; what is in host memory is what was copied there and neither came back nor
/// was dropped; the counts of each pool are the sums.
///
/// # Errors
/// A sentence that names the first discrepancy.
pub fn audit(simulation: &mut Simulation) -> Result<(), String> {
    let world = &mut simulation.world;
    let mut blocks = BlockAudit::new(world);
    let mut all_replicas = world.query::<Parts>();
    let mut all_batches = world.query::<(&Batch, &BatchOf)>();
    let mut all_requests = world.query::<&Request>();
    let world = &*world;
    let state = world.resource::<SimState>();
    let limits: Vec<EngineLimits> = state.engine.pools.iter().map(|p| p.limits).collect();
    let mut sums = vec![Counts::default(); limits.len()];
    let mut present = vec![0_u64; limits.len()];
    let mut places = 0;
    let mut in_groups = Vec::new();

    for (entity, replica, adapters, swapped, transfers, planning) in all_replicas.iter(world) {
        let in_batches: Vec<&Sequence> = all_batches
            .iter(world)
            .filter(|(_, of)| of.0 == entity)
            .flat_map(|(batch, _)| &batch.members)
            .collect();
        let on_the_way: Vec<&Sequence> =
            transfers.iter().flat_map(|transfers| transfers.on_the_way()).collect();
        if let Some(adapters) = adapters {
            let ended = planning.iter().flat_map(|planning| &planning.finished);
            let held = replica.running.iter().chain(ended).chain(on_the_way.iter().copied());
            adapters_add_up(replica, adapters, held, &in_batches)?;
        }
        let index = replica.index;
        let pool = replica.pool_index as usize;
        let size = limits[pool].block_size;
        let mut allocated = 0;
        in_groups.extend(replica.kv.grouped().map(|_| pool));
        for sequence in &replica.waiting {
            check_place(world, sequence, RequestState::Waiting, index)?;
            equal("blocks of a waiting request", sequence.blocks, 0)?;
        }
        let grouped: Vec<(Sequence, u32)> = replica.decoding.members_and_owed().collect();
        let others = replica.running.iter().chain(in_batches.iter().copied());
        let (mut owed_blocks, mut owed_tokens) = (0, 0);
        for (sequence, owed) in others.map(|&sequence| (sequence, 0)).chain(grouped.iter().copied())
        {
            let own = Sequence { blocks: sequence.blocks - owed, ..sequence };
            if let Some(groups) = replica.kv.grouped() {
                groups.audit(&sequence)?;
                let none = Sequence { blocks: 0, ..sequence };
                check_place(world, &none, RequestState::Running, index)?;
                continue;
            }
            check_place(world, &own, RequestState::Running, index)?;
            let tokens = sequence.kv_tokens() + sequence.tokens;
            if tokens > sequence.blocks * size {
                return Err(format!("request {} has {tokens} tokens in its blocks", sequence.id));
            }
            let table = table_of(world, &sequence)?;
            allocated += blocks.hold(table.0.iter().copied(), Holding { tokens, pool, size })?;
            owed_blocks += owed;
            owed_tokens += tokens.saturating_sub(own.blocks * size);
        }
        let shared = replica.decoding.shared_blocks().0.len() as u32;
        equal("shared blocks of a decode group", shared, owed_blocks)?;
        let holding = Holding { tokens: owed_tokens, pool, size };
        allocated += blocks.hold(replica.held_blocks(), holding)?;
        let swapped = swapped.map_or(&[][..], |swapped| &swapped.0);
        for swapped in swapped {
            check_place(world, &swapped.sequence, RequestState::Waiting, index)?;
            equal("blocks of a swapped request", swapped.sequence.blocks, 0)?;
            let tokens = swapped.sequence.kv_tokens();
            equal("its blocks in host memory", swapped.copied, tokens.div_ceil(size))?;
        }
        let in_host: u32 = swapped.iter().map(|swapped| swapped.copied).sum();
        let host = replica.kv.host();
        equal("swapped blocks", host.map_or(0, |host| host.held().0), in_host)?;
        host.map_or(Ok(()), HostTier::audit)?;
        let handed = transfers.map_or(&[][..], |transfers| &transfers.handed);
        for sequence in handed {
            check_place(world, sequence, RequestState::Waiting, index)?;
            equal("blocks of a request handed over", sequence.blocks, 0)?;
        }
        for &sequence in &on_the_way {
            check_place(world, sequence, RequestState::Running, index)?;
            let (table, tokens) = (table_of(world, sequence)?, sequence.kv_tokens());
            allocated += blocks.hold(table.0.iter().copied(), Holding { tokens, pool, size })?;
        }
        let sending = transfers.map_or(&[][..], |transfers| &transfers.sending);
        for sent in sending {
            let holding = Holding { tokens: sent.tokens, pool, size };
            allocated += blocks.hold(sent.table.0.iter().copied(), holding)?;
        }
        equal("allocated blocks of a replica", replica.kv.allocated(), allocated)?;
        let free = blocks.free_list(&replica.kv);
        blocks.are_free(&free)?;
        let created = replica.kv.created();
        equal("blocks of a replica", created, allocated + free.len() as u32)?;
        let listed = replica.running.len() + grouped.len() + in_batches.len();
        let running = (listed + on_the_way.len()) as u32;
        let waiting = (replica.waiting.len() + handed.len() + swapped.len()) as u32;
        equal("running requests of a replica", replica.num_admitted, running)?;
        let seen = state.ledger.loads.on(index);
        equal("waiting requests as routers see them", seen.0, waiting)?;
        equal("running requests as routers see them", seen.1, running)?;
        sums[pool].allocated += u64::from(allocated);
        sums[pool].running += u64::from(running);
        sums[pool].waiting += u64::from(waiting);
        places += u64::from(running + waiting);
    }
    for (sum, used) in sums.iter_mut().zip(blocks.finish(limits.len())?) {
        sum.used = used;
    }
    for (sum, pool) in sums.iter_mut().zip(0..).filter(|(_, pool)| in_groups.contains(pool)) {
        // Which of a group's blocks hold how much is not counted.
        sum.used = state.ledger.pools[pool].counts.used;
    }
    for request in all_requests.iter(world) {
        // It counts where it arrived, wherever it is now.
        present[request.pool as usize] += 1;
    }
    equal("request entities", present.iter().sum::<u64>(), places)?;
    for (((sums, present), pool), ledger) in
        sums.iter().zip(&present).zip(0..).zip(&state.ledger.pools)
    {
        if ledger.counts != *sums {
            let counts = &ledger.counts;
            return Err(format!("the counts of pool {pool} are {counts:?}, counted {sums:?}"));
        }
        let accounted = ledger.totals.finished + ledger.totals.rejected + present;
        equal("requests that arrived", ledger.totals.arrived, accounted)?;
    }
    Ok(())
}

fn table_of<'w>(world: &'w World, sequence: &Sequence) -> Result<&'w BlockTable, String> {
    let table = world.get::<BlockTable>(sequence.entity);
    table.ok_or_else(|| format!("request {} has no block table", sequence.id))
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

pub(super) fn equal<T: PartialEq + std::fmt::Display>(
    what: &str,
    is: T,
    counted: T,
) -> Result<(), String> {
    match is == counted {
        true => Ok(()),
        false => Err(format!("{what}: {is} counted before, now {counted}")),
    }
}

/// Every admitted request holds its LoRA adapter, there are no more of these than slots, and what
/// runs is in one.
fn adapters_add_up<'a>(
    replica: &Replica,
    adapters: &Adapters,
    held: impl Iterator<Item = &'a Sequence>,
    in_batches: &[&'a Sequence],
) -> Result<(), String> {
    let mut found: std::collections::BTreeMap<u32, u32> = std::collections::BTreeMap::new();
    for sequence in held.chain(in_batches.iter().copied()) {
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
    adapters
        .audit(in_batches.iter().copied())
        .map_err(|why| format!("replica {}: {why}", replica.index))
}
