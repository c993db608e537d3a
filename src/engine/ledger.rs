//! Counts of the cluster, pool by pool, their integrals over time, and the run's totals.

use super::Series;
use crate::base::Nanos;
use crate::engine::routing::PoolLoads;
use crate::records::{
    BatchRecord, BusyTime, EventKind, EventRecord, RequestRecord, RunTotals, SteadyWindow,
};
use crate::timing::StageTime;

/// Current counts over all replicas of a pool. Whoever moves a block or a request keeps them true.
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

/// The books of a run: a page per pool, of which one is open. Who is about to count something of
/// a pool opens its page ([`Ledger::open`]); with a single pool that is always the case.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Of the open page.
    pub counts: Counts,
    /// Of the open page.
    pub totals: RunTotals,
    pub loads: PoolLoads,
    /// Number of batches planned so far; the next batch's id.
    pub planned: u64,
    /// Rolling hash over everything that was planned and when it ended.
    pub digest: u64,
    /// Records for the driver to hand to the sink.
    pub requests: Vec<RequestRecord>,
    pub batches: Vec<BatchRecord>,
    /// What happened to requests, if anyone wants to know.
    pub events: Option<Vec<EventRecord>>,
    /// The time series, if one is wanted.
    pub series: Option<Series>,
    last: Nanos,
    open: u32,
    /// The closed pages by pool; that of the open one is blank.
    closed: Vec<(Counts, RunTotals)>,
    /// Most requests running and waiting at once in all pools together.
    peaks: (u64, u64),
    /// The window of all pools together; that of each is in its totals.
    window: Option<SteadyWindow>,
}

impl Ledger {
    /// Of pools with so many replicas.
    pub fn new(replicas: &[u32]) -> Ledger {
        Ledger {
            counts: Counts::default(),
            totals: RunTotals::default(),
            loads: PoolLoads::new(replicas),
            planned: 0,
            digest: 0,
            requests: Vec::new(),
            batches: Vec::new(),
            events: None,
            series: None,
            last: Nanos::ZERO,
            open: 0,
            closed: replicas.iter().map(|_| Default::default()).collect(),
            peaks: (0, 0),
            window: None,
        }
    }

    /// From now on counts what happens while requests arrive that the statistics count.
    pub fn watch_window(&mut self) {
        self.window = Some(SteadyWindow::default());
        self.totals.window = self.window;
        for (_, totals) in &mut self.closed {
            totals.window = self.window;
        }
    }

    /// Tells the windows of the open page's pool and of all together, if they are watched.
    #[inline]
    pub fn window(&mut self, mut tell: impl FnMut(&mut SteadyWindow)) {
        if let Some(all) = &mut self.window {
            tell(all);
            self.totals.window.iter_mut().for_each(tell);
        }
    }

    /// The run ends at `limit`, whatever is under way.
    pub fn stop_at(&mut self, limit: Nanos) {
        self.advance(limit);
        self.totals.end = limit;
        for (_, totals) in &mut self.closed {
            totals.end = limit;
        }
    }

    /// Opens the page of a pool: `counts` and `totals` are that pool's from now on.
    #[inline]
    pub fn open(&mut self, pool: u32) {
        if self.open != pool {
            self.turn_to(pool);
        }
    }

    #[cold]
    fn turn_to(&mut self, pool: u32) {
        for index in [self.open, pool] {
            let page = &mut self.closed[index as usize];
            std::mem::swap(&mut self.counts, &mut page.0);
            std::mem::swap(&mut self.totals, &mut page.1);
        }
        self.open = pool;
    }

    /// Notes what happens to a request, if anyone wants to know.
    #[inline]
    pub fn note(&mut self, time: Nanos, kind: EventKind, request: u64, replica: Option<u32>) {
        if let Some(events) = &mut self.events {
            events.push(EventRecord { time, kind, request, replica });
        }
    }

    /// The counts of a pool and its totals so far.
    pub fn page(&self, pool: u32) -> (&Counts, &RunTotals) {
        match pool == self.open {
            true => (&self.counts, &self.totals),
            false => {
                let page = &self.closed[pool as usize];
                (&page.0, &page.1)
            }
        }
    }

    /// The counts of all pools together.
    pub fn counts_of_all(&self) -> Counts {
        let mut sum = self.counts;
        // The blank page of the open pool adds nothing.
        for (counts, _) in &self.closed {
            sum.allocated += counts.allocated;
            sum.used += counts.used;
            sum.running += counts.running;
            sum.waiting += counts.waiting;
        }
        sum
    }

    /// Whether no request is anywhere.
    pub fn is_idle(&self) -> bool {
        // The blank page of the open pool is idle.
        self.counts.is_idle() && self.closed.iter().all(|page| page.0.is_idle())
    }

    /// Adds the time since the last step to the integrals, with the counts as they were. A count
    /// that held for no time at all is no peak.
    pub fn advance(&mut self, now: Nanos) {
        if now == self.last {
            return;
        }
        if self.series.is_some() {
            let counts = self.counts_of_all();
            if let Some(series) = &mut self.series {
                series.sample(now, &counts);
            }
        }
        let span = u128::from(now.since(self.last).0);
        self.last = now;
        integrate(&mut self.totals, &self.counts, span);
        if self.closed.len() > 1 {
            for (counts, totals) in &mut self.closed {
                integrate(totals, counts, span);
            }
            let Counts { running, waiting, .. } = self.counts_of_all();
            self.peaks = (self.peaks.0.max(running), self.peaks.1.max(waiting));
        }
    }

    /// Adds the time of a batch on a stage.
    pub fn count_busy(&mut self, time: StageTime, with_prefill: bool) {
        self.totals.busy.add(&busy_time(&time, with_prefill));
    }

    /// Mixes `value` into the rolling hash (FNV-1a over words).
    pub fn digest(&mut self, value: u64) {
        self.digest = (self.digest ^ value).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }

    /// The latest end of any pool.
    pub fn end_of_all(&self) -> Nanos {
        self.closed.iter().fold(self.totals.end, |end, (_, totals)| end.max(totals.end))
    }

    /// The totals of each pool.
    pub fn totals_by_pool(&self) -> Vec<RunTotals> {
        (0..self.closed.len() as u32).map(|pool| self.page(pool).1.clone()).collect()
    }

    /// The totals of all pools together.
    pub fn totals_of_all(&self) -> RunTotals {
        let pools = self.totals_by_pool();
        match pools.as_slice() {
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

fn integrate(totals: &mut RunTotals, counts: &Counts, span: u128) {
    totals.running_peak = totals.running_peak.max(counts.running);
    totals.waiting_peak = totals.waiting_peak.max(counts.waiting);
    totals.kv_allocated_integral += span * u128::from(counts.allocated);
    totals.kv_used_integral += span * u128::from(counts.used);
    totals.running_integral += span * u128::from(counts.running);
    totals.waiting_integral += span * u128::from(counts.waiting);
}
