//! The simulation against an eager reference in plain lists, over random scenarios: every time of
//! every request, every batch and every total are equal, whether the simulation keeps plain lists,
//! groups what decodes or launches many iterations at once.

use std::collections::BTreeMap;
use std::fmt::Debug;

use vidur_ecs::base::{Nanos, RandomStream};
use vidur_ecs::engine::policy::{
    AnyPolicy, FasterTransformer, LightLlm, Orca, Queueing, Reserve, Sarathi, VllmV0, VllmV1,
    VllmVersion,
};
use vidur_ecs::engine::routing::AnyRouter;
use vidur_ecs::engine::state::kv::{GroupRules, KvCacheGroup, MambaMode};
use vidur_ecs::engine::{SimSpec, Simulation, routing};
use vidur_ecs::records::{
    BatchRecord, BatchRecords, RequestRecord, RequestStatus, RunTotals, TokenGaps,
};
use vidur_ecs::testing::RandomScenario;

use crate::records::Records;

#[path = "../reference/mod.rs"]
mod eager;

use eager::{Outcome, Policy, Router, Setup};

/// How the simulation works. The results must be those of the reference in each mode.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    /// Iteration by iteration, with plain lists of requests.
    Plain,
    /// Iteration by iteration; what decodes is a group.
    Exact,
    /// As it runs by default: fast-forward.
    Fast,
    /// Fast-forward with plain lists.
    FastPlain,
}

const MODES: [Mode; 4] = [Mode::Plain, Mode::Exact, Mode::Fast, Mode::FastPlain];

/// Numbers for settings.
struct Dice(RandomStream);

impl Dice {
    fn between(&mut self, low: u32, high: u32) -> u32 {
        low + self.0.below(u64::from(high - low) + 1) as u32
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.0.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.0.below(values.len() as u64) as usize]
    }
}

/// A random scenario under a policy, for both.
struct Case {
    seed: u64,
    scenario: RandomScenario,
    policy: Box<dyn AnyPolicy>,
    ours: Policy,
    router: Box<dyn AnyRouter>,
    our_router: Router,
    /// KV cache groups of the model's layers.
    groups: Option<GroupRules>,
    time_limit: Option<Nanos>,
}

/// Draws a policy's settings; may change the scenario so that the policy can work in it.
type Draw = fn(&mut Dice, &mut RandomScenario) -> (Box<dyn AnyPolicy>, Policy);

fn vllm_v0(dice: &mut Dice, _: &mut RandomScenario) -> (Box<dyn AnyPolicy>, Policy) {
    let policy = VllmV0 {
        max_num_seqs: dice.between(3, 14),
        max_num_batched_tokens: dice.between(60, 500),
        watermark: dice.pick(&[0.0, 0.01, 0.1]),
        vidur_spare_block: dice.one_in(3),
        vidur_idle: dice.one_in(5),
    };
    (Box::new(policy.clone()), Policy::VllmV0(policy))
}

fn sarathi(dice: &mut Dice, _: &mut RandomScenario) -> (Box<dyn AnyPolicy>, Policy) {
    let policy = Sarathi {
        max_num_seqs: dice.between(3, 14),
        chunk_size: dice.between(3, 90),
        watermark: dice.pick(&[0.0, 0.01, 0.1]),
        vidur_spare_block: dice.one_in(3),
        vidur_partial_restart: dice.one_in(3),
        vidur_batch_cap: dice.one_in(3),
    };
    (Box::new(policy.clone()), Policy::Sarathi(policy))
}

fn orca(dice: &mut Dice, _: &mut RandomScenario) -> (Box<dyn AnyPolicy>, Policy) {
    let policy = Orca {
        max_num_seqs: dice.between(1, 10),
        reserve: dice.pick(&[Reserve::Max, Reserve::Pow2, Reserve::Oracle]),
    };
    (Box::new(policy.clone()), Policy::Orca(policy))
}

fn faster_transformer(dice: &mut Dice, _: &mut RandomScenario) -> (Box<dyn AnyPolicy>, Policy) {
    let mut policy = FasterTransformer::default();
    policy.max_num_seqs = dice.between(1, 8);
    (Box::new(policy.clone()), Policy::FasterTransformer(policy))
}

fn light_llm(dice: &mut Dice, scenario: &mut RandomScenario) -> (Box<dyn AnyPolicy>, Policy) {
    let limits = &mut scenario.limits;
    limits.num_blocks *= limits.block_size;
    (limits.block_size, limits.stages) = (1, 1);
    let mut policy = LightLlm::default();
    policy.max_num_seqs = dice.between(1, 14);
    policy.max_num_batched_tokens = dice.between(60, 400);
    policy.max_waiting_iters = dice.between(0, 8);
    (Box::new(policy.clone()), Policy::LightLlm(policy))
}

fn vllm_v1(dice: &mut Dice, scenario: &mut RandomScenario) -> (Box<dyn AnyPolicy>, Policy) {
    let limits = &mut scenario.limits;
    let enable_chunked_prefill = limits.vidur_lengths || !dice.one_in(4);
    let async_scheduling = dice.one_in(2);
    if async_scheduling {
        limits.stages = 1;
    }
    let max_num_seqs = dice.between(1, 12);
    let mut policy = VllmV1 {
        version: VllmVersion::minor(dice.pick(&[10, 22, 23, 29, 30, 32, 33, 33, 33, 33])),
        max_num_seqs,
        max_num_batched_tokens: match enable_chunked_prefill {
            true => dice.between(12, 120),
            false => limits.max_model_len.max(12) + dice.between(0, 100),
        },
        enable_chunked_prefill,
        long_prefill_token_threshold: match enable_chunked_prefill {
            true => dice.pick(&[0, 0, 5, 20]),
            false => 0,
        },
        scheduler_reserve_full_isl: dice.one_in(2),
        async_scheduling,
        scheduling_policy: dice.pick(&[Queueing::Fcfs, Queueing::Priority]),
        ..VllmV1::default()
    };
    // What the newest version has.
    if policy.version >= VllmVersion::minor(33) {
        policy.watermark = dice.pick(&[0.0, 0.01, 0.1, 0.3]);
        policy.long_prefill_token_threshold_adaptive =
            policy.long_prefill_token_threshold > 0 && dice.one_in(2);
        policy.max_num_active_seqs = dice.one_in(3).then(|| dice.between(1, policy.max_num_seqs));
        if scenario.limits.stages == 1 {
            policy.prefill_schedule_interval = dice.pick(&[1, 1, 2, 3, 8]);
        }
    }
    (Box::new(policy.clone()), Policy::VllmV1(policy))
}

fn router(dice: &mut Dice) -> (Box<dyn AnyRouter>, Router) {
    match dice.between(0, 5) {
        0 => (Box::new(routing::RoundRobin::default()), Router::RoundRobin),
        1 => (Box::new(routing::Random::default()), Router::Random),
        2 => (Box::new(routing::LeastOutstanding::default()), Router::LeastOutstanding),
        3 => (Box::new(routing::PowerOfTwo::default()), Router::PowerOfTwo),
        4 => (Box::new(routing::VidurLor::default()), Router::VidurLor),
        _ => {
            // Counts that are some iterations old.
            let refresh_ms = dice.pick(&[0.0, 0.05, 0.4]);
            let mut router = routing::VllmDataParallel::default();
            router.refresh_ms = refresh_ms;
            let refresh = Nanos::from_millis_f64(refresh_ms);
            (Box::new(router), Router::VllmDataParallel { refresh })
        }
    }
}

impl Case {
    fn new(seed: u64, draw: Draw) -> Case {
        let mut scenario = RandomScenario::harder(seed);
        let mut dice = Dice(RandomStream::new(seed, "reference case"));
        if dice.one_in(6) {
            // Lengths that nothing checks; the scenario file refuses them with prefix caching.
            scenario.limits.vidur_lengths = true;
            scenario.prefix_caching = false;
        }
        let (policy, ours) = draw(&mut dice, &mut scenario);
        let (router, our_router) = router(&mut dice);
        policy.check(&scenario.limits).expect("the settings are right");
        let groups = None;
        Case { seed, scenario, policy, ours, router, our_router, groups, time_limit: None }
    }

    fn spec(&self, mode: Mode) -> SimSpec {
        let records = match (mode, self.scenario.replicas) {
            // With several replicas a record of each batch would make every iteration a step.
            (Mode::Fast | Mode::FastPlain, 2..) => BatchRecords::RunLength,
            _ => BatchRecords::Each,
        };
        let mut spec = self.scenario.spec(self.policy.boxed());
        spec.pools[0].router = self.router.boxed();
        spec.pools[0].kv_groups = self.groups.clone();
        SimSpec {
            time_limit: self.time_limit,
            batch_records: records,
            exact_steps: matches!(mode, Mode::Plain | Mode::Exact),
            plain_lists: matches!(mode, Mode::Plain | Mode::FastPlain),
            ..spec
        }
    }

    fn reference(&self) -> Outcome {
        let spec = self.spec(Mode::Plain);
        let pool = &spec.pools[0];
        eager::run(&Setup {
            replicas: pool.replicas,
            limits: pool.limits,
            prefix_caching: pool.prefix_caching,
            groups: self.groups.clone(),
            policy: self.ours.clone(),
            router: self.our_router.clone(),
            predictor: pool.predictor.clone(),
            requests: self.scenario.requests.clone(),
            follows: self.scenario.follows.clone(),
            concurrency: pool.traffic.concurrency,
            api_overhead: pool.traffic.api_overhead,
            seed: spec.seed,
            time_limit: spec.time_limit,
        })
    }

    fn compare(&self, wanted: &Outcome) {
        let mut gaps = TokenGaps::default();
        wanted.gaps.iter().for_each(|&gap| gaps.record(gap, 1));
        let gaps = described(&gaps);
        for mode in MODES {
            let mut got = Records::default();
            let totals = Simulation::new(self.spec(mode))
                .and_then(|mut run| run.run(&mut got))
                .expect("runs");
            if let Err(difference) = same(wanted, &gaps, &got, &totals) {
                panic!(
                    "seed {}, {mode:?}: {difference}\n{:?}\n{:?}\nup to {:?}\n{:?}",
                    self.seed, self.ours, self.our_router, self.time_limit, self.scenario
                );
            }
        }
    }
}

fn same(wanted: &Outcome, gaps: &str, got: &Records, totals: &RunTotals) -> Result<(), String> {
    let requests = |records: &[RequestRecord]| records.iter().map(shown).collect::<Vec<_>>();
    first_difference("request", &requests(&wanted.requests), &requests(&got.requests))?;
    if got.batches.len() == wanted.batches.len() {
        let mut records = got.batches.clone();
        records.sort_by_key(|record| record.id);
        first_difference("batch", &fields(&wanted.batches), &fields(&records))?;
    } else {
        let (wanted, got) = (runs_of(&wanted.batches), runs_of(&got.batches));
        first_difference("run of batches", &fields(&wanted), &fields(&got))?;
    }
    first_difference("histogram of gaps", &[gaps], &[described(&totals.inter_token).as_str()])?;
    // Line by line, so that the message shows the total that differs.
    let lines = |totals: &RunTotals| -> Vec<String> {
        let totals = RunTotals { inter_token: TokenGaps::default(), ..totals.clone() };
        format!("{totals:#?}").lines().map(str::to_owned).collect()
    };
    first_difference("total", &lines(&wanted.totals), &lines(totals))
}

/// All fields of batches, in their order.
fn fields(batches: &[BatchRecord]) -> Vec<([u64; 2], [u32; 5], [Nanos; 2])> {
    let fields = |b: &BatchRecord| {
        let numbers = [b.replica, b.stage, b.tokens, b.prefill_tokens, b.size];
        ([b.id, u64::from(b.count)], numbers, [b.scheduled_at, b.completed_at])
    };
    batches.iter().map(fields).collect()
}

/// Count, moments and quantiles.
fn described(gaps: &TokenGaps) -> String {
    let quantiles: Vec<f64> =
        (0..=20).map(|i| gaps.quantile_seconds(f64::from(i) / 20.0)).collect();
    let moments = (gaps.mean_seconds(), gaps.std_seconds(), gaps.max());
    format!("{} gaps {moments:?} {quantiles:?}", gaps.count())
}

/// A record as far as it is defined: what a request waited between iterations is only asked for
/// once it has finished, and the reasons of a refusal are words.
fn shown(record: &RequestRecord) -> String {
    let mut record = record.clone();
    if record.status != RequestStatus::Finished {
        record.preemption_time = Nanos::ZERO;
    }
    if let RequestStatus::Rejected(reason) = &mut record.status {
        reason.clear();
    }
    format!("{record:?}")
}

fn first_difference<T: PartialEq + Debug>(
    what: &str,
    wanted: &[T],
    got: &[T],
) -> Result<(), String> {
    let mut pairs = wanted.iter().zip(got);
    if let Some((wanted, got)) = pairs.find(|(wanted, got)| wanted != got) {
        return Err(format!("another {what}: wanted, got\n{wanted:?}\n{got:?}"));
    }
    match wanted.len() == got.len() {
        true => Ok(()),
        false => Err(format!("{} {what} records instead of {}", got.len(), wanted.len())),
    }
}

/// The longest runs of each replica, without ids, which depend on the mode.
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

/// What was compared.
#[derive(Debug, Default)]
struct Compared {
    scenarios: u64,
    requests: u64,
    iterations: u64,
    preemptions: u64,
    rejected: u64,
    unfinished: u64,
    cached_tokens: u64,
    /// Arrivals at the very end of an iteration.
    on_boundaries: u64,
}

impl Compared {
    fn add(&mut self, outcome: &Outcome) {
        let totals = &outcome.totals;
        self.scenarios += 1;
        self.requests += totals.arrived;
        self.iterations += totals.batches;
        self.preemptions += totals.preemptions;
        self.rejected += totals.rejected;
        self.unfinished += totals.unfinished;
        let mut ends: Vec<Nanos> = outcome.batches.iter().map(|b| b.completed_at).collect();
        ends.sort_unstable();
        for record in &outcome.requests {
            self.cached_tokens += u64::from(record.cached_tokens);
            self.on_boundaries += u64::from(ends.binary_search(&record.arrived_at).is_ok());
        }
    }
}

/// Compares the scenarios of these seeds under a policy, one in six a second time with a time
/// limit.
fn compare(name: &str, draw: Draw, seeds: std::ops::Range<u64>) -> Compared {
    compare_with(name, draw, |_| {}, seeds)
}

/// As [`compare`], of scenarios that are changed first.
fn compare_with(
    name: &str,
    draw: Draw,
    change: fn(&mut Case),
    seeds: std::ops::Range<u64>,
) -> Compared {
    let mut compared = Compared::default();
    for seed in seeds {
        let mut case = Case::new(seed, draw);
        change(&mut case);
        let outcome = case.reference();
        case.compare(&outcome);
        compared.add(&outcome);
        if seed.is_multiple_of(6) {
            case.time_limit = Some(Nanos(outcome.totals.end.0 / 101 * (seed % 101)));
            let outcome = case.reference();
            case.compare(&outcome);
            compared.add(&outcome);
        }
    }
    println!("{name}: {compared:?}, in {} modes", MODES.len());
    assert!(compared.rejected > 0 && compared.unfinished > 0 && compared.on_boundaries > 100);
    compared
}

#[test]
fn vllm_v0_is_as_the_reference() {
    let compared = compare("VllmV0", vllm_v0, 0..400);
    assert!(compared.preemptions > 1_000 && compared.cached_tokens > 1_000, "{compared:?}");
}

#[test]
fn sarathi_is_as_the_reference() {
    let compared = compare("Sarathi", sarathi, 1_000..1_400);
    assert!(compared.preemptions > 1_000 && compared.cached_tokens > 1_000, "{compared:?}");
}

#[test]
fn orca_is_as_the_reference() {
    let compared = compare("Orca", orca, 2_000..2_300);
    assert!(compared.preemptions == 0 && compared.cached_tokens > 1_000, "{compared:?}");
}

#[test]
fn faster_transformer_is_as_the_reference() {
    let compared = compare("FasterTransformer", faster_transformer, 3_000..3_300);
    assert_eq!((compared.preemptions, compared.cached_tokens), (0, 0));
}

#[test]
fn light_llm_is_as_the_reference() {
    let compared = compare("LightLlm", light_llm, 4_000..4_300);
    assert!(compared.cached_tokens > 1_000, "{compared:?}");
}

#[test]
fn vllm_v1_is_as_the_reference() {
    let compared = compare("VllmV1", vllm_v1, 5_000..5_500);
    assert!(compared.preemptions > 1_000 && compared.cached_tokens > 1_000, "{compared:?}");
}

/// Puts the layers of a model into several KV cache groups, and makes room for them.
fn in_groups(case: &mut Case) {
    let mut dice = Dice(RandomStream::new(case.seed, "KV cache groups"));
    let scenario = &mut case.scenario;
    let limits = &mut scenario.limits;
    (limits.stages, limits.vidur_lengths) = (1, false);
    let size = limits.block_size;
    let full = KvCacheGroup::Full { block_size: size };
    let (count, other) = match dice.between(0, 3) {
        0 => {
            let window = dice.pick(&[2, size, size + 1, 4 * size + 3]).max(2);
            (dice.pick(&[1, 2, 5]), KvCacheGroup::SlidingWindow { block_size: size, window })
        }
        1 => {
            let chunk = size * dice.pick(&[1, 4]);
            (dice.pick(&[1, 3]), KvCacheGroup::ChunkedLocal { block_size: size, chunk })
        }
        2 => {
            scenario.prefix_caching = false;
            let block_size = limits.max_model_len.next_multiple_of(size);
            (dice.pick(&[1, 3]), KvCacheGroup::Mamba { block_size, mode: MambaMode::None })
        }
        _ => {
            scenario.prefix_caching = true;
            let mode = MambaMode::Align;
            (dice.pick(&[1, 3]), KvCacheGroup::Mamba { block_size: size, mode })
        }
    };
    let mut groups = vec![full];
    groups.extend(std::iter::repeat_n(other, count));
    limits.num_blocks += limits.num_blocks / 2 * count as u32;
    // Other versions have one group.
    let Some(mut rules) = case.policy.group_rules(&groups, limits) else { return };
    if scenario.prefix_caching {
        rules.retention = dice.pick(&[0, 0, size, 4 * size]);
    }
    case.groups = Some(rules);
}

#[test]
fn vllm_v1_with_kv_cache_groups_is_as_the_reference() {
    let compared = compare_with("VllmV1 with groups", vllm_v1, in_groups, 6_000..6_300);
    assert!(compared.preemptions > 100 && compared.cached_tokens > 1_000, "{compared:?}");
}
