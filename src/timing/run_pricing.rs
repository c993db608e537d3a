//! Pricing the iterations of a run: the same requests decode again and again.

use super::{BatchShape, StagePosition, StageTime};
use crate::batch::Run;
use crate::sim::{Instant, Nanos};

/// Iterations for which there is a place before they are priced.
const PLACES: u32 = 32;

/// Iterations of one batch that are priced one after the other. In each, every request has one token
/// more in its context than in the one before; there are no prompts and no drafts. A predictor is
/// handed it by [`super::Predictor::price_run`].
pub struct RunPricing<'a> {
    run: &'a mut Run,
    stage: StagePosition,
    /// When the last priced iteration ends.
    end: Instant,
    /// How many more are wanted.
    left: u32,
    /// None is wanted that begins then or later.
    stop: Nanos,
    /// None is wanted that ends after this.
    limit: Nanos,
}

impl<'a> RunPricing<'a> {
    /// Of the iterations after the last one of `run`, which ends at `end`: at most `left`, none that
    /// begins at `stop` or later or ends after `limit`.
    pub(crate) fn new(
        run: &'a mut Run,
        stage: StagePosition,
        (end, stop, limit): (Instant, Nanos, Nanos),
        left: u32,
    ) -> RunPricing<'a> {
        RunPricing { run, stage, end, left, stop, limit }
    }

    /// The stage that they run on.
    pub fn stage(&self) -> StagePosition {
        self.stage
    }

    /// The batch of the next iteration, if another one is wanted.
    #[inline]
    pub fn next_batch(&mut self) -> Option<&BatchShape> {
        if !self.goes_on() {
            return None;
        }
        self.run.shape.next_decodes(1);
        Some(&self.run.shape)
    }

    /// The time of the batch that [`RunPricing::next_batch`] gave last.
    #[inline(always)] // a call would cost as much as the rest of an iteration
    pub fn take(&mut self, time: StageTime) {
        if self.add(&time) {
            self.run.note_parts(&time);
        }
    }

    /// The times of the batch that [`RunPricing::next_batch`] gave last and of those that follow it, one
    /// after the other, as many as are wanted: times of which only the whole is known, as
    /// [`Nanos::from_secs_f64_with_rest`] gives them.
    #[inline(always)] // as `take`
    pub fn take_each(&mut self, mut time: impl FnMut() -> (Nanos, f64)) {
        let before = self.run.iterations();
        let (mut end, mut left, stop, limit) = (self.end, self.left, self.stop, self.limit);
        let ends = &mut self.run.ends;
        while left > 0 && end.tick < stop {
            // Places for a few at once, so that the loop does nothing but price.
            let from = ends.len();
            ends.resize(from + left.min(PLACES) as usize, end);
            let mut filled = 0;
            for place in &mut ends[from..] {
                let (total, rest_ns) = time();
                let next = end.after(total, rest_ns);
                if next.tick > limit {
                    left = filled;
                    break;
                }
                (*place, end) = (next, next);
                filled += 1;
                if end.tick >= stop {
                    break;
                }
            }
            ends.truncate(from + filled as usize);
            left -= filled;
        }
        (self.end, self.left) = (end, left);
        let taken = self.run.iterations() - before;
        self.run.shape.next_decodes(taken.saturating_sub(1));
        self.run.note_parts(&StageTime::default());
    }

    /// The time of the batch that [`RunPricing::next_batch`] gave last, if it is exactly the time of
    /// `iterations` iterations, of which that batch is the first. Not more are taken than are wanted.
    pub fn take_for(&mut self, time: StageTime, iterations: u32) {
        if !self.add(&time) {
            return;
        }
        let mut more = 0;
        while more + 1 < iterations && self.goes_on() && self.add(&time) {
            more += 1;
        }
        self.run.shape.next_decodes(more);
        self.run.note_parts(&time);
    }

    /// Adds an iteration that takes `time`, unless it would end after the limit; then it is the last one
    /// asked for.
    #[inline(always)]
    fn add(&mut self, time: &StageTime) -> bool {
        let next = self.end.after(time.total, time.rest_ns);
        if next.tick > self.limit {
            self.left = 0;
            return false;
        }
        self.end = next;
        self.left -= 1;
        self.run.ends.push(next);
        true
    }

    /// When the last one ends.
    pub(crate) fn end(&self) -> Instant {
        self.end
    }

    #[inline(always)]
    fn goes_on(&self) -> bool {
        self.left > 0 && self.end.tick < self.stop
    }
}
