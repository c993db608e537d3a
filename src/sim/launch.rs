//! Launch phase: idle stages take the next batch of their queue.

use bevy_ecs::prelude::*;

use super::arrive::Arrivals;
use super::{Agenda, Engine, Event, Ledger, Nanos, Worklists};
use crate::batch::Batch;
use crate::cluster::{Stage, StageQueue, Stages};
use crate::timing::StagePosition;

/// Launch phase: prices the next batch of each stage that can start one, and pushes its end.
pub(crate) fn launch(
    mut agenda: ResMut<Agenda>,
    engine: Res<Engine>,
    arrivals: Res<Arrivals>,
    mut lists: ResMut<Worklists>,
    mut ledger: ResMut<Ledger>,
    mut stages: Query<(&Stage, &mut StageQueue)>,
    mut batches: Query<&mut Batch>,
) -> Result {
    lists.touched.clear();
    let now = agenda.now();
    for entity in lists.to_serve.drain(..) {
        let (stage, mut queue) = stages.get_mut(entity)?;
        if queue.current.is_some() {
            continue;
        }
        let Some(slot) = queue.fifo.pop_front() else { continue };
        queue.current = Some(slot);
        queue.launches = queue.launches.wrapping_add(1);
        let batch = &mut *batches.get_mut(slot)?;
        let position = StagePosition { index: stage.index, count: engine.limits.stages };
        let time = engine.predictor.stage_time(&batch.shape, position);
        let mut end = now + time.total;
        if stage.index == 0 {
            batch.started_at = now;
        }
        batch.execution += time.total;
        ledger.count_busy(time, !batch.shape.prefills.is_empty());
        batch.run.begin(end, time);
        if batch.run.most > 1 {
            let stop = stop_at(&engine, &arrivals, now);
            let mut shape = batch.shape.clone();
            while batch.run.iterations() < batch.run.most && end < stop {
                shape.next_decode();
                let time = engine.predictor.stage_time(&shape, position);
                if engine.time_limit.is_some_and(|limit| end + time.total > limit) {
                    break;
                }
                end += time.total;
                batch.run.push(end, time);
            }
        }
        agenda.push(end, Event::StageEnd(entity, queue.launches));
    }
    Ok(())
}

/// When a run that starts now is sure to be cut off: a single replica gets every arrival.
fn stop_at(engine: &Engine, arrivals: &Arrivals, now: Nanos) -> Nanos {
    match engine.replicas.len() {
        1 => arrivals.next_time(now).unwrap_or(Nanos::MAX),
        _ => Nanos::MAX,
    }
}

/// Route phase, after the router: an arrival at a replica cuts its run off at the first iteration
/// boundary, where the policy may plan anew.
pub(crate) fn cut_off_runs(
    mut agenda: ResMut<Agenda>,
    mut lists: ResMut<Worklists>,
    replicas: Query<&Stages>,
    mut queues: Query<&mut StageQueue>,
    mut batches: Query<&mut Batch>,
) -> Result {
    let now = agenda.now();
    for &(_, entity) in lists.touched.in_order() {
        for &stage in replicas.get(entity)?.entities() {
            let mut queue = queues.get_mut(stage)?;
            let Some(slot) = queue.current else { continue };
            if let Some(end) = batches.get_mut(slot)?.run.cut_off(now) {
                queue.launches = queue.launches.wrapping_add(1);
                agenda.push(end, Event::StageEnd(stage, queue.launches));
            }
        }
    }
    Ok(())
}
