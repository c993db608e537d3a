//! Pricing the iterations of a run: the same requests decode again and again.

use super::{BatchShape, Run, StagePosition, StageTime};
use crate::base::{Instant, Nanos};

/// Iterations for which there is a place before they are priced.
const PLACES: u32 = 32;

/// Iterations of one batch that are priced one after the other. In each, every request has one
/// token more in its context than in the one before; there are no prompts and no drafts. A
/// predictor is handed it by [`super::Predictor::price_run`].
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

/// Which iterations of a run are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunBounds {
    /// How many at most.
    pub left: u32,
    /// None that begins then or later.
    pub stop: Nanos,
    /// None that ends after this.
    pub limit: Nanos,
}

impl<'a> RunPricing<'a> {
    /// Prices the iterations after the last one of `run`, which ends at `end`, within these bounds.
    pub(crate) fn new(
        run: &'a mut Run,
        stage: StagePosition,
        end: Instant,
        bounds: RunBounds,
    ) -> RunPricing<'a> {
        let RunBounds { left, stop, limit } = bounds;
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

    /// The times of the batch that [`RunPricing::next_batch`] gave last and of those that follow
    /// it, one after the other, as many as are wanted: times of which only the whole is known, as
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

    /// The time of the batch that [`RunPricing::next_batch`] gave last, if it is exactly the time
    /// of `iterations` iterations, of which that batch is the first. Not more are taken than are
    /// wanted.
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

    /// Adds an iteration that takes `time`, unless it would end after the limit; then it is the
    /// last one asked for.
    #[inline(always)]
    fn add(&mut self, time: &StageTime) -> bool {
        let next = self.end.after(time.total, time.rest_ns);
        // Whoever takes more than was asked for changes nothing.
        if next.tick > self.limit || self.left == 0 {
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, LazyLock};

    use proptest::prelude::*;

    use super::*;
    use crate::hardware::model::find;
    use crate::hardware::{Parallelism, find_device};
    use crate::timing::{
        FormulaSettings, MeasuredSettings, Predictor, SharedTables, TimingContext, TimingSettings,
    };

    static PREDICTORS: LazyLock<[Arc<dyn Predictor>; 2]> = LazyLock::new(|| {
        let context = TimingContext {
            model: find("Llama-2-7B").unwrap(),
            device: find_device("a100").unwrap(),
            parallel: Parallelism::default(),
            block_size: 16,
            network: None,
            step_overhead_ms: 0.0,
            base_dir: Path::new("."),
            tables: &SharedTables::default(),
        };
        let formula = FormulaSettings { base: 0.005, per_token: 2.5e-5, per_context: 1e-8 };
        [formula.build(&context).unwrap(), MeasuredSettings::default().build(&context).unwrap()]
    });

    const STAGE: StagePosition = StagePosition { index: 0, count: 1 };

    /// A run that began with `shape`.
    fn begun(predictor: &dyn Predictor, shape: &BatchShape, start: Instant) -> (Run, Instant) {
        let time = predictor.stage_time(shape, STAGE);
        let end = start.after(time.total, time.rest_ns);
        let mut run = Run::default();
        run.shape.clone_from(shape);
        run.begin(end, time);
        (run, end)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        /// Ends, remains below a nanosecond, sums of parts and the shape to go on with are those of
        /// iterations that are priced one by one, wherever the run stops or is cut off.
        #[test]
        fn a_run_is_priced_as_its_iterations_are(
            contexts in prop::collection::vec(1..4_500_u32, 1..140),
            left in 0..100_u32,
            stop in 0..700_000_000_u64,
            limit in prop_oneof![Just(u64::MAX), 0..700_000_000_u64],
            start in (0..50_000_000_u64, -0.5..0.5_f64),
            pieces in 1..4_u32,
            cut in 0..700_000_000_u64,
        ) {
            let shape = BatchShape::of(&[], &contexts);
            let start = Instant { tick: Nanos(start.0), rest_ns: start.1 };
            for predictor in PREDICTORS.iter() {
                let (mut run, mut end) = begun(&**predictor, &shape, start);
                for _ in 0..pieces {
                    let bounds = RunBounds { left, stop: Nanos(stop), limit: Nanos(limit) };
                    let mut pricing = RunPricing::new(&mut run, STAGE, end, bounds);
                    predictor.price_run(&mut pricing);
                    end = pricing.end();
                }
                let (mut single, mut now) = begun(&**predictor, &shape, start);
                let mut times = Vec::new();
                while times.len() < (pieces * left) as usize && now.tick < Nanos(stop) {
                    single.shape.next_decodes(1);
                    let time = predictor.stage_time(&single.shape, STAGE);
                    let next = now.after(time.total, time.rest_ns);
                    if next.tick > Nanos(limit) {
                        break;
                    }
                    now = next;
                    single.ends.push(next);
                    times.push(time);
                }
                prop_assert_eq!(&run.ends, &single.ends);
                prop_assert_eq!(end, now);
                let sum = |times: &[StageTime], ends: &[Instant]| {
                    let mut sum = StageTime::default();
                    times.iter().for_each(|&time| sum += time);
                    let last = ends.last().map_or(Nanos::ZERO, |end| end.tick);
                    StageTime { total: last.since(ends[0].tick), rest_ns: 0.0, ..sum }
                };
                prop_assert_eq!(run.rest(), sum(&times, &single.ends));
                if run.ends.len() == 1 + (pieces * left) as usize && left > 0 {
                    let shape = run.shape.clone();
                    prop_assert_eq!(shape, single.shape);
                }
                if run.cut_off(Nanos(cut)).is_some() {
                    let kept = run.ends.len();
                    prop_assert_eq!(&run.ends[..], &single.ends[..kept]);
                    prop_assert_eq!(run.rest(), sum(&times[..kept - 1], &single.ends[..kept]));
                }
            }
        }
    }
}
