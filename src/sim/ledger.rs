//! Counts of the whole cluster, their integrals over time, and the run's totals.

use bevy_ecs::prelude::*;

use super::Nanos;
use crate::metrics::{BatchRecord, RequestRecord, RunTotals};

/// Current counts over all replicas. Whoever moves a block or a request keeps them true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// KV blocks held.
    pub allocated: u64,
    /// KV tokens held by requests that have not ended.
    pub used: u64,
    /// Requests that were admitted and have not ended.
    pub running: u64,
    /// Requests in waiting queues.
    pub waiting: u64,
}

/// The books of a run.
#[derive(Resource, Default, Debug)]
pub(crate) struct Ledger {
    pub counts: Counts,
    pub totals: RunTotals,
    /// Number of batches planned so far; the next batch's id.
    pub planned: u64,
    /// Rolling hash over everything that was planned and when it ended.
    pub digest: u64,
    last: Nanos,
}

impl Ledger {
    /// Adds the time since the last step to the integrals, with the counts as they were.
    fn advance(&mut self, now: Nanos) {
        let span = u128::from(now.since(self.last).0);
        self.last = now;
        self.totals.kv_allocated_integral += span * u128::from(self.counts.allocated);
        self.totals.kv_used_integral += span * u128::from(self.counts.used);
        self.totals.running_integral += span * u128::from(self.counts.running);
        self.totals.waiting_integral += span * u128::from(self.counts.waiting);
    }

    /// Updates the peaks at the end of a step.
    fn note_peaks(&mut self) {
        let totals = &mut self.totals;
        totals.kv_allocated_peak = totals.kv_allocated_peak.max(self.counts.allocated);
        totals.running_peak = totals.running_peak.max(self.counts.running);
        totals.waiting_peak = totals.waiting_peak.max(self.counts.waiting);
    }

    /// Mixes `value` into the rolling hash (FNV-1a over words).
    pub fn digest(&mut self, value: u64) {
        self.digest = (self.digest ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }
}

/// Records of this step that the driver hands to the sink.
#[derive(Resource, Default, Debug)]
pub(crate) struct Outbox {
    pub requests: Vec<RequestRecord>,
    pub batches: Vec<BatchRecord>,
}

/// Clock phase: integrates the counts up to now.
pub(crate) fn integrate(clock: Res<super::Clock>, mut ledger: ResMut<Ledger>) {
    ledger.advance(clock.now());
}

/// Observe phase: notes the counts' peaks.
pub(crate) fn note_peaks(mut ledger: ResMut<Ledger>) {
    ledger.note_peaks();
}
