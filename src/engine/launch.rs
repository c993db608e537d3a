//! Idle stages take the next batch of their queue.

use bevy_ecs::prelude::*;

use super::arrive::Arrivals;
use super::{Control, Engine, Floor};
use crate::base::{Instant, Nanos};
use crate::engine::state::batch::Batch;
use crate::engine::state::{Replica, Stage, Stages};
use crate::timing::{RunPricing, StagePosition, StageTime};

/// Prices the next batch of each stage that can start one, and pushes its end.
pub(super) fn launch(control: &mut Control, floor: &mut Floor<'_, '_>) -> Result {
    let Control { engine, agenda, arrivals, lists, ledger } = control;
    let Floor { stages, shared, batches, .. } = floor;
    lists.touched.clear();
    let now = agenda.now();
    for entity in lists.to_serve.drain(..) {
        let (mut stage, mut queue) = stages.get_mut(entity)?;
        if queue.current.is_some() {
            continue;
        }
        let mut entity = entity;
        let mut gpus_free = queue.free;
        if let Some(gpus) = stage.gpus {
            let mut gpus = shared.get_mut(gpus)?;
            let Some(next) = gpus.turn(entity, !queue.fifo.is_empty()) else { continue };
            entity = next;
            gpus_free = gpus.free;
            (stage, queue) = stages.get_mut(entity)?;
        }
        let Some(slot) = queue.fifo.pop_front() else { continue };
        queue.current = Some(slot);
        let batch = &mut *batches.get_mut(slot)?.0;
        let position = StagePosition { index: stage.index, count: stage.count };
        let predictor = &engine.pool(stage.pool).predictor;
        let mut time = predictor.stage_time(&batch.shape, position);
        if let Some(adapters) = batch.adapters {
            time.total += adapters.load + adapters.compute;
            time.transferred += adapters.compute;
        }
        let start = batch.ready.later(queue.free).later(gpus_free);
        // Both may be in the past: a request has just arrived.
        let start = if start.tick == now { start } else { Instant::at(now) };
        let time = match batch.copies.take() {
            None => time,
            Some(copies) => {
                let (time, waiting) = copies.delay(time);
                ledger.open(stage.pool);
                ledger.totals.offload.get_or_insert_default().waiting += waiting;
                time
            }
        };
        let (mut end, time) = ended(start, time);
        if stage.index == 0 {
            batch.started_at = now;
        }
        batch.execution += time.total;
        ledger.open(stage.pool);
        ledger.count_busy(time, !batch.shape.prefills.is_empty());
        batch.run.begin(end, time);
        if batch.run.most > 1 {
            batch.run.shape.clone_from(&batch.shape);
            end = go_on(batch, end, stage, engine, stop_at(engine, arrivals, now));
        }
        (queue.free, batch.ready) = (end, end);
        if let Some(gpus) = stage.gpus {
            shared.get_mut(gpus)?.free = end;
        }
        agenda.push_stage_end(end.tick, (entity, stage.number));
    }
    Ok(())
}

/// Iterations that are priced at once while an arrival that nobody knows yet may cut the run off:
/// those beyond it are priced in vain, and each further piece of a run is an event.
const PIECE: u32 = 32;

/// Prices the next iterations of a run whose last one so far ends at `end`, until one ends at `stop`
/// or later. Returns when the last one ends.
pub(super) fn go_on(
    batch: &mut Batch,
    mut end: Instant,
    stage: &Stage,
    engine: &Engine,
    stop: Nanos,
) -> Instant {
    let run = &mut batch.run;
    let stop = stop.min(run.until);
    let goal = match engine.replicas.len() {
        1 => run.most,
        _ => run.most.min(run.iterations() + PIECE),
    };
    let left = goal.saturating_sub(run.iterations());
    let position = StagePosition { index: stage.index, count: stage.count };
    let limit = engine.time_limit.unwrap_or(Nanos::MAX);
    let mut pricing = RunPricing::new(run, position, (end, stop, limit), left);
    engine.pool(stage.pool).predictor.price_run(&mut pricing);
    end = pricing.end();
    if run.iterations() < goal || end.tick >= stop {
        run.most = run.iterations();
    }
    end
}

/// When an iteration that begins at `start` ends, and its time in whole nanoseconds.
fn ended(start: Instant, time: StageTime) -> (Instant, StageTime) {
    let end = start.after(time.total, time.rest_ns);
    (end, StageTime { total: end.tick.since(start.tick), ..time })
}

/// When a run that starts now is sure to be cut off: a single replica gets every arrival.
fn stop_at(engine: &Engine, arrivals: &Arrivals, now: Nanos) -> Nanos {
    match engine.replicas.len() {
        1 => arrivals.next_time(now).unwrap_or(Nanos::MAX),
        _ => Nanos::MAX,
    }
}

/// An arrival at a replica cuts its run off at the first iteration boundary, where the policy may plan
/// anew. Replicas without a free slot need no plan now.
pub(super) fn cut_off_runs(control: &mut Control, floor: &mut Floor<'_, '_>) -> Result {
    let Control { agenda, lists, .. } = control;
    let Floor { replicas, stages, batches, .. } = floor;
    let boundary = agenda.first_boundary();
    for &(_, entity) in lists.touched.in_order() {
        for &entity in replicas.get(entity)?.1.entities() {
            let (stage, mut queue) = stages.get_mut(entity)?;
            let Some(slot) = queue.current else { continue };
            let (mut batch, _) = batches.get_mut(slot)?;
            if let Some(end) = batch.run.cut_off(boundary) {
                (queue.free, batch.ready) = (end, end);
                agenda.push_stage_end(end.tick, (entity, stage.number));
            }
        }
    }
    // Blocks for requests that are handed over are found between plans too.
    let may_plan = |(replica, _): (&Replica, &Stages)| {
        !replica.free_slots.is_empty() || !replica.transfers.handed.is_empty()
    };
    lists.touched.retain(|replica| replicas.get(replica).is_ok_and(may_plan));
    Ok(())
}
