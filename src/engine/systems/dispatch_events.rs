//! Metrics: observers hear what happened to requests.

use bevy_ecs::prelude::*;

use crate::engine::hot_state::StatePlace;

/// Triggers what happened to requests in this step, in its order, before those that ended are
/// despawned. The system only exists where someone observes.
pub(crate) fn dispatch_events(world: &mut World, place: Local<StatePlace>) {
    let state = place.of(world);
    if state.ledger.log.is_empty() || state.has_failed() {
        return;
    }
    let trigger = state.ledger.log.take();
    trigger(world);
}
