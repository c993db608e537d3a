//! The systems of the Schedule phase: call the policies, turn their plans into batches.

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;

use super::view::PlanView;
use super::{EngineLimits, Policy};
use crate::batch::Batch;
use crate::cluster::{Replica, StageQueue, Stages};
use crate::kv::{BlockStore, BlockTable, KvBlock, StagedBlocks};
use crate::metrics::RequestStatus;
use crate::request::{Request, Sequence};
use crate::routing::Loads;
use crate::sim::{Clock, Due, Ended, Event, EventQueue, Ledger, Limits, ToServe, Touched};

/// All that planning reads and writes, the policies themselves aside.
#[derive(SystemParam)]
pub(crate) struct Floor<'w, 's> {
    clock: Res<'w, Clock>,
    limits: Res<'w, Limits>,
    touched: Res<'w, Touched>,
    replicas: Query<'w, 's, (&'static mut Replica, &'static Stages)>,
    queues: Query<'w, 's, &'static mut StageQueue>,
    batches: Query<'w, 's, &'static mut Batch>,
    tables: Query<'w, 's, &'static mut BlockTable>,
    requests: Query<'w, 's, &'static mut Request>,
    blocks: Query<'w, 's, &'static mut KvBlock>,
    staged: ResMut<'w, StagedBlocks>,
    ledger: ResMut<'w, Ledger>,
    loads: ResMut<'w, Loads>,
    ended: ResMut<'w, Ended>,
    events: ResMut<'w, EventQueue>,
    to_serve: ResMut<'w, ToServe>,
}

/// Memory that plans reuse.
#[derive(Default)]
pub(crate) struct Scratch {
    planned: Vec<Sequence>,
    chunks: Vec<Sequence>,
    refused: Vec<(Sequence, String)>,
}

/// Schedule phase: lets the replicas that use policy `P` and were touched plan batches, as long
/// as slots are free and something is planned.
pub(crate) fn plan<P: Policy>(
    mut floor: Floor,
    mut policies: Query<&mut P>,
    mut scratch: Local<Scratch>,
) -> Result {
    if floor.touched.is_empty() {
        return Ok(());
    }
    let mut tables = floor.blocks.contiguous_iter_mut().map_err(|e| e.to_string())?;
    let mut table = tables.next();
    let mut blocks = BlockStore {
        spawned: match &mut table {
            Some(table) => table.bypass_change_detection(),
            None => &mut [],
        },
        staged: &mut floor.staged.0,
    };
    let limits: &EngineLimits = &floor.limits.0;
    let scratch = &mut *scratch;
    for &entity in floor.touched.entities() {
        let Ok(mut policy) = policies.get_mut(entity) else { continue };
        let (mut replica, stages) = floor.replicas.get_mut(entity)?;
        while let Some(&slot) = replica.free_slots.last() {
            let mut view = PlanView {
                now: floor.clock.now(),
                limits,
                oracle: policy.is_oracle(),
                replica: &mut replica,
                blocks: blocks.reborrow(),
                tables: floor.tables.reborrow(),
                requests: floor.requests.reborrow(),
                ledger: &mut floor.ledger,
                loads: &mut floor.loads,
                refused: &mut scratch.refused,
                planned: &mut scratch.planned,
                chunks: &mut scratch.chunks,
                planned_tokens: 0,
                preempted: 0,
                stay_idle: false,
                wake_at: None,
            };
            policy.plan(&mut view);
            view.return_chunks();
            let again = view.preempted > 0 && !view.stay_idle;
            let wake_at = view.wake_at;
            for (sequence, reason) in scratch.refused.drain(..) {
                floor.ended.0.push((sequence, RequestStatus::Rejected(reason)));
            }
            if let Some(time) = wake_at
                && time > floor.clock.now()
                && replica.wake.is_none_or(|earlier| time < earlier)
            {
                replica.wake = Some(time);
                floor.events.push(time, Event::Wake(entity));
            }
            if !scratch.planned.is_empty() {
                let mut batch = floor.batches.get_mut(slot)?;
                batch.fill(floor.ledger.planned, &mut scratch.planned, floor.clock.now());
                floor.ledger.planned += 1;
                replica.free_slots.pop();
                let Some(&first) = stages.entities().first() else { break };
                floor.queues.get_mut(first)?.fifo.push_back(slot);
                floor.to_serve.0.push(first);
            } else if !again {
                break;
            }
        }
    }
    Ok(())
}

/// Schedule phase, first: wake-ups touch their replica.
pub(crate) fn touch_woken(
    clock: Res<Clock>,
    mut due: ResMut<Due>,
    mut replicas: Query<&mut Replica>,
    mut touched: ResMut<Touched>,
) -> Result {
    for entity in due.wakes.drain(..) {
        let mut replica = replicas.get_mut(entity)?;
        if replica.wake.is_some_and(|wake| wake <= clock.now()) {
            replica.wake = None;
        }
        touched.add(replica.index, entity);
    }
    Ok(())
}

/// Schedule phase, second: puts the touched replicas in order.
pub(crate) fn sort_touched(mut touched: ResMut<Touched>) {
    touched.sort();
}
