//! Queries that every step uses.

use std::ops::{Deref, DerefMut};

use bevy_ecs::archetype::ArchetypeGeneration;
use bevy_ecs::change_detection::Tick;
use bevy_ecs::prelude::*;
use bevy_ecs::query::{QueryData, QueryFilter, QueryState};
use bevy_ecs::system::{SystemAccess, SystemMeta, SystemParam, SystemParamValidationError};
use bevy_ecs::world::unsafe_world_cell::UnsafeWorldCell;

/// A [`Query`] that looks for new archetypes only where there are any.
///
/// A plain query compares its component access first, which costs more than looking up an entity:
/// with the dozen queries of a step, a tenth of a run. Change detection counts from the last step
/// here, not from the system's last run; the engine asks for no changes.
pub(crate) struct HotQuery<'w, 's, D: QueryData + 'static, F: QueryFilter + 'static = ()>(
    Query<'w, 's, D, F>,
);

impl<'w, 's, D: QueryData, F: QueryFilter> Deref for HotQuery<'w, 's, D, F> {
    type Target = Query<'w, 's, D, F>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<D: QueryData, F: QueryFilter> DerefMut for HotQuery<'_, '_, D, F> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// What a [`HotQuery`] keeps between the runs of its system.
pub(crate) struct HotQueryState<D: QueryData + 'static, F: QueryFilter + 'static> {
    query: QueryState<D, F>,
    /// The archetypes that it knows.
    known: ArchetypeGeneration,
}

// SAFETY: it registers the access of the query that it holds, by that query's own implementation,
// and accesses nothing else.
unsafe impl<D: QueryData + 'static, F: QueryFilter + 'static> SystemParam
    for HotQuery<'_, '_, D, F>
{
    type State = HotQueryState<D, F>;
    type Item<'w, 's> = HotQuery<'w, 's, D, F>;

    fn init_state(world: &mut World) -> Self::State {
        let query = <Query<D, F> as SystemParam>::init_state(world);
        HotQueryState { query, known: ArchetypeGeneration::initial() }
    }

    fn init_access(
        state: &Self::State,
        system_meta: &mut SystemMeta,
        system_access: &mut SystemAccess,
        world: &mut World,
    ) {
        <Query<D, F> as SystemParam>::init_access(&state.query, system_meta, system_access, world);
    }

    #[inline]
    unsafe fn get_param<'w, 's>(
        state: &'s mut Self::State,
        _: &SystemMeta,
        world: UnsafeWorldCell<'w>,
        _: Tick,
    ) -> Result<Self::Item<'w, 's>, SystemParamValidationError> {
        let there = world.archetypes().generation();
        if state.known != there {
            state.query.update_archetypes_unsafe_world_cell(world);
            state.known = there;
        }
        // SAFETY: the access was registered in `init_access`, so that the caller lets nobody else
        // have it, and the caller ensures that the world is the one of `init_state`.
        Ok(HotQuery(unsafe { state.query.query_unchecked_manual(world) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Component)]
    struct Number(u32);
    #[derive(Component)]
    struct Mark;

    fn sum(numbers: HotQuery<&Number>) -> u32 {
        numbers.iter().map(|number| number.0).sum()
    }

    /// Entities of archetypes that come later are found, as by a plain query.
    #[test]
    fn it_finds_what_a_query_finds() {
        let mut world = World::new();
        let mut system = IntoSystem::into_system(sum);
        system.initialize(&mut world);
        assert_eq!(system.run((), &mut world).unwrap(), 0);
        let first = world.spawn(Number(1)).id();
        assert_eq!(system.run((), &mut world).unwrap(), 1);
        world.spawn((Number(2), Mark));
        assert_eq!(system.run((), &mut world).unwrap(), 3);
        world.entity_mut(first).insert(Mark);
        assert_eq!(system.run((), &mut world).unwrap(), 3);
        world.despawn(first);
        assert_eq!(system.run((), &mut world).unwrap(), 2);
    }
}
