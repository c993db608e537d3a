//! Admission control: requests that arrived are let in, or refused before they are routed. The
//! system only exists where a pool has admission control.

use bevy_ecs::prelude::*;

use super::Control;
use crate::engine::admission::{AdmissionRequest, Gate, PoolState};
use crate::engine::state::batch::Batch;
use crate::engine::state::request::{Request, Sequence};
use crate::engine::state::{Batches, Replica};
use crate::records::RequestStatus;

/// The admission control of each pool, by index.
#[derive(Resource)]
pub(crate) struct Gates(pub Vec<Option<Gate>>);

/// Admit phase: asks the pool's admission control about each request that arrived, in their order.
pub(crate) fn admit(
    InMut(control): InMut<Control>,
    mut gates: ResMut<Gates>,
    requests: Query<&Request>,
    replicas: Query<(&Replica, &Batches)>,
    batches: Query<&Batch>,
) -> Result {
    let Control { engine, agenda, lists, ledger, .. } = control;
    let incoming = std::mem::take(&mut lists.incoming);
    let mut admitted: Vec<(u32, Sequence)> = Vec::with_capacity(incoming.len());
    for (pool, sequence) in incoming {
        let gate = gates.0.get_mut(pool as usize).and_then(Option::as_mut);
        // What another pool hands over was let in before.
        let Some(gate) = gate.filter(|_| !sequence.prefilled) else {
            admitted.push((pool, sequence));
            continue;
        };
        let class = requests.get(sequence.entity)?.class;
        let Some(about) = gate.classes.get(class as usize) else {
            return Err(format!("no class has number {class}").into());
        };
        let (counts, totals) = ledger.page(pool);
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
        let own = |&&(other, _): &&(u32, Sequence)| other == pool;
        admitted.iter().filter(own).for_each(|(_, other)| count(other));
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
        let request = AdmissionRequest { now: agenda.now(), class, about, prompt_tokens, priority };
        match gate.control.admit(&request, &state) {
            Ok(()) => admitted.push((pool, sequence)),
            Err(reason) => lists.ended.push((sequence, RequestStatus::NotAdmitted(reason))),
        }
    }
    lists.incoming = admitted;
    Ok(())
}
