//! Any policy with its settings, whatever its type.

use std::any::TypeId;

use bevy_ecs::prelude::*;

use super::{BatchLimits, EngineLimits, Policy};
use crate::base::{SettingError, write_fragment};
use crate::engine::schedule::{StepSet, StepSystems};
use crate::engine::state::kv::{GroupRules, KvCacheGroup};
use crate::engine::systems::schedule_batches;

/// A policy with its settings.
pub trait AnyPolicy: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Checks as in [`Policy::check`].
    fn check(&self, limits: &EngineLimits) -> Result<(), SettingError>;
    /// Limits as in [`Policy::batch_limits`].
    fn batch_limits(&self, limits: &EngineLimits) -> BatchLimits;
    /// Whether it is as in [`Policy::is_asynchronous`].
    fn is_asynchronous(&self) -> bool;
    /// Milliseconds as in [`Policy::step_overhead_ms`].
    fn step_overhead_ms(&self) -> f64;
    /// Blocks as in [`Policy::reserved_blocks`].
    fn reserved_blocks(&self) -> u32;
    /// Whether it does as in [`Policy::caches_prefixes`].
    fn caches_prefixes(&self) -> bool;
    /// Whether it does as in [`Policy::reuses_unhashed_first`].
    fn reuses_unhashed_first(&self) -> bool;
    /// The version as in [`Policy::version`].
    fn version(&self) -> Option<String>;
    /// Its name, with the version that it follows.
    fn title(&self) -> String {
        let version = self.version().map(|version| format!(" {version}"));
        format!("{}{}", self.name(), version.unwrap_or_default())
    }
    /// Whether it does as in [`Policy::disaggregates`].
    fn disaggregates(&self) -> bool;
    /// Whether it does as in [`Policy::serves_adapters`].
    fn serves_adapters(&self) -> bool;
    /// Whether it does as in [`Policy::schedules_by_priority`].
    fn schedules_by_priority(&self) -> bool;
    /// The rules of [`Policy::group_rules`].
    fn group_rules(&self, groups: &[KvCacheGroup], limits: &EngineLimits) -> Option<GroupRules>;
    /// Whether it does as in [`Policy::swaps`].
    fn swaps(&self) -> bool;
    /// Whether it is as in [`Policy::is_oracle`].
    fn is_oracle(&self) -> bool;
    /// As a scenario writes it, with every setting.
    fn to_ron(&self) -> String;
    /// A copy.
    fn boxed(&self) -> Box<dyn AnyPolicy>;
    /// Puts the component on a replica.
    fn insert(&self, world: &mut World, replica: Entity);
    /// Adds the system that runs it and all others of its type to the steps of a simulation.
    fn add_system(&self, systems: &mut StepSystems);
    /// Its type: one system serves all pools whose policies are of the same.
    fn kind(&self) -> TypeId;
}

impl<P: Policy> AnyPolicy for P {
    fn name(&self) -> &'static str {
        P::NAME
    }
    fn check(&self, limits: &EngineLimits) -> Result<(), SettingError> {
        Policy::check(self, limits)
    }
    fn batch_limits(&self, limits: &EngineLimits) -> BatchLimits {
        Policy::batch_limits(self, limits)
    }
    fn is_oracle(&self) -> bool {
        Policy::is_oracle(self)
    }
    fn is_asynchronous(&self) -> bool {
        Policy::is_asynchronous(self)
    }
    fn step_overhead_ms(&self) -> f64 {
        Policy::step_overhead_ms(self)
    }
    fn reserved_blocks(&self) -> u32 {
        Policy::reserved_blocks(self)
    }
    fn caches_prefixes(&self) -> bool {
        Policy::caches_prefixes(self)
    }
    fn reuses_unhashed_first(&self) -> bool {
        Policy::reuses_unhashed_first(self)
    }
    fn version(&self) -> Option<String> {
        Policy::version(self)
    }
    fn disaggregates(&self) -> bool {
        Policy::disaggregates(self)
    }
    fn serves_adapters(&self) -> bool {
        Policy::serves_adapters(self)
    }
    fn schedules_by_priority(&self) -> bool {
        Policy::schedules_by_priority(self)
    }
    fn group_rules(&self, groups: &[KvCacheGroup], limits: &EngineLimits) -> Option<GroupRules> {
        Policy::group_rules(self, groups, limits)
    }
    fn swaps(&self) -> bool {
        Policy::swaps(self)
    }
    fn to_ron(&self) -> String {
        write_fragment(P::NAME, self)
    }
    fn boxed(&self) -> Box<dyn AnyPolicy> {
        Box::new(self.clone())
    }
    fn insert(&self, world: &mut World, replica: Entity) {
        world.entity_mut(replica).insert(self.clone());
    }
    fn add_system(&self, systems: &mut StepSystems) {
        systems.add(StepSet::Scheduling, schedule_batches::<P>);
    }
    fn kind(&self) -> TypeId {
        TypeId::of::<P>()
    }
}
