//! Runs a policy over random scenarios.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::Nanos;
use crate::engine::Simulation;
use crate::engine::policy::Policy;
use crate::engine::speculation::{
    Acceptance, Adaptive, Drafter, Speculation, SpeculativePredictor,
};
use crate::records::{
    BatchRecord, BatchRecords, IntervalRecord, RequestRecord, RequestStatus, RunSink, RunTotals,
    TokenGaps,
};

use super::{RandomScenario, audit};

/// More steps than any of the small scenarios needs: a policy that gets there makes no progress.
const STEPS_MAX: usize = 200_000;

/// Runs `policy` over 200 random scenarios (tight memory, ties in time, several replicas,
/// pipelines, closed loops) and panics with the scenario's seed at the first violated invariant.
/// See [`PolicyCheck`] for what is checked.
///
/// ```
/// vidur_ecs::testing::assert_policy_ok(vidur_ecs::engine::policy::VllmV0::default());
/// ```
pub fn assert_policy_ok<P: Policy>(policy: P) {
    PolicyCheck::new(policy).run();
}

/// A check of a policy over random scenarios.
///
/// After every step everything is counted again ([`audit`]). At the end of a run every request has
/// finished or was rejected; a finished one arrived, was scheduled, got its first token and its
/// last in this order; as many tokens came as were asked for; a second run is identical, and so are
/// one that keeps decode groups and one in which the engine may launch several iterations at once.
/// Scenarios whose limits the policy's own check refuses are skipped.
pub struct PolicyCheck<P> {
    policy: P,
    seeds: std::ops::Range<u64>,
    first_come_first_served: bool,
    speculation: Option<(u32, Acceptance, Adaptive)>,
}

#[derive(Default)]
struct Records {
    requests: Vec<RequestRecord>,
    batches: Vec<BatchRecord>,
    intervals: Vec<IntervalRecord>,
}

impl RunSink for Records {
    fn request(&mut self, record: &RequestRecord) {
        self.requests.push(record.clone());
    }
    fn batch(&mut self, record: &BatchRecord) {
        self.batches.push(*record);
    }
    fn interval(&mut self, record: &IntervalRecord) {
        self.intervals.push(*record);
    }
}

impl<P: Policy> PolicyCheck<P> {
    /// A check over the scenarios of seeds `0..200`.
    pub fn new(policy: P) -> PolicyCheck<P> {
        PolicyCheck { policy, seeds: 0..200, first_come_first_served: false, speculation: None }
    }

    /// All requests speculate, with `k` drafts at most.
    pub fn speculating(mut self, k: u32, acceptance: Acceptance, adaptive: Adaptive) -> Self {
        self.speculation = Some((k, acceptance, adaptive));
        self
    }

    /// Other scenarios.
    pub fn seeds(mut self, seeds: std::ops::Range<u64>) -> PolicyCheck<P> {
        self.seeds = seeds;
        self
    }

    /// Also checks that no request of a replica is scheduled before one that arrived earlier.
    pub fn first_come_first_served(mut self) -> PolicyCheck<P> {
        self.first_come_first_served = true;
        self
    }

    /// Runs it. Panics at the first violation, or if the policy accepts none of the scenarios.
    /// Returns the number of runs and of preemptions in them.
    pub fn run(&self) -> (u64, u64) {
        let mut runs = 0;
        let mut preemptions = 0;
        for seed in self.seeds.clone() {
            let scenario = RandomScenario::new(seed);
            if Policy::check(&self.policy, &scenario.limits).is_err() {
                continue;
            }
            match self.check(&scenario) {
                Ok(totals) => preemptions += totals.preemptions,
                Err(message) => panic!("{}, scenario {seed}: {message}\n{scenario:?}", P::NAME),
            }
            runs += 1;
        }
        assert!(runs > 0, "{} accepts none of the scenarios", P::NAME);
        (runs, preemptions)
    }

    fn check(&self, scenario: &RandomScenario) -> Result<RunTotals, String> {
        let (records, totals) = self.simulate(scenario, Steps::Plain)?;
        for steps in [Steps::Plain, Steps::Exact, Steps::Fast] {
            let (again, other) = self.simulate(scenario, steps)?;
            same(&records.requests, &again.requests, "request", steps)?;
            same(&records.batches, &again.batches, "batch", steps)?;
            same(&records.intervals, &again.intervals, "interval", steps)?;
            same(&[comparable(&totals)], &[comparable(&other)], "total", steps)?;
        }
        if totals.unfinished > 0 {
            return Err(format!("{} requests were left unfinished", totals.unfinished));
        }
        if records.requests.len() != scenario.requests.len() {
            return Err(format!("{} requests have a record", records.requests.len()));
        }
        let mut gaps = 0;
        for record in &records.requests {
            gaps += check_request(record)?;
        }
        if gaps != totals.inter_token.count() {
            return Err(format!(
                "{} gaps between tokens, expected {gaps}",
                totals.inter_token.count()
            ));
        }
        if self.first_come_first_served {
            check_order(&records.requests)?;
        }
        Ok(totals)
    }

    fn simulate(
        &self,
        scenario: &RandomScenario,
        steps: Steps,
    ) -> Result<(Records, RunTotals), String> {
        let mut spec = scenario.spec(Box::new(self.policy.clone()));
        if let Some((k, acceptance, adaptive)) = &self.speculation {
            for pool in &mut spec.pools {
                let half = Drafter::Passes { predictor: pool.predictor.clone(), share: 0.5 };
                let target = pool.predictor.clone();
                let predictor = Arc::new(SpeculativePredictor::new(target, half, "drafts"));
                pool.predictor = predictor.clone();
                let (k, acceptance, adaptive) = (*k, acceptance.clone(), adaptive.clone());
                pool.speculation = Some(Speculation { k, acceptance, adaptive, predictor });
            }
        }
        spec.exact_steps = steps != Steps::Fast;
        spec.plain_lists = steps == Steps::Plain;
        // Each batch of several replicas is only recorded in single steps.
        spec.batch_records = match scenario.replicas {
            1 => BatchRecords::Each,
            _ => BatchRecords::RunLength,
        };
        spec.time_series = Some(Nanos(INTERVALS[(scenario.seed % 3) as usize]));
        let mut simulation = Simulation::new(spec).map_err(|e| e.to_string())?;
        let mut records = Records::default();
        for _ in 0..STEPS_MAX {
            let Some(step) = simulation.step(&mut records).map_err(|e| e.to_string())? else {
                let totals = simulation.run(&mut records).map_err(|e| e.to_string())?;
                if scenario.replicas > 1 {
                    records.batches = runs_of(&records.batches);
                }
                return Ok((records, totals));
            };
            audit(&mut simulation).map_err(|e| format!("at {} s: {e}", step.time))?;
        }
        Err(format!("no end after {STEPS_MAX} steps"))
    }
}

/// Intervals of the time series in nanoseconds: shorter and longer than iterations, and one with
/// boundaries in common with them.
const INTERVALS: [u64; 3] = [1_000_000, 7_777_777, 250_000_000];

/// The longest runs of each replica, without ids, which depend on the steps.
fn runs_of(batches: &[BatchRecord]) -> Vec<BatchRecord> {
    let mut by_replica: BTreeMap<u32, Vec<BatchRecord>> = BTreeMap::new();
    for batch in batches {
        let runs = by_replica.entry(batch.replica).or_default();
        if !runs.last_mut().is_some_and(|run| run.extend(batch)) {
            runs.push(BatchRecord { id: 0, ..*batch });
        }
    }
    by_replica.into_values().flatten().collect()
}

/// How a scenario is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Steps {
    /// Every iteration is a step that looks at every running request.
    Plain,
    /// Every iteration is a step; requests that decode are a group.
    Exact,
    /// Decoding batches that repeat are launched as a run.
    Fast,
}

fn same<T: std::fmt::Debug>(a: &[T], b: &[T], what: &str, steps: Steps) -> Result<(), String> {
    if a.len() != b.len() {
        return Err(format!("{} {what} records, in a second run ({steps:?}) {}", a.len(), b.len()));
    }
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (format!("{a:?}"), format!("{b:?}"));
        if a != b {
            return Err(format!("a second run ({steps:?}) has another {what}:\n{a}\n{b}"));
        }
    }
    Ok(())
}

/// The totals, with the histogram as its quantiles.
fn comparable(totals: &RunTotals) -> (RunTotals, Vec<(u64, f64)>) {
    let gaps = &totals.inter_token;
    let quantiles = (0..=20).map(|i| (gaps.count(), gaps.quantile_seconds(f64::from(i) / 20.0)));
    let quantiles = quantiles.collect();
    (RunTotals { inter_token: TokenGaps::default(), ..totals.clone() }, quantiles)
}

/// Checks the order of a request's times; returns its number of gaps between tokens.
fn check_request(record: &RequestRecord) -> Result<u64, String> {
    if record.status != RequestStatus::Finished {
        return Ok(0);
    }
    let times =
        [Some(record.arrived_at), record.scheduled_at, record.first_token_at, record.completed_at];
    if times.contains(&None) || !times.is_sorted() {
        return Err(format!("request {} has times {times:?}", record.id));
    }
    let alive = record.completed_at.unwrap_or(Nanos::MAX).since(record.arrived_at);
    if record.execution_time + record.preemption_time > alive {
        return Err(format!("request {} was busy longer than it lived", record.id));
    }
    Ok(u64::from(record.output_tokens) - 1)
}

/// Checks that on each replica requests are first scheduled in the order of their arrival.
fn check_order(records: &[RequestRecord]) -> Result<(), String> {
    let mut by_replica: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in records {
        if let (Some(replica), Some(at)) = (record.replica, record.scheduled_at) {
            by_replica.entry(replica).or_default().push((record.arrived_at, record.id, at));
        }
    }
    for (replica, list) in &mut by_replica {
        list.sort_unstable();
        if !list.is_sorted_by_key(|&(_, _, scheduled_at)| scheduled_at) {
            return Err(format!("requests overtook each other on replica {replica}"));
        }
    }
    Ok(())
}
