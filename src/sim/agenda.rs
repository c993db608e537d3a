//! The agenda: the clock and the event queue.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bevy_ecs::prelude::*;

use super::Nanos;

/// Something that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The batch that runs on this stage ends, unless its run was cut off since: the number is
    /// that of the stage's launch.
    StageEnd(Entity, u32),
    /// A policy asked to be called for this replica.
    Wake(Entity),
    /// The KV content of the request with this id has come from one replica to another.
    Delivered(Entity, Entity, u64),
}

/// The clock and the future events, first in first out at equal times. Arrivals are not among
/// them: they are a stream that is looked at one ahead.
#[derive(Default, Debug)]
pub(crate) struct Agenda {
    now: Nanos,
    /// Whether this step is not the first one at this time.
    again: bool,
    heap: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    pushed: u64,
}

impl Agenda {
    /// Now.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Begins the step at `time`.
    pub fn advance_to(&mut self, time: Nanos) {
        debug_assert!(time >= self.now, "time never runs backwards");
        self.again = time == self.now;
        self.now = time;
    }

    /// Whether an event is due now.
    pub fn is_due(&self) -> bool {
        self.next_time().is_some_and(|time| time <= self.now)
    }

    /// The earliest end of an iteration after which a plan sees what arrives in this step. In a
    /// second step of the same time, iterations that end now have been followed by plans already.
    pub fn first_boundary(&self) -> Nanos {
        if self.again { self.now + Nanos(1) } else { self.now }
    }

    pub fn push(&mut self, at: Nanos, event: Event) {
        self.heap.push(Reverse((at, self.pushed, event)));
        self.pushed += 1;
    }

    pub fn next_time(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// The next event.
    pub fn next_event(&self) -> Option<Event> {
        self.heap.peek().map(|Reverse((_, _, event))| *event)
    }

    /// Takes it off the queue, whenever it is due.
    pub fn drop_next(&mut self) {
        self.heap.pop();
    }

    /// Takes the next event that is due now off the queue.
    pub fn pop_due(&mut self) -> Option<Event> {
        if self.next_time()? > self.now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, _, event))| event)
    }
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
        agenda.advance_to(Nanos(5));
        assert_eq!(agenda.pop_due(), Some(Event::StageEnd(entities[0], 1)));
        for &entity in entities.iter().rev() {
            assert_eq!(agenda.pop_due(), Some(Event::Wake(entity)));
        }
        assert_eq!(agenda.pop_due(), None);
    }
}
