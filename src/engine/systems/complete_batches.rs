//! Completion: commits the iterations that end now.

use bevy_ecs::prelude::*;

use super::price_run::price_run;
use crate::base::Nanos;
use crate::engine::commit::{CommitContext, Committed, TokenGap};
use crate::engine::hot_state::HotState;
use crate::engine::lists::Incoming;
use crate::engine::queries::EngineQueries;
use crate::engine::state::kv::BlockStore;
use crate::engine::state::transfers::Iteration;
use crate::engine::state::{BatchOf, ReplicaParts};
use crate::engine::{Event, SimState};

/// Takes what is due off the event queue. A stage that ends hands its batch to the next stage; the
/// last stage's batch is committed: tokens, first tokens, completions, freed blocks.
pub(crate) fn complete_batches(mut state: HotState, mut queries: EngineQueries) {
    let state = &mut *state;
    if state.queue.is_due() {
        state.attempt("complete_batches", |state| complete_due(state, &mut queries));
    }
}

/// Commits what is due.
pub(super) fn complete_due(state: &mut SimState, queries: &mut EngineQueries<'_, '_>) -> Result {
    let SimState { engine, queue, lists, ledger, .. } = state;
    let EngineQueries { replicas, stages, batches, requests, blocks } = queries;
    let now = queue.now();
    let mut context = CommitContext {
        requests,
        ledger,
        blocks: BlockStore::of(blocks, &mut lists.staged)?,
        changes: &mut lists.changes,
        ended: &mut lists.ended,
        batch_records: engine.batch_records,
        now,
        gaps: TokenGap::default(),
    };
    while let Some(event) = queue.pop_due() {
        let ending = match event {
            Event::StageEnd(stage) => stage,
            Event::Wake(entity) => {
                let (mut replica, _) = replicas.all.get_mut(entity)?;
                if replica.wake.is_some_and(|wake| wake <= now) {
                    replica.wake = None;
                }
                lists.ready.add(replica.index, entity);
                continue;
            }
            Event::Delivered(delivery) => {
                context.deliver(delivery, engine, replicas, &mut lists.ready)?;
                continue;
            }
        };
        let (stage, mut at) = stages.get_mut(ending)?;
        let (index, next) = (stage.index, stage.next);
        let Some(slot) = at.current else {
            return Err(format!("stage {} ends a batch, but runs none", stage.number).into());
        };
        let (mut batch, &BatchOf(entity)) = batches.get_mut(slot)?;
        if batch.run.goes_on() {
            let end = price_run(&mut batch, at.free, stage, engine, Nanos::MAX);
            if end != at.free {
                (at.free, batch.ready) = (end, end);
                queue.push_stage_end(end.tick, ending, stage.number);
                continue;
            }
        }
        at.current = None;
        lists.to_serve.push(ending);
        if let Some(next) = next {
            stages.get_mut(next)?.1.fifo.push_back(slot);
            lists.to_serve.push(next);
            continue;
        }
        let ReplicaParts { replica, mut techniques, .. } = replicas.get_mut(entity)?;
        let pool = engine.pool(replica.pool_index);
        let mut on = Committed { replica, techniques: &mut techniques, pool, stage: index };
        context.commit(&mut batch, &mut on)?;
        if let Some(hand_over) = pool.hand_over {
            let computed = Iteration { begin: batch.started_at, end: now };
            context.hand_over(entity, &mut on, computed, |sequence| {
                lists.incoming.push(Incoming { pool: hand_over.to, sequence });
            })?;
        }
        replica.free_slots.push(slot);
        replica.committed += batch.run.iterations();
        if let Some(planning) = techniques.planning {
            planning.cutoff = Some(batch.run.last_start(batch.started_at));
        }
        lists.ready.add(replica.index, entity);
    }
    Ok(())
}
