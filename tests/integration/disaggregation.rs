//! Disaggregated prefill and decode: requests that one pool hands over to another.

use std::sync::Arc;

use vidur_ecs::base::{Nanos, RandomStream};
use vidur_ecs::engine::policy::{AnyPolicy, Sarathi, VllmV0, VllmV1};
use vidur_ecs::engine::routing::LeastOutstanding;
use vidur_ecs::engine::{HandOver, PoolSpec, SimSpec, Simulation, Traffic};
use vidur_ecs::records::{RequestRecord, RequestStatus, RunTotals};
use vidur_ecs::testing::{LinearTime, RandomScenario, audit};
use vidur_ecs::workload::{NewRequest, RequestSource};

use crate::records::{Records, nobody};

fn policy(kind: u64) -> Box<dyn AnyPolicy> {
    match kind % 4 {
        0 => Box::new(VllmV0 { max_num_seqs: 6, ..VllmV0::default() }),
        1 => Box::new(Sarathi { chunk_size: 16, ..Sarathi::default() }),
        2 => Box::new(VllmV1 { max_num_seqs: 6, max_num_batched_tokens: 24, ..VllmV1::default() }),
        _ => Box::new(VllmV1 {
            max_num_seqs: 4,
            max_num_batched_tokens: 32,
            async_scheduling: false,
            ..VllmV1::default()
        }),
    }
}

/// The requests of a random scenario, of whose two pools the second decodes; `None` if a policy
/// refuses its limits.
fn random(seed: u64) -> Option<SimSpec> {
    let mut random = RandomStream::new(seed, "disaggregation");
    let scenario = RandomScenario::harder(seed);
    let (prefills, decodes) = (policy(random.below(4)), policy(random.below(4)));
    let mut decode_limits = scenario.limits;
    decode_limits.stages = 1 + random.below(2) as u32;
    let longest = decode_limits.blocks_for(decode_limits.max_model_len);
    decode_limits.num_blocks = longest + 1 + random.below(u64::from(longest) * 2) as u32;
    prefills.check(&scenario.limits).ok()?;
    decodes.check(&decode_limits).ok()?;
    let mut spec = scenario.spec(prefills);
    let prefill = spec.pools.remove(0);
    let hand_over = HandOver {
        to: 1,
        bytes_per_token: 1 + random.below(3) * 1_000,
        // About as long as an iteration, or much faster or slower.
        bytes_per_second: [1e7, 1e9, 1e12][random.below(3) as usize],
        latency: Nanos(random.below(3) * scenario.time.base),
        layers: [1, 4][random.below(2) as usize],
    };
    let (router, predictor) = (Box::new(LeastOutstanding::default()), prefill.predictor.clone());
    let decode = PoolSpec {
        name: "decode".to_owned(),
        replicas: 1 + random.below(3) as u32,
        ..PoolSpec::new(decode_limits, decodes, router, predictor, nobody())
    };
    spec.pools = vec![PoolSpec { hand_over: Some(hand_over), ..prefill }, decode];
    Some(spec)
}

/// Runs to the end, audited after every step. Also whether more than one replica prefills.
fn run(spec: SimSpec, what: &str) -> (Vec<RequestRecord>, RunTotals, Vec<RunTotals>) {
    let mut simulation = Simulation::new(spec).unwrap();
    let mut records = Records::default();
    while let Some(step) = simulation.step(&mut records).unwrap() {
        audit(&mut simulation).unwrap_or_else(|e| panic!("{what}, {} s: {e}", step.time));
    }
    let all = simulation.run(&mut records).unwrap();
    records.requests.sort_by_key(|record| record.id);
    (records.requests, all, simulation.totals_by_pool())
}

/// Every request ends, once; prompts are processed by one pool and answers by the other; the books
/// are right after every step; runs repeat, also when fast-forward is allowed where it can be.
#[test]
fn random_scenarios_are_conserved_and_repeat() {
    let (mut runs, mut moved, mut preempted) = (0, 0, 0);
    for seed in 0..400 {
        let Some(mut exact) = random(seed) else { continue };
        (exact.exact_steps, exact.plain_lists) = (true, true);
        let exact_overhead = exact.pools[0].traffic.api_overhead.0;
        let (records, all, pools) = run(exact, &format!("seed {seed}"));
        let (again, ..) = run(random(seed).unwrap(), &format!("seed {seed}"));
        assert_eq!(format!("{records:?}"), format!("{again:?}"), "seed {seed}");
        assert_eq!(all.arrived, all.finished + all.rejected, "seed {seed}");
        assert_eq!(all.arrived, records.len() as u64);
        assert_eq!(pools[0].decode_tokens, 0, "seed {seed}");
        let prefill_replicas = random(seed).unwrap().pools[0].replicas;
        for record in records.iter().filter(|r| r.status == RequestStatus::Finished) {
            let handed = record.output_tokens > 1;
            assert_eq!(record.replica.unwrap() >= prefill_replicas, handed, "{record:?}");
            assert_eq!(record.kv_transfer.is_some(), handed, "{record:?}");
            let spent = record.execution_time + record.preemption_time;
            let spent = spent + record.kv_transfer.unwrap_or(Nanos::ZERO);
            let first = record.scheduled_at.unwrap();
            assert!(spent <= record.completed_at.unwrap().since(first), "{record:?}");
            moved += u64::from(handed);
        }
        // Every request counts in one place at a time, also while it has blocks on both sides.
        let alive = |r: &RequestRecord| u128::from(r.completed_at.unwrap().since(r.arrived_at).0);
        let there: u128 = records.iter().map(alive).sum();
        let overhead = u128::from(exact_overhead) * u128::from(all.finished + all.rejected);
        let counted = all.running_integral + all.waiting_integral;
        assert_eq!(counted + overhead, there, "seed {seed}");
        preempted += pools[1].preemptions;
        runs += 1;
    }
    assert!(runs > 200 && moved > 3_000 && preempted > 200, "{runs} {moved} {preempted}");
}

/// From the end of its prefill until its content was on the decode side.
fn moved(record: &RequestRecord) -> Nanos {
    record.kv_transfer.expect("it was handed over")
}

struct Fixed(Vec<NewRequest>);

impl RequestSource for Fixed {
    fn next_request(&mut self) -> Option<NewRequest> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }
}

/// Requests of these prompts and arrivals, ten tokens of answer each, one replica on either side.
fn pair(requests: &[(u64, u32)], decode_blocks: u32, hand_over: HandOver) -> SimSpec {
    let new = |(id, &(at, prompt)): (usize, &(u64, u32))| NewRequest {
        id: id as u64,
        arrived_at: Nanos(at),
        prompt_tokens: prompt,
        output_tokens: 10,
        priority: 0,
        class: 0,
        adapter: None,
        content: None,
    };
    let source = Fixed(requests.iter().enumerate().map(new).collect());
    let mut spec = random(0).unwrap();
    let time = LinearTime { base: 1_000, per_token: 10, per_context: 0, per_spread: 0, rest: 0.0 };
    for pool in &mut spec.pools {
        pool.replicas = 1;
        pool.policy = Box::new(VllmV0 { watermark: 0.0, ..VllmV0::default() });
        pool.predictor = Arc::new(time);
        pool.limits.max_model_len = 4_096;
        pool.limits.block_size = 16;
        pool.limits.num_blocks = 1_000;
        pool.limits.stages = 1;
        pool.prefix_caching = false;
    }
    spec.pools[0].hand_over = Some(hand_over);
    spec.pools[0].traffic = Traffic { source: Box::new(source), ..nobody() };
    spec.pools[1].limits.num_blocks = decode_blocks;
    spec
}

const LINK: HandOver = HandOver {
    to: 1,
    bytes_per_token: 1_000,
    bytes_per_second: 1e9,
    latency: Nanos(500),
    layers: 1,
};

/// Without contention the only price is bytes / bandwidth and the latency, to the nanosecond.
#[test]
fn an_idle_link_costs_bytes_by_bandwidth_and_its_latency() {
    for prompt in [1, 15, 16, 17, 1_000] {
        let (records, ..) = run(pair(&[(0, prompt)], 1_000, LINK), "idle");
        let record = &records[0];
        // A byte takes a nanosecond.
        assert_eq!(moved(record), Nanos(u64::from(prompt) * 1_000 + 500));
        let prefill = Nanos(1_000 + 10 * u64::from(prompt));
        assert_eq!(record.first_token_at, Some(prefill), "the transfer comes after it");
        let decodes = Nanos(9 * 1_010);
        assert_eq!(record.completed_at, Some(prefill + moved(record) + decodes));
        assert_eq!(record.preemption_time, Nanos::ZERO);
    }
}

/// Two prompts of one batch share the link: the second waits for the first one's bytes, not for its
/// latency.
#[test]
fn transfers_of_a_replica_take_turns_on_its_link() {
    let (records, ..) = run(pair(&[(0, 100), (0, 200)], 1_000, LINK), "busy");
    assert_eq!(records[0].first_token_at, records[1].first_token_at);
    assert_eq!(moved(&records[0]), Nanos(100_000 + 500));
    assert_eq!(moved(&records[1]), Nanos(100_000 + 200_000 + 500));
}

/// A decode replica with blocks for one request only: the other's content waits where it is.
#[test]
fn a_full_decode_side_holds_the_prefill_side_back() {
    // 110 tokens in 7 blocks; a slow prefill side would never see the second request wait.
    let (records, _, pools) = run(pair(&[(0, 100), (0, 100)], 7, LINK), "full");
    let (first, second) = (&records[0], &records[1]);
    assert_eq!(moved(first), Nanos(100_500));
    let waited = first.completed_at.unwrap().since(first.first_token_at.unwrap());
    assert_eq!(moved(second), waited + Nanos(100_500));
    // 7 blocks each until their transfers end: the first 100.5 us, the second until it was let in.
    let held = u128::from(moved(second).0) + u128::from(moved(first).0);
    let prefill = u128::from(first.first_token_at.unwrap().0);
    assert_eq!(pools[0].kv_allocated_integral, 7 * (held + 2 * prefill));
    assert_eq!(pools[1].preemptions, 0);
}

/// Layer by layer an idle link adds a layer's share, and what does not fit into the time of the
/// computation: to the nanosecond.
#[test]
fn layers_are_sent_while_later_ones_are_computed() {
    for (prompt, nanos_per_token) in [(100, 1_000), (1_000, 1_000), (1_000, 8)] {
        let bytes_per_second = 1e9 * 1_000.0 / f64::from(nanos_per_token);
        let link = HandOver { layers: 10, bytes_per_second, ..LINK };
        let (records, ..) = run(pair(&[(0, prompt)], 1_000, link), "layers");
        let (wire, computed) = (prompt * nanos_per_token, 1_000 + 10 * prompt);
        let after = wire / 10 + wire.saturating_sub(computed) * 9 / 10;
        assert_eq!(moved(&records[0]), Nanos(u64::from(after) + 500), "{prompt}");
    }
}

/// Who has to wait for blocks at the decode side sends nothing before it has them.
#[test]
fn nothing_is_sent_ahead_to_a_full_decode_side() {
    let link = HandOver { layers: 10, ..LINK };
    let (records, ..) = run(pair(&[(0, 100), (0, 100)], 7, link), "full");
    let (first, second) = (&records[0], &records[1]);
    // The two are computed in one iteration of 3 us, of which 10 % before the first layer.
    assert_eq!(moved(first), Nanos(100_000 - 2_700 + 500));
    let waited = first.completed_at.unwrap().since(first.first_token_at.unwrap());
    assert_eq!(moved(second), waited + Nanos(100_500));
}

/// Two prefill replicas send to one decode replica: its link takes one at a time.
#[test]
fn receivers_take_one_transfer_at_a_time() {
    let mut spec = pair(&[(0, 100), (0, 100)], 1_000, LINK);
    spec.pools[0].replicas = 2;
    spec.pools[0].router = Box::new(vidur_ecs::engine::routing::RoundRobin::default());
    let (records, ..) = run(spec, "receiver");
    assert_eq!(records[0].first_token_at, records[1].first_token_at);
    let mut times = [moved(&records[0]), moved(&records[1])];
    times.sort_unstable();
    assert_eq!(times, [Nanos(100_500), Nanos(200_500)]);
}
