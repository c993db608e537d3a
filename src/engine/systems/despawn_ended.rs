//! Metrics, at the end: requests that ended leave the world.

use bevy_ecs::prelude::*;

use crate::engine::SimState;

/// Despawns the requests that ended in this step.
pub(crate) fn despawn_ended(world: &mut World) {
    let mut state = world.resource_mut::<SimState>();
    if state.lists.ended.is_empty() || state.has_failed() {
        return;
    }
    let mut ended = std::mem::take(&mut state.lists.ended);
    for request in &ended {
        world.despawn(request.sequence.entity);
    }
    ended.clear();
    // Its memory is used again.
    world.resource_mut::<SimState>().lists.ended = ended;
}
