//! A pass as a predictor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::basis::{Cost, TimeBasis};
use super::pass::Pass;
use crate::base::Nanos;
use crate::timing::{BatchShape, Predictor, StagePosition, StageTime, TimingNote};

/// Times of a composed pass and a fixed overhead.
pub(super) struct ComposedPredictor {
    pub(super) pass: Arc<Pass>,
    /// Microseconds per step and stage that the GPU waits for the CPU.
    pub(super) overhead_us: f64,
    pub(super) decode_skew: f64,
    pub(super) note: TimingNote,
    /// Warnings that hold from the start.
    pub(super) mismatches: Vec<String>,
    pub(super) seen: Seen,
}

/// What has been extrapolated so far. Only ever set, so that threads need no order among them.
#[derive(Debug, Default)]
pub(super) struct Seen {
    prefill: AtomicBool,
    decode: AtomicBool,
    communication: AtomicBool,
    rows: AtomicBool,
}

fn remember(flag: &AtomicBool, happened: bool) {
    if happened && !flag.load(Ordering::Relaxed) {
        flag.store(true, Ordering::Relaxed);
    }
}

fn nanos(us: f64) -> Nanos {
    if us > 0.0 { Nanos::from_millis_f64(us * 1e-3) } else { Nanos::ZERO }
}

impl Predictor for ComposedPredictor {
    fn stage_time(&self, batch: &BatchShape, stage: StagePosition) -> StageTime {
        if batch.tokens == 0 {
            return StageTime::default();
        }
        let time = self.pass.time(batch, stage, self.decode_skew);
        let beyond = |cost: Cost| cost.basis == TimeBasis::Extrapolated;
        remember(&self.seen.prefill, beyond(time.prefill));
        remember(&self.seen.decode, beyond(time.decode));
        remember(&self.seen.communication, beyond(time.communication));
        remember(&self.seen.rows, f64::from(batch.tokens) > self.pass.most_rows);
        let us = time.all.total() + self.overhead_us;
        let (total, rest_ns) = Nanos::from_secs_f64_with_rest(us * 1e-6);
        StageTime {
            total,
            rest_ns,
            attention_prefill: nanos(time.prefill.us),
            attention_decode: nanos(time.decode.us),
            communication: nanos(time.communication.us),
            transferred: nanos(time.all.transferred),
            extrapolated: nanos(time.all.extrapolated),
        }
    }

    fn note(&self) -> TimingNote {
        self.note.clone()
    }

    fn warnings(&self) -> Vec<String> {
        let extrapolated = [
            (&self.seen.prefill, "prefill attention of more tokens than were measured"),
            (&self.seen.decode, "decode attention of more requests or context than were measured"),
            (&self.seen.rows, "matrix products of more tokens than were measured"),
            (&self.seen.communication, "messages between GPUs larger than were measured"),
        ];
        let extrapolated = extrapolated
            .into_iter()
            .filter(|(flag, _)| flag.load(Ordering::Relaxed))
            .map(|(_, what)| format!("{what}: extrapolated by work"));
        self.mismatches.iter().cloned().chain(extrapolated).collect()
    }

    fn afresh(&self) -> Option<Arc<dyn Predictor>> {
        Some(Arc::new(ComposedPredictor {
            pass: self.pass.clone(),
            note: self.note.clone(),
            mismatches: self.mismatches.clone(),
            seen: Seen::default(),
            ..*self
        }))
    }
}
