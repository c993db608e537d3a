//! The order of a step.
//!
//! A step is everything that happens at one distinct time. Its systems belong to sets, and the sets run in
//! this order:
//!
//! | set | what happens |
//! |---|---|
//! | [`StepSet::Completion`] | iterations that end now are committed: tokens, completions, freed blocks |
//! | [`StepSet::Arrival`] | requests that arrive now become entities |
//! | [`StepSet::Admission`] | admission control lets each in, or refuses it |
//! | [`StepSet::Routing`] | each gets a replica |
//! | [`StepSet::Cutoff`] | an arrival cuts its replica's run of iterations off at the next boundary |
//! | [`StepSet::Scheduling`] | policies plan batches; counts, references and cached prefixes change at once |
//! | [`StepSet::Paging`] | blocks that were handed out for the first time become entities |
//! | [`StepSet::Execution`] | idle stages take their next batch, at the predictor's price |
//! | [`StepSet::Transfer`] | KV content that is handed over goes on its way |
//! | [`StepSet::Metrics`] | what ended is recorded, observers hear of it, its entities go |
//!
//! The order within a set is that in which its systems were added: all systems of a schedule are
//! chained, and an ambiguity is an error. Most steps only have events, so that there is a schedule without
//! the sets from Arrival to Cutoff; the Metrics set is a schedule of its own, for steps in which a request
//! ended. A schedule less is cheaper than conditions on systems.

use std::sync::Arc;

use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{
    LogLevel, ScheduleBuildSettings, ScheduleLabel, SingleThreadedExecutor, SystemSet,
};
use bevy_ecs::system::ScheduleSystem;

use super::{SimError, SimState};

/// The sets of systems of a step, in their order.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepSet {
    /// Commits the iterations that end now.
    Completion,
    /// Brings in the requests that arrive now.
    Arrival,
    /// Lets each in, or refuses it.
    Admission,
    /// Picks a replica for each.
    Routing,
    /// Cuts off the runs of replicas that got one.
    Cutoff,
    /// Plans batches.
    Scheduling,
    /// Gives new KV blocks their entities.
    Paging,
    /// Launches batches.
    Execution,
    /// Sends KV content to other replicas.
    Transfer,
    /// Records what ended.
    Metrics,
}

impl StepSet {
    /// All sets, in their order.
    pub const ALL: [StepSet; 10] = [
        StepSet::Completion,
        StepSet::Arrival,
        StepSet::Admission,
        StepSet::Routing,
        StepSet::Cutoff,
        StepSet::Scheduling,
        StepSet::Paging,
        StepSet::Execution,
        StepSet::Transfer,
        StepSet::Metrics,
    ];

    /// Whether it only runs in steps in which requests arrive, or may be handed over.
    pub fn needs_arrivals(self) -> bool {
        (StepSet::Arrival..=StepSet::Cutoff).contains(&self)
    }
}

/// Where a system of a plug-in runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepPlace {
    /// Before all systems of a set.
    Before(StepSet),
    /// In a set, after the systems that it has.
    In(StepSet),
    /// After all systems of a set.
    After(StepSet),
}

impl From<StepSet> for StepPlace {
    fn from(set: StepSet) -> StepPlace {
        StepPlace::In(set)
    }
}

impl StepPlace {
    /// The set that it refers to.
    pub fn set(self) -> StepSet {
        match self {
            StepPlace::Before(set) | StepPlace::In(set) | StepPlace::After(set) => set,
        }
    }

    /// Its place among all: that of its set, and before, in or after it.
    fn rank(self) -> (StepSet, u8) {
        match self {
            StepPlace::Before(set) => (set, 0),
            StepPlace::In(set) => (set, 1),
            StepPlace::After(set) => (set, 2),
        }
    }
}

/// Makes a system: each simulation has its own.
type MakeSystem = Arc<dyn Fn() -> ScheduleSystem + Send + Sync>;

/// The systems of the steps of a simulation.
#[derive(Clone, Default)]
pub struct StepSystems {
    list: Vec<Entry>,
}

/// A system, and where it runs.
#[derive(Clone)]
struct Entry {
    place: StepPlace,
    make: MakeSystem,
    /// Whether it is a plug-in's.
    foreign: bool,
}

impl StepSystems {
    /// Adds one of the engine's own systems, which keeps its errors itself.
    pub(crate) fn add<M: 'static>(
        &mut self,
        place: impl Into<StepPlace>,
        system: impl IntoSystem<(), (), M> + Clone + Send + Sync + 'static,
    ) {
        let make = move || -> ScheduleSystem { Box::new(IntoSystem::into_system(system.clone())) };
        self.list.push(Entry { place: place.into(), make: Arc::new(make), foreign: false });
    }

    /// Adds a system of a plug-in. It does not run after one that failed, and its own error ends the
    /// run.
    pub(crate) fn add_fallible<Out: StepOutcome, M: 'static>(
        &mut self,
        place: StepPlace,
        system: impl IntoSystem<(), Out, M> + Clone + Send + Sync + 'static,
    ) {
        let make = move || {
            let system = system.clone().pipe(keep_failure::<Out>);
            Box::new(IntoSystem::into_system(system)) as ScheduleSystem
        };
        self.list.push(Entry { place, make: Arc::new(make), foreign: true });
    }

    /// Adds those of `others` behind its own.
    pub(crate) fn extend(&mut self, others: &StepSystems) {
        self.list.extend(others.list.iter().cloned());
    }

    /// Whether a system refers to this set.
    pub(crate) fn uses(&self, set: StepSet) -> bool {
        self.list.iter().any(|entry| entry.place.set() == set)
    }
}

/// What a system of a plug-in may return: nothing, or a result.
pub trait StepOutcome: Send + Sync + 'static {
    /// The error, if it is one.
    fn failure(self) -> Option<String>;
}

impl StepOutcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: std::fmt::Display + Send + Sync + 'static> StepOutcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

fn keep_failure<Out: StepOutcome>(In(out): In<Out>, mut state: ResMut<SimState>) {
    if let Some(failure) = out.failure() {
        state.fail(format!("a system of a plug-in: {failure}"));
    }
}

/// The name of a schedule.
#[derive(ScheduleLabel, Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    WithEvents,
    WithArrivals,
    AtItsEnd,
}

/// A system's own set, by which the next one is ordered behind it.
#[derive(SystemSet, Clone, Debug, PartialEq, Eq, Hash)]
struct Nth(usize);

/// The schedules of a step.
pub(crate) struct StepSchedules {
    /// The one for steps in which no requests are brought in; `None` where systems of plug-ins belong to
    /// every step, of which there is one copy only.
    with_events: Option<Schedule>,
    with_arrivals: Schedule,
    at_its_end: Schedule,
}

impl StepSchedules {
    /// The schedules of these systems, ready for a world.
    ///
    /// # Errors
    /// [`SimError::Cluster`] if their order is not determined.
    pub fn new(mut systems: StepSystems, world: &mut World) -> Result<StepSchedules, SimError> {
        systems.list.sort_by_key(|entry| entry.place.rank());
        let mut schedule = |label, has: fn(StepSet) -> bool| {
            let list = systems.list.iter().filter(|entry| has(entry.place.set()));
            chained(label, list, world)
        };
        let in_every_step = |set: StepSet| set != StepSet::Metrics && !set.needs_arrivals();
        let foreign = |entry: &Entry| entry.foreign && in_every_step(entry.place.set());
        let with_events = match systems.list.iter().any(foreign) {
            true => None,
            false => Some(schedule(Step::WithEvents, in_every_step)?),
        };
        Ok(StepSchedules {
            with_events,
            with_arrivals: schedule(Step::WithArrivals, |set| set != StepSet::Metrics)?,
            at_its_end: schedule(Step::AtItsEnd, |set| set == StepSet::Metrics)?,
        })
    }

    /// Runs the systems of a step but those of its end.
    pub fn run(&mut self, world: &mut World, with_arrivals: bool) {
        match &mut self.with_events {
            Some(with_events) if !with_arrivals => with_events.run(world),
            _ => self.with_arrivals.run(world),
        }
    }

    /// Runs the systems of the Metrics set.
    pub fn run_end(&mut self, world: &mut World) {
        self.at_its_end.run(world);
    }
}

/// A schedule of these systems, one after the other.
fn chained<'a>(
    label: Step,
    systems: impl Iterator<Item = &'a Entry>,
    world: &mut World,
) -> Result<Schedule, SimError> {
    let mut schedule = Schedule::new(label);
    schedule.set_executor(SingleThreadedExecutor::new());
    schedule.set_build_settings(ScheduleBuildSettings {
        ambiguity_detection: LogLevel::Error,
        ..ScheduleBuildSettings::new()
    });
    for (number, Entry { place, make, foreign }) in systems.enumerate() {
        let mut system = make().in_set(Nth(number));
        if *foreign {
            system = system.run_if(|state: Res<SimState>| !state.has_failed());
            if place.set().needs_arrivals() {
                system = system.run_if(|state: Res<SimState>| state.lists.brings_in);
            }
        }
        let system = match number.checked_sub(1) {
            None => system,
            Some(before) => system.after(Nth(before)),
        };
        schedule.add_systems(match *place {
            StepPlace::In(set) => system.in_set(set),
            StepPlace::Before(_) | StepPlace::After(_) => system,
        });
    }
    let built = schedule.initialize(world);
    built.map_err(|error| {
        let text = error.to_string(schedule.graph(), world);
        SimError::Cluster(format!("the systems of a step have no order: {text}"))
    })?;
    Ok(schedule)
}
