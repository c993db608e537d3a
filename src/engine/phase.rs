//! The phases of a step, and the systems that make them up.

use bevy_ecs::prelude::*;
use bevy_ecs::system::{BoxedSystem, RunSystemError};

use super::Control;

/// The phases of a step, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Where requests arrive in the same step or pools hand over, before that: commits the iterations that
    /// end now, as in [`Phase::Turn`].
    Finish,
    /// Brings in the requests that arrive now.
    Arrive,
    /// Admission control lets each in, or refuses it.
    Admit,
    /// Picks a replica for each.
    Route,
    /// Cuts off the runs of replicas that got one; commits iterations that end now: progress, completions,
    /// freed blocks; policies plan batches of the touched replicas, and blocks move in the same
    /// transaction; idle stages take the next batch of their queue, at its execution time.
    Turn,
    /// Records what ended; despawns it.
    Observe,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Phase; 6] =
        [Phase::Finish, Phase::Arrive, Phase::Admit, Phase::Route, Phase::Turn, Phase::Observe];
}

/// A system of a step. It works on the world and on what lies beside it, `Control`. Nobody applies
/// command queues: systems that spawn and despawn are exclusive and do it at once.
pub struct StepSystem(BoxedSystem<InMut<'static, Control>>);

impl StepSystem {
    pub(crate) fn new<Marker>(
        system: impl IntoSystem<InMut<'static, Control>, (), Marker>,
    ) -> StepSystem {
        StepSystem(Box::new(IntoSystem::into_system(system)))
    }
}

/// The systems of each phase, in the order in which they run.
///
/// A list and not a `Schedule`: the order is the list's, nothing can be ambiguous, and an executor
/// costs more per step than most systems do in it.
#[derive(Default)]
pub(crate) struct Phases([Vec<StepSystem>; Phase::ALL.len()]);

impl Phases {
    /// Adds a system to a phase, after those that it has.
    pub fn add<Marker>(
        &mut self,
        phase: Phase,
        system: impl IntoSystem<InMut<'static, Control>, (), Marker>,
    ) {
        self.push(phase, StepSystem::new(system));
    }

    /// Adds a system to a phase, after those that it has.
    pub fn push(&mut self, phase: Phase, system: StepSystem) {
        self.0[phase as usize].push(system);
    }

    /// Makes the systems ready for a world.
    pub fn initialize(&mut self, world: &mut World) {
        for StepSystem(system) in self.0.iter_mut().flatten() {
            system.initialize(world);
            debug_assert!(!system.has_deferred(), "nobody would apply it: {}", system.name());
        }
    }

    /// Runs the systems of a phase. Returns what the first that fails says.
    pub fn run(
        &mut self,
        phase: Phase,
        control: &mut Control,
        world: &mut World,
    ) -> Result<(), String> {
        for StepSystem(system) in &mut self.0[phase as usize] {
            if let Err(error) = system.run_without_applying_deferred(control, world) {
                return Err(failure(&**system, error));
            }
        }
        Ok(())
    }
}

#[cold]
fn failure(
    system: &dyn System<In = InMut<'static, Control>, Out = ()>,
    error: RunSystemError,
) -> String {
    match error {
        RunSystemError::Failed(error) => format!("{}: {error}", system.name()),
        error => format!("{}: {error}", system.name()),
    }
}
