//! The time series: counts at the multiples of an interval, and what happened between them.
//!
//! Counts change in steps and a run of iterations is one step, so nothing is sampled while time
//! passes. When a step comes, the multiples since the step before it get the counts as they were
//! ([`Series::sample`]); when a run is committed, what it held beyond the counts is added to the
//! multiples within its iterations ([`Series::add_held`]), as it is to the integrals. Single steps
//! give the same.

use super::Counts;
use crate::base::Nanos;
use crate::records::IntervalRecord;

/// Rows that may gather before those that are final are handed on.
const MANY: usize = 65_536;

/// The most rows of a series: a file of about half a gigabyte.
pub const MAX_ROWS: u64 = 10_000_000;

/// Rows of a series that shows all there is to see.
pub const USUAL_ROWS: u64 = 10_000;

/// An interval of 1, 2 or 5 times a power of ten, in seconds, that gives at most so many rows until
/// `time`.
pub fn interval_for(time: Nanos, rows: u64) -> f64 {
    let least = (time.as_secs_f64() / rows as f64).max(0.001);
    let power = 10_f64.powf(least.log10().floor());
    let nice = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power);
    let interval = nice.into_iter().find(|&interval| interval >= least).unwrap_or(least);
    // Powers of ten below 1 are not exact.
    (interval * 1e6).round() / 1e6
}

/// The rows that are not handed on yet.
#[derive(Debug)]
pub(crate) struct Series {
    interval: u64,
    /// Consecutive intervals.
    rows: Vec<IntervalRecord>,
    /// Number of the interval of the first row.
    first: u64,
    /// The next multiple that has no sample, in nanoseconds.
    next: u64,
    /// The interval of the last event, in nanoseconds (beginning excluded, end included), and its
    /// row: events come in clusters.
    last: (u64, u64, usize),
    /// How many rows there must be before it is worth looking for final ones.
    many: usize,
}

impl Series {
    /// With samples at the multiples of `interval`, which is not 0.
    pub fn new(interval: Nanos) -> Series {
        let interval = interval.0.max(1);
        Series { interval, rows: Vec::new(), first: 0, next: interval, last: (0, 0, 0), many: MANY }
    }

    /// The row of the interval that ends at the multiple `end`.
    fn row(&mut self, end: u64) -> &mut IntervalRecord {
        let index = (end / self.interval - 1 - self.first) as usize;
        while self.rows.len() <= index {
            let number = self.first + self.rows.len() as u64 + 1;
            let time = Nanos(number.saturating_mul(self.interval));
            self.rows.push(IntervalRecord { time, ..IntervalRecord::default() });
        }
        &mut self.rows[index]
    }

    /// The row of what happens at `time`.
    fn at(&mut self, time: Nanos) -> &mut IntervalRecord {
        let (after, until, index) = self.last;
        if after < time.0 && time.0 <= until {
            return &mut self.rows[index];
        }
        // What happens at 0 belongs to the first interval.
        let end = time.0.max(1).div_ceil(self.interval) * self.interval;
        self.row(end);
        let index = (end / self.interval - 1 - self.first) as usize;
        self.last = (end - self.interval, end, index);
        &mut self.rows[index]
    }

    /// The counts have been `counts` from the step before until `now`.
    pub fn sample(&mut self, now: Nanos, counts: &Counts) {
        while self.next < now.0 {
            let end = self.next;
            let row = self.row(end);
            row.running = counts.running;
            row.waiting = counts.waiting;
            row.kv_allocated = counts.allocated;
            row.kv_used = counts.used;
            self.next = end.saturating_add(self.interval);
        }
    }

    /// From `start` until `end`, which are over, more was held than the counts said.
    pub fn add_held(&mut self, start: Nanos, end: Nanos, tokens: u64, blocks: u64) {
        let (after, until, _) = self.last;
        if after < start.0 && end.0 <= until {
            return;
        }
        let mut multiple = start.0.max(1).div_ceil(self.interval) * self.interval;
        while multiple < end.0 {
            let row = self.row(multiple);
            row.kv_used += tokens;
            row.kv_allocated += blocks;
            multiple += self.interval;
        }
    }

    /// An iteration that ended at `end` processed so many tokens of prompts and of decoding
    /// requests.
    pub fn iteration(&mut self, end: Nanos, prompt_tokens: u64, decodes: u64) {
        let row = self.at(end);
        row.prompt_tokens += prompt_tokens;
        row.output_tokens += decodes;
    }

    /// A step of a decoding request made so many tokens more than one (speculative decoding).
    pub fn more_tokens(&mut self, time: Nanos, tokens: u64) {
        self.at(time).output_tokens += tokens;
    }

    /// A prompt was complete and produced a token.
    pub fn first_token(&mut self, time: Nanos) {
        self.at(time).output_tokens += 1;
    }

    /// A request finished.
    pub fn finished(&mut self, time: Nanos) {
        self.at(time).finished += 1;
    }

    /// Rows until `now`, those that are handed on included.
    pub fn rows_until(&self, now: Nanos) -> u64 {
        now.0 / self.interval
    }

    /// A time to sample until first, where there would be too many rows at once until `now`.
    pub fn first_part(&self, now: Nanos) -> Option<Nanos> {
        let until = self.next.saturating_add(self.interval.saturating_mul(MANY as u64));
        (until < now.0).then_some(Nanos(until))
    }

    /// Whether there are so many rows that those which are final should go.
    pub fn is_long(&self) -> bool {
        self.rows.len() >= self.many
    }

    /// Takes out the rows of all intervals that end before `time`: nothing in them changes any
    /// more.
    pub fn take_before(&mut self, time: Nanos) -> Vec<IntervalRecord> {
        let final_until = time.0.min(self.next);
        let count = self.rows.partition_point(|row| row.time.0 < final_until);
        let taken = self.rows.drain(..count).collect();
        self.first += count as u64;
        self.last = (0, 0, 0);
        self.many = MANY + 2 * self.rows.len();
        taken
    }

    /// Takes out the rest, up to the interval in which the run ended; `counts` are what is left.
    pub fn take_rest(&mut self, end: Nanos, counts: &Counts) -> Vec<IntervalRecord> {
        if end > Nanos::ZERO {
            let last = end.0.div_ceil(self.interval) * self.interval;
            self.sample(Nanos(last.saturating_add(1)), counts);
            self.rows.retain(|row| row.time.0 <= last);
        }
        std::mem::take(&mut self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(used: u64) -> Counts {
        Counts { allocated: used / 10, used, running: 1, waiting: 0 }
    }

    #[test]
    fn a_run_is_sampled_like_its_iterations() {
        // Iterations of 4 ns from 0 to 20; each holds one token more. Samples every 5 ns.
        let mut steps = Series::new(Nanos(5));
        for number in 0..5 {
            let end = Nanos(4 * number + 4);
            steps.sample(end, &counts(100 + number));
            steps.iteration(end, 0, 1);
        }
        let mut run = Series::new(Nanos(5));
        run.sample(Nanos(20), &counts(100));
        run.iteration(Nanos(4), 0, 1);
        for number in 1..5 {
            let (start, end) = (Nanos(4 * number), Nanos(4 * number + 4));
            run.iteration(end, 0, 1);
            run.add_held(start, end, number, 0);
        }
        let (a, b) = (steps.take_rest(Nanos(20), &counts(7)), run.take_rest(Nanos(20), &counts(7)));
        assert_eq!(a, b);
        let used: Vec<u64> = a.iter().map(|row| row.kv_used).collect();
        // At 20 the last iteration has ended.
        assert_eq!(used, [101, 102, 103, 7]);
        let tokens: Vec<u64> = a.iter().map(|row| row.output_tokens).collect();
        assert_eq!(tokens, [1, 1, 1, 2]);
    }

    #[test]
    fn an_interval_that_will_do_is_a_round_number() {
        let interval = |seconds: f64| interval_for(Nanos::from_secs_f64(seconds), 10_000);
        assert_eq!(
            [5.0, 10.0, 12.0, 3600.0, 1e4, 1e9].map(interval),
            [0.001, 0.001, 0.002, 0.5, 1.0, 1e5]
        );
    }

    #[test]
    fn a_long_gap_is_sampled_in_parts() {
        let mut series = Series::new(Nanos(3));
        let end = Nanos(3 * (2 * MANY as u64 + 100));
        let (mut rows, mut parts) = (0, 0);
        while let Some(until) = series.first_part(end) {
            series.sample(until, &counts(7));
            let taken = series.take_before(Nanos::MAX);
            assert!(taken.len() <= MANY + 1 && taken.iter().all(|row| row.kv_used == 7));
            (rows, parts) = (rows + taken.len() as u64, parts + 1);
        }
        rows += series.take_rest(end, &counts(7)).len() as u64;
        assert_eq!((rows, parts), (series.rows_until(end), 2));
    }

    #[test]
    fn final_rows_can_go_at_any_time() {
        let mut whole = Series::new(Nanos(3));
        let mut parts = Series::new(Nanos(3));
        let mut rows = Vec::new();
        for step in 1..50_u64 {
            for series in [&mut whole, &mut parts] {
                series.sample(Nanos(step * 2), &counts(step));
                series.iteration(Nanos(step * 2), step, 1);
            }
            rows.extend(parts.take_before(Nanos(step * 2 - 1)));
        }
        rows.extend(parts.take_rest(Nanos(98), &counts(0)));
        assert_eq!(rows, whole.take_rest(Nanos(98), &counts(0)));
        assert_eq!(rows.len(), 33);
    }
}
