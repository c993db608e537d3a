//! The plug-ins that scenarios can name: policies, routers and kinds of timing.
//!
//! Built-in ones are registered by [`Registry::built_in`], a user's by a [`Plugin`]. A scenario
//! writes a plug-in as `Name(setting: value, ...)`; the settings are the serde fields of the
//! plug-in's type, each with a default, and a setting that the type does not have is refused.

use std::any::TypeId;
use std::sync::Arc;

use bevy_ecs::prelude::*;

use crate::admission::{self, Admission, AdmissionClass, AdmissionRequest, PoolState};
use crate::routing::{self, Router};
use crate::scenario::SettingError;
use crate::scheduling::{self, BatchLimits, EngineLimits, Policy};
use crate::sim::{RandomStream, StepSystem, TurnPart, turn};
use crate::timing::{
    FormulaSettings, LayerwiseSettings, MeasuredSettings, Predictor, RooflineSettings,
    TimingContext, TimingSettings,
};

mod fragment;

pub use fragment::FragmentError;

/// Adds to what scenarios can name. A user's binary hands its plug-ins to
/// [`crate::cli::main_with`].
pub trait Plugin {
    /// Registers policies, routers, kinds of admission control and kinds of timing.
    fn build(&self, registry: &mut Registry);
}

/// A policy with its settings.
pub trait AnyPolicy: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// As in [`Policy::check`].
    fn check(&self, limits: &EngineLimits) -> Result<(), SettingError>;
    /// As in [`Policy::batch_limits`].
    fn batch_limits(&self, limits: &EngineLimits) -> BatchLimits;
    /// As in [`Policy::is_asynchronous`].
    fn is_asynchronous(&self) -> bool;
    /// As in [`Policy::step_overhead_ms`].
    fn step_overhead_ms(&self) -> f64;
    /// As in [`Policy::reserved_blocks`].
    fn reserved_blocks(&self) -> u32;
    /// As in [`Policy::caches_prefixes`].
    fn caches_prefixes(&self) -> bool;
    /// As in [`Policy::disaggregates`].
    fn disaggregates(&self) -> bool;
    /// As in [`Policy::serves_adapters`].
    fn serves_adapters(&self) -> bool;
    /// As in [`Policy::schedules_by_priority`].
    fn schedules_by_priority(&self) -> bool;
    /// As in [`Policy::swaps`].
    fn swaps(&self) -> bool;
    /// As in [`Policy::is_oracle`].
    fn is_oracle(&self) -> bool;
    /// As a scenario writes it, with every setting.
    fn to_ron(&self) -> String;
    /// A copy.
    fn boxed(&self) -> Box<dyn AnyPolicy>;
    /// Puts the component on a replica.
    fn insert(&self, world: &mut World, replica: Entity);
    /// The system that runs it and all others of its type.
    fn turn_system(&self, part: TurnPart) -> StepSystem;
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
    fn disaggregates(&self) -> bool {
        Policy::disaggregates(self)
    }
    fn serves_adapters(&self) -> bool {
        Policy::serves_adapters(self)
    }
    fn schedules_by_priority(&self) -> bool {
        Policy::schedules_by_priority(self)
    }
    fn swaps(&self) -> bool {
        Policy::swaps(self)
    }
    fn to_ron(&self) -> String {
        fragment::write(P::NAME, self)
    }
    fn boxed(&self) -> Box<dyn AnyPolicy> {
        Box::new(self.clone())
    }
    fn insert(&self, world: &mut World, replica: Entity) {
        world.entity_mut(replica).insert(self.clone());
    }
    fn turn_system(&self, part: TurnPart) -> StepSystem {
        turn::<P>(part)
    }
    fn kind(&self) -> TypeId {
        TypeId::of::<P>()
    }
}

/// A router with its settings.
pub trait AnyRouter: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// As in [`Router::check`].
    fn check(&self) -> Result<(), SettingError>;
    /// As in [`Router::NEEDS_ADAPTERS`].
    fn needs_adapters(&self) -> bool {
        false
    }
    /// As a scenario writes it, with every setting.
    fn to_ron(&self) -> String;
    /// A copy.
    fn boxed(&self) -> Box<dyn AnyRouter>;
    /// Puts the router of a pool into the world, with its random numbers.
    fn insert(&self, world: &mut World, pool: u32, random: RandomStream);
    /// The system that runs all routers of its type.
    fn route_system(&self) -> StepSystem;
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
        fragment::write(R::NAME, self)
    }
    fn boxed(&self) -> Box<dyn AnyRouter> {
        Box::new(self.clone())
    }
    fn insert(&self, world: &mut World, pool: u32, random: RandomStream) {
        routing::Routers::add(world, self.clone(), pool, random);
    }
    fn route_system(&self) -> StepSystem {
        StepSystem::new(routing::route::<R>)
    }
    fn kind(&self) -> TypeId {
        TypeId::of::<R>()
    }
}

/// A kind of admission control with its settings.
pub trait AnyAdmission: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// As in [`Admission::check`].
    fn check(&self, classes: &[AdmissionClass]) -> Result<(), SettingError>;
    /// As in [`Admission::admit`].
    fn admit(&mut self, request: &AdmissionRequest, pool: &PoolState) -> Result<(), String>;
    /// As a scenario writes it, with every setting.
    fn to_ron(&self) -> String;
    /// A copy.
    fn boxed(&self) -> Box<dyn AnyAdmission>;
}

impl<A: Admission> AnyAdmission for A {
    fn name(&self) -> &'static str {
        A::NAME
    }
    fn check(&self, classes: &[AdmissionClass]) -> Result<(), SettingError> {
        Admission::check(self, classes)
    }
    fn admit(&mut self, request: &AdmissionRequest, pool: &PoolState) -> Result<(), String> {
        Admission::admit(self, request, pool)
    }
    fn to_ron(&self) -> String {
        fragment::write(A::NAME, self)
    }
    fn boxed(&self) -> Box<dyn AnyAdmission> {
        Box::new(self.clone())
    }
}

/// Settings of a kind of timing.
pub trait AnyTiming: Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// As in [`TimingSettings::build`].
    fn build(&self, context: &TimingContext) -> Result<Arc<dyn Predictor>, SettingError>;
    /// As a scenario writes it, with every setting.
    fn to_ron(&self) -> String;
    /// A copy.
    fn boxed(&self) -> Box<dyn AnyTiming>;
}

impl<T: TimingSettings> AnyTiming for T {
    fn name(&self) -> &'static str {
        T::NAME
    }
    fn build(&self, context: &TimingContext) -> Result<Arc<dyn Predictor>, SettingError> {
        TimingSettings::build(self, context)
    }
    fn to_ron(&self) -> String {
        fragment::write(T::NAME, self)
    }
    fn boxed(&self) -> Box<dyn AnyTiming> {
        Box::new(self.clone())
    }
}

/// A plug-in that a scenario can name.
pub struct Entry<T: ?Sized> {
    /// Name in scenarios.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Reads its settings, the text after the name: `(setting: value, ...)` or nothing.
    pub parse: fn(&str) -> Result<Box<T>, FragmentError>,
}

/// Everything that scenarios can name.
#[derive(Default)]
pub struct Registry {
    policies: Vec<Entry<dyn AnyPolicy>>,
    routers: Vec<Entry<dyn AnyRouter>>,
    admissions: Vec<Entry<dyn AnyAdmission>>,
    timings: Vec<Entry<dyn AnyTiming>>,
}

impl Registry {
    /// The built-in plug-ins.
    pub fn built_in() -> Registry {
        let mut registry = Registry::default();
        registry
            .add_policy::<scheduling::VllmV0>()
            .add_policy::<scheduling::VllmV1>()
            .add_policy::<scheduling::SgLang>()
            .add_policy::<scheduling::Sarathi>()
            .add_policy::<scheduling::Orca>()
            .add_policy::<scheduling::FasterTransformer>()
            .add_policy::<scheduling::LightLlm>()
            .add_router::<routing::RoundRobin>()
            .add_router::<routing::Random>()
            .add_router::<routing::LeastOutstanding>()
            .add_router::<routing::PowerOfTwo>()
            .add_router::<routing::PrefixAffinity>()
            .add_router::<routing::LoraAffinity>()
            .add_router::<routing::VidurLor>()
            .add_router::<routing::VllmDataParallel>()
            .add_admission::<admission::MaxQueue>()
            .add_admission::<admission::TokenBudget>()
            .add_admission::<admission::PredictedTtft>()
            .add_timing::<FormulaSettings>()
            .add_timing::<MeasuredSettings>()
            .add_timing::<LayerwiseSettings>()
            .add_timing::<RooflineSettings>();
        registry
    }

    /// The built-in plug-ins and those of `plugins`.
    pub fn with(plugins: &[&dyn Plugin]) -> Registry {
        let mut registry = Registry::built_in();
        for plugin in plugins {
            plugin.build(&mut registry);
        }
        registry
    }

    /// Adds a policy; one of the same name is replaced.
    pub fn add_policy<P: Policy>(&mut self) -> &mut Registry {
        add(&mut self.policies, P::NAME, P::ABOUT, |text| Ok(Box::new(fragment::read::<P>(text)?)));
        self
    }

    /// Adds a router; one of the same name is replaced.
    pub fn add_router<R: Router>(&mut self) -> &mut Registry {
        add(&mut self.routers, R::NAME, R::ABOUT, |text| Ok(Box::new(fragment::read::<R>(text)?)));
        self
    }

    /// Adds a kind of admission control; one of the same name is replaced.
    pub fn add_admission<A: Admission>(&mut self) -> &mut Registry {
        let read = |text: &str| Ok(Box::new(fragment::read::<A>(text)?) as Box<dyn AnyAdmission>);
        add(&mut self.admissions, A::NAME, A::ABOUT, read);
        self
    }

    /// Adds a kind of timing; one of the same name is replaced.
    pub fn add_timing<T: TimingSettings>(&mut self) -> &mut Registry {
        add(&mut self.timings, T::NAME, T::ABOUT, |text| Ok(Box::new(fragment::read::<T>(text)?)));
        self
    }

    /// All policies.
    pub fn policies(&self) -> &[Entry<dyn AnyPolicy>] {
        &self.policies
    }

    /// All routers.
    pub fn routers(&self) -> &[Entry<dyn AnyRouter>] {
        &self.routers
    }

    /// All kinds of admission control.
    pub fn admissions(&self) -> &[Entry<dyn AnyAdmission>] {
        &self.admissions
    }

    /// All kinds of timing.
    pub fn timings(&self) -> &[Entry<dyn AnyTiming>] {
        &self.timings
    }
}

fn add<T: ?Sized>(
    entries: &mut Vec<Entry<T>>,
    name: &'static str,
    about: &'static str,
    parse: fn(&str) -> Result<Box<T>, FragmentError>,
) {
    entries.retain(|entry| entry.name != name);
    entries.push(Entry { name, about, parse });
}
