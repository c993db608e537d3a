//! Launch phase: idle stages take the next batch of their queue.

use bevy_ecs::prelude::*;

use super::{Agenda, Engine, Event, Ledger, Worklists};
use crate::batch::Batch;
use crate::cluster::{Stage, StageQueue};
use crate::timing::StagePosition;

/// Launch phase: prices the next batch of each stage that can start one, and pushes its end.
pub(crate) fn launch(
    mut agenda: ResMut<Agenda>,
    engine: Res<Engine>,
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
        let mut batch = batches.get_mut(slot)?;
        let position = StagePosition { index: stage.index, count: engine.limits.stages };
        let time = engine.predictor.stage_time(&batch.shape, position);
        if stage.index == 0 {
            batch.started_at = now;
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
        agenda.push(now + time.total, Event::StageEnd(entity));
    }
    Ok(())
}
