//! The agenda: the clock and the event queue.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bevy_ecs::prelude::*;

use super::Nanos;

/// Something that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The batch that runs on this stage ends, unless its run was cut off since: the number is
    /// that of the stage's launch.
    StageEnd(Entity, u32),
    /// A policy asked to be called for this replica.
    Wake(Entity),
    /// The KV content of the request with this id has come from one replica to another.
    Delivered(Entity, Entity, u64),
}

/// What the queue holds of an event: little, since a heap moves its entries again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    StageEnd(Entity, u32),
    Wake(Entity),
    /// Where from and to, and what, is in `Agenda::deliveries`.
    Delivered,
}

/// The clock and the future events, first in first out at equal times. Arrivals are not among
/// them: they are a stream that is looked at one ahead.
#[derive(Default, Debug)]
pub(crate) struct Agenda {
    now: Nanos,
    /// Whether this step is not the first one at this time.
    again: bool,
    heap: BinaryHeap<Reverse<(Nanos, u64, Entry)>>,
    pushed: u64,
    /// By the number of the push.
    deliveries: BTreeMap<u64, (Entity, Entity, u64)>,
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
        let entry = match event {
            Event::StageEnd(stage, launch) => Entry::StageEnd(stage, launch),
            Event::Wake(replica) => Entry::Wake(replica),
            Event::Delivered(from, to, id) => {
                self.deliveries.insert(self.pushed, (from, to, id));
                Entry::Delivered
            }
        };
        self.heap.push(Reverse((at, self.pushed, entry)));
        self.pushed += 1;
    }

    pub fn next_time(&self) -> Option<Nanos> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// The stage that ends next, and the number of its launch, if that is the next event.
    pub fn next_stage_end(&self) -> Option<(Entity, u32)> {
        match self.heap.peek() {
            Some(&Reverse((_, _, Entry::StageEnd(stage, launch)))) => Some((stage, launch)),
            _ => None,
        }
    }

    /// Takes the next event off the queue, whenever it is due.
    pub fn drop_next(&mut self) {
        self.heap.pop();
    }

    /// Takes the next event that is due now off the queue.
    pub fn pop_due(&mut self) -> Option<Event> {
        if self.next_time()? > self.now {
            return None;
        }
        let Reverse((_, number, entry)) = self.heap.pop()?;
        match entry {
            Entry::StageEnd(stage, launch) => Some(Event::StageEnd(stage, launch)),
            Entry::Wake(replica) => Some(Event::Wake(replica)),
            Entry::Delivered => {
                let (from, to, id) = self.deliveries.remove(&number)?;
                Some(Event::Delivered(from, to, id))
            }
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
        let mut agenda = Agenda::default();
        for &entity in entities.iter().rev() {
            agenda.push(Nanos(5), Event::Wake(entity));
        }
        agenda.push(Nanos(4), Event::StageEnd(entities[0], 1));
        agenda.push(Nanos(5), Event::Delivered(entities[1], entities[2], 7));
        agenda.push(Nanos(6), Event::StageEnd(entities[0], 1));
        assert_eq!(agenda.next_time(), Some(Nanos(4)));
        agenda.advance_to(Nanos(5));
        assert_eq!(agenda.pop_due(), Some(Event::StageEnd(entities[0], 1)));
        for &entity in entities.iter().rev() {
            assert_eq!(agenda.pop_due(), Some(Event::Wake(entity)));
        }
        let delivered = Event::Delivered(entities[1], entities[2], 7);
        assert_eq!(agenda.pop_due(), Some(delivered));
        assert_eq!(agenda.pop_due(), None);
    }
}
