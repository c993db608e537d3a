//! The clock and the queue of future events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bevy_ecs::prelude::*;

use crate::base::Nanos;

/// Something that will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The batch that runs on this stage ends.
    StageEnd(Entity),
    /// A policy asked to be called for this replica.
    Wake(Entity),
    /// KV content has come from one replica to another.
    Delivered(Delivery),
}

/// KV content that travels from one replica to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The replica that sends it.
    pub from: Entity,
    /// The replica that goes on with the request.
    pub to: Entity,
    /// The request's id.
    pub id: u64,
}

/// When an event is, the number of its push, and the number of the stage if it is a stage's end, in
/// this order of significance: the earliest event has the least one, of equally early ones that
/// which was pushed first. One number, since a heap compares and moves its entries again and again.
type Rank = u128;

/// Bits of a [`Rank`] for the number of a stage. The 40 above them number more pushes than any run
/// makes.
const STAGE_BITS: u32 = 24;

/// In their place, of an event that is no stage's end.
const NO_STAGE: u32 = (1 << STAGE_BITS) - 1;

/// Most stages of a cluster.
pub(crate) const MAX_STAGES: u64 = NO_STAGE as u64;

/// The clock and the future events, first in first out at equal times. Arrivals are not among
/// them: they are a stream that is looked at one ahead.
#[derive(Default, Debug)]
pub(crate) struct EventQueue {
    now: Nanos,
    /// Whether this step is not the first one at this time.
    again: bool,
    heap: BinaryHeap<Reverse<Rank>>,
    pushed: u64,
    /// By the number of a stage: its entity, and its next end. Ends that were pushed before and are
    /// still in the queue do not count: a run was cut off since.
    stages: Vec<(Entity, Rank)>,
    /// All other events.
    others: BTreeMap<Rank, Event>,
}

impl EventQueue {
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

    /// The batch that runs on a stage with this number in the cluster ends at that time, and not
    /// when it would have ended before.
    pub fn push_stage_end(&mut self, at: Nanos, stage: Entity, number: u32) {
        let rank = self.push(at, number);
        let index = number as usize;
        if self.stages.len() <= index {
            self.stages.resize(index + 1, (Entity::PLACEHOLDER, 0));
        }
        self.stages[index] = (stage, rank);
    }

    /// A policy asked to be called for this replica at that time.
    pub fn push_wake(&mut self, at: Nanos, replica: Entity) {
        let rank = self.push(at, NO_STAGE);
        self.others.insert(rank, Event::Wake(replica));
    }

    /// KV content comes from one replica to another at that time.
    pub fn push_delivery(&mut self, at: Nanos, delivery: Delivery) {
        let rank = self.push(at, NO_STAGE);
        self.others.insert(rank, Event::Delivered(delivery));
    }

    fn push(&mut self, at: Nanos, stage: u32) -> Rank {
        let below = self.pushed << STAGE_BITS | u64::from(stage);
        let rank = Rank::from(at.0) << 64 | Rank::from(below);
        self.pushed += 1;
        self.heap.push(Reverse(rank));
        rank
    }

    /// When the next event is.
    pub fn next_time(&mut self) -> Option<Nanos> {
        loop {
            let &Reverse(rank) = self.heap.peek()?;
            match stage_of(rank) {
                NO_STAGE => {}
                stage if self.stages[stage as usize].1 == rank => {}
                _ => {
                    self.heap.pop();
                    continue;
                }
            }
            return Some(Nanos((rank >> 64) as u64));
        }
    }

    /// Takes the next event that is due now off the queue.
    pub fn pop_due(&mut self) -> Option<Event> {
        if !self.is_due() {
            return None;
        }
        let Reverse(rank) = self.heap.pop()?;
        match stage_of(rank) {
            NO_STAGE => self.others.remove(&rank),
            stage => Some(Event::StageEnd(self.stages[stage as usize].0)),
        }
    }
}

fn stage_of(rank: Rank) -> u32 {
    rank as u32 & NO_STAGE
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
        let mut queue = EventQueue::default();
        for &entity in entities.iter().rev() {
            queue.push_wake(Nanos(5), entity);
        }
        queue.push_stage_end(Nanos(4), entities[0], 0);
        let delivery = Delivery { from: entities[1], to: entities[2], id: 7 };
        queue.push_delivery(Nanos(5), delivery);
        queue.push_stage_end(Nanos(6), entities[1], 1);
        assert_eq!(queue.next_time(), Some(Nanos(4)));
        queue.advance_to(Nanos(5));
        assert_eq!(queue.pop_due(), Some(Event::StageEnd(entities[0])));
        for &entity in entities.iter().rev() {
            assert_eq!(queue.pop_due(), Some(Event::Wake(entity)));
        }
        assert_eq!(queue.pop_due(), Some(Event::Delivered(delivery)));
        assert_eq!(queue.pop_due(), None);
    }

    #[test]
    fn a_stage_ends_once_when_it_was_last_said_to() {
        let entities = entities(2);
        let mut queue = EventQueue::default();
        queue.push_stage_end(Nanos(9), entities[0], 0);
        queue.push_stage_end(Nanos(7), entities[1], 1);
        queue.push_stage_end(Nanos(5), entities[0], 0);
        queue.advance_to(Nanos(5));
        assert_eq!(queue.pop_due(), Some(Event::StageEnd(entities[0])));
        assert_eq!(queue.pop_due(), None);
        queue.push_stage_end(Nanos(8), entities[1], 1);
        assert_eq!(queue.next_time(), Some(Nanos(8)));
        queue.advance_to(Nanos(8));
        assert!(queue.is_due());
        assert_eq!(queue.pop_due(), Some(Event::StageEnd(entities[1])));
        assert_eq!(queue.next_time(), None);
    }
}
