//! The event queue and the clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bevy_ecs::prelude::*;

use super::Nanos;

/// The current simulated time.
#[derive(Resource, Default, Debug)]
pub struct Clock {
    now: Nanos,
}

impl Clock {
    /// Now.
    pub fn now(&self) -> Nanos {
        self.now
    }

    pub(crate) fn advance_to(&mut self, time: Nanos) {
        debug_assert!(time >= self.now, "time never runs backwards");
        self.now = time;
    }
}

/// Something that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The batch that runs on this stage ends.
    StageEnd(Entity),
    /// A policy asked to be called for this replica.
    Wake(Entity),
}

/// Future events, first in first out at equal times. Arrivals are not in it: they are a stream
/// that is looked at one ahead.
#[derive(Resource, Default, Debug)]
pub(crate) struct EventQueue {
    heap: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    pushed: u64,
}

impl EventQueue {
    pub fn push(&mut self, at: Nanos, event: Event) {
        self.heap.push(Reverse((at, self.pushed, event)));
        self.pushed += 1;
    }

    pub fn next_time(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    pub fn pop_due(&mut self, now: Nanos) -> Option<Event> {
        if self.next_time()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, event))| event)
    }
}

/// The events of this step, by kind.
#[derive(Resource, Default, Debug)]
pub(crate) struct Due {
    pub stage_ends: Vec<Entity>,
    pub wakes: Vec<Entity>,
}

/// Clock phase: takes what is due now off the queue.
pub(crate) fn pop_due(clock: Res<Clock>, mut queue: ResMut<EventQueue>, mut due: ResMut<Due>) {
    while let Some(event) = queue.pop_due(clock.now) {
        match event {
            Event::StageEnd(stage) => due.stage_ends.push(stage),
            Event::Wake(replica) => due.wakes.push(replica),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_stay_first_in_first_out() {
        let mut world = World::new();
        let entities: Vec<Entity> = (0..50).map(|_| world.spawn_empty().id()).collect();
        let mut queue = EventQueue::default();
        for &entity in entities.iter().rev() {
            queue.push(Nanos(5), Event::Wake(entity));
        }
        queue.push(Nanos(4), Event::StageEnd(entities[0]));
        assert_eq!(queue.next_time(), Some(Nanos(4)));
        assert_eq!(queue.pop_due(Nanos(5)), Some(Event::StageEnd(entities[0])));
        for &entity in entities.iter().rev() {
            assert_eq!(queue.pop_due(Nanos(5)), Some(Event::Wake(entity)));
        }
        assert_eq!(queue.pop_due(Nanos(5)), None);
    }
}
