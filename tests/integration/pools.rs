//! Several pools of replicas in one cluster: each is served as if it were alone.

use vidur_ecs::base::Nanos;
use vidur_ecs::engine::policy::{AnyPolicy, Orca, Sarathi, VllmV0, VllmV1};
use vidur_ecs::engine::{PoolSpec, SimSpec, Simulation};
use vidur_ecs::records::{RequestRecord, RequestStatus, RunTotals};
use vidur_ecs::testing::{LinearTime, RandomScenario, audit};

use crate::records::Records;

fn policies() -> Vec<Box<dyn AnyPolicy>> {
    vec![
        Box::new(VllmV0 { max_num_seqs: 6, ..VllmV0::default() }),
        Box::new(Sarathi { chunk_size: 16, ..Sarathi::default() }),
        Box::new(VllmV1 { max_num_seqs: 6, max_num_batched_tokens: 24, ..VllmV1::default() }),
        Box::new(Orca::default()),
    ]
}

/// A pool with the requests of a random scenario; `None` if the policy refuses its limits.
fn pool(name: &str, seed: u64, policy: &dyn AnyPolicy) -> Option<PoolSpec> {
    let scenario = RandomScenario::new(seed);
    policy.check(&scenario.limits).ok()?;
    let mut spec = scenario.spec(policy.boxed());
    Some(PoolSpec { name: name.to_owned(), ..spec.pools.remove(0) })
}

/// Runs to the end, audited after every step if these are exact.
fn run(pools: Vec<PoolSpec>, seed: u64, exact_steps: bool) -> (Vec<RequestRecord>, Vec<RunTotals>) {
    let plain_lists = exact_steps;
    let spec = SimSpec { pools, exact_steps, plain_lists, ..SimSpec::of_none(seed) };
    let mut simulation = Simulation::new(spec).unwrap();
    let mut records = Records::default();
    while let Some(step) = simulation.step(&mut records).unwrap() {
        if exact_steps {
            audit(&mut simulation).unwrap_or_else(|e| panic!("seed {seed}, {} s: {e}", step.time));
        }
    }
    let all = simulation.run(&mut records).unwrap();
    let totals = simulation.totals_by_pool();
    let sum = |of: fn(&RunTotals) -> u64| totals.iter().map(of).sum::<u64>();
    assert_eq!(all.finished, sum(|t| t.finished));
    assert_eq!(all.batches, sum(|t| t.batches));
    assert_eq!(all.arrived, all.finished + all.rejected);
    assert!(all.running_peak <= sum(|t| t.running_peak));
    records.requests.sort_by_key(|record| (record.pool, record.arrived_at, record.id));
    (records.requests, totals)
}

/// What must not depend on the other pool: all but the number of the request and of the replica.
fn own(records: &[RequestRecord], pool: u32, first_replica: u32) -> Vec<String> {
    let own = records.iter().filter(|record| record.pool == pool);
    own.map(|record| {
        let replica = record.replica.map(|replica| replica - first_replica);
        format!("{:?}", RequestRecord { id: 0, pool: 0, replica, ..record.clone() })
    })
    .collect()
}

#[test]
fn pools_on_gpus_of_their_own_do_not_see_each_other() {
    let mut runs = 0;
    for seed in 0..160 {
        let policies = policies();
        let (a, b) = (&*policies[seed as usize % 4], &*policies[seed as usize / 4 % 4]);
        let pools = || Some(vec![pool("a", seed, a)?, pool("b", seed + 1_000, b)?]);
        let Some(specs) = pools() else { continue };
        let replicas: Vec<u32> = specs.iter().map(|pool| pool.replicas).collect();
        let (records, totals) = run(specs, seed, true);
        let (again, fast) = run(pools().unwrap(), seed, false);
        assert_eq!(format!("{records:?}"), format!("{again:?}"), "seed {seed}");
        for (exact, fast) in totals.iter().zip(&fast) {
            assert_eq!(exact.kv_used_integral, fast.kv_used_integral, "seed {seed}");
            assert_eq!(exact.kv_allocated_integral, fast.kv_allocated_integral, "seed {seed}");
            assert_eq!((exact.batches, exact.preemptions), (fast.batches, fast.preemptions));
        }
        for record in &records {
            let first = if record.pool == 0 { 0 } else { replicas[0] };
            let own = first..first + replicas[record.pool as usize];
            match record.replica {
                Some(replica) => assert!(own.contains(&replica), "seed {seed}: {record:?}"),
                None => assert_ne!(record.status, RequestStatus::Finished),
            }
        }
        let alone_a = run(vec![pool("a", seed, a).unwrap()], seed, false).0;
        let alone_b = run(vec![pool("b", seed + 1_000, b).unwrap()], seed, false).0;
        assert_eq!(own(&records, 0, 0), own(&alone_a, 0, 0), "seed {seed}");
        assert_eq!(own(&records, 1, replicas[0]), own(&alone_b, 0, 0), "seed {seed}");
        runs += 1;
    }
    assert!(runs > 80, "{runs}");
}

/// A pool whose requests take turns with others' on the same GPUs.
fn sharing(name: &str, seed: u64, policy: &dyn AnyPolicy) -> Option<PoolSpec> {
    Some(PoolSpec { shared_gpus: Some(0), ..pool(name, seed, policy)? })
}

#[test]
fn pools_that_share_gpus_keep_the_books_and_never_run_at_once() {
    let (mut runs, mut later) = (0, 0);
    for seed in 0..120 {
        let policies = policies();
        let (a, b) = (&*policies[seed as usize % 4], &*policies[seed as usize / 4 % 4]);
        let pools = || Some(vec![sharing("a", seed, a)?, sharing("b", seed + 1_000, b)?]);
        let Some(specs) = pools() else { continue };
        let stages: Vec<u32> = specs.iter().map(|pool| pool.limits.stages).collect();
        let replicas = specs.iter().map(|pool| pool.replicas).max().unwrap_or(0);
        let (records, totals) = run(specs, seed, true);
        let (again, fast) = run(pools().unwrap(), seed, false);
        assert_eq!(format!("{records:?}"), format!("{again:?}"), "seed {seed}");
        assert_eq!(totals[0].kv_used_integral, fast[0].kv_used_integral, "seed {seed}");
        let alone = run(vec![pool("a", seed, a).unwrap()], seed, true).0;
        let of_a: Vec<_> = records.iter().filter(|record| record.pool == 0).collect();
        assert_eq!(of_a.len(), alone.len());
        later += usize::from(of_a.iter().zip(&alone).any(|(a, b)| a.completed_at > b.completed_at));
        // A stage's GPUs run one batch at a time, so all together are never busy for longer than
        // the run took.
        let busy: u64 = totals.iter().map(|pool| pool.busy.total.0).sum();
        let end = totals.iter().map(|pool| pool.end.0).max().unwrap_or(0);
        let most = end * u64::from(replicas) * u64::from(*stages.iter().max().unwrap_or(&1));
        assert!(busy <= most, "seed {seed}: {busy} of {most} ns");
        runs += 1;
    }
    assert!(runs > 60 && later > runs / 2, "{later} of {runs} were slowed down");
}

#[test]
fn two_engines_take_turns() {
    // One request each, at the same time: the prefill and two decodes of a, and of b, alternate.
    let mut specs = Vec::new();
    for name in ["a", "b"] {
        let mut scenario = RandomScenario::new(0);
        scenario.replicas = 1;
        scenario.concurrency = None;
        scenario.limits.stages = 1;
        scenario.time =
            LinearTime { base: 1_000, per_token: 0, per_context: 0, per_spread: 0, rest: 0.0 };
        scenario.requests.truncate(1);
        scenario.follows.truncate(1);
        let request = &mut scenario.requests[0];
        (request.arrived_at, request.prompt_tokens, request.output_tokens) = (Nanos(0), 4, 3);
        let mut pool = scenario.spec(Box::new(VllmV0::default())).pools.remove(0);
        pool.traffic.api_overhead = Nanos(0);
        specs.push(PoolSpec { name: name.to_owned(), shared_gpus: Some(7), ..pool });
    }
    let (records, totals) = run(specs, 0, true);
    let times = |pool: usize| {
        let record = &records[pool];
        (record.first_token_at.unwrap().0, record.completed_at.unwrap().0)
    };
    assert_eq!((times(0), times(1)), ((1_000, 5_000), (2_000, 6_000)));
    assert_eq!(totals.iter().map(|t| t.busy.total.0).collect::<Vec<_>>(), [3_000, 3_000]);
}
