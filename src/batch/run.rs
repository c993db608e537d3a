//! Runs: several iterations of the same decoding requests, launched at once.
//!
//! Between two decisions a batch that only decodes repeats itself: every member gets a token in
//! each iteration. When the policy promises that it would plan the same batch again
//! ([`crate::scheduling::PlanView::hold_until_change`]), one launch covers all iterations up to
//! the next completion or the point where blocks run out. Every iteration is still priced on its
//! own, and an arrival cuts the run off at the first iteration boundary, so that the result is
//! that of single steps.

use super::Batch;
use crate::cluster::Replica;
use crate::request::Sequence;
use crate::scheduling::Fit;
use crate::sim::{Instant, Nanos};
use crate::timing::{BatchShape, StageTime};

/// The longest run. Longer ones gain nothing and would be priced in vain when they are cut off.
const LONGEST: u32 = 512;

/// The iterations of a launched batch.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// How many iterations the launch may cover.
    pub most: u32,
    /// When the policy asked to be woken: the run ends with the first iteration that ends then or
    /// later.
    pub until: Nanos,
    /// Whether members take blocks as they grow; they do not where these were reserved, not even
    /// beyond the reservation (`vidur_lengths`).
    pub grows: bool,
    /// The composition of the last iteration priced so far.
    pub shape: BatchShape,
    /// When each iteration ends. It begins when the one before it ends.
    pub ends: Vec<Instant>,
    /// The parts of each iteration's time, beside the whole; empty while there is nothing but the
    /// whole. A cluster has many runs under way, and most of what is kept of them is this.
    parts: Vec<StageTime>,
}

impl Run {
    /// Number of iterations.
    pub fn iterations(&self) -> u32 {
        self.ends.len() as u32
    }

    /// Whether it goes on beyond the iterations priced so far.
    pub fn goes_on(&self) -> bool {
        self.iterations() < self.most
    }

    /// When the first iteration ends.
    pub fn first_end(&self) -> Nanos {
        self.ends.first().map_or(Nanos::ZERO, |end| end.tick)
    }

    /// When the last iteration begins, if the first begins at `start`.
    pub fn last_start(&self, start: Nanos) -> Nanos {
        match self.ends.as_slice() {
            [.., before, _] => before.tick,
            _ => start,
        }
    }

    /// How long each iteration after the first takes.
    pub fn spans(&self) -> impl Iterator<Item = Nanos> + '_ {
        self.ends.windows(2).map(|ends| ends[1].tick.since(ends[0].tick))
    }

    /// The time of all iterations after the first together.
    pub fn rest(&self) -> StageTime {
        let mut sum = StageTime::default();
        for &part in self.parts.iter().skip(1) {
            sum += part;
        }
        let last = self.ends.last().map_or(Nanos::ZERO, |end| end.tick);
        StageTime { total: last.since(self.first_end()), ..sum }
    }

    /// Cuts the run off at the first boundary at or after `now`. Returns the new end if it is an
    /// earlier one.
    pub fn cut_off(&mut self, now: Nanos) -> Option<Instant> {
        let keep = self.ends.partition_point(|end| end.tick < now) + 1;
        if keep >= self.ends.len() {
            self.most = self.iterations();
            return None;
        }
        self.ends.truncate(keep);
        self.parts.truncate(keep);
        self.most = keep as u32;
        self.ends.last().copied()
    }

    /// Begins a run with the iteration that ends at `end`.
    pub fn begin(&mut self, end: Instant, time: StageTime) {
        self.ends.clear();
        self.parts.clear();
        self.push(end, time);
    }

    /// Adds an iteration that takes `time` and ends at `end`.
    pub fn push(&mut self, end: Instant, time: StageTime) {
        if time.has_parts() || !self.parts.is_empty() {
            self.parts.resize(self.ends.len(), StageTime::default());
            self.parts.push(time);
        }
        self.ends.push(end);
    }
}

/// How many blocks the members of a decoding batch need in the iterations after the first.
#[derive(Debug)]
pub(crate) struct Growth {
    /// By tokens of room left in the last block: how many members.
    pub by_room: Vec<u32>,
    /// Room of the last member in batch order.
    pub last_room: u32,
}

impl Growth {
    /// Of members whose context in the batch's first iteration was their `processed` tokens less
    /// `since`. `None` if one holds a whole block more than it needs, which this count cannot see.
    pub fn of(members: &[Sequence], block_size: u32, since: u32) -> Option<Growth> {
        let mut by_room = vec![0; block_size as usize];
        let mut last_room = 0;
        for member in members {
            let context = member.processed - since;
            last_room = (member.blocks * block_size).checked_sub(context)?;
            *by_room.get_mut(last_room as usize)? += 1;
        }
        Some(Growth { by_room, last_room })
    }

    /// Blocks needed by iteration `number` (the batch's first is 0).
    pub fn needed(&self, number: u32) -> u32 {
        match number.checked_sub(1) {
            None => 0,
            Some(before) => self.by_room[before as usize % self.by_room.len()],
        }
    }

    /// Blocks needed by each iteration after the first.
    pub fn each(&self) -> impl Iterator<Item = u32> {
        self.by_room.iter().copied().cycle()
    }

    /// Whether iteration `number` fits into `free` blocks.
    fn fits(&self, number: u32, free: u32, fit: Fit) -> bool {
        let needed = self.needed(number);
        match fit {
            Fit::Needed => needed <= free,
            // One after the other each finds a spare block, the last one too.
            Fit::SpareBlock => {
                let size = self.by_room.len() as u32;
                let last_needs = number > 0 && (number - 1) % size == self.last_room;
                free > needed - u32::from(last_needs)
            }
            Fit::Reserved => true,
        }
    }
}

impl Batch {
    /// Lets the launch cover as many iterations as neither a completion nor a lack of blocks ends
    /// earlier, at most `hold`, and none that begins after the replica's next wake-up.
    pub(crate) fn allow_run(&mut self, hold: u32, fit: Fit, replica: &Replica, block_size: u32) {
        let (pool, group) = (&replica.pool, &replica.decoding);
        self.run.until = replica.wake.unwrap_or(Nanos::MAX);
        let to_completion = match self.with_group {
            true => group.to_completion(),
            false => self.members.iter().map(|m| m.target - m.processed).min().unwrap_or(1),
        };
        let most = to_completion.min(hold).min(LONGEST);
        self.run.most = most;
        self.run.grows = fit != Fit::Reserved;
        if most <= 1 || fit == Fit::Reserved {
            return;
        }
        let blocks_each = most / block_size + 1;
        let ample = u64::from(pool.free()) > u64::from(blocks_each) * u64::from(self.size);
        if ample && self.with_group && !group.is_irregular() {
            return;
        }
        let growth = match self.with_group {
            true => group.growth(),
            false => Growth::of(&self.members, block_size, 0),
        };
        let Some(growth) = growth else {
            self.run.most = 1;
            return;
        };
        if ample {
            return;
        }
        let mut free = pool.free();
        for number in 1..most {
            if !growth.fits(number, free, fit) {
                self.run.most = number;
                return;
            }
            free -= growth.needed(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ends: &[u64]) -> Run {
        let mut run = Run::default();
        for &end in ends {
            run.push(Instant::at(Nanos(end)), StageTime::default());
        }
        run
    }

    #[test]
    fn an_arrival_cuts_a_run_off_at_the_first_boundary() {
        assert_eq!(run(&[10, 20, 30]).cut_off(Nanos(11)), Some(Instant::at(Nanos(20))));
        assert_eq!(run(&[10, 20, 30]).cut_off(Nanos(20)), Some(Instant::at(Nanos(20))));
        assert_eq!(run(&[10, 20, 30]).cut_off(Nanos(5)), Some(Instant::at(Nanos(10))));
        assert_eq!(run(&[10, 20, 30]).cut_off(Nanos(21)), None, "it is the last one anyway");
        assert_eq!(run(&[10]).cut_off(Nanos(1)), None);
    }
}
