//! Transfer: KV content of requests that are handed over goes on its way.

use bevy_ecs::prelude::*;

use crate::engine::hot_state::HotState;
use crate::engine::state::transfers::{Ready, Transfers};
use crate::engine::state::{Link, Load, Replica};
use crate::engine::{Delivery, Engine, EventQueue, SimState};

/// Puts the content whose blocks were found in this step on the links of both replicas, behind what
/// is there already. The system only exists where a pool hands over.
pub(crate) fn send_transfers(mut state: HotState, mut replicas: Query<(&Replica, &mut Transfers)>) {
    let state = &mut *state;
    if state.lists.transfers.is_empty() {
        return;
    }
    state.attempt("send_transfers", |state| {
        let SimState { engine, queue, lists, .. } = state;
        for ready in lists.transfers.drain(..) {
            let [(sender, mut from), (_, mut to)] =
                replicas.get_many_mut([ready.from, ready.to])?;
            send(ready, sender, [&mut from.link, &mut to.link], engine, queue)?;
        }
        Ok(())
    });
}

/// Layer by layer only what got its blocks when its prompt was done: these count as there since its
/// last iteration began. Who had to wait for blocks had nowhere to send to meanwhile.
fn send(
    ready: Ready,
    sender: &Replica,
    [from, to]: [&mut Link; 2],
    engine: &Engine,
    queue: &mut EventQueue,
) -> Result {
    let Some(hand_over) = engine.pool(sender.pool_index).hand_over else {
        return Err(format!("replica {} sends, but hands nothing over", sender.index).into());
    };
    let (now, wire) = (queue.now(), hand_over.wire_time(ready.tokens));
    let load = match hand_over.layers > 1 && ready.computed.end == now {
        true => Load::layered(ready.computed.begin, ready.computed.end, wire, hand_over.layers),
        false => Load::whole(now, wire),
    };
    let sent = Link::send(from, to, load);
    let delivery = Delivery { from: ready.from, to: ready.to, id: ready.id };
    queue.push_delivery(sent + hand_over.latency, delivery);
    Ok(())
}
