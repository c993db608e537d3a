//! Pricing the iterations of a run.

use crate::base::{Instant, Nanos};
use crate::engine::Engine;
use crate::engine::state::Stage;
use crate::engine::state::batch::Batch;
use crate::timing::{RunBounds, RunPricing, StagePosition};

/// Iterations that are priced at once while an arrival that nobody knows yet may cut the run off:
/// those beyond it are priced in vain, and each further piece of a run is an event.
const PIECE: u32 = 32;

/// Prices the next iterations of a run whose last one so far ends at `end`, until one ends at
/// `stop` or later. Returns when the last one ends.
pub(super) fn price_run(
    batch: &mut Batch,
    mut end: Instant,
    stage: &Stage,
    engine: &Engine,
    stop: Nanos,
) -> Instant {
    let run = &mut batch.run;
    let stop = stop.min(run.until);
    let goal = match engine.replicas.len() {
        1 => run.most,
        _ => run.most.min(run.iterations() + PIECE),
    };
    let left = goal.saturating_sub(run.iterations());
    let position = StagePosition { index: stage.index, count: stage.count };
    let limit = engine.time_limit.unwrap_or(Nanos::MAX);
    let mut pricing = RunPricing::new(run, position, end, RunBounds { left, stop, limit });
    engine.pool(stage.pool).predictor.price_run(&mut pricing);
    end = pricing.end();
    if run.iterations() < goal || end.tick >= stop {
        run.most = run.iterations();
    }
    end
}
