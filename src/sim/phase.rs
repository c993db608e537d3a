//! The phases of a step.

use std::any::TypeId;

use bevy_ecs::prelude::*;
use bevy_ecs::schedule::ScheduleConfigs;
use bevy_ecs::system::ScheduleSystem;

/// The chained system sets of a step, in this order.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Takes what is due off the event queue; commits iterations that end: progress, completions, freed blocks.
    Finish,
    /// Brings in the requests that arrive now.
    Arrive,
    /// Admission control lets each in, or refuses it.
    Admit,
    /// Picks a replica for each.
    Route,
    /// Cuts off the runs of replicas that got one.
    CutOff,
    /// Policies plan batches of the touched replicas; blocks move in the same transaction.
    Schedule,
    /// Idle stages take the next batch of their queue, at its execution time.
    Launch,
    /// Records what ended; despawns it.
    Observe,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Phase; 8] = [
        Phase::Finish,
        Phase::Arrive,
        Phase::Admit,
        Phase::Route,
        Phase::CutOff,
        Phase::Schedule,
        Phase::Launch,
        Phase::Observe,
    ];
}

/// Systems of one phase that several kinds of policies or routers bring along, one after the
/// other.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Turn(Phase, usize);

/// Adds one system for each kind, in the order in which the kinds first come.
pub(super) fn add_turns(
    schedule: &mut Schedule,
    phase: Phase,
    systems: impl Iterator<Item = (TypeId, ScheduleConfigs<ScheduleSystem>)>,
) {
    let mut kinds: Vec<TypeId> = Vec::new();
    for (kind, system) in systems {
        if kinds.contains(&kind) {
            continue;
        }
        let system = system.in_set(phase).in_set(Turn(phase, kinds.len()));
        schedule.add_systems(match kinds.len() {
            0 => system,
            turn => system.after(Turn(phase, turn - 1)),
        });
        kinds.push(kind);
    }
}
