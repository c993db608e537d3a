//! Handing requests over: a prefill pool processes their prompts, a decode pool goes on.
//!
//! When a prompt is processed, the request leaves the running list of its prefill replica, and the
//! router of the decode pool picks a replica for it. It waits there, first come first served, until
//! blocks for its prompt and one token more are free. Only then does its KV content travel, over the
//! links of both replicas (see [`super::link`]). The prefill replica keeps the blocks until it has
//! arrived, so a full decode side holds the prefill side back.

use bevy_ecs::prelude::*;

use super::finish::Books;
use super::link::{Link, Load};
use super::{Agenda, Engine, Worklists};
use crate::base::Nanos;
use crate::engine::Ledger;
use crate::engine::policy::EngineLimits;
use crate::engine::state::kv::{BlockStore, BlockTable};
use crate::engine::state::request::{RequestQuery, RequestState, Sequence};
use crate::engine::state::{Replica, Stages};

/// Where a pool's requests go when their prompt is processed, and how long that takes.
///
/// The other pool must have the same block size, cache no prefixes and have no traffic of its own.
/// Neither may share GPUs or run a policy that is not
/// [`crate::engine::policy::Policy::disaggregates`]. Only the other one may speculate, and both serve LoRA
/// adapters or none does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HandOver {
    /// Index of the pool that goes on with them.
    pub to: u32,
    /// Bytes of KV content per token, of all GPUs of a replica together.
    pub bytes_per_token: u64,
    /// Bytes per second of the link that each replica has.
    pub bytes_per_second: f64,
    /// From the last byte's start to its arrival. The link is free for others meanwhile.
    pub latency: Nanos,
    /// Parts that are sent as they are computed: the model's layers, or 1 for all content at once
    /// when the prompt is done.
    pub layers: u32,
}

impl HandOver {
    /// How long the content of so many tokens keeps the link busy: bytes / bandwidth.
    pub fn wire_time(&self, tokens: u32) -> Nanos {
        let bytes = self.bytes_per_token as f64 * f64::from(tokens);
        Nanos::from_secs_f64(bytes / self.bytes_per_second)
    }
}

/// Blocks that a prefill replica keeps for a request until they have arrived elsewhere.
#[derive(Debug)]
pub(crate) struct Sent {
    id: u64,
    pub table: BlockTable,
    pub tokens: u32,
}

/// What a replica has under way.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    /// What it hands over.
    pub sending: Vec<Sent>,
    /// Its link, as a sender or as a receiver.
    pub link: Link,
    /// Requests handed over to it that wait for blocks, first come first.
    pub handed: Vec<Sequence>,
    /// Those that have blocks, while the content of these is on its way.
    pub receiving: Vec<Sequence>,
    /// Those whose content has arrived, and when; they go on with the next plan.
    pub received: Vec<(Nanos, Sequence)>,
}

impl Transfers {
    /// Whether a plan has something to take in.
    pub fn is_to_receive(&self) -> bool {
        !self.handed.is_empty() || !self.received.is_empty()
    }

    /// Requests that hold blocks here and are not in the running list yet.
    pub fn on_the_way(&self) -> impl Iterator<Item = &Sequence> {
        self.receiving.iter().chain(self.received.iter().map(|(_, sequence)| sequence))
    }
}

/// A request whose blocks are allocated on both sides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// The replica that has the content.
    pub from: Entity,
    /// The replica that goes on with it.
    pub to: Entity,
    id: u64,
    tokens: u32,
    /// When the iteration that ended its prompt began and ended.
    computed: (Nanos, Nanos),
}

/// Where a request was prefilled.
#[derive(Clone, Copy, Debug)]
pub struct HandedOver {
    /// The replica.
    pub from: Entity,
    /// When the iteration that ended its prompt began.
    pub begin: Nanos,
    /// When that ended.
    pub end: Nanos,
}

impl Books<'_, '_, '_> {
    /// A request whose prompt is processed leaves its replica `from`, which keeps the blocks. The
    /// iteration lasted from `begin` to `end`.
    pub(super) fn hand_over(
        &mut self,
        mut member: Sequence,
        (from, replica): (Entity, &mut Replica),
        (begin, end): (Nanos, Nanos),
    ) -> Result<Sequence> {
        let (mut table, mut request, _) = self.requests.get_mut(member.entity)?;
        let table = std::mem::take(&mut *table);
        replica.transfers.sending.push(Sent { id: member.id, table, tokens: member.kv_tokens() });
        replica.holding -= 1;
        if let Some(adapters) = &mut replica.adapters {
            adapters.leave(member.adapter);
        }
        // Its blocks stay, but a request counts in one place: from now on in the pool that goes on.
        self.ledger.counts.running -= 1;
        self.ledger.loads.add_running(replica.index, -1);
        request.state = RequestState::Waiting;
        request.handed_over = Some(HandedOver { from, begin, end });
        member.blocks = 0;
        member.group = 0;
        Ok(member)
    }

    /// The content of request `id` has arrived at `to`: its blocks at `from` are free.
    pub(super) fn deliver(
        &mut self,
        (from, to, id): (Entity, Entity, u64),
        engine: &Engine,
        replicas: &mut Query<(&mut Replica, &Stages)>,
        (blocks, touched): (&mut BlockStore<'_>, &mut super::lists::Touched),
        now: Nanos,
    ) -> Result {
        let (mut sender, _) = replicas.get_mut(from)?;
        let sender = &mut *sender;
        if let Some(index) = sender.transfers.sending.iter().position(|sent| sent.id == id) {
            let Sent { mut table, tokens, .. } = sender.transfers.sending.remove(index);
            let size = engine.pool(sender.pool_index).limits.block_size;
            let moved = sender.pool.release(&mut table, tokens, size, blocks);
            self.ledger.open(sender.pool_index);
            self.ledger.counts.allocated -= u64::from(moved.blocks);
            self.ledger.counts.used -= u64::from(moved.tokens);
        }
        touched.add(sender.index, from);
        let (mut receiver, _) = replicas.get_mut(to)?;
        let transfers = &mut receiver.transfers;
        if let Some(index) = transfers.receiving.iter().position(|sequence| sequence.id == id) {
            let sequence = transfers.receiving.remove(index);
            transfers.received.push((now, sequence));
            let (_, mut request, _) = self.requests.get_mut(sequence.entity)?;
            if let Some(handed) = request.handed_over {
                request.kv_transfer = Some(now.since(handed.end));
            }
        }
        touched.add(receiver.index, to);
        Ok(())
    }
}

/// Before a plan of replica `to`: gives blocks to the requests that were handed over to it, in
/// their order, as long as there are enough of them and places; preempted requests go first, and
/// one whose LoRA adapter would be one too many is passed over. Those whose content has arrived join the running list; an asynchronous plan sees only what had
/// arrived when it was made.
pub(crate) fn receive(
    (to, replica): (Entity, &mut Replica),
    (limits, max_num_seqs): (&EngineLimits, u32),
    requests: &mut RequestQuery<'_, '_>,
    (ledger, blocks): (&mut Ledger, &mut BlockStore<'_>),
    ready: &mut Vec<Ready>,
) -> Result {
    let horizon = replica.horizon.unwrap_or(Nanos::MAX);
    let arrived = replica.transfers.received.extract_if(.., |(at, _)| *at <= horizon);
    replica.running.extend(arrived.map(|(_, sequence)| sequence));
    let mut looked_at = 0;
    let mut passed_over = Vec::new();
    while let Some(&(mut sequence)) = replica.transfers.handed.get(looked_at) {
        if replica.adapters.as_ref().is_some_and(|adapters| !adapters.allows(sequence.adapter)) {
            passed_over.push(sequence);
            looked_at += 1;
            continue;
        }
        let needed = limits.blocks_for(sequence.processed);
        if !replica.waiting.is_empty()
            || !replica.swapped.is_empty()
            || replica.holding >= max_num_seqs
            || needed > replica.pool.free()
        {
            break;
        }
        let (mut table, mut request, _) = requests.get_mut(sequence.entity)?;
        replica.pool.allocate(needed, &mut table, blocks);
        request.state = RequestState::Running;
        sequence.blocks = needed;
        sequence.admission = replica.admissions;
        replica.admissions += 1;
        replica.holding += 1;
        if let Some(adapters) = &mut replica.adapters {
            adapters.admit(sequence.adapter);
        }
        let tokens = sequence.kv_tokens();
        ledger.counts.allocated += u64::from(needed);
        ledger.counts.used += u64::from(tokens);
        ledger.counts.running += 1;
        ledger.counts.waiting -= 1;
        ledger.loads.add_waiting(replica.index, -1);
        ledger.loads.add_running(replica.index, 1);
        if let Some(HandedOver { from, begin, end }) = request.handed_over {
            ready.push(Ready { from, to, id: sequence.id, tokens, computed: (begin, end) });
        }
        replica.transfers.receiving.push(sequence);
        looked_at += 1;
    }
    if looked_at > passed_over.len() {
        replica.transfers.handed.splice(..looked_at, passed_over);
        replica.note_peak();
    }
    Ok(())
}

/// Puts what is ready on the links of both replicas, behind what is there already.
///
/// Layer by layer only what got its blocks when its prompt was done: these count as there since its
/// last iteration began. Who had to wait for blocks had nowhere to send to meanwhile.
pub(crate) fn send(
    ready: Ready,
    (from, to): (&mut Replica, &mut Replica),
    engine: &Engine,
    agenda: &mut Agenda,
) {
    let Some(hand_over) = engine.pool(from.pool_index).hand_over else { return };
    let (now, wire) = (agenda.now(), hand_over.wire_time(ready.tokens));
    let (begin, end) = ready.computed;
    let load = match hand_over.layers > 1 && end == now {
        true => Load::layered(begin, end, wire, hand_over.layers),
        false => Load::whole(now, wire),
    };
    let sent = Link::send(&mut from.transfers.link, &mut to.transfers.link, load);
    agenda.push_delivery(sent + hand_over.latency, (ready.from, ready.to, ready.id));
}

impl Worklists {
    /// Whether requests wait to be routed.
    pub fn is_to_route(&self) -> bool {
        !self.incoming.is_empty()
    }
}
