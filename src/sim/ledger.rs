//! Counts of the whole cluster, their integrals over time, and the run's totals.

use bevy_ecs::prelude::*;

use super::{Nanos, Series};
use crate::metrics::{BatchRecord, RequestRecord, RunTotals};
use crate::routing::Loads;
use crate::timing::StageTime;

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

impl Counts {
    /// Whether no request is there.
    pub fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting == 0
    }
}

/// The books of a run.
#[derive(Resource, Debug)]
pub(crate) struct Ledger {
    pub counts: Counts,
    pub loads: Loads,
    pub totals: RunTotals,
    /// Number of batches planned so far; the next batch's id.
    pub planned: u64,
    /// Rolling hash over everything that was planned and when it ended.
    pub digest: u64,
    /// Records of this step, for the driver to hand to the sink.
    pub requests: Vec<RequestRecord>,
    pub batches: Vec<BatchRecord>,
    /// The time series, if one is wanted.
    pub series: Option<Series>,
    last: Nanos,
}

impl Ledger {
    pub fn new(replicas: u32) -> Ledger {
        Ledger {
            counts: Counts::default(),
            loads: Loads::new(replicas),
            totals: RunTotals::default(),
            planned: 0,
            digest: 0,
            requests: Vec::new(),
            batches: Vec::new(),
            series: None,
            last: Nanos::ZERO,
        }
    }

    /// Adds the time since the last step to the integrals, with the counts as they were. A count
    /// that held for no time at all is no peak.
    pub fn advance(&mut self, now: Nanos) {
        if now == self.last {
            return;
        }
        self.totals.running_peak = self.totals.running_peak.max(self.counts.running);
        self.totals.waiting_peak = self.totals.waiting_peak.max(self.counts.waiting);
        if let Some(series) = &mut self.series {
            series.sample(now, &self.counts);
        }
        let span = u128::from(now.since(self.last).0);
        self.last = now;
        self.totals.kv_allocated_integral += span * u128::from(self.counts.allocated);
        self.totals.kv_used_integral += span * u128::from(self.counts.used);
        self.totals.running_integral += span * u128::from(self.counts.running);
        self.totals.waiting_integral += span * u128::from(self.counts.waiting);
    }

    /// Adds the time of a batch on a stage.
    pub fn count_busy(&mut self, time: StageTime, with_prefill: bool) {
        let busy = &mut self.totals.busy;
        busy.total += time.total;
        busy.attention_prefill += time.attention_prefill;
        busy.attention_decode += time.attention_decode;
        busy.communication += time.communication;
        busy.transferred += time.transferred;
        busy.extrapolated += time.extrapolated;
        if with_prefill {
            busy.with_prefill += time.total;
        }
    }

    /// Mixes `value` into the rolling hash (FNV-1a over words).
    pub fn digest(&mut self, value: u64) {
        self.digest = (self.digest ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }
}
