//! The state as every step fetches it.

use std::ops::{Deref, DerefMut};

use bevy_ecs::change_detection::Tick;
use bevy_ecs::component::ComponentId;
use bevy_ecs::prelude::*;
use bevy_ecs::system::{SystemAccess, SystemMeta, SystemParam, SystemParamValidationError};
use bevy_ecs::world::unsafe_world_cell::UnsafeWorldCell;

use super::SimState;

/// Where the state of a world is: the entity of the resource.
///
/// Finding it by its type, or as [`ResMut`] does, takes three to five times as long as from here,
/// and a step does so half a dozen times. The state is not marked as changed: the engine does not
/// ask, and it changes in every step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatePlace {
    component: ComponentId,
    entity: Entity,
}

impl FromWorld for StatePlace {
    fn from_world(world: &mut World) -> StatePlace {
        let component = world.register_component::<SimState>();
        let entity = world.resource_entities().get(component);
        StatePlace { component, entity: entity.unwrap_or(Entity::PLACEHOLDER) }
    }
}

impl StatePlace {
    /// The state of its world. If a plug-in took it out of the world, another that has failed.
    pub fn of(self, world: &mut World) -> &mut SimState {
        let cell = world.as_unsafe_world_cell();
        // SAFETY: the world is borrowed as a whole, as long as what is returned.
        match unsafe { self.fetch(cell) } {
            Some(state) => state,
            // SAFETY: nothing of the world was found.
            None => found_or_lost(unsafe { cell.world_mut() }),
        }
    }

    /// # Safety
    /// The caller may have the state of this world, and nobody else has it meanwhile.
    #[inline]
    unsafe fn fetch(self, world: UnsafeWorldCell<'_>) -> Option<&mut SimState> {
        // Sparse sets check the generation of an entity in debug builds only, and then panic. In
        // others, they may find what another entity has: it is the state as well.
        if cfg!(debug_assertions) && !world.entities().contains_spawned(self.entity) {
            return None;
        }
        // SAFETY: only the state is looked at, which the caller may have.
        let states = unsafe { world.storages() }.sparse_sets.get(self.component)?;
        let value = states.get(self.entity)?;
        // SAFETY: the component has this type, and nobody else has it meanwhile.
        Some(unsafe { value.assert_unique().deref_mut() })
    }
}

/// The state where bevy_ecs finds it; in its place one that has failed, if there is none.
#[cold]
fn found_or_lost(world: &mut World) -> &mut SimState {
    world.get_resource_or_insert_with(SimState::lost).into_inner()
}

/// The state, for the engine's own systems: a [`ResMut`] that is found at its [`StatePlace`].
pub(crate) struct HotState<'w>(&'w mut SimState);

impl Deref for HotState<'_> {
    type Target = SimState;

    fn deref(&self) -> &SimState {
        self.0
    }
}

impl DerefMut for HotState<'_> {
    fn deref_mut(&mut self) -> &mut SimState {
        self.0
    }
}

/// The access of the same resource by bevy_ecs's own parameter.
type Plain<'w> = ResMut<'w, SimState>;

// SAFETY: it registers the access of `ResMut<SimState>`, by that parameter's own implementation,
// and accesses nothing else.
unsafe impl SystemParam for HotState<'_> {
    type State = StatePlace;
    type Item<'w, 's> = HotState<'w>;

    fn init_state(world: &mut World) -> StatePlace {
        StatePlace::from_world(world)
    }

    fn init_access(
        place: &StatePlace,
        system_meta: &mut SystemMeta,
        system_access: &mut SystemAccess,
        world: &mut World,
    ) {
        <Plain as SystemParam>::init_access(&place.component, system_meta, system_access, world);
    }

    #[inline]
    unsafe fn get_param<'w>(
        place: &mut StatePlace,
        system_meta: &SystemMeta,
        world: UnsafeWorldCell<'w>,
        change_tick: Tick,
    ) -> Result<HotState<'w>, SystemParamValidationError> {
        // SAFETY: the access was registered in `init_access`, so that the caller lets nobody else
        // have it.
        if let Some(state) = unsafe { place.fetch(world) } {
            return Ok(HotState(state));
        }
        let component = &mut place.component;
        // SAFETY: as above, and nothing was found there.
        let state = unsafe {
            <Plain as SystemParam>::get_param(component, system_meta, world, change_tick)
        };
        state.map(|state| HotState(state.into_inner()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Component)]
    struct Mark;

    fn state(failure: &str) -> SimState {
        SimState { failure: Some(failure.to_owned()), ..SimState::lost() }
    }

    fn said(state: HotState) -> Option<String> {
        state.failure.clone()
    }

    /// The state is found where it is now, as by bevy_ecs's own parameter.
    #[test]
    fn it_finds_the_state_wherever_it_goes() {
        let mut world = World::new();
        let mut system = IntoSystem::into_system(said);
        system.initialize(&mut world);
        assert!(system.run((), &mut world).is_err(), "there is none yet");
        world.insert_resource(state("one"));
        assert_eq!(system.run((), &mut world).unwrap().as_deref(), Some("one"));
        let place = StatePlace::from_world(&mut world);
        let mut system = IntoSystem::into_system(said);
        system.initialize(&mut world);
        // Its entity moves to another table.
        world.entity_mut(place.entity).insert(Mark);
        assert_eq!(system.run((), &mut world).unwrap().as_deref(), Some("one"));
        assert_eq!(place.of(&mut world).failure.as_deref(), Some("one"));
        // It leaves its entity, and comes back.
        let old = world.remove_resource::<SimState>().unwrap();
        assert!(system.run((), &mut world).is_err(), "it is gone");
        world.spawn_empty();
        world.insert_resource(old);
        world.resource_mut::<SimState>().failure = Some("two".to_owned());
        assert_eq!(system.run((), &mut world).unwrap().as_deref(), Some("two"));
        assert_eq!(place.of(&mut world).failure.as_deref(), Some("two"));
    }
}
