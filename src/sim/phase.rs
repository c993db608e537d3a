//! The phases of a step.

use bevy_ecs::prelude::*;

/// The chained system sets of a step, in this order.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Takes what is due off the event queue; commits iterations that end: progress, completions, freed blocks.
    Finish,
    /// Brings in the requests that arrive now.
    Arrive,
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
    pub const ALL: [Phase; 7] = [
        Phase::Finish,
        Phase::Arrive,
        Phase::Route,
        Phase::CutOff,
        Phase::Schedule,
        Phase::Launch,
        Phase::Observe,
    ];
}
