//! The agenda: the clock and the event queue.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bevy_ecs::prelude::*;

use super::Nanos;

/// Something that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The batch that runs on this stage ends.
    StageEnd(Entity),
    /// A policy asked to be called for this replica.
    Wake(Entity),
    /// The KV content of the request with this id has come from one replica to another.
    Delivered(Entity, Entity, u64),
}

/// What the queue holds of an event: little, since a heap moves its entries again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    /// The stage, and its number in the cluster.
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
    /// By the number of a stage: that of the push of its next end. Those that were pushed before and are
    /// still in the queue do not count: a run was cut off since.
    ends: Vec<u64>,
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
    pub fn is_due(&mut self) -> bool {
        self.next_time().is_some_and(|time| time <= self.now)
    }

    /// The earliest end of an iteration after which a plan sees what arrives in this step. In a
    /// second step of the same time, iterations that end now have been followed by plans already.
    pub fn first_boundary(&self) -> Nanos {
        if self.again { self.now + Nanos(1) } else { self.now }
    }

    /// The batch that runs on a stage with this number in the cluster ends at that time, and not when it
    /// would have ended before.
    pub fn push_stage_end(&mut self, at: Nanos, (stage, number): (Entity, u32)) {
        let number = number as usize;
        if self.ends.len() <= number {
            self.ends.resize(number + 1, 0);
        }
        self.ends[number] = self.pushed;
        self.push(at, Entry::StageEnd(stage, number as u32));
    }

    /// A policy asked to be called for this replica at that time.
    pub fn push_wake(&mut self, at: Nanos, replica: Entity) {
        self.push(at, Entry::Wake(replica));
    }

    /// The KV content of the request with this id comes from one replica to another at that time.
    pub fn push_delivery(&mut self, at: Nanos, (from, to, id): (Entity, Entity, u64)) {
        self.deliveries.insert(self.pushed, (from, to, id));
        self.push(at, Entry::Delivered);
    }

    fn push(&mut self, at: Nanos, entry: Entry) {
        self.heap.push(Reverse((at, self.pushed, entry)));
        self.pushed += 1;
    }

    /// When the next event is.
    pub fn next_time(&mut self) -> Option<Nanos> {
        loop {
            let &Reverse((at, number, entry)) = self.heap.peek()?;
            match entry {
                Entry::StageEnd(_, stage) if self.ends[stage as usize] != number => {
                    self.heap.pop();
                }
                _ => return Some(at),
            }
        }
    }

    /// Takes the next event that is due now off the queue.
    pub fn pop_due(&mut self) -> Option<Event> {
        if !self.is_due() {
            return None;
        }
        let Reverse((_, number, entry)) = self.heap.pop()?;
        match entry {
            Entry::StageEnd(stage, _) => Some(Event::StageEnd(stage)),
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

    fn entities(count: usize) -> Vec<Entity> {
        let mut world = World::new();
        (0..count).map(|_| world.spawn_empty().id()).collect()
    }

    #[test]
    fn equal_times_stay_first_in_first_out() {
        let entities = entities(50);
        let mut agenda = Agenda::default();
        for &entity in entities.iter().rev() {
            agenda.push_wake(Nanos(5), entity);
        }
        agenda.push_stage_end(Nanos(4), (entities[0], 0));
        agenda.push_delivery(Nanos(5), (entities[1], entities[2], 7));
        agenda.push_stage_end(Nanos(6), (entities[1], 1));
        assert_eq!(agenda.next_time(), Some(Nanos(4)));
        agenda.advance_to(Nanos(5));
        assert_eq!(agenda.pop_due(), Some(Event::StageEnd(entities[0])));
        for &entity in entities.iter().rev() {
            assert_eq!(agenda.pop_due(), Some(Event::Wake(entity)));
        }
        let delivered = Event::Delivered(entities[1], entities[2], 7);
        assert_eq!(agenda.pop_due(), Some(delivered));
        assert_eq!(agenda.pop_due(), None);
    }

    #[test]
    fn a_stage_ends_once_when_it_was_last_said_to() {
        let entities = entities(2);
        let mut agenda = Agenda::default();
        agenda.push_stage_end(Nanos(9), (entities[0], 0));
        agenda.push_stage_end(Nanos(7), (entities[1], 1));
        agenda.push_stage_end(Nanos(5), (entities[0], 0));
        agenda.advance_to(Nanos(5));
        assert_eq!(agenda.pop_due(), Some(Event::StageEnd(entities[0])));
        assert_eq!(agenda.pop_due(), None);
        agenda.push_stage_end(Nanos(8), (entities[1], 1));
        assert_eq!(agenda.next_time(), Some(Nanos(8)));
        agenda.advance_to(Nanos(8));
        assert!(agenda.is_due());
        assert_eq!(agenda.pop_due(), Some(Event::StageEnd(entities[1])));
        assert_eq!(agenda.next_time(), None);
    }
}
