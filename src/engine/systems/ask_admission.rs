//! Admission: requests that arrived are let in, or refused before they are routed.

use bevy_ecs::prelude::*;

use crate::engine::SimState;
use crate::engine::admission::{AdmissionRequest, Gate, PoolState};
use crate::engine::hot_state::HotState;
use crate::engine::lists::{EndedRequest, Incoming};
use crate::engine::state::batch::Batch;
use crate::engine::state::request::{Request, Sequence};
use crate::engine::state::{Batches, Replica};
use crate::records::RequestStatus;

/// The admission control of each pool, by index.
#[derive(Resource)]
pub(crate) struct Gates(pub Vec<Option<Gate>>);

/// Asks the pool's admission control about each request that arrived, in their order. The system
/// only exists where a pool has admission control.
pub(crate) fn ask_admission(
    mut state: HotState,
    mut gates: ResMut<Gates>,
    requests: Query<&Request>,
    replicas: Query<(&Replica, &Batches)>,
    batches: Query<&Batch>,
) {
    state.attempt("ask_admission", |state| ask(state, &mut gates, &requests, &replicas, &batches));
}

fn ask(
    state: &mut SimState,
    gates: &mut Gates,
    requests: &Query<'_, '_, &Request>,
    replicas: &Query<'_, '_, (&Replica, &Batches)>,
    batches: &Query<'_, '_, &Batch>,
) -> Result {
    let SimState { engine, queue, lists, ledger, .. } = state;
    let incoming = std::mem::take(&mut lists.incoming);
    let mut admitted: Vec<Incoming> = Vec::with_capacity(incoming.len());
    for request in incoming {
        let Incoming { pool, sequence } = request;
        let gate = gates.0.get_mut(pool as usize).and_then(Option::as_mut);
        // What another pool hands over was let in before.
        let Some(gate) = gate.filter(|_| !sequence.prefilled) else {
            admitted.push(request);
            continue;
        };
        let class = requests.get(sequence.entity)?.class;
        let Some(about) = gate.classes.get(class as usize) else {
            return Err(format!("no class has number {class}").into());
        };
        let (counts, totals) = (*ledger.counts(pool), &ledger.pool(pool).totals);
        let mut state = PoolState {
            by_priority: gate.by_priority,
            waiting: counts.waiting,
            prefilled: totals.prefill_tokens,
            prefill_time: totals.busy.with_prefill,
            ..PoolState::default()
        };
        let mut count = |other: &Sequence| {
            if !other.prefilled {
                let tokens = u64::from(other.prompt - other.processed);
                state.unprocessed += tokens;
                if !gate.by_priority || other.priority <= sequence.priority {
                    state.ahead += tokens;
                }
            }
        };
        let own = |other: &&Incoming| other.pool == pool;
        admitted.iter().filter(own).for_each(|other| count(&other.sequence));
        let mut number = 0;
        for &entity in &engine.replicas {
            let (replica, slots) = replicas.get(entity)?;
            if replica.pool_index != pool {
                continue;
            }
            number += 1;
            replica.waiting.iter().chain(&replica.running).for_each(&mut count);
            for batch in batches.iter_many(slots.entities()) {
                batch?.members.iter().for_each(&mut count);
            }
        }
        state.replicas = number;
        state.waiting += admitted.iter().filter(own).count() as u64;
        let prompt_tokens = sequence.prompt;
        let priority = sequence.priority;
        let asked = AdmissionRequest { now: queue.now(), class, about, prompt_tokens, priority };
        match gate.control.admit(&asked, &state) {
            Ok(()) => admitted.push(request),
            Err(reason) => {
                let status = RequestStatus::NotAdmitted(reason);
                lists.ended.push(EndedRequest { sequence, status });
            }
        }
    }
    lists.incoming = admitted;
    Ok(())
}
