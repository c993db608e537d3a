//! Cutoff: an arrival cuts its replica's run of iterations off.

use bevy_ecs::prelude::*;

use super::complete_batches::complete_due;
use crate::engine::SimState;
use crate::engine::hot_state::HotState;
use crate::engine::queries::EngineQueries;

/// An arrival at a replica cuts its run off at the first iteration boundary, where the policy may
/// plan anew; one that is now is committed. Replicas without a free slot need no plan now.
pub(crate) fn cut_off_runs(mut state: HotState, mut queries: EngineQueries) {
    let state = &mut *state;
    if !state.lists.routed {
        return;
    }
    state.attempt("cut_off_runs", |state| {
        cut_off(state, &mut queries)?;
        match state.queue.is_due() {
            true => complete_due(state, &mut queries),
            false => Ok(()),
        }
    });
}

fn cut_off(state: &mut SimState, queries: &mut EngineQueries<'_, '_>) -> Result {
    let SimState { queue, lists, .. } = state;
    let EngineQueries { replicas, stages, batches, .. } = queries;
    let boundary = queue.first_boundary();
    for &(_, entity) in lists.ready.in_order() {
        for &entity in replicas.all.get(entity)?.1.entities() {
            let (stage, mut at) = stages.get_mut(entity)?;
            let Some(slot) = at.current else { continue };
            let (mut batch, _) = batches.get_mut(slot)?;
            if let Some(end) = batch.run.cut_off(boundary) {
                (at.free, batch.ready) = (end, end);
                queue.push_stage_end(end.tick, entity, stage.number);
            }
        }
    }
    // Blocks for requests that are handed over are found between plans too.
    lists.ready.retain(|replica| replicas.may_plan(replica));
    Ok(())
}
