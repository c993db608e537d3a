//! The priced iterations of a batch that repeats itself.

use super::{BatchShape, StageTime};
use crate::base::{Instant, Nanos};

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
    /// The parts of the iterations' times, beside the whole; empty while there is nothing but the
    /// whole.
    parts: Vec<Parts>,
}

/// The parts of the time of iterations that follow each other and do not differ in it. Many do not:
/// a kernel was measured at some lengths only.
#[derive(Debug)]
struct Parts {
    /// The time of one iteration; the whole is in `Run::ends`.
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

    /// How many iterations of a run of several have ended by `now`.
    pub fn ended_by(&self, now: Nanos) -> u32 {
        match self.iterations() {
            0 | 1 => 0,
            _ => self.ends.partition_point(|end| end.tick <= now) as u32,
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
