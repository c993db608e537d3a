//! The agenda: the clock and the event queue.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bevy_ecs::prelude::*;

use super::{Ledger, Nanos, Worklists};
use crate::cluster::Replica;

/// Something that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The batch that runs on this stage ends, unless its run was cut off since: the number is
    /// that of the stage's launch.
    StageEnd(Entity, u32),
    /// A policy asked to be called for this replica.
    Wake(Entity),
}

/// The clock and the future events, first in first out at equal times. Arrivals are not among
/// them: they are a stream that is looked at one ahead.
#[derive(Resource, Default, Debug)]
pub(crate) struct Agenda {
    now: Nanos,
    heap: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    pushed: u64,
    /// Stages whose batch ends in this step, with the number of its launch.
    pub stage_ends: Vec<(Entity, u32)>,
    /// Whether a request arrives in this step.
    pub arrivals_due: bool,
}

impl Agenda {
    /// Now.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Begins the step at `time`.
    pub fn advance_to(&mut self, time: Nanos, arrivals_due: bool) {
        debug_assert!(time >= self.now, "time never runs backwards");
        self.now = time;
        self.arrivals_due = arrivals_due;
    }

    pub fn push(&mut self, at: Nanos, event: Event) {
        self.heap.push(Reverse((at, self.pushed, event)));
        self.pushed += 1;
    }

    pub fn next_time(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    fn pop_due(&mut self) -> Option<Event> {
        if self.next_time()? > self.now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, event))| event)
    }
}

/// Clock phase: takes what is due now off the queue and integrates the counts up to now.
pub(crate) fn pop_due(
    mut agenda: ResMut<Agenda>,
    mut ledger: ResMut<Ledger>,
    mut lists: ResMut<Worklists>,
    mut replicas: Query<&mut Replica>,
) -> Result {
    ledger.advance(agenda.now);
    while let Some(event) = agenda.pop_due() {
        match event {
            Event::StageEnd(stage, launch) => agenda.stage_ends.push((stage, launch)),
            Event::Wake(entity) => {
                let mut replica = replicas.get_mut(entity)?;
                if replica.wake.is_some_and(|wake| wake <= agenda.now) {
                    replica.wake = None;
                }
                lists.touched.add(replica.index, entity);
            }
        }
    }
    Ok(())
}

/// Run condition of the phases that bring requests in.
pub(crate) fn arrivals_due(agenda: Res<Agenda>) -> bool {
    agenda.arrivals_due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_stay_first_in_first_out() {
        let mut world = World::new();
        let entities: Vec<Entity> = (0..50).map(|_| world.spawn_empty().id()).collect();
        let mut agenda = Agenda::default();
        for &entity in entities.iter().rev() {
            agenda.push(Nanos(5), Event::Wake(entity));
        }
        agenda.push(Nanos(4), Event::StageEnd(entities[0], 1));
        agenda.push(Nanos(6), Event::StageEnd(entities[0], 1));
        assert_eq!(agenda.next_time(), Some(Nanos(4)));
        agenda.advance_to(Nanos(5), false);
        assert_eq!(agenda.pop_due(), Some(Event::StageEnd(entities[0], 1)));
        for &entity in entities.iter().rev() {
            assert_eq!(agenda.pop_due(), Some(Event::Wake(entity)));
        }
        assert_eq!(agenda.pop_due(), None);
    }
}
