//! Several pools of replicas in one cluster: each is served as if it were alone.

use vidur_ecs::metrics::{
    BatchRecord, BatchRecords, RequestRecord, RequestStatus, RunSink, RunTotals,
};
use vidur_ecs::registry::AnyPolicy;
use vidur_ecs::scheduling::{Orca, Sarathi, VllmV0, VllmV1};
use vidur_ecs::sim::{PoolSpec, SimSpec, Simulation};
use vidur_ecs::testing::{RandomScenario, audit};

#[derive(Default)]
struct Records(Vec<RequestRecord>);

impl RunSink for Records {
    fn request(&mut self, record: &RequestRecord) {
        self.0.push(record.clone());
    }
    fn batch(&mut self, _: &BatchRecord) {}
}

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
    let spec = SimSpec {
        pools,
        seed,
        time_limit: None,
        batch_records: BatchRecords::Off,
        time_series: None,
        exact_steps,
        plain_lists,
    };
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
    records.0.sort_by_key(|record| (record.pool, record.arrived_at, record.id));
    (records.0, totals)
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
