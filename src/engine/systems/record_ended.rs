//! Metrics: requests that ended are recorded.

use bevy_ecs::prelude::*;

use crate::base::Nanos;
use crate::engine::SimState;
use crate::engine::arrivals::Ended;
use crate::engine::events::Lifecycle;
use crate::engine::hot_query::HotQuery;
use crate::engine::hot_state::HotState;
use crate::engine::state::request::{Request, Sequence};
use crate::records::{RequestRecord, RequestStatus};

/// Makes one record for each request that ended, by id; in a closed loop each lets another one
/// start, and a turn of a conversation is followed by the next.
pub(crate) fn record_ended(mut state: HotState, requests: HotQuery<&Request>) {
    let state = &mut *state;
    if !state.lists.ended.is_empty() {
        state.attempt("record_ended", |state| record_all(state, &requests));
    }
}

fn record_all(state: &mut SimState, requests: &Query<'_, '_, &Request>) -> Result {
    let SimState { queue, arrivals, lists, ledger, .. } = state;
    let now = queue.now();
    lists.ended.sort_by_key(|ended| ended.sequence.id);
    for ended in &mut lists.ended {
        let request = requests.get(ended.sequence.entity)?;
        ledger.totals(request.pool).count_end(&ended.status);
        ledger.note(
            match ended.status {
                RequestStatus::Finished => Lifecycle::Finished,
                _ => Lifecycle::Rejected,
            },
            &ended.sequence,
            request.replica,
        );
        let how = Ended::of(&ended.status);
        let status = std::mem::replace(&mut ended.status, RequestStatus::Finished);
        ledger.requests.push(record(request, &ended.sequence, Some(now), status));
        arrivals.release(request, how, now);
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
