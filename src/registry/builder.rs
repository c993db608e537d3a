//! What a plug-in may add.

use bevy_ecs::prelude::*;
use bevy_ecs::system::IntoObserverSystem;

use super::Registry;
use crate::engine::admission::Admission;
use crate::engine::policy::Policy;
use crate::engine::routing::Router;
use crate::engine::{LifecycleEvent, StepOutcome, StepPlace};
use crate::timing::TimingSettings;

/// A plug-in: it adds to what scenarios can name, and to what every simulation does. A user's
/// binary hands its plug-ins to [`crate::cli::main_with`].
pub trait Plugin {
    /// Adds what the plug-in has.
    fn build(&self, builder: &mut SimBuilder);
}

/// Where a plug-in adds what it has.
pub struct SimBuilder {
    registry: Registry,
}

impl SimBuilder {
    /// A builder that adds to a registry.
    pub fn new(registry: Registry) -> SimBuilder {
        SimBuilder { registry }
    }

    /// The registry with what was added.
    pub fn finish(self) -> Registry {
        self.registry
    }

    /// Adds a scheduling policy; one of the same name is replaced.
    pub fn add_policy<P: Policy>(&mut self) -> &mut SimBuilder {
        self.registry.add_policy::<P>();
        self
    }

    /// Adds a scheduling policy that a system of its own plans for, through
    /// [`crate::engine::policy::Plans`]; one of the same name is replaced. `P::plan` is not called.
    pub fn add_policy_system<P: Policy, Out: StepOutcome, M: 'static>(
        &mut self,
        system: impl IntoSystem<(), Out, M> + Clone + Send + Sync + 'static,
    ) -> &mut SimBuilder {
        self.registry.add_policy::<P>();
        self.registry.extensions.plan_by_system::<P, Out, M>(system);
        self
    }

    /// Adds a router; one of the same name is replaced.
    pub fn add_router<R: Router>(&mut self) -> &mut SimBuilder {
        self.registry.add_router::<R>();
        self
    }

    /// Adds a kind of admission control; one of the same name is replaced.
    pub fn add_admission<A: Admission>(&mut self) -> &mut SimBuilder {
        self.registry.add_admission::<A>();
        self
    }

    /// Adds a kind of timing; one of the same name is replaced.
    pub fn add_timing<T: TimingSettings>(&mut self) -> &mut SimBuilder {
        self.registry.add_timing::<T>();
        self
    }

    /// Adds a system to every simulation: in a set of a step, after the systems that the set has,
    /// or before or after all of them. Each simulation has a copy of its own. It may return a
    /// result, whose error ends the run.
    pub fn add_systems<Out: StepOutcome, M: 'static>(
        &mut self,
        place: impl Into<StepPlace>,
        system: impl IntoSystem<(), Out, M> + Clone + Send + Sync + 'static,
    ) -> &mut SimBuilder {
        self.registry.extensions.add_systems(place, system);
        self
    }

    /// Adds an observer of what happens to requests.
    pub fn add_observer<E: LifecycleEvent, M: 'static>(
        &mut self,
        observer: impl IntoObserverSystem<E, M> + Clone + Sync + 'static,
    ) -> &mut SimBuilder {
        self.registry.extensions.add_observer::<E, M>(observer);
        self
    }

    /// Puts a resource into every simulation, with its default value at the start.
    pub fn init_resource<R: Resource + Default>(&mut self) -> &mut SimBuilder {
        self.registry.extensions.init_resource::<R>();
        self
    }

    /// Puts copies of a resource into every simulation.
    pub fn insert_resource<R: Resource + Clone>(&mut self, resource: R) -> &mut SimBuilder {
        self.registry.extensions.insert_resource(resource);
        self
    }
}
