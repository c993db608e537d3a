//! Every technique at once over random scenarios: the books are right after every step.
//!
//! A technique is a function that changes the pools of a cluster, drawn by its own random stream: a new
//! one is a function and a line in [`TECHNIQUES`]. What does not go together in a pool (a pool that hands
//! over neither speculates nor shares its GPUs; pipelines do not speculate) meets in one cluster.

// Techniques have one signature, whether or not they add a pool.
#![allow(clippy::ptr_arg)]

use std::sync::Arc;

use vidur_ecs::metrics::{BatchRecords, RequestStatus};
use vidur_ecs::registry::AnyPolicy;
use vidur_ecs::routing::LeastOutstanding;
use vidur_ecs::scheduling::{Queueing, Sarathi, SgLang, VllmV0, VllmV1};
use vidur_ecs::sim::{HandOver, Nanos, PoolSpec, RandomStream, SimSpec, Simulation};
use vidur_ecs::speculation::{Acceptance, Adaptive, Drafter, Speculation, SpeculativePredictor};
use vidur_ecs::testing::{RandomScenario, audit};

use crate::records::{Records, nobody};

/// Changes pools, where it can; whether it did.
type Technique = fn(&mut Vec<PoolSpec>, &mut RandomStream) -> bool;

/// All techniques, in the order in which they are applied.
const TECHNIQUES: [(&str, Technique); 4] = [
    ("prefix caching", prefix_caching),
    ("speculation", speculation),
    ("shared GPUs", shared_gpus),
    ("disaggregation", disaggregation),
];

fn policy(random: &mut RandomStream) -> Box<dyn AnyPolicy> {
    let (max_num_seqs, max_num_batched_tokens) = (6, 24);
    match random.below(5) {
        0 => Box::new(VllmV0 { max_num_seqs, ..VllmV0::default() }),
        1 => Box::new(Sarathi { chunk_size: 16, ..Sarathi::default() }),
        2 => Box::new(SgLang::default()),
        3 => Box::new(VllmV1 {
            max_num_seqs,
            max_num_batched_tokens,
            scheduling_policy: Queueing::Priority,
            ..VllmV1::default()
        }),
        _ => Box::new(VllmV1 {
            max_num_seqs,
            max_num_batched_tokens,
            async_scheduling: false,
            ..VllmV1::default()
        }),
    }
}

/// Four models with the requests of random scenarios; `None` if a policy refuses its limits.
fn models(seed: u64, random: &mut RandomStream) -> Option<Vec<PoolSpec>> {
    let mut pools = Vec::new();
    for model in 0..4 {
        let scenario = RandomScenario::harder(seed * 4 + model);
        let policy = policy(random);
        policy.check(&scenario.limits).ok()?;
        let pool = scenario.spec(policy).pools.remove(0);
        pools.push(PoolSpec { name: format!("model {model}"), ..pool });
    }
    Some(pools)
}

/// The random scenarios themselves draw it.
fn prefix_caching(pools: &mut Vec<PoolSpec>, _: &mut RandomStream) -> bool {
    pools.iter().any(|pool| pool.prefix_caching)
}

/// The first model drafts, on GPUs of its own or shared.
fn speculation(pools: &mut Vec<PoolSpec>, random: &mut RandomStream) -> bool {
    let pool = &mut pools[0];
    if pool.limits.stages > 1 {
        return false;
    }
    let half = Drafter::Passes { predictor: pool.predictor.clone(), share: 0.5 };
    let predictor = Arc::new(SpeculativePredictor::new(pool.predictor.clone(), half, "drafts"));
    pool.predictor = predictor.clone();
    pool.speculation = Some(Speculation {
        k: 1 + random.below(4) as u32,
        acceptance: Acceptance::Same(0.7),
        adaptive: Adaptive::Off,
        predictor,
    });
    true
}

/// The first two models take turns on the same GPUs.
fn shared_gpus(pools: &mut Vec<PoolSpec>, _: &mut RandomStream) -> bool {
    for pool in &mut pools[..2] {
        pool.shared_gpus = Some(0);
    }
    true
}

/// The third model prefills, and a pool beside goes on with its requests.
fn disaggregation(pools: &mut Vec<PoolSpec>, random: &mut RandomStream) -> bool {
    if !pools[2].policy.disaggregates() {
        return false;
    }
    let to = pools.len() as u32;
    let prefill = &mut pools[2];
    let mut limits = prefill.limits;
    let longest = limits.blocks_for(limits.max_model_len);
    limits.num_blocks = longest + 1 + random.below(u64::from(longest) * 2) as u32;
    prefill.hand_over = Some(HandOver {
        to,
        bytes_per_token: 1 + random.below(3) * 1_000,
        bytes_per_second: [1e7, 1e9, 1e12][random.below(3) as usize],
        latency: Nanos(random.below(3) * 1_000),
        layers: [1, 4][random.below(2) as usize],
    });
    let (policy, predictor) = (prefill.policy.boxed(), prefill.predictor.clone());
    let router = Box::new(LeastOutstanding::default());
    let decode = PoolSpec {
        name: "decode".to_owned(),
        replicas: 1 + random.below(2) as u32,
        ..PoolSpec::new(limits, policy, router, predictor, nobody())
    };
    pools.push(decode);
    true
}

/// The cluster of a seed, and which techniques are on.
fn cluster(seed: u64) -> Option<(SimSpec, Vec<&'static str>)> {
    let mut random = RandomStream::new(seed, "all techniques");
    let mut pools = models(seed, &mut random)?;
    let mut on = Vec::new();
    for (name, technique) in TECHNIQUES {
        if technique(&mut pools, &mut random) {
            on.push(name);
        }
    }
    let spec = SimSpec {
        pools,
        seed,
        time_limit: None,
        batch_records: BatchRecords::Off,
        time_series: None,
        exact_steps: true,
        plain_lists: true,
    };
    Some((spec, on))
}

/// Every request ends once, at a replica of its model; the books are right after every step, and a
/// second run is the same.
#[test]
fn the_books_are_right_with_all_techniques_on() {
    let (mut all_on, mut ended, mut preempted, mut moved, mut drafted) = (0, 0, 0, 0, 0);
    for seed in 0..200 {
        let Some((spec, on)) = cluster(seed) else { continue };
        all_on += usize::from(on.len() == TECHNIQUES.len());
        let replicas: Vec<u32> = spec.pools.iter().map(|pool| pool.replicas).collect();
        let mut simulation = Simulation::new(spec).unwrap();
        let mut records = Records::default();
        while let Some(step) = simulation.step(&mut records).unwrap() {
            let failed = |why| panic!("seed {seed} with {on:?}, {} s: {why}", step.time);
            audit(&mut simulation).unwrap_or_else(failed);
        }
        let all = simulation.run(&mut records).unwrap();
        assert_eq!(all.arrived, all.finished + all.rejected, "seed {seed}");
        assert_eq!(all.arrived, records.requests.len() as u64, "seed {seed}");
        for record in records.requests.iter().filter(|r| r.status == RequestStatus::Finished) {
            // The third model's answers come from the pool beside; one token is there at once.
            let handed = record.pool == 2 && record.output_tokens > 1;
            let pool = match handed && on.contains(&"disaggregation") {
                true => replicas.len() - 1,
                false => record.pool as usize,
            };
            let first: u32 = replicas[..pool].iter().sum();
            let own = first..first + replicas[pool];
            assert!(own.contains(&record.replica.unwrap()), "seed {seed}: {record:?}");
            moved += usize::from(record.kv_transfer > Nanos::ZERO);
            drafted += record.drafted;
        }
        ended += all.finished;
        preempted += all.preemptions;

        let mut again = Records::default();
        let mut simulation = Simulation::new(cluster(seed).unwrap().0).unwrap();
        simulation.run(&mut again).unwrap();
        assert_eq!(
            format!("{:?}", records.requests),
            format!("{:?}", again.requests),
            "seed {seed}"
        );
    }
    println!("{all_on} clusters with all techniques, {ended} requests, {preempted} preemptions");
    assert!(all_on > 10, "{all_on}");
    assert!(ended > 3_000 && preempted > 200, "{ended} {preempted}");
    assert!(moved > 200 && drafted > 1_000, "{moved} {drafted}");
}
