//! Taking requests over that another pool hands over.

use bevy_ecs::prelude::*;

use crate::base::Nanos;
use crate::engine::state::kv::BlockStore;
use crate::engine::state::request::RequestQuery;
use crate::engine::state::transfers::{HandedOver, Ready};
use crate::engine::state::{Replica, Techniques};
use crate::engine::transition::{At, Standing};
use crate::engine::{Ledger, Pool};

/// The replica that takes requests over.
pub(super) struct Receiver<'a, 'b> {
    pub entity: Entity,
    pub replica: &'a mut Replica,
    pub techniques: &'a mut Techniques<'b>,
    pub pool: &'a Pool,
}

/// Before a plan of a replica: gives blocks to the requests that were handed over to it, in their
/// order, as long as there are enough of them and places; preempted requests go first, and one
/// whose LoRA adapter would be one too many is passed over. Those whose content has arrived join
/// the running list; an asynchronous plan sees only what had arrived when it was made.
pub(super) fn receive(
    to: Receiver<'_, '_>,
    requests: &mut RequestQuery<'_, '_>,
    ledger: &mut Ledger,
    blocks: &mut BlockStore<'_>,
    ready: &mut Vec<Ready>,
) -> Result {
    let Receiver { entity, replica, techniques, pool } = to;
    let cutoff = techniques.async_cutoff().unwrap_or(Nanos::MAX);
    let blocked = !replica.waiting.is_empty() || techniques.has_swapped();
    let Some(transfers) = &mut techniques.transfers else { return Ok(()) };
    let arrived = transfers.received.extract_if(.., |(at, _)| *at <= cutoff);
    replica.running.extend(arrived.map(|(_, sequence)| sequence));
    let mut looked_at = 0;
    let mut passed_over = Vec::new();
    while let Some(&(mut sequence)) = transfers.handed.get(looked_at) {
        let adapters = &mut techniques.adapters;
        if adapters.as_ref().is_some_and(|adapters| !adapters.allows(sequence.adapter)) {
            passed_over.push(sequence);
            looked_at += 1;
            continue;
        }
        let needed = pool.limits.blocks_for(sequence.processed);
        if blocked
            || replica.num_admitted >= pool.batch_limits.max_num_seqs
            || needed > replica.kv.free()
        {
            break;
        }
        let (mut table, mut request, _) = requests.get_mut(sequence.entity)?;
        replica.kv.allocate(needed, &mut table, blocks);
        sequence.blocks = needed;
        let tokens = sequence.kv_tokens();
        ledger.hold(replica.pool_index, needed, tokens);
        let at = At { replica, adapters: adapters.as_deref_mut() };
        let (before, after) = (Standing::Waiting, Standing::Running);
        ledger.transition(&mut sequence, Some(&mut request), at, before, after);
        if let Some(HandedOver { from, computed }) = request.handed_over {
            ready.push(Ready { from, to: entity, id: sequence.id, tokens, computed });
        }
        transfers.receiving.push(sequence);
        looked_at += 1;
    }
    if looked_at > passed_over.len() {
        transfers.handed.splice(..looked_at, passed_over);
        replica.note_peak();
    }
    Ok(())
}
