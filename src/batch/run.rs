//! Runs: several iterations of the same decoding requests, launched at once.
//!
//! Between two decisions a batch that only decodes repeats itself: every member gets a token in
//! each iteration. When the policy promises that it would plan the same batch again
//! ([`crate::scheduling::PlanView::hold_until_change`]), one launch covers all iterations up to
//! the next completion or the point where blocks run out. Every iteration is still priced on its
//! own, and an arrival cuts the run off at the first iteration boundary, so that the result is
//! that of single steps.

use std::borrow::Cow;

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
    /// The time of the first iteration on its stage.
    first: StageTime,
    /// When each iteration ends. It begins when the one before it ends.
    pub ends: Vec<Instant>,
    /// The parts of the iterations' times, beside the whole; empty while there is nothing but the whole.
    parts: Vec<Parts>,
}

/// The parts of the time of iterations that follow each other and do not differ in it. Many do not: a
/// kernel was measured at some lengths only.
#[derive(Debug)]
struct Parts {
    /// Of one iteration; the whole is in `Run::ends`.
    time: StageTime,
    /// Number of the first iteration behind them, counted from 0.
    until: u32,
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

    /// How long the first iteration takes on its stage.
    pub fn first_time(&self) -> StageTime {
        self.first
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
        let mut from = 1;
        for Parts { time, until } in &self.parts {
            if let Some(iterations) = until.checked_sub(from) {
                sum.add_times(time, u64::from(iterations));
                from = *until;
            }
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
        self.most = keep as u32;
        let whole = self.parts.partition_point(|parts| parts.until < self.most);
        self.parts.truncate(whole + 1);
        if let Some(last) = self.parts.last_mut() {
            last.until = last.until.min(self.most);
        }
        self.ends.last().copied()
    }

    /// Begins a run with the iteration that ends at `end`.
    pub fn begin(&mut self, end: Instant, time: StageTime) {
        self.ends.clear();
        self.parts.clear();
        self.first = time;
        self.ends.push(end);
        self.note_parts(&time);
    }

    /// The iterations that were added since the last call have these parts of their times each.
    #[inline]
    pub fn note_parts(&mut self, time: &StageTime) {
        if self.parts.is_empty() && !time.has_parts() {
            return;
        }
        let until = self.iterations();
        match self.parts.last_mut() {
            Some(last) if last.time.has_parts_of(time) => last.until = until,
            _ => self.parts.push(Parts { time: *time, until }),
        }
    }
}

/// How many blocks the members of a decoding batch need in the iterations after the first.
#[derive(Debug)]
pub(crate) struct Growth<'a> {
    /// How many members need one in an iteration, again after as many iterations as a block has
    /// tokens.
    due: Cow<'a, [u32]>,
    /// Index of the iteration after the first.
    first: usize,
}

impl Growth<'_> {
    /// Of a group.
    pub fn of_group(due: &[u32], first: usize) -> Growth<'_> {
        Growth { due: Cow::Borrowed(due), first }
    }

    /// Of members whose context in the batch's first iteration was their `processed` tokens less
    /// `since`. `None` if one holds a whole block more than it needs, which this count cannot see.
    pub fn of(members: &[Sequence], block_size: u32, since: u32) -> Option<Growth<'static>> {
        let mut due = vec![0; block_size as usize];
        for member in members {
            let context = member.processed - since;
            let room = (member.blocks * block_size).checked_sub(context)?;
            *due.get_mut(room as usize)? += 1;
        }
        Some(Growth { due: Cow::Owned(due), first: 0 })
    }

    /// Blocks needed by iteration `number` (the batch's first is 0).
    pub fn needed(&self, number: u32) -> u32 {
        match number.checked_sub(1) {
            None => 0,
            Some(before) => self.due[(self.first + before as usize) % self.due.len()],
        }
    }

    /// No blocks at all.
    pub fn none<'a>() -> Growth<'a> {
        Growth { due: Cow::Borrowed(&[0]), first: 0 }
    }

    /// Blocks needed by each iteration after the first.
    pub fn each(&self) -> impl Iterator<Item = u32> {
        let mut next = self.first;
        std::iter::repeat_with(move || {
            let needed = self.due[next];
            next += 1;
            if next == self.due.len() {
                next = 0;
            }
            needed
        })
    }

    /// Whether iteration `number` fits into `free` blocks.
    /// `last_room` is the room of the last member in batch order.
    fn fits(&self, number: u32, free: u32, fit: Fit, last_room: u32) -> bool {
        let needed = self.needed(number);
        match fit {
            Fit::Needed => needed <= free,
            // One after the other each finds a spare block, the last one too.
            Fit::SpareBlock => {
                let size = self.due.len() as u32;
                let last_needs = number > 0 && (number - 1) % size == last_room;
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
        let last_room = match self.with_group {
            true => group.last_room(),
            false => {
                self.members.last().and_then(|m| (m.blocks * block_size).checked_sub(m.processed))
            }
        };
        let Some(last_room) = last_room else { return self.run.most = 1 };
        let mut free = pool.free();
        for number in 1..most {
            if !growth.fits(number, free, fit, last_room) {
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
        let ends = ends.iter().map(|&end| Instant::at(Nanos(end))).collect();
        Run { ends, ..Run::default() }
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
