//! Runs: several iterations of the same decoding requests, launched at once.
//!
//! Between two decisions a batch that only decodes repeats itself: every member gets a token in
//! each iteration. When the policy promises that it would plan the same batch again
//! ([`crate::engine::policy::PlanView::hold_until_change`]), one launch covers all iterations up to
//! the next completion or the point where blocks run out. Every iteration is still priced on its
//! own, and an arrival cuts the run off at the first iteration boundary, so that the result is
//! that of single steps.

use std::borrow::Cow;

use super::Batch;
use crate::base::Nanos;
use crate::engine::policy::Fit;
use crate::engine::state::Replica;
use crate::engine::state::request::Sequence;

/// The longest run. Longer ones gain nothing and would be priced in vain when they are cut off.
const MAX_ITERATIONS: u32 = 512;

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
    /// The growth of a group.
    pub fn of_group(due: &[u32], first: usize) -> Growth<'_> {
        Growth { due: Cow::Borrowed(due), first }
    }

    /// The growth of members whose context in the batch's first iteration was their `processed`
    /// tokens less `since`. `None` if one holds a whole block more than it needs, which this count
    /// cannot see.
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
        let (kv, group) = (&replica.kv, &replica.decoding);
        self.run.until = replica.wake.unwrap_or(Nanos::MAX);
        let to_completion = match self.with_group {
            true => group.to_completion(),
            false => self.members.iter().map(|m| m.target - m.processed).min().unwrap_or(1),
        };
        let most = to_completion.min(hold).min(MAX_ITERATIONS);
        self.run.most = most;
        self.run.grows = fit != Fit::Reserved;
        if most <= 1 || fit == Fit::Reserved {
            return;
        }
        let blocks_each = most / block_size + 1;
        let ample = u64::from(kv.free()) > u64::from(blocks_each) * u64::from(self.size);
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
        let mut free = kv.free();
        for number in 1..most {
            if !growth.fits(number, free, fit, last_room) {
                self.run.most = number;
                return;
            }
            free -= growth.needed(number);
        }
    }
}
