//! Counts of the cluster, pool by pool, their integrals over time, and the run's totals.

use super::Series;
use super::events::LifecycleLog;
use crate::base::Nanos;
use crate::engine::routing::PoolLoads;
use crate::records::{BatchRecord, BusyTime, EventRecord, RequestRecord, RunTotals, SteadyWindow};
use crate::timing::StageTime;

/// Current counts over all replicas of a pool. They change in [`Ledger::transition`],
/// [`Ledger::hold`] and [`Ledger::let_go`] only.
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
    fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting == 0
    }
}

/// What is counted of a pool of replicas.
#[derive(Debug, Default)]
pub(crate) struct PoolLedger {
    /// Now.
    pub counts: Counts,
    /// So far.
    pub totals: RunTotals,
}

impl PoolLedger {
    /// Adds the time of a batch on a stage.
    pub fn count_busy(&mut self, time: StageTime, with_prefill: bool) {
        self.totals.busy.add(&busy_time(&time, with_prefill));
    }

    fn integrate(&mut self, span: u128) {
        let (counts, totals) = (&self.counts, &mut self.totals);
        totals.running_peak = totals.running_peak.max(counts.running);
        totals.waiting_peak = totals.waiting_peak.max(counts.waiting);
        totals.kv_allocated_integral += span * u128::from(counts.allocated);
        totals.kv_used_integral += span * u128::from(counts.used);
        totals.running_integral += span * u128::from(counts.running);
        totals.waiting_integral += span * u128::from(counts.waiting);
    }
}

/// What is counted in a run.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// By the index of a pool.
    pub pools: Vec<PoolLedger>,
    pub loads: PoolLoads,
    /// Number of batches planned so far; the next batch's id.
    pub planned: u64,
    /// Rolling hash over everything that was planned and when it ended.
    pub digest: u64,
    /// Records for the driver to hand to the sink.
    pub requests: Vec<RequestRecord>,
    pub batches: Vec<BatchRecord>,
    /// What happened to requests, if the sink wants to know.
    pub events: Option<Vec<EventRecord>>,
    /// The time series, if one is wanted.
    pub series: Option<Series>,
    /// What happened to requests in this step, if someone listens.
    pub log: LifecycleLog,
    now: Nanos,
    /// Most requests running and waiting at once in all pools together.
    peaks: (u64, u64),
    /// The window of all pools together; that of each is in its totals.
    window: Option<SteadyWindow>,
    /// The first count that did not add up.
    fault: Option<String>,
}

impl Ledger {
    /// A ledger of pools with so many replicas.
    pub fn new(replicas: &[u32]) -> Ledger {
        Ledger {
            pools: replicas.iter().map(|_| PoolLedger::default()).collect(),
            loads: PoolLoads::new(replicas),
            planned: 0,
            digest: 0,
            requests: Vec::new(),
            batches: Vec::new(),
            events: None,
            series: None,
            log: LifecycleLog::default(),
            now: Nanos::ZERO,
            peaks: (0, 0),
            window: None,
            fault: None,
        }
    }

    /// From now on counts what happens while requests arrive that the statistics count.
    pub fn watch_window(&mut self) {
        self.window = Some(SteadyWindow::default());
        for pool in &mut self.pools {
            pool.totals.window = self.window;
        }
    }

    /// Tells the windows of a pool and of all together, if they are watched.
    #[inline]
    pub fn window(&mut self, pool: u32, mut tell: impl FnMut(&mut SteadyWindow)) {
        if let Some(all) = &mut self.window {
            tell(all);
            self.pools[pool as usize].totals.window.iter_mut().for_each(tell);
        }
    }

    /// The run ends at `limit`, whatever is under way.
    pub fn stop_at(&mut self, limit: Nanos) {
        self.advance(limit);
        for pool in &mut self.pools {
            pool.totals.end = limit;
        }
    }

    /// The pool of this index.
    #[inline]
    pub fn pool(&mut self, index: u32) -> &mut PoolLedger {
        &mut self.pools[index as usize]
    }

    /// The counts of a pool.
    #[inline]
    pub fn counts(&mut self, pool: u32) -> &mut Counts {
        &mut self.pool(pool).counts
    }

    /// The totals of a pool.
    #[inline]
    pub fn totals(&mut self, pool: u32) -> &mut RunTotals {
        &mut self.pool(pool).totals
    }

    /// The time of this step.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Replicas of a pool hold so many KV blocks and tokens more.
    #[inline]
    pub fn hold(&mut self, pool: u32, blocks: u32, tokens: u32) {
        let counts = self.counts(pool);
        counts.allocated += u64::from(blocks);
        counts.used += u64::from(tokens);
    }

    /// Replicas of a pool hold so many KV blocks and tokens less.
    #[inline]
    pub fn let_go(&mut self, pool: u32, blocks: u32, tokens: u32) {
        let counts = &mut self.pools[pool as usize].counts;
        let allocated = counts.allocated.checked_sub(blocks.into());
        let used = counts.used.checked_sub(tokens.into());
        match (allocated, used) {
            (Some(allocated), Some(used)) => (counts.allocated, counts.used) = (allocated, used),
            _ => {
                let Counts { allocated, used, .. } = *counts;
                self.note_fault(|| {
                    format!(
                        "{blocks} KV blocks and {tokens} tokens are given back, \
                         but pool {pool} holds {allocated} and {used}"
                    )
                });
            }
        }
    }

    /// Notes that something does not add up: the run ends with the first such message.
    #[cold]
    pub fn note_fault(&mut self, message: impl FnOnce() -> String) {
        self.fault.get_or_insert_with(message);
    }

    /// The first thing that did not add up.
    #[inline]
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// The counts of all pools together.
    pub fn counts_of_all(&self) -> Counts {
        let mut sum = Counts::default();
        for PoolLedger { counts, .. } in &self.pools {
            sum.allocated += counts.allocated;
            sum.used += counts.used;
            sum.running += counts.running;
            sum.waiting += counts.waiting;
        }
        sum
    }

    /// Whether no request is anywhere.
    pub fn is_idle(&self) -> bool {
        self.pools.iter().all(|pool| pool.counts.is_idle())
    }

    /// Begins a step: adds the time since the last one to the integrals, with the counts as they
    /// were. A count that held for no time at all is no peak.
    pub fn advance(&mut self, now: Nanos) {
        if now == self.now {
            return;
        }
        if self.series.is_some() {
            let counts = self.counts_of_all();
            if let Some(series) = &mut self.series {
                series.sample(now, &counts);
            }
        }
        let span = u128::from(now.since(self.now).0);
        self.now = now;
        for pool in &mut self.pools {
            pool.integrate(span);
        }
        if self.pools.len() > 1 {
            let Counts { running, waiting, .. } = self.counts_of_all();
            self.peaks = (self.peaks.0.max(running), self.peaks.1.max(waiting));
        }
    }

    /// Mixes `value` into the rolling hash (FNV-1a over words).
    pub fn digest(&mut self, value: u64) {
        self.digest = (self.digest ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }

    /// The latest end of any pool.
    pub fn end_of_all(&self) -> Nanos {
        self.pools.iter().map(|pool| pool.totals.end).max().unwrap_or(Nanos::ZERO)
    }

    /// The totals of each pool.
    pub fn totals_by_pool(&self) -> Vec<RunTotals> {
        self.pools.iter().map(|pool| pool.totals.clone()).collect()
    }

    /// The totals of all pools together.
    pub fn totals_of_all(&self) -> RunTotals {
        match self.totals_by_pool().as_slice() {
            [only] => only.clone(),
            several => {
                let mut sum = RunTotals::sum(several);
                (sum.running_peak, sum.waiting_peak) = self.peaks;
                sum.window = self.window;
                sum
            }
        }
    }
}

/// The time of a batch on a stage as it is counted, with a prompt in it or not.
pub(super) fn busy_time(time: &StageTime, with_prefill: bool) -> BusyTime {
    BusyTime {
        total: time.total,
        attention_prefill: time.attention_prefill,
        attention_decode: time.attention_decode,
        communication: time.communication,
        transferred: time.transferred,
        extrapolated: time.extrapolated,
        with_prefill: if with_prefill { time.total } else { Nanos::ZERO },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_would_be_negative_is_a_fault_and_changes_nothing() {
        let mut ledger = Ledger::new(&[1, 1]);
        ledger.hold(1, 3, 40);
        ledger.let_go(1, 2, 40);
        assert_eq!(ledger.fault(), None);
        ledger.let_go(1, 2, 0);
        let message = "2 KV blocks and 0 tokens are given back, but pool 1 holds 1 and 0";
        assert_eq!(ledger.fault(), Some(message));
        ledger.let_go(0, 1, 0);
        assert_eq!(ledger.fault(), Some(message), "the first is kept");
        assert_eq!(*ledger.counts(1), Counts { allocated: 1, ..Counts::default() });
    }
}
