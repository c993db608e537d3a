//! Calls the policies and turns their plans into batches.

use bevy_ecs::prelude::*;

use super::{EngineLimits, Fit, PlanView, Policy};
use crate::base::Instant;
use crate::engine::state::batch::BlockChange;
use crate::engine::state::kv::BlockRows;
use crate::engine::state::request::Sequence;
use crate::engine::{Control, Floor, Ready, depart, receive, send};
use crate::records::RequestStatus;

/// Memory that commits and plans reuse.
#[derive(Default)]
pub(crate) struct Scratch {
    planned: Vec<Sequence>,
    chunks: Vec<Sequence>,
    refused: Vec<(Sequence, String)>,
    pub changes: Vec<BlockChange>,
    ready: Vec<Ready>,
}

/// Lets the replicas that use policy `P` and were touched plan batches, as long as slots are free and
/// something is planned.
pub(crate) fn plan<P: Policy>(
    control: &mut Control,
    floor: &mut Floor<'_, '_>,
    policies: &mut Query<&mut P>,
    scratch: &mut Scratch,
) -> Result {
    let Control { engine, agenda, lists, ledger, .. } = control;
    let touched = lists.touched.in_order();
    if touched.is_empty() {
        return Ok(());
    }
    let mut rows = BlockRows::of(&mut floor.blocks, &lists.staged)?;
    let mut blocks = rows.with(&mut lists.staged);
    let now = agenda.now();
    for &(_, entity) in touched {
        let Ok(mut policy) = policies.get_mut(entity) else { continue };
        let (mut replica, stages) = floor.replicas.get_mut(entity)?;
        let pool = engine.pool(replica.pool_index);
        let limits: &EngineLimits = &pool.limits;
        ledger.open(replica.pool_index);
        let mut committed = std::mem::take(&mut replica.committed);
        let speculation = pool.speculation.as_ref();
        let drafts = speculation.map_or(0, |s| s.drafts(&replica.drafts, replica.holding));
        loop {
            if replica.transfers.is_to_receive() {
                let allowed = (limits, policy.batch_limits(limits).max_num_seqs);
                let (replica, books) = (&mut *replica, (&mut *ledger, &mut blocks));
                let ready = &mut scratch.ready;
                receive((entity, replica), allowed, &mut floor.requests, books, ready)?;
            }
            let Some(&slot) = replica.free_slots.last() else { break };
            let mut view = PlanView {
                now,
                limits,
                oracle: policy.is_oracle(),
                replica: &mut replica,
                blocks: blocks.reborrow(),
                requests: floor.requests.reborrow(),
                ledger,
                refused: &mut scratch.refused,
                planned: &mut scratch.planned,
                chunks: &mut scratch.chunks,
                group_planned: false,
                changes: &mut scratch.changes,
                planned_tokens: 0,
                predictor: &*pool.predictor,
                drafts,
                preempted: 0,
                committed: std::mem::take(&mut committed),
                stay_idle: false,
                hold: 1,
                fit: Fit::Reserved,
                wake_at: None,
            };
            policy.plan(&mut view);
            view.return_chunks();
            let again = view.preempted > 0 && !view.stay_idle;
            // Who was preempted waits now, and the next plan may admit it again.
            let hold = if view.preempted > 0 { 1 } else { view.hold };
            let (fit, with_group, planned) = (view.fit, view.group_planned, view.planned());
            let wake_at = view.wake_at;
            for (sequence, reason) in scratch.refused.drain(..) {
                lists.ended.push((sequence, RequestStatus::Rejected(reason)));
            }
            if let Some(time) = wake_at
                && time > now
                && replica.wake.is_none_or(|earlier| time < earlier)
            {
                replica.wake = Some(time);
                agenda.push_wake(time, entity);
            }
            if planned > 0 {
                let (mut batch, _) = floor.batches.get_mut(slot)?;
                // A plan that the end of a batch sets off begins exactly then.
                let exactly = match replica.last_end.tick == now {
                    true => replica.last_end,
                    false => Instant::at(now),
                };
                let group = with_group.then_some(&mut replica.decoding);
                batch.fill(ledger.planned, group, &mut scratch.planned, exactly);
                batch.grows = fit != Fit::Reserved;
                if let (Some(lora), Some(adapters)) = (&pool.lora, &mut replica.adapters) {
                    batch.adapters = Some(adapters.prepare(lora, &batch.members));
                    ledger.totals.adapters.add(&adapters.take_totals());
                }
                if let Some(host) = replica.pool.host_mut() {
                    batch.copies = Some(host.take_copies());
                }
                ledger.planned += 1;
                replica.free_slots.pop();
                let Some(&first) = stages.entities().first() else { break };
                floor.stages.get_mut(first)?.1.fifo.push_back(slot);
                lists.to_serve.push(first);
                replica.note_peak();
            } else if !again && replica.horizon.is_none() {
                break;
            }
            // An asynchronous plan was made when the batch that has just ended began: what ended
            // with that batch gives back its place only now. If the plan is empty, the engine
            // plans again with what it sees now.
            replica.horizon = None;
            for member in std::mem::take(&mut replica.lingering) {
                let (mut table, ..) = floor.requests.get_mut(member.entity)?;
                depart(&member, &mut replica, &mut table, limits.block_size, &mut blocks, ledger);
            }
            if hold > 1 && pool.fast_forward && replica.repeats() {
                let batch = &mut *floor.batches.get_mut(slot)?.0;
                if batch.shape.prefills.is_empty() && batch.size > 0 {
                    batch.allow_run(hold, fit, &replica, limits.block_size);
                }
            }
        }
    }
    for ready in scratch.ready.drain(..) {
        let [(mut from, _), (mut to, _)] = floor.replicas.get_many_mut([ready.from, ready.to])?;
        send(ready, (&mut from, &mut to), engine, agenda);
    }
    Ok(())
}
