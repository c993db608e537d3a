//! Arrive phase: requests that arrive now become entities.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bevy_ecs::prelude::*;

use super::{Agenda, Engine, Ledger, Nanos, Worklists};
use crate::kv::{BlockTable, Content};
use crate::metrics::RequestStatus;
use crate::request::{Request, RequestState, Sequence};
use crate::scheduling::EngineLimits;
use crate::workload::{NewRequest, RequestSource};

/// Decides, from a request's place in the order of arrivals and its arrival, whether the
/// statistics count it.
pub type Window = Box<dyn Fn(u64, Nanos) -> bool + Send + Sync>;

/// The stream of arrivals, looked at one request ahead. It is a stream of its own and not in the
/// event queue, so that a long workload costs no memory.
#[derive(Resource)]
pub(crate) struct Arrivals {
    // Only reached through `&mut`, so the lock is never taken; it makes the stream `Sync`.
    source: Mutex<Box<dyn RequestSource>>,
    next: Option<NewRequest>,
    /// Requests that follow others which have ended, by arrival and id: there are as many at most as
    /// conversations under way.
    following: BTreeMap<(Nanos, u64), NewRequest>,
    /// Closed loop: how many requests may start because as many are missing to the concurrency.
    free: Option<u32>,
    until: Option<Nanos>,
    window: Window,
    last: Option<Nanos>,
    count: u64,
}

impl Arrivals {
    pub fn new(
        source: Box<dyn RequestSource>,
        concurrency: Option<u32>,
        until: Option<Nanos>,
        window: Window,
    ) -> Arrivals {
        let mut arrivals = Arrivals {
            source: Mutex::new(source),
            next: None,
            following: BTreeMap::new(),
            free: concurrency,
            until,
            window,
            last: None,
            count: 0,
        };
        arrivals.look_ahead();
        arrivals
    }

    fn source(&mut self) -> &mut dyn RequestSource {
        self.source.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }

    fn look_ahead(&mut self) {
        self.next = self.source().next_request();
    }

    /// When the next request arrives, if one will without anything else happening.
    pub fn next_time(&self, now: Nanos) -> Option<Nanos> {
        let following = self.following.first_key_value().map(|(&key, _)| key);
        let (at, _) = [self.next_new(now), following].into_iter().flatten().min()?;
        self.until.is_none_or(|until| at < until).then_some(at)
    }

    /// Arrival and id of the next request that follows no other.
    fn next_new(&self, now: Nanos) -> Option<(Nanos, u64)> {
        let next = self.next.as_ref()?;
        match self.free {
            None => Some((next.arrived_at, next.id)),
            Some(0) => None,
            Some(_) => Some((next.arrived_at.max(now), next.id)),
        }
    }

    /// A request ended: the one that follows it arrives, or in a closed loop another one may start.
    pub fn release(&mut self, id: u64, finished: bool, now: Nanos) {
        if let Some(mut next) = self.source().ended(id, finished, now) {
            next.arrived_at = next.arrived_at.max(now);
            self.following.insert((next.arrived_at, next.id), next);
        } else if let Some(free) = &mut self.free {
            *free += 1;
        }
    }

    fn pop(&mut self, now: Nanos) -> Option<NewRequest> {
        if self.next_time(now)? > now {
            return None;
        }
        let new = self.next_new(now);
        if let Some(following) = self.following.first_entry()
            && new.is_none_or(|new| *following.key() < new)
        {
            return Some(following.remove());
        }
        let mut request = self.next.take()?;
        if let Some(free) = &mut self.free {
            *free -= 1;
            request.arrived_at = now;
        }
        self.look_ahead();
        Some(request)
    }
}

/// Arrive phase: spawns the requests that arrive now, in the order of the workload; refuses those
/// that no replica could ever serve.
pub(crate) fn arrive(
    agenda: Res<Agenda>,
    engine: Res<Engine>,
    mut arrivals: ResMut<Arrivals>,
    mut lists: ResMut<Worklists>,
    mut ledger: ResMut<Ledger>,
    mut commands: Commands,
) {
    while let Some(new) = arrivals.pop(agenda.now()) {
        let request = Request {
            id: new.id,
            arrived_at: new.arrived_at,
            inter_arrival: arrivals.last.map(|last| new.arrived_at.since(last)),
            prompt_tokens: new.prompt_tokens,
            output_tokens: new.output_tokens,
            in_window: (arrivals.window)(arrivals.count, new.arrived_at),
            replica: None,
            state: RequestState::Waiting,
            scheduled_at: None,
            first_stage_at: None,
            first_token_at: None,
            cached_tokens: 0,
            restarts: 0,
        };
        if arrivals.last.is_none() {
            ledger.totals.first_arrival = new.arrived_at;
        }
        arrivals.last = Some(new.arrived_at);
        arrivals.count += 1;
        ledger.totals.arrived += 1;
        ledger.totals.last_arrival = new.arrived_at;
        ledger.totals.end = ledger.totals.end.max(new.arrived_at);
        let sequence = Sequence::new(Entity::PLACEHOLDER, &request, new.priority);
        let mut entity = commands.spawn((request, BlockTable::default()));
        let sequence = Sequence { entity: entity.id(), ..sequence };
        if engine.prefix_caching {
            let unique = Content::default();
            let content = new.content.as_deref().unwrap_or(&unique);
            let block_size = engine.limits.block_size;
            let (prompt, output) = (new.prompt_tokens, new.output_tokens);
            entity.insert(content.hashes(new.id, prompt, output, block_size));
        }
        match never_fits(&sequence, &engine.limits) {
            None => lists.incoming.push(sequence),
            Some(reason) => lists.ended.push((sequence, RequestStatus::Rejected(reason))),
        }
    }
}

/// Why no replica could ever serve the request, if so. Its last token needs no place in the KV
/// cache.
fn never_fits(sequence: &Sequence, limits: &EngineLimits) -> Option<String> {
    if limits.vidur_lengths {
        return None;
    }
    let total = sequence.target;
    if total > limits.max_model_len {
        let limit = limits.max_model_len;
        return Some(format!("{total} tokens in all exceed max_model_len {limit}"));
    }
    let needed = limits.blocks_for(total - 1);
    if needed > limits.num_blocks {
        let blocks = limits.num_blocks;
        return Some(format!("{total} tokens need {needed} KV blocks, a replica has {blocks}"));
    }
    None
}
