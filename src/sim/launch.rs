//! Launch phase: idle stages take the next batch of their queue.

use std::sync::Arc;

use bevy_ecs::prelude::*;

use super::{Clock, Event, EventQueue, Ledger, Limits, ToServe, Touched};
use crate::batch::Batch;
use crate::cluster::{Stage, StageQueue};
use crate::timing::{Predictor, StagePosition};

/// The model of execution time.
#[derive(Resource)]
pub(crate) struct Timing(pub Arc<dyn Predictor>);

/// Launch phase: prices the next batch of each stage that can start one, and pushes its end.
#[allow(clippy::too_many_arguments)] // a system's parameters are its data dependencies
pub(crate) fn launch(
    clock: Res<Clock>,
    limits: Res<Limits>,
    timing: Res<Timing>,
    mut to_serve: ResMut<ToServe>,
    mut touched: ResMut<Touched>,
    mut stages: Query<(&Stage, &mut StageQueue)>,
    mut batches: Query<&mut Batch>,
    mut events: ResMut<EventQueue>,
    mut ledger: ResMut<Ledger>,
) -> Result {
    touched.clear();
    for entity in to_serve.0.drain(..) {
        let (stage, mut queue) = stages.get_mut(entity)?;
        if queue.current.is_some() {
            continue;
        }
        let Some(slot) = queue.fifo.pop_front() else { continue };
        queue.current = Some(slot);
        let mut batch = batches.get_mut(slot)?;
        let position = StagePosition { index: stage.index, count: limits.0.stages };
        let time = timing.0.stage_time(&batch.shape, position);
        if stage.index == 0 {
            batch.started_at = clock.now();
        }
        batch.execution += time.total;
        let busy = &mut ledger.totals.busy;
        busy.total += time.total;
        busy.attention_prefill += time.attention_prefill;
        busy.attention_decode += time.attention_decode;
        busy.communication += time.communication;
        if !batch.shape.prefills.is_empty() {
            busy.with_prefill += time.total;
        }
        events.push(clock.now() + time.total, Event::StageEnd(entity));
    }
    Ok(())
}
