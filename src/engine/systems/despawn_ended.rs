//! Metrics, at the end: requests that ended leave the world.

use bevy_ecs::prelude::*;

use crate::engine::SimState;

/// Despawns the requests that ended in this step.
pub(crate) fn despawn_ended(world: &mut World, mut leaving: Local<Vec<Entity>>) {
    let mut state = world.resource_mut::<SimState>();
    if state.has_failed() {
        return;
    }
    leaving.extend(state.lists.ended.drain(..).map(|ended| ended.sequence.entity));
    for entity in leaving.drain(..) {
        world.despawn(entity);
    }
}
