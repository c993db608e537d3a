//! Arrive phase: requests that arrive now become entities.

use std::sync::Mutex;

use bevy_ecs::prelude::*;

use super::{Agenda, Engine, Ledger, Nanos, Traffic, Worklists};
use crate::kv::{BlockTable, Content};
use crate::metrics::RequestStatus;
use crate::request::{Request, RequestState, Sequence};
use crate::scheduling::EngineLimits;
use crate::workload::{NewRequest, RequestSource};

/// Decides, from a request's place in the order of arrivals and its arrival, whether the
/// statistics count it.
pub type Window = Box<dyn Fn(u64, Nanos) -> bool + Send + Sync>;

/// The streams of arrivals, one per pool, each looked at one request ahead. They are streams of
/// their own and not in the event queue, so that a long workload costs no memory.
#[derive(Resource)]
pub(crate) struct Arrivals {
    streams: Vec<Stream>,
    count: u64,
}

/// The arrivals at one pool.
struct Stream {
    // Only reached through `&mut`, so the lock is never taken; it makes the stream `Sync`.
    source: Mutex<Box<dyn RequestSource>>,
    next: Option<NewRequest>,
    /// Closed loop: how many requests may start because as many are missing to the concurrency.
    free: Option<u32>,
    until: Option<Nanos>,
    window: Window,
    last: Option<Nanos>,
    count: u64,
}

/// A request that arrives now.
struct Arrival {
    pool: u32,
    request: NewRequest,
    inter_arrival: Option<Nanos>,
    in_window: bool,
}

impl Arrivals {
    /// The traffic of each pool, by index.
    pub fn new(traffic: impl Iterator<Item = Traffic>) -> Arrivals {
        Arrivals { streams: traffic.map(Stream::new).collect(), count: 0 }
    }

    /// When the next request arrives, if one will without anything else happening.
    pub fn next_time(&self, now: Nanos) -> Option<Nanos> {
        self.streams.iter().filter_map(|stream| stream.next_time(now)).min()
    }

    /// A request of this pool ended: in a closed loop another one may start.
    pub fn release(&mut self, pool: u32) {
        if let Some(free) = &mut self.streams[pool as usize].free {
            *free += 1;
        }
    }

    /// The next request that arrives now; of several pools' the first pool's.
    fn pop(&mut self, now: Nanos) -> Option<Arrival> {
        let several = self.streams.len() > 1;
        let due = |stream: &Stream| stream.next_time(now).filter(|&time| time <= now);
        let streams = self.streams.iter().zip(0..);
        let (_, pool) = streams.filter_map(|(stream, pool)| Some((due(stream)?, pool))).min()?;
        let mut arrival = self.streams[pool as usize].pop(now)?;
        arrival.pool = pool;
        if several {
            // Each source counts for itself, but an id is unique in a run.
            arrival.request.id = self.count;
        }
        self.count += 1;
        Some(arrival)
    }
}

impl Stream {
    fn new(traffic: Traffic) -> Stream {
        let mut stream = Stream {
            source: Mutex::new(traffic.source),
            next: None,
            free: traffic.concurrency,
            until: traffic.until,
            window: traffic.window,
            last: None,
            count: 0,
        };
        stream.look_ahead();
        stream
    }

    fn look_ahead(&mut self) {
        self.next = match self.source.get_mut() {
            Ok(source) => source.next_request(),
            Err(poisoned) => poisoned.into_inner().next_request(),
        };
    }

    fn next_time(&self, now: Nanos) -> Option<Nanos> {
        let next = self.next.as_ref()?;
        let at = match self.free {
            None => next.arrived_at,
            Some(0) => return None,
            Some(_) => next.arrived_at.max(now),
        };
        self.until.is_none_or(|until| at < until).then_some(at)
    }

    /// Takes the next request, which arrives now.
    fn pop(&mut self, now: Nanos) -> Option<Arrival> {
        let mut request = self.next.take()?;
        if let Some(free) = &mut self.free {
            *free -= 1;
            request.arrived_at = now;
        }
        self.look_ahead();
        let inter_arrival = self.last.map(|last| request.arrived_at.since(last));
        let in_window = (self.window)(self.count, request.arrived_at);
        self.last = Some(request.arrived_at);
        self.count += 1;
        Some(Arrival { pool: 0, request, inter_arrival, in_window })
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
    while let Some(arrival) = arrivals.pop(agenda.now()) {
        let (index, new) = (arrival.pool, arrival.request);
        let pool = engine.pool(index);
        let request = Request {
            id: new.id,
            pool: index,
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
            restarts: 0,
        };
        ledger.open(index);
        let totals = &mut ledger.totals;
        if totals.arrived == 0 {
            totals.first_arrival = new.arrived_at;
        }
        totals.arrived += 1;
        totals.last_arrival = new.arrived_at;
        totals.end = totals.end.max(new.arrived_at);
        let sequence = Sequence::new(Entity::PLACEHOLDER, &request, new.priority);
        let mut entity = commands.spawn((request, BlockTable::default()));
        let sequence = Sequence { entity: entity.id(), ..sequence };
        if pool.prefix_caching {
            let unique = Content::default();
            let content = new.content.as_deref().unwrap_or(&unique);
            let block_size = pool.limits.block_size;
            let (prompt, output) = (new.prompt_tokens, new.output_tokens);
            entity.insert(content.hashes(new.id, prompt, output, block_size));
        }
        match never_fits(&sequence, &pool.limits) {
            None => lists.incoming.push((index, sequence)),
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
