//! Which replicas may plan, and the transaction in which each of their batches is planned.

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;

use super::admit::last_filled;
use super::draft::{Planning, Refused};
use super::receive::{Receiver, receive};
use super::{Fit, PlanView};
use crate::base::Instant;
use crate::engine::commit::{Departing, depart};
use crate::engine::hot_state::HotState;
use crate::engine::lists::{EndedRequest, Worklists};
use crate::engine::queries::EngineQueries;
use crate::engine::state::ReplicaParts;
use crate::engine::state::kv::{BlockQuery, BlockStore};
use crate::engine::state::request::{RequestQuery, Sequence};
use crate::engine::transition::At;
use crate::engine::{Ledger, SimState};
use crate::records::RequestStatus;

/// The plans of a step, for a system in [`crate::engine::StepSet::Scheduling`].
///
/// The built-in policies use it too. A system looks at the replicas that may plan, and for each
/// begins plans until there are no more:
///
/// ```
/// use vidur_ecs::bevy_ecs::prelude::*;
/// use vidur_ecs::engine::policy::{DecodeRule, Plans};
///
/// fn decode_all(mut plans: Plans) {
///     for replica in plans.ready() {
///         while let Some(mut view) = plans.begin(replica) {
///             while view.admit_whole_prompt(0) {}
///             if view.planned() == 0 {
///                 view.decode(DecodeRule::default());
///             }
///         }
///     }
/// }
/// # let _ = IntoSystem::into_system(decode_all);
/// ```
///
/// A plan takes effect when the next one is begun. Beginning a plan returns `None`, and with it
/// ends the planning of a replica, when no batch slot is free or the plan before it put nothing
/// into its batch.
#[derive(SystemParam)]
pub struct Plans<'w, 's> {
    state: HotState<'w>,
    queries: EngineQueries<'w, 's>,
}

impl Plans<'_, '_> {
    /// The replicas that may plan in this step, by number: a request was routed to them, a batch of
    /// theirs ended, or they asked to be woken. Those of other policies are among them.
    pub fn ready(&mut self) -> Vec<Entity> {
        self.state.lists.ready.in_order().iter().map(|&(_, replica)| replica).collect()
    }

    /// The number of replicas that may plan.
    pub(crate) fn num_ready(&mut self) -> usize {
        self.state.lists.ready.in_order().len()
    }

    /// The replica at a place of those that may plan.
    pub(crate) fn ready_at(&mut self, place: usize) -> Option<Entity> {
        self.state.lists.ready.in_order().get(place).map(|&(_, replica)| replica)
    }

    /// Begins the next plan of a replica that may plan, after the one before it has taken effect.
    /// `None` if it makes no more plans in this step.
    pub fn begin(&mut self, replica: Entity) -> Option<PlanView<'_>> {
        if self.state.has_failed() {
            return None;
        }
        let first = match self.state.draft.of {
            None => true,
            Some(planning) => match self.settle(planning) {
                Ok(goes_on) if planning.replica == replica => {
                    if !goes_on {
                        self.state.draft.of = None;
                        return None;
                    }
                    false
                }
                Ok(_) => true,
                Err(error) => {
                    fail(&mut self.state, &error);
                    return None;
                }
            },
        };
        open(&mut self.state, &mut self.queries, replica, first)
    }

    /// Turns the draft into a batch. Whether the replica may plan again, or take requests over.
    fn settle(&mut self, planning: Planning) -> Result<bool> {
        let SimState { engine, queue, lists, ledger, draft, .. } = &mut *self.state;
        let EngineQueries { replicas, stages, batches, requests, blocks } = &mut self.queries;
        let Planning { replica: entity, slot } = planning;
        let ReplicaParts { replica, stages: replica_stages, mut techniques } =
            replicas.get_mut(entity)?;
        let pool = engine.pool(replica.pool_index);
        let now = queue.now();
        // Incomplete prefills that got nothing in this batch stay in front.
        if !draft.chunks.is_empty() {
            replica.running.splice(0..0, draft.chunks.drain(..));
        }
        let again = draft.preempted > 0 && !draft.stay_idle;
        for Refused { sequence, reason } in draft.refused.drain(..) {
            lists.ended.push(EndedRequest { sequence, status: RequestStatus::Rejected(reason) });
        }
        if let Some(time) = draft.wake_at
            && time > now
            && replica.wake.is_none_or(|earlier| time < earlier)
        {
            replica.wake = Some(time);
            queue.push_wake(time, entity);
        }
        let (mut batch, _) = batches.get_mut(slot)?;
        if draft.group_planned || !draft.planned.is_empty() {
            // A plan that the end of a batch sets off begins exactly then.
            let exactly = match replica.last_end.tick == now {
                true => replica.last_end,
                false => Instant::at(now),
            };
            let group = draft.group_planned.then_some(&mut replica.decoding);
            batch.fill(ledger.planned, group, &mut draft.planned, exactly);
            batch.grows = draft.fit != Fit::Reserved;
            if let (Some(lora), Some(adapters)) = (&pool.lora, &mut techniques.adapters) {
                batch.adapters = Some(adapters.prepare(lora, &batch.members));
                let totals = ledger.totals(replica.pool_index);
                totals.adapters.add(&adapters.take_totals());
            }
            if let Some(host) = replica.kv.host_mut() {
                batch.copies = Some(host.take_copies());
            }
            if let Some(grouped) = replica.kv.grouped_mut() {
                grouped.batches += 1;
            }
            ledger.planned += 1;
            replica.free_slots.pop();
            let Some(&first) = replica_stages.entities().first() else {
                return Err(format!("replica {} has no stages", replica.index).into());
            };
            stages.get_mut(first)?.1.fifo.push_back(slot);
            lists.to_serve.push(first);
            replica.note_peak();
        } else if !again && techniques.async_cutoff().is_none() {
            return Ok(false);
        }
        let asynchronous = techniques.planning.is_some();
        if let Some(planning) = &mut techniques.planning {
            // An asynchronous plan was made when the batch that has just ended began: what ended
            // with that batch gives back its place only now. If the plan is empty, the engine
            // plans again with what it sees now.
            planning.cutoff = None;
            let size = pool.limits.block_size;
            let finished = std::mem::take(&mut planning.finished);
            if replica.kv.caches_prefixes() {
                // What the batch decoded is known now, of those too that are not in the next one.
                let known = replica.running.iter().filter(|member| member.prefilled);
                let known: Vec<Sequence> = known.chain(&finished).copied().collect();
                let mut blocks = BlockStore::of(blocks, &mut lists.staged)?;
                for member in known {
                    if replica.kv.grouped().is_some() {
                        let (_, request, hashes) = requests.get(member.entity)?;
                        let (of, ends) =
                            (member.entity, (member.kv_tokens(), request.prompt_tokens));
                        replica.kv.with_grouped(|grouped, kv| {
                            hashes.map(|hashes| grouped.cache(of, ends, hashes, kv, &mut blocks))
                        });
                        continue;
                    }
                    let full = last_filled(&member, size);
                    let (table, _, hashes) = requests.get(member.entity)?;
                    if let Some(hashes) = hashes.filter(|_| member.group == 0 && !full.is_empty()) {
                        for (&id, &hash) in table.0[full.clone()].iter().zip(&hashes.0[full]) {
                            replica.kv.cache_block(id, hash, &mut blocks);
                        }
                    }
                }
            }
            for mut member in finished {
                let mut blocks = BlockStore::of(blocks, &mut lists.staged)?;
                let (mut table, mut request, _) = requests.get_mut(member.entity)?;
                let held = Departing { table: &mut table, block_size: pool.limits.block_size };
                let adapters = techniques.adapters.as_deref_mut();
                let at = At { replica, adapters };
                depart(&mut member, Some(&mut request), at, held, &mut blocks, ledger);
            }
        }
        // Who was preempted waits now, and the next plan may admit it again.
        let hold = if draft.preempted > 0 { 1 } else { draft.hold };
        if hold > 1
            && pool.fast_forward
            && replica.repeats(asynchronous)
            && batch.shape.prefills.is_empty()
            && batch.size > 0
        {
            batch.allow_run(hold, draft.fit, replica, pool.limits.block_size);
        }
        let takes = techniques.transfers.is_some_and(|transfers| transfers.is_to_receive());
        Ok(takes || !replica.free_slots.is_empty())
    }
}

#[cold]
fn fail(state: &mut SimState, error: &BevyError) {
    state.draft.of = None;
    state.fail(format!("planning: {error}"));
}

/// Opens the draft for a replica's next plan, its `first` in this step or not, if a batch slot is
/// free.
fn open<'a>(
    state: &'a mut SimState,
    queries: &'a mut EngineQueries<'_, '_>,
    entity: Entity,
    first: bool,
) -> Option<PlanView<'a>> {
    let EngineQueries { replicas, requests, blocks, .. } = queries;
    let parts = match replicas.get_mut(entity) {
        Ok(parts) => parts,
        Err(error) => {
            fail(state, &error);
            return None;
        }
    };
    let ReplicaParts { replica, mut techniques, .. } = parts;
    state.draft.of = None;
    if first {
        if !state.lists.ready.contains(replica.index) {
            return None;
        }
        state.draft.committed = std::mem::take(&mut replica.committed);
        let pool = state.engine.pool(replica.pool_index);
        state.draft.drafts = match (&pool.speculation, &techniques.drafts) {
            (Some(speculation), Some(seen)) => speculation.drafts(seen, replica.num_admitted),
            _ => 0,
        };
    } else {
        state.draft.committed = 0;
    }
    if techniques.transfers.as_ref().is_some_and(|transfers| transfers.is_to_receive()) {
        let SimState { engine, lists, ledger, .. } = state;
        let pool = engine.pool(replica.pool_index);
        let to = Receiver { entity, replica, techniques: &mut techniques, pool };
        if let Err(error) = take_over(to, requests, blocks, lists, ledger) {
            fail(state, &error);
            return None;
        }
    }
    let &slot = replica.free_slots.last()?;
    let SimState { engine, queue, lists, ledger, draft, failure, .. } = state;
    let pool = engine.pool(replica.pool_index);
    let blocks = match BlockStore::of(blocks, &mut lists.staged) {
        Ok(blocks) => blocks,
        Err(error) => {
            failure.get_or_insert(format!("planning: {error}"));
            return None;
        }
    };
    draft.begin(Planning { replica: entity, slot });
    if let Some(grouped) = replica.kv.grouped_mut() {
        grouped.begin();
    }
    Some(PlanView {
        now: queue.now(),
        limits: &pool.limits,
        oracle: pool.oracle,
        replica,
        techniques,
        blocks,
        requests: requests.reborrow(),
        ledger,
        changes: &mut lists.changes,
        draft,
        predictor: &*pool.predictor,
    })
}

/// Takes over requests that another pool hands over to this replica, as far as there are blocks.
fn take_over(
    to: Receiver<'_, '_>,
    requests: &mut RequestQuery<'_, '_>,
    blocks: &mut BlockQuery<'_, '_>,
    lists: &mut Worklists,
    ledger: &mut Ledger,
) -> Result {
    let mut blocks = BlockStore::of(blocks, &mut lists.staged)?;
    receive(to, requests, ledger, &mut blocks, &mut lists.transfers)
}
