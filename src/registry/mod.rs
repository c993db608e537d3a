//! The plug-ins that scenarios can name: policies, routers and kinds of timing.
//!
//! Built-in ones are registered by [`Registry::built_in`], a user's by a [`Plugin`]. A scenario
//! writes a plug-in as `Name(setting: value, ...)`; the settings are the serde fields of the
//! plug-in's type, each with a default, and a setting that the type does not have is refused.

mod builder;

pub use builder::{Plugin, SimBuilder};

use crate::base::{FragmentError, read_fragment};
use crate::engine::admission::{Admission, AnyAdmission};
use crate::engine::policy::{AnyPolicy, Policy};
use crate::engine::routing::{AnyRouter, Router};
use crate::engine::{Extensions, admission, policy, routing};
use crate::timing::{
    AnyTiming, FormulaSettings, LayerwiseSettings, MeasuredSettings, RooflineSettings,
    TimingSettings,
};

/// A plug-in that a scenario can name.
#[doc(hidden)]
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
    extensions: Extensions,
}

impl Registry {
    /// The built-in plug-ins.
    pub fn built_in() -> Registry {
        let mut registry = Registry::default();
        registry
            .add_policy::<policy::VllmV0>()
            .add_policy::<policy::VllmV1>()
            .add_policy::<policy::SgLang>()
            .add_policy::<policy::Sarathi>()
            .add_policy::<policy::Orca>()
            .add_policy::<policy::FasterTransformer>()
            .add_policy::<policy::LightLlm>()
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
        let mut builder = SimBuilder::new(Registry::built_in());
        for plugin in plugins {
            plugin.build(&mut builder);
        }
        builder.finish()
    }

    /// Adds a policy; one of the same name is replaced.
    fn add_policy<P: Policy>(&mut self) -> &mut Registry {
        add(&mut self.policies, P::NAME, P::ABOUT, |text| Ok(Box::new(read_fragment::<P>(text)?)));
        self
    }

    /// Adds a router; one of the same name is replaced.
    fn add_router<R: Router>(&mut self) -> &mut Registry {
        add(&mut self.routers, R::NAME, R::ABOUT, |text| Ok(Box::new(read_fragment::<R>(text)?)));
        self
    }

    /// Adds a kind of admission control; one of the same name is replaced.
    fn add_admission<A: Admission>(&mut self) -> &mut Registry {
        let read = |text: &str| Ok(Box::new(read_fragment::<A>(text)?) as Box<dyn AnyAdmission>);
        add(&mut self.admissions, A::NAME, A::ABOUT, read);
        self
    }

    /// Adds a kind of timing; one of the same name is replaced.
    fn add_timing<T: TimingSettings>(&mut self) -> &mut Registry {
        add(&mut self.timings, T::NAME, T::ABOUT, |text| Ok(Box::new(read_fragment::<T>(text)?)));
        self
    }

    /// What the plug-ins add to every simulation.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
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

#[cfg(test)]
mod tests {
    use super::policy::{Orca, Sarathi};
    use crate::base::{read_fragment as read, write_fragment as write};

    #[test]
    fn settings_survive_the_round_trip() {
        let text = write("Sarathi", &Sarathi { chunk_size: 77, ..Sarathi::default() });
        assert!(text.starts_with("Sarathi(max_num_seqs: 128, chunk_size: 77,"), "{text}");
        let again: Sarathi = read(text.trim_start_matches("Sarathi")).unwrap();
        assert_eq!(again.chunk_size, 77);
        assert_eq!(write("Orca", &Orca::default()), "Orca(max_num_seqs: 128, reserve: Max)");
    }
}
