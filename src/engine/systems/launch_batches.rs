//! Execution: idle stages take the next batch of their queue.

use bevy_ecs::prelude::*;

use super::price_run::price_run;
use crate::base::{Instant, Nanos};
use crate::engine::arrivals::Arrivals;
use crate::engine::hot_query::HotQuery;
use crate::engine::hot_state::HotState;
use crate::engine::queries::StageQuery;
use crate::engine::state::SharedGpus;
use crate::engine::state::batch::Batch;
use crate::engine::{Engine, SimState};
use crate::timing::{StagePosition, StageTime};

/// Prices the next batch of each stage that can start one, and pushes its end.
pub(crate) fn launch_batches(
    mut state: HotState,
    mut stages: StageQuery,
    mut shared: HotQuery<&mut SharedGpus>,
    mut batches: HotQuery<&mut Batch>,
) {
    let state = &mut *state;
    state.lists.ready.clear();
    if !state.lists.to_serve.is_empty() {
        state.attempt("launch_batches", |state| {
            launch(state, &mut stages, &mut shared, &mut batches)
        });
    }
}

fn launch(
    state: &mut SimState,
    stages: &mut StageQuery<'_, '_>,
    shared: &mut Query<'_, '_, &mut SharedGpus>,
    batches: &mut Query<'_, '_, &mut Batch>,
) -> Result {
    let SimState { engine, queue, arrivals, lists, ledger, .. } = state;
    let now = queue.now();
    for entity in lists.to_serve.drain(..) {
        let (mut stage, mut at) = stages.get_mut(entity)?;
        if at.current.is_some() {
            continue;
        }
        let mut entity = entity;
        let mut gpus_free = at.free;
        if let Some(gpus) = stage.gpus {
            let mut gpus = shared.get_mut(gpus)?;
            let Some(next) = gpus.turn(entity, !at.fifo.is_empty()) else { continue };
            entity = next;
            gpus_free = gpus.free;
            (stage, at) = stages.get_mut(entity)?;
        }
        let Some(slot) = at.fifo.pop_front() else { continue };
        at.current = Some(slot);
        let batch = &mut *batches.get_mut(slot)?;
        let position = StagePosition { index: stage.index, count: stage.count };
        let predictor = &engine.pool(stage.pool).predictor;
        let mut time = predictor.stage_time(&batch.shape, position);
        if let Some(adapters) = batch.adapters {
            time.total += adapters.load + adapters.compute;
            time.transferred += adapters.compute;
        }
        let start = batch.ready.later(at.free).later(gpus_free);
        // Both may be in the past: a request has just arrived.
        let start = if start.tick == now { start } else { Instant::at(now) };
        let pool = ledger.pool(stage.pool);
        let time = match batch.copies.take() {
            None => time,
            Some(copies) => {
                let (time, waiting) = copies.delay(time);
                pool.totals.offload.get_or_insert_default().waiting += waiting;
                time
            }
        };
        let (mut end, time) = ended(start, time);
        if stage.index == 0 {
            batch.started_at = now;
        }
        batch.execution += time.total;
        pool.count_busy(time, !batch.shape.prefills.is_empty());
        batch.run.begin(end, time);
        if batch.run.most > 1 {
            batch.run.shape.clone_from(&batch.shape);
            end = price_run(batch, end, stage, engine, stop_at(engine, arrivals, now));
        }
        (at.free, batch.ready) = (end, end);
        if let Some(gpus) = stage.gpus {
            shared.get_mut(gpus)?.free = end;
        }
        queue.push_stage_end(end.tick, entity, stage.number);
    }
    Ok(())
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
