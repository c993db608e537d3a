//! Paging: blocks that were handed out for the first time become entities.

use bevy_ecs::prelude::*;

use crate::engine::hot_state::StatePlace;

/// Gives the blocks that this step handed out for the first time their entities. Exclusive, so that
/// they are there at once, without a command queue.
pub(crate) fn spawn_blocks(world: &mut World, place: Local<StatePlace>) {
    let state = place.of(world);
    if state.has_failed() {
        return;
    }
    if state.draft.is_open() {
        state.fail(
            "a system in Scheduling left a plan open: it must call Plans::begin for a replica \
             until that returns None",
        );
        return;
    }
    let staged = &mut state.lists.staged;
    if !staged.is_empty() {
        let spawn = staged.take();
        spawn(world);
    }
}
