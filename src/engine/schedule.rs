//! The order of a step.
//!
//! A step is everything that happens at one distinct time. Its systems belong to sets, and the sets
//! run in this order:
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
//! chained, and an ambiguity is an error.
//!
//! Most steps only have events, and most requests arrive at busy replicas. So the sets stand in
//! several schedules, which are cheaper than conditions on systems: one without the sets from
//! Arrival to Cutoff, one of these alone, one of what follows them. Blocks that are handed out for
//! the first time get rarer as a run goes on: the Paging set is a schedule of its own, which runs
//! at the end of a step that has such blocks. The Metrics set is another, for steps in which a
//! request ended. Where plug-ins have systems in other sets than Metrics, all sets up to Transfer
//! run in every step, in their order.

use std::sync::Arc;

use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{
    LogLevel, ScheduleBuildSettings, ScheduleLabel, SingleThreadedExecutor, SystemSet,
};
use bevy_ecs::system::ScheduleSystem;

use super::executor::PlainExecutor;
use super::hot_state::StatePlace;
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

    /// Adds a system of a plug-in. It does not run after one that failed, and its own error ends
    /// the run.
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

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
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
    Events,
    Arrivals,
    UntilCutoff,
    FromScheduling,
    Paging,
    AtItsEnd,
}

/// A system's own set, by which the next one is ordered behind it.
#[derive(SystemSet, Clone, Debug, PartialEq, Eq, Hash)]
struct Nth(usize);

/// The schedules of a step.
pub(crate) struct StepSchedules {
    /// Those of a cluster in which no system of a plug-in belongs to every step.
    lean: Option<LeanSchedules>,
    /// From Completion to Cutoff.
    until_cutoff: Schedule,
    /// From Scheduling to Transfer.
    from_scheduling: Schedule,
    at_its_end: Schedule,
    place: StatePlace,
}

/// Schedules without what most steps have no use for.
struct LeanSchedules {
    /// From Completion to Transfer, without those from Arrival to Cutoff.
    events: Schedule,
    /// From Arrival to Cutoff.
    arrivals: Schedule,
    paging: Schedule,
}

/// What a step is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepCause {
    /// Whether an event is due.
    pub event: bool,
    /// Whether requests are brought in.
    pub arrivals: bool,
}

impl StepSchedules {
    /// The schedules of these systems, ready for a world.
    ///
    /// # Errors
    /// [`SimError::Cluster`] if their order is not determined.
    pub fn new(mut systems: StepSystems, world: &mut World) -> Result<StepSchedules, SimError> {
        systems.list.sort_by_key(|entry| entry.place.rank());
        let foreign = |entry: &Entry| entry.foreign && entry.place.set() != StepSet::Metrics;
        let is_lean = !systems.list.iter().any(foreign);
        let mut schedule = |label, has: &dyn Fn(StepSet) -> bool| {
            let list = systems.list.iter().filter(|entry| has(entry.place.set()));
            chained(label, list, world)
        };
        let until_cutoff = |set| set <= StepSet::Cutoff;
        let is_late = |set| (StepSet::Scheduling..StepSet::Metrics).contains(&set);
        // Where nobody could tell, blocks get their entities at the end of a step, if there are
        // any.
        let from_scheduling = |set| is_late(set) && !(is_lean && set == StepSet::Paging);
        let in_every_step = |set: StepSet| set == StepSet::Completion || from_scheduling(set);
        let lean = match is_lean {
            false => None,
            true => Some(LeanSchedules {
                events: schedule(Step::Events, &in_every_step)?,
                arrivals: schedule(Step::Arrivals, &StepSet::needs_arrivals)?,
                paging: schedule(Step::Paging, &|set| set == StepSet::Paging)?,
            }),
        };
        Ok(StepSchedules {
            lean,
            until_cutoff: schedule(Step::UntilCutoff, &until_cutoff)?,
            from_scheduling: schedule(Step::FromScheduling, &from_scheduling)?,
            at_its_end: schedule(Step::AtItsEnd, &|set| set == StepSet::Metrics)?,
            place: StatePlace::from_world(world),
        })
    }

    /// Runs the systems of a step but those of its end.
    pub fn run(&mut self, world: &mut World, cause: StepCause) {
        match &mut self.lean {
            None => self.until_cutoff.run(world),
            Some(lean) if !cause.arrivals => return lean.events.run(world),
            Some(lean) => {
                match cause.event {
                    true => self.until_cutoff.run(world),
                    false => lean.arrivals.run(world),
                }
                // Most requests arrive while their replica is busy.
                if !self.place.of(world).lists.has_work() {
                    return;
                }
            }
        }
        self.from_scheduling.run(world);
    }

    /// Runs the Paging set, if it has not run yet.
    pub fn run_paging(&mut self, world: &mut World) {
        if let Some(lean) = &mut self.lean {
            lean.paging.run(world);
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
    let systems: Vec<&Entry> = systems.collect();
    match systems.iter().any(|entry| entry.foreign) {
        true => schedule.set_executor(SingleThreadedExecutor::new()),
        // The engine's own systems have no conditions and queue no commands.
        false => schedule.set_executor(PlainExecutor),
    };
    schedule.set_build_settings(ScheduleBuildSettings {
        ambiguity_detection: LogLevel::Error,
        ..ScheduleBuildSettings::new()
    });
    for (number, Entry { place, make, foreign }) in systems.into_iter().enumerate() {
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
