//! Arrival: requests that arrive now become entities.

use bevy_ecs::prelude::*;

use crate::base::memory::{self, OutOfMemory};
use crate::engine::arrivals::Arrival;
use crate::engine::events::Lifecycle;
use crate::engine::hot_state::StatePlace;
use crate::engine::lists::{EndedRequest, Incoming};
use crate::engine::policy::EngineLimits;
use crate::engine::speculation::Drafting;
use crate::engine::state::kv::{BlockTable, GroupRules, PrefixHash, PrefixHashes};
use crate::engine::state::request::{Request, RequestState, Sequence};
use crate::engine::{Engine, Ledger, Pool, SimState};
use crate::records::RequestStatus;
use crate::workload::{Content, NewRequest};

/// Arrivals between two looks at the memory: all that arrive at one time are there at once.
const LOOK_EVERY: u64 = 1 << 14;

/// So many requests get their entities between two looks at the state.
const AT_ONCE: usize = 64;

/// A request of so many KV blocks takes memory that is worth a look.
const MANY_BLOCKS: u32 = 1 << 16;

/// Spawns the requests that arrive now, in the order of the workload; refuses those that no replica
/// could ever serve. Exclusive, so that they are there at once.
pub(crate) fn bring_in_arrivals(
    world: &mut World,
    place: Local<StatePlace>,
    mut arrived: Local<Vec<Arriving>>,
) {
    loop {
        let state = place.of(world);
        for new in arrived.iter_mut() {
            state.hand_on(new);
        }
        arrived.clear();
        let lists = &mut state.lists;
        lists.routed = lists.arrivals_due || !lists.incoming.is_empty();
        if !lists.arrivals_due || state.has_failed() {
            return;
        }
        while arrived.len() < AT_ONCE {
            match next_arrival(state, &mut arrived) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // The driver takes the error; the systems after this one do nothing.
                    state.fail(error.to_string());
                    state.lists.out_of_memory = Some(error);
                    return;
                }
            }
        }
        if arrived.is_empty() {
            return;
        }
        for new in arrived.iter_mut() {
            spawn(world, new);
        }
    }
}

/// A request that arrives, before and after it has an entity.
pub(crate) struct Arriving {
    pool: u32,
    request: Option<Request>,
    sequence: Sequence,
    hashes: Option<PrefixHashes>,
    refused: Option<String>,
}

/// Takes the next request that arrives now, if there is memory for it. Returns whether there is
/// one.
fn next_arrival(state: &mut SimState, arrived: &mut Vec<Arriving>) -> Result<bool, OutOfMemory> {
    let SimState { engine, queue, arrivals, ledger, .. } = state;
    let Some(arrival) = arrivals.pop(queue.now()) else { return Ok(false) };
    if arrivals.count().is_multiple_of(LOOK_EVERY) {
        memory::check()?;
    }
    let pool = engine.pool(arrival.pool);
    if arrival.in_window {
        ledger.window(arrival.pool, |window| window.arrived(queue.now()));
    }
    count(&arrival, ledger);
    let request = request_of(&arrival, engine);
    let new = &arrival.request;
    let arrived_at = new.arrived_at + arrival.api_overhead;
    let sequence = Sequence::new(Entity::PLACEHOLDER, &request, new.priority);
    let sequence = Sequence { arrived_at, ..sequence };
    let refused = refusal(&sequence, pool, engine);
    // Hashes take memory by length: a request that is refused has none, however long.
    let hashes = match pool.prefix_caching && refused.is_none() {
        true => Some(prefix_hashes(new, pool.limits.block_size)?),
        false => None,
    };
    let request = Some(request);
    arrived.push(Arriving { pool: arrival.pool, request, sequence, hashes, refused });
    Ok(true)
}

/// Gives a request its entity.
fn spawn(world: &mut World, new: &mut Arriving) {
    let Some(request) = new.request.take() else { return };
    let mut entity = world.spawn((request, BlockTable::default()));
    if let Some(hashes) = new.hashes.take() {
        entity.insert(hashes);
    }
    new.sequence.entity = entity.id();
}

impl SimState {
    /// Hands a request that has its entity on to admission and routing, or to those that ended.
    fn hand_on(&mut self, new: &mut Arriving) {
        let (pool, sequence) = (new.pool, new.sequence);
        self.ledger.note(Lifecycle::Arrived, &sequence, None);
        match new.refused.take() {
            None => self.lists.incoming.push(Incoming { pool, sequence }),
            Some(reason) => {
                let status = RequestStatus::Rejected(reason);
                self.lists.ended.push(EndedRequest { sequence, status });
            }
        }
    }
}

fn count(arrival: &Arrival, ledger: &mut Ledger) {
    let at = arrival.request.arrived_at;
    let totals = ledger.totals(arrival.pool);
    if totals.arrived == 0 {
        totals.first_arrival = at;
    }
    totals.arrived += 1;
    totals.last_arrival = at;
    totals.end = totals.end.max(at);
}

/// The pool that decodes the requests of a pool.
fn decodes<'a>(pool: &'a Pool, engine: &'a Engine) -> &'a Pool {
    pool.hand_over.map_or(pool, |hand_over| engine.pool(hand_over.to))
}

fn request_of(arrival: &Arrival, engine: &Engine) -> Request {
    let (pool, new) = (engine.pool(arrival.pool), &arrival.request);
    let speculation = decodes(pool, engine).speculation.as_ref();
    Request {
        id: new.id,
        source_id: arrival.source_id,
        pool: arrival.pool,
        class: new.class,
        adapter: new.adapter,
        arrived_at: new.arrived_at,
        inter_arrival: arrival.inter_arrival,
        prompt_tokens: new.prompt_tokens,
        output_tokens: new.output_tokens,
        in_window: arrival.in_window,
        replica: None,
        state: RequestState::Waiting,
        scheduled_at: None,
        first_stage_at: None,
        first_token_at: None,
        cached_tokens: 0,
        reloaded_tokens: 0,
        restarts: 0,
        swaps: 0,
        handed_over: None,
        kv_transfer: None,
        drafting: speculation.map(|_| Box::new(Drafting::new(pool.seed, &pool.name, new.id))),
    }
}

/// The hashes of a request's blocks, if there is memory for them.
fn prefix_hashes(new: &NewRequest, block_size: u32) -> Result<PrefixHashes, OutOfMemory> {
    let blocks = (new.prompt_tokens + new.output_tokens) / block_size;
    if blocks >= MANY_BLOCKS {
        memory::check_room_for(u64::from(blocks) * size_of::<PrefixHash>() as u64)?;
    }
    let unique = Content::default();
    let content = new.content.as_deref().unwrap_or(&unique);
    Ok(content.hashes(new.id, new.prompt_tokens, new.output_tokens, block_size))
}

/// Why no replica of its pool, or of the one that decodes it, could ever serve the request, if so.
fn refusal(sequence: &Sequence, pool: &Pool, engine: &Engine) -> Option<String> {
    let decodes = decodes(pool, engine);
    let drafts = decodes.speculation.as_ref().map_or(0, |speculation| speculation.k);
    match pool.hand_over {
        None => never_fits(sequence, &pool.limits, drafts, pool.kv_groups.as_ref()),
        Some(_) => {
            // Each side has its part of the request.
            let prefill = Sequence { target: sequence.prompt + 1, ..*sequence };
            never_fits(&prefill, &pool.limits, 0, None)
                .or_else(|| never_fits(sequence, &decodes.limits, drafts, None))
        }
    }
}

/// Why no replica could ever serve the request, if so. Its last token needs no place in the KV
/// cache, but its last step may have `drafts` drafts.
fn never_fits(
    sequence: &Sequence,
    limits: &EngineLimits,
    drafts: u32,
    groups: Option<&GroupRules>,
) -> Option<String> {
    if limits.vidur_lengths {
        return None;
    }
    let total = sequence.target;
    if total > limits.max_model_len {
        let limit = limits.max_model_len;
        return Some(format!("{total} tokens in all exceed max_model_len {limit}"));
    }
    let tokens = (total - 1 + drafts).min(limits.max_model_len.max(total - 1));
    let needed = groups.map_or(limits.blocks_for(tokens), |groups| groups.blocks_of(tokens));
    if needed > limits.num_blocks {
        let blocks = limits.num_blocks;
        return Some(format!("{total} tokens need {needed} KV blocks, a replica has {blocks}"));
    }
    None
}
