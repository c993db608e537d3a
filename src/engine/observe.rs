//! Observe phase: records requests that ended and despawns them.

use bevy_ecs::prelude::*;

use super::Control;
use super::arrive::Ended;
use crate::base::Nanos;
use crate::engine::state::request::{Request, Sequence};
use crate::records::{EventKind, RequestRecord, RequestStatus};

/// Observe phase: one record for each request that ended, by id; in a closed loop each lets
/// another one start, and a turn of a conversation is followed by the next.
pub(crate) fn record_ended(InMut(control): InMut<Control>, world: &mut World) -> Result {
    let Control { agenda, arrivals, lists, ledger, .. } = control;
    if lists.ended.is_empty() {
        return Ok(());
    }
    lists.ended.sort_by_key(|(sequence, _)| sequence.id);
    for (sequence, status) in lists.ended.drain(..) {
        let entity = world.get_entity_mut(sequence.entity)?;
        let request = entity.get_components::<&Request>()?;
        ledger.open(request.pool);
        match status {
            RequestStatus::Finished => ledger.totals.finished += 1,
            RequestStatus::Rejected(_) => ledger.totals.rejected += 1,
            RequestStatus::NotAdmitted(_) => {
                ledger.totals.rejected += 1;
                ledger.totals.not_admitted += 1;
            }
            RequestStatus::Unfinished => ledger.totals.unfinished += 1,
        }
        let kind = match status {
            RequestStatus::Finished => EventKind::Finished,
            _ => EventKind::Rejected,
        };
        ledger.note(agenda.now(), kind, request.id, request.replica);
        let how = Ended::of(&status);
        ledger.requests.push(record(request, &sequence, Some(agenda.now()), status));
        arrivals.release(request, how, agenda.now());
        entity.despawn();
    }
    Ok(())
}

/// The record of a request that ended at `ended_at`.
pub(crate) fn record(
    request: &Request,
    sequence: &Sequence,
    ended_at: Option<Nanos>,
    status: RequestStatus,
) -> RequestRecord {
    let on_stages = match request.first_stage_at {
        Some(first) if sequence.has_token => sequence.last_token_at.since(first),
        _ => Nanos::ZERO,
    };
    RequestRecord {
        id: request.id,
        pool: request.pool,
        class: request.class,
        adapter: request.adapter,
        replica: request.replica,
        arrived_at: request.arrived_at,
        inter_arrival: request.inter_arrival,
        scheduled_at: request.scheduled_at,
        first_token_at: request.first_token_at,
        completed_at: ended_at,
        prompt_tokens: request.prompt_tokens,
        output_tokens: request.output_tokens,
        cached_tokens: request.cached_tokens,
        execution_time: sequence.execution,
        // Stage executions of one request never overlap, so what is not execution between the
        // first start and the last end is gaps, or a transfer.
        preemption_time: on_stages
            .since(sequence.execution + request.kv_transfer.unwrap_or(Nanos::ZERO)),
        kv_transfer: request.kv_transfer,
        reloaded_tokens: request.reloaded_tokens,
        restarts: request.restarts,
        swaps: request.swaps,
        drafted: request.drafting.as_ref().map_or(0, |drafting| drafting.drafted),
        accepted: request.drafting.as_ref().map_or(0, |drafting| drafting.accepted),
        in_window: request.in_window,
        status,
    }
}
