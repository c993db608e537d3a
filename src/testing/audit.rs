//! Recounts everything that the simulation keeps count of.

use bevy_ecs::prelude::*;

use crate::batch::Batch;
use crate::cluster::{BatchOf, Replica};
use crate::kv::{BlockId, BlockTable, KvBlock};
use crate::request::{Request, RequestState, Sequence};
use crate::routing::Loads;
use crate::sim::{Ledger, Limits, Simulation};

/// Compares the simulation's books with what is really there, between two steps:
/// every block has one holder or is free; tables, pools and reference counts agree; every request
/// is in exactly one place; its tokens fit its blocks; the cluster's counts are the sums.
///
/// # Errors
/// A sentence that names the first discrepancy.
pub fn audit(simulation: &mut Simulation) -> Result<(), String> {
    let world = &mut simulation.world;
    let limits = world.resource::<Limits>().0;
    let mut holders: Vec<u32> = vec![0; world.query::<&KvBlock>().iter(world).count()];
    let mut sums = world.resource::<Ledger>().counts;
    (sums.allocated, sums.used, sums.running, sums.waiting) = (0, 0, 0, 0);
    let mut present = 0;

    let mut replicas = world.query::<(Entity, &Replica)>();
    let mut batches = world.query::<(&Batch, &BatchOf)>();
    for (entity, replica) in replicas.iter(world) {
        let index = replica.index;
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
        for sequence in replica.running.iter().chain(in_batches.iter().copied()) {
            check_place(world, sequence, RequestState::Running, index)?;
            let held = sequence.cached() + sequence.tokens;
            if held > sequence.blocks * limits.block_size {
                return Err(format!("request {} has {held} tokens in its blocks", sequence.id));
            }
            allocated += sequence.blocks;
            sums.used += u64::from(held);
            hold(world.get::<BlockTable>(sequence.entity), &mut holders)?;
        }
        for group in &replica.groups {
            allocated += group.ended.0.len() as u32;
            hold(Some(&group.ended), &mut holders)?;
        }
        equal("allocated blocks of a replica", replica.pool.allocated(), allocated)?;
        for &BlockId(id) in replica.pool.free_list() {
            equal("holders of a free block", holders[id as usize], 0)?;
        }
        let running = (replica.running.len() + in_batches.len()) as u32;
        let waiting = replica.waiting.len() as u32;
        equal("running requests of a replica", replica.holding, running)?;
        let loads = world.resource::<Loads>();
        equal("running requests as routers see them", loads.running(index), running)?;
        equal("waiting requests as routers see them", loads.waiting(index), waiting)?;
        sums.allocated += u64::from(allocated);
        sums.running += u64::from(running);
        sums.waiting += u64::from(waiting);
        present += u64::from(running + waiting);
    }
    for (block, &counted) in world.query::<&KvBlock>().iter(world).zip(&holders) {
        equal("references of a block", block.references, counted)?;
        if counted > 1 {
            return Err("a block has two holders".to_owned());
        }
    }
    let entities = world.query::<&Request>().iter(world).count() as u64;
    equal("request entities", entities, present)?;
    let ledger = world.resource::<Ledger>();
    if ledger.counts != sums {
        return Err(format!("the cluster's counts are {:?}, counted {sums:?}", ledger.counts));
    }
    let totals = &ledger.totals;
    equal("requests that arrived", totals.arrived, totals.finished + totals.rejected + present)
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

fn hold(table: Option<&BlockTable>, holders: &mut [u32]) -> Result<(), String> {
    for &BlockId(id) in table.into_iter().flat_map(|table| &table.0) {
        match holders.get_mut(id as usize) {
            Some(count) => *count += 1,
            None => return Err(format!("block {id} is in a table but not there")),
        }
    }
    Ok(())
}

fn equal<T: PartialEq + std::fmt::Display>(what: &str, is: T, counted: T) -> Result<(), String> {
    match is == counted {
        true => Ok(()),
        false => Err(format!("{what}: {is} in the books, counted {counted}")),
    }
}
