//! Metrics, at the end: requests that ended leave the world.

use bevy_ecs::prelude::*;

use crate::engine::hot_state::StatePlace;

/// Despawns the requests that ended in this step.
pub(crate) fn despawn_ended(
    world: &mut World,
    place: Local<StatePlace>,
    mut leaving: Local<Vec<Entity>>,
) {
    let state = place.of(world);
    if state.has_failed() {
        return;
    }
    leaving.extend(state.lists.ended.drain(..).map(|ended| ended.sequence.entity));
    for entity in leaving.drain(..) {
        world.despawn(entity);
    }
}
