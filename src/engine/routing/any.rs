//! Any router with its settings, whatever its type.

use std::any::TypeId;

use bevy_ecs::prelude::*;

use super::Router;
use crate::base::{RandomStream, SettingError, write_fragment};
use crate::engine::schedule::{StepSet, StepSystems};
use crate::engine::systems::{Routers, route_requests};

/// A router with its settings.
pub trait AnyRouter: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Checks as in [`Router::check`].
    fn check(&self) -> Result<(), SettingError>;
    /// Whether it does as in [`Router::NEEDS_ADAPTERS`].
    fn needs_adapters(&self) -> bool {
        false
    }
    /// As a scenario writes it, with every setting.
    fn to_ron(&self) -> String;
    /// A copy.
    fn boxed(&self) -> Box<dyn AnyRouter>;
    /// Puts the router of a pool into the world, with its random numbers.
    fn insert(&self, world: &mut World, pool: u32, random: RandomStream);
    /// Adds the system that runs all routers of its type to the steps of a simulation.
    fn add_system(&self, systems: &mut StepSystems);
    /// Its type: one system serves all pools whose routers are of the same.
    fn kind(&self) -> TypeId;
}

impl<R: Router> AnyRouter for R {
    fn name(&self) -> &'static str {
        R::NAME
    }
    fn check(&self) -> Result<(), SettingError> {
        Router::check(self)
    }
    fn needs_adapters(&self) -> bool {
        R::NEEDS_ADAPTERS
    }
    fn to_ron(&self) -> String {
        write_fragment(R::NAME, self)
    }
    fn boxed(&self) -> Box<dyn AnyRouter> {
        Box::new(self.clone())
    }
    fn insert(&self, world: &mut World, pool: u32, random: RandomStream) {
        Routers::add(world, self.clone(), pool, random);
    }
    fn add_system(&self, systems: &mut StepSystems) {
        systems.add(StepSet::Routing, route_requests::<R>);
    }
    fn kind(&self) -> TypeId {
        TypeId::of::<R>()
    }
}
