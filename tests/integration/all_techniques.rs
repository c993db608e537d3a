//! Every technique at once over random scenarios: the books are right after every step. A test run
//! draws a few clusters; more of them:
//! `CLUSTERS=2000 cargo test --test integration with_all_techniques_on`
//!
//! A technique is a function that changes the pools of a cluster, drawn by its own random stream: a
//! new one is a function and a line in [`TECHNIQUES`]. What does not go together in a pool (a pool
//! that hands over does not share its GPUs; pipelines do not speculate) meets in one cluster.

use vidur_ecs::base::RandomStream;
use vidur_ecs::engine::policy::{AnyPolicy, Queueing, Sarathi, SgLang, VllmV0, VllmV1};
use vidur_ecs::engine::{PoolSpec, SimSpec, Simulation};
use vidur_ecs::records::{AdapterTotals, OffloadTotals, RequestStatus};
use vidur_ecs::testing::{RandomScenario, audit};

use crate::records::Records;
use crate::techniques::{MODELS, PREFILL, TECHNIQUES};

/// Clusters that are drawn.
const CLUSTERS: u64 = 90;
/// More steps than any of them needs: who gets there makes no progress.
const STEPS_MAX: usize = 400_000;

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
            // Prompts of which only a chunk may fit are preempted too.
            scheduler_reserve_full_isl: false,
            ..VllmV1::default()
        }),
    }
}

/// Models with the requests of random scenarios, under policies that their limits allow.
fn models(seed: u64, random: &mut RandomStream) -> Vec<PoolSpec> {
    let model = |model| {
        let scenario = RandomScenario::harder(seed * MODELS + model);
        let policy = loop {
            let policy = policy(random);
            if policy.check(&scenario.limits).is_ok() {
                break policy;
            }
        };
        let pool = scenario.spec(policy).pools.remove(0);
        PoolSpec { name: format!("model {model}"), ..pool }
    };
    (0..MODELS).map(model).collect()
}

/// The cluster of a seed, in single steps with plain lists or not, and which techniques are on.
fn cluster(seed: u64, plain: bool) -> (SimSpec, Vec<&'static str>) {
    let mut random = RandomStream::new(seed, "all techniques");
    let mut pools = models(seed, &mut random);
    let mut on = Vec::new();
    for (name, technique) in TECHNIQUES {
        if technique(&mut pools, &mut random) {
            on.push(name);
        }
    }
    let spec = SimSpec { pools, exact_steps: plain, plain_lists: plain, ..SimSpec::of_none(seed) };
    (spec, on)
}

/// What happened in all clusters together.
#[derive(Debug, Default)]
struct Seen {
    /// Clusters with all techniques.
    all_on: usize,
    finished: u64,
    preempted: u64,
    /// Requests whose KV content moved to another replica.
    moved: u64,
    drafted: u64,
    /// Requests that admission control refused.
    refused: u64,
    /// Finished requests of the second class.
    patient: u64,
    /// Requests that were swapped.
    swapped: u64,
    offload: OffloadTotals,
    adapters: AdapterTotals,
    /// Loads of adapters beyond the slots of their replicas.
    evicted: u64,
    prefill: Side,
    decode: Side,
}

/// What happened on one side of disaggregated models.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// Admissions of requests with an adapter.
    adapters: u64,
    swaps: u64,
    reloads: u64,
    drafted: u64,
}

/// Every request ends once, at a replica of its model; the books are right after every step, and a
/// second run, with decode groups and fast-forward where they are possible, is the same.
#[test]
fn the_books_are_right_with_all_techniques_on() {
    let mut seen = Seen::default();
    let clusters = std::env::var("CLUSTERS").ok().and_then(|text| text.parse().ok());
    for seed in 0..clusters.unwrap_or(CLUSTERS) {
        let (spec, on) = cluster(seed, true);
        seen.all_on += usize::from(on.len() == TECHNIQUES.len());
        let replicas: Vec<u32> = spec.pools.iter().map(|pool| pool.replicas).collect();
        let slots: Vec<u32> = spec
            .pools
            .iter()
            .map(|pool| pool.lora.map_or(0, |lora| lora.max_loras * pool.replicas))
            .collect();
        let mut simulation = Simulation::new(spec).unwrap();
        let mut records = Records::default();
        let mut steps = 0;
        while let Some(step) = simulation.step(&mut records).unwrap() {
            let failed = |why| panic!("seed {seed} with {on:?}, {} s: {why}", step.time);
            audit(&mut simulation).unwrap_or_else(failed);
            steps += 1;
            assert!(steps < STEPS_MAX, "seed {seed} with {on:?} makes no progress");
        }
        let all = simulation.run(&mut records).unwrap();
        assert_eq!(all.arrived, all.finished + all.rejected, "seed {seed} with {on:?}");
        assert_eq!(all.arrived, records.requests.len() as u64, "seed {seed}");
        let statuses = records.requests.iter().map(|record| &record.status);
        let refused = statuses.filter(|s| matches!(s, RequestStatus::NotAdmitted(_))).count();
        assert_eq!(all.not_admitted, refused as u64, "seed {seed}");
        seen.refused += all.not_admitted;
        for record in records.requests.iter().filter(|r| r.status == RequestStatus::Finished) {
            // Answers of a disaggregated model come from the pool beside; one token is there at
            // once.
            let handed = record.pool as usize == PREFILL && record.output_tokens > 1;
            let pool = match handed && on.contains(&"disaggregation") {
                true => replicas.len() - 1,
                false => record.pool as usize,
            };
            let first: u32 = replicas[..pool].iter().sum();
            let own = first..first + replicas[pool];
            assert!(own.contains(&record.replica.unwrap()), "seed {seed}: {record:?}");
            seen.moved += u64::from(record.kv_transfer.is_some());
            seen.drafted += u64::from(record.drafted);
            seen.patient += u64::from(record.class == 1);
            seen.swapped += u64::from(record.swaps > 0);
        }
        for (index, (totals, slots)) in simulation.totals_by_pool().iter().zip(slots).enumerate() {
            seen.evicted += totals.adapters.loads.saturating_sub(slots.into());
            let side = match index {
                PREFILL if on.contains(&"disaggregation") => &mut seen.prefill,
                _ if index < MODELS as usize => continue,
                _ => &mut seen.decode,
            };
            side.adapters += totals.adapters.admitted;
            side.swaps += totals.offload.unwrap_or_default().swap_outs;
            side.reloads += totals.offload.unwrap_or_default().reloads;
            side.drafted += totals.speculation.drafted;
        }
        if let Some(offload) = &all.offload {
            assert_eq!(offload.swap_ins, offload.swap_outs, "seed {seed}: all came back");
            seen.offload.add(offload);
        }
        seen.adapters.add(&all.adapters);
        seen.finished += all.finished;
        seen.preempted += all.preemptions;

        let mut again = Records::default();
        let mut simulation = Simulation::new(cluster(seed, false).0).unwrap();
        simulation.run(&mut again).unwrap();
        assert_eq!(
            format!("{:?}", records.requests),
            format!("{:?}", again.requests),
            "seed {seed}"
        );
    }
    println!("{seen:?}");
    let Seen { offload, adapters, prefill, decode, .. } = seen;
    assert!(prefill.adapters > 100 && decode.adapters > 100, "{seen:?}");
    assert!(prefill.swaps > 10 && prefill.reloads > 10 && decode.swaps > 10, "{seen:?}");
    assert!(prefill.drafted == 0 && decode.drafted > 100, "{seen:?}");
    assert!(seen.all_on > 10, "{seen:?}");
    assert!(seen.finished > 3_000 && seen.preempted > 200, "{seen:?}");
    assert!(seen.moved > 200 && seen.drafted > 1_000, "{seen:?}");
    assert!(seen.refused > 200 && seen.patient > 200, "{seen:?}");
    assert!(seen.swapped > 200 && offload.swap_fallbacks > 50, "{seen:?}");
    assert!(offload.stored_blocks > 200 && offload.dropped_blocks > 50, "{seen:?}");
    assert!(offload.reloads > 100 && offload.bytes_from_host > 0, "{seen:?}");
    assert!(adapters.hits > 100 && adapters.fetches > 100 && seen.evicted > 100, "{seen:?}");
}
