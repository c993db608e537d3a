//! What plug-ins add to every simulation: systems, observers, resources.

use std::any::TypeId;
use std::sync::Arc;

use bevy_ecs::prelude::*;
use bevy_ecs::system::IntoObserverSystem;

use super::events::{Lifecycle, LifecycleEvent};
use super::policy::Policy;
use super::schedule::{StepOutcome, StepPlace, StepSet, StepSystems};

/// Prepares the world of a simulation.
type Prepare = Arc<dyn Fn(&mut World) + Send + Sync>;

/// What plug-ins add to every simulation: systems, observers, resources.
///
/// A scenario has those of its plug-ins; who builds a [`super::SimSpec`] by hand adds his own.
#[derive(Clone, Default)]
pub struct Extensions {
    pub(super) systems: StepSystems,
    pub(super) heard: Vec<Lifecycle>,
    prepare: Vec<Prepare>,
    /// Policies that a system of a plug-in plans for.
    planned: Vec<TypeId>,
}

impl Extensions {
    /// Adds a system: in a set of a step, after the systems that the set has, or before or after
    /// all of them. Each simulation has a copy of its own. It may return a result, whose error ends
    /// the run.
    pub fn add_systems<Out: StepOutcome, M: 'static>(
        &mut self,
        place: impl Into<StepPlace>,
        system: impl IntoSystem<(), Out, M> + Clone + Send + Sync + 'static,
    ) -> &mut Extensions {
        self.systems.add_fallible(place.into(), system);
        self
    }

    /// Adds a system to [`StepSet::Scheduling`] that plans the batches of all replicas with policy
    /// `P`, through [`super::policy::Plans`]. `P::plan` is not called then.
    pub fn plan_by_system<P: Policy, Out: StepOutcome, M: 'static>(
        &mut self,
        system: impl IntoSystem<(), Out, M> + Clone + Send + Sync + 'static,
    ) -> &mut Extensions {
        self.planned.push(TypeId::of::<P>());
        self.add_systems(StepSet::Scheduling, system)
    }

    /// Adds an observer of what happens to requests.
    pub fn add_observer<E: LifecycleEvent, M: 'static>(
        &mut self,
        observer: impl IntoObserverSystem<E, M> + Clone + Sync + 'static,
    ) -> &mut Extensions {
        self.heard.push(E::KIND);
        self.prepare.push(Arc::new(move |world| {
            world.spawn(Observer::new(observer.clone()));
        }));
        self
    }

    /// Puts a resource into every simulation, with its default value at the start.
    pub fn init_resource<R: Resource + Default>(&mut self) -> &mut Extensions {
        self.prepare.push(Arc::new(|world| {
            world.init_resource::<R>();
        }));
        self
    }

    /// Puts copies of a resource into every simulation.
    pub fn insert_resource<R: Resource + Clone>(&mut self, resource: R) -> &mut Extensions {
        self.prepare.push(Arc::new(move |world| world.insert_resource(resource.clone())));
        self
    }

    /// Whether nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.systems.is_empty() && self.prepare.is_empty()
    }

    /// Whether a system of a plug-in plans for policies of this type.
    pub(super) fn plans(&self, policy: TypeId) -> bool {
        self.planned.contains(&policy)
    }

    /// Prepares the world of a simulation.
    pub(super) fn prepare(&self, world: &mut World) {
        for prepare in &self.prepare {
            prepare(world);
        }
    }
}
