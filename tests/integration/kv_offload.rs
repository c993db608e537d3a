//! KV blocks in host memory: evicted prefixes that are copied back, requests that are swapped.

use std::sync::Arc;

use vidur_ecs::base::{Nanos, RandomStream};
use vidur_ecs::engine::policy::{AnyPolicy, Queueing, Sarathi, SgLang, VllmV0, VllmV1};
use vidur_ecs::engine::speculation::{
    Acceptance, Adaptive, Drafter, Speculation, SpeculativePredictor,
};
use vidur_ecs::engine::state::kv::{HostMemory, Reload};
use vidur_ecs::engine::{SimSpec, Simulation};
use vidur_ecs::records::{BatchRecord, OffloadTotals, RequestRecord, RunSink, RunTotals};
use vidur_ecs::testing::{LinearTime, RandomScenario, audit};
use vidur_ecs::workload::{Content, NewRequest, RequestSource, TokenSpan};

#[derive(Default)]
struct Records(Vec<RequestRecord>);

impl RunSink for Records {
    fn request(&mut self, record: &RequestRecord) {
        self.0.push(record.clone());
    }
    fn batch(&mut self, _: &BatchRecord) {}
}

/// More than any of the scenarios needs: who gets there makes no progress.
const STEPS_MAX: usize = 200_000;

/// Runs to the end, audited after every step.
fn run(spec: SimSpec, what: &str) -> (Vec<RequestRecord>, RunTotals) {
    let mut simulation = Simulation::new(spec).unwrap();
    let mut records = Records::default();
    for _ in 0..STEPS_MAX {
        let Some(step) = simulation.step(&mut records).unwrap() else {
            let totals = simulation.run(&mut records).unwrap();
            records.0.sort_by_key(|record| record.id);
            return (records.0, totals);
        };
        audit(&mut simulation).unwrap_or_else(|e| panic!("{what}, {} s: {e}", step.time));
    }
    panic!("{what}: no end after {STEPS_MAX} steps");
}

fn policy(kind: u64) -> Box<dyn AnyPolicy> {
    let v1 = VllmV1 { max_num_seqs: 6, max_num_batched_tokens: 24, ..VllmV1::default() };
    match kind {
        0 => Box::new(VllmV0 { max_num_seqs: 6, ..VllmV0::default() }),
        1 => Box::new(Sarathi { chunk_size: 16, ..Sarathi::default() }),
        2 => Box::new(VllmV1 { async_scheduling: false, ..v1 }),
        3 => Box::new(VllmV1 { scheduling_policy: Queueing::Priority, ..v1 }),
        4 => {
            let mut policy = SgLang::default();
            policy.chunked_prefill_size = 32;
            Box::new(policy)
        }
        _ => Box::new(v1),
    }
}

/// A random scenario with host memory of any size and speed; `None` if the policy refuses its
/// limits.
fn random(seed: u64) -> Option<SimSpec> {
    let mut random = RandomStream::new(seed, "offload");
    let mut scenario = RandomScenario::harder(seed);
    scenario.limits.stages = 1;
    let policy = policy(random.below(6));
    policy.check(&scenario.limits).ok()?;
    let blocks = u64::from(scenario.limits.num_blocks);
    let reloads = [Reload::Never, Reload::WhenFaster, Reload::Always];
    // From nothing to more than is ever needed.
    let most = blocks * [1, 3][random.below(2) as usize];
    let host = HostMemory {
        blocks: random.below(most) as u32,
        bytes_per_block: 1_000 * (1 + random.below(3)),
        gpus: 1 + random.below(2) as u32,
        // About as long as an iteration, or much faster or slower.
        bytes_per_second: [1e7, 1e9, 1e12][random.below(3) as usize],
        latency: Nanos(random.below(3) * scenario.time.base),
        reload: if scenario.prefix_caching {
            reloads[random.below(3) as usize]
        } else {
            Reload::Never
        },
        swap: policy.swaps() && random.below(4) > 0,
    };
    let mut spec = scenario.spec(policy);
    let pool = &mut spec.pools[0];
    pool.host = Some(host);
    if random.below(4) == 0 {
        let half = Drafter::Passes { predictor: pool.predictor.clone(), share: 0.5 };
        let target = pool.predictor.clone();
        let predictor = Arc::new(SpeculativePredictor::new(target, half, "drafts"));
        pool.predictor = predictor.clone();
        let (acceptance, adaptive) = (Acceptance::Same(0.6), Adaptive::default());
        pool.speculation = Some(Speculation { k: 3, acceptance, adaptive, predictor });
    }
    Some(spec)
}

/// Every request ends, once; the books of GPUs and hosts are right after every step; runs repeat,
/// also when fast-forward is allowed where it can be.
#[test]
fn random_scenarios_are_conserved_and_repeat() {
    let (mut runs, mut sum) = (0, OffloadTotals::default());
    for seed in 0..400 {
        let Some(mut exact) = random(seed) else { continue };
        (exact.exact_steps, exact.plain_lists) = (true, true);
        let (caches, swap) = (exact.pools[0].prefix_caching, exact.pools[0].host.unwrap().swap);
        let what = format!("seed {seed}");
        let (records, totals) = run(exact, &what);
        let (again, _) = run(random(seed).unwrap(), &what);
        assert_eq!(format!("{records:?}"), format!("{again:?}"), "{what}");
        assert_eq!(totals.arrived, totals.finished + totals.rejected, "{what}");
        assert_eq!(totals.arrived, records.len() as u64);
        let offload = totals.offload.unwrap();
        assert_eq!(offload.swap_outs, offload.swap_ins, "{what}");
        assert_eq!(offload.swap_outs, records.iter().map(|r| u64::from(r.swaps)).sum::<u64>());
        assert_eq!(offload.swap_fallbacks > 0 || offload.swap_outs > 0, swap && preempts(&totals));
        if totals.preemptions == 0 && !caches {
            let prompts = records.iter().filter(|r| r.scheduled_at.is_some());
            let prompts: u64 = prompts.map(|r| u64::from(r.prompt_tokens)).sum();
            assert_eq!(totals.prefill_tokens, prompts, "{what}: nothing is computed twice");
        }
        if !swap {
            assert_eq!((offload.swap_outs, offload.swap_fallbacks), (0, 0));
        }
        sum.add(&offload);
        runs += 1;
    }
    println!("{runs} runs: {sum:?}");
    assert!(runs > 250 && sum.swap_outs > 500 && sum.swap_fallbacks > 100, "{runs} {sum:?}");
    assert!(sum.reloads > 100 && sum.dropped_blocks > 1_000, "{sum:?}");
}

/// Whether somebody who had computed something was preempted.
fn preempts(totals: &RunTotals) -> bool {
    let offload = totals.offload.unwrap();
    offload.swap_outs + offload.swap_fallbacks > 0
}

struct Fixed(Vec<NewRequest>);

impl RequestSource for Fixed {
    fn next_request(&mut self) -> Option<NewRequest> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }
}

/// A block takes 16 us.
const HOST: HostMemory = HostMemory {
    blocks: 100,
    bytes_per_block: 16_000,
    gpus: 1,
    bytes_per_second: 1e9,
    latency: Nanos(500),
    reload: Reload::Always,
    swap: false,
};

/// An iteration is 1 ms and 10 us per token.
const TIME: LinearTime =
    LinearTime { base: 1_000_000, per_token: 10_000, per_context: 0, per_spread: 0, rest: 0.0 };

/// One replica with `blocks` blocks of 16 tokens, and requests by arrival in ms, prompt, output and
/// the span that they begin with.
fn spec(
    policy: Box<dyn AnyPolicy>,
    blocks: u32,
    host: Option<HostMemory>,
    requests: &[(u64, u32, u32, Option<u64>)],
) -> SimSpec {
    let new = |(id, &(at, prompt, output, span)): (usize, &(u64, u32, u32, Option<u64>))| {
        let spans = span.map(|id| TokenSpan { id, tokens: 160 });
        NewRequest {
            id: id as u64,
            arrived_at: Nanos(at * 1_000_000),
            prompt_tokens: prompt,
            output_tokens: output,
            priority: 0,
            class: 0,
            adapter: None,
            content: Some(Arc::new(Content { prompt: spans.into_iter().collect(), answer: None })),
        }
    };
    let mut scenario = RandomScenario::new(0);
    (scenario.replicas, scenario.concurrency, scenario.time) = (1, None, TIME);
    scenario.limits.max_model_len = 4_096;
    scenario.limits.block_size = 16;
    scenario.limits.stages = 1;
    scenario.limits.num_blocks = blocks + policy.reserved_blocks();
    scenario.prefix_caching = true;
    scenario.requests = requests.iter().enumerate().map(new).collect();
    scenario.follows = vec![None; requests.len()];
    let source = Fixed(scenario.requests.clone());
    let mut spec = scenario.spec(policy);
    spec.pools[0].traffic.source = Box::new(source);
    spec.pools[0].traffic.api_overhead = Nanos::ZERO;
    spec.pools[0].host = host;
    spec
}

fn v1() -> Box<dyn AnyPolicy> {
    Box::new(VllmV1 { async_scheduling: false, ..VllmV1::default() })
}

fn ttft(record: &RequestRecord) -> Nanos {
    record.first_token_at.unwrap().since(record.arrived_at)
}

/// The third request begins as the first one does, whose blocks the second one evicted on a small
/// GPU.
const AGAIN: [(u64, u32, u32, Option<u64>); 3] =
    [(0, 161, 1, Some(7)), (100, 170, 1, None), (200, 161, 1, Some(7))];

/// TTFT of a hit in host memory is that of a hit on the GPU and `latency + bytes / bandwidth`, to
/// the nanosecond.
#[test]
fn a_host_hit_costs_latency_and_bytes_by_bandwidth() {
    let (on_gpu, _) = run(spec(v1(), 100, Some(HOST), &AGAIN), "large");
    let (in_host, totals) = run(spec(v1(), 12, Some(HOST), &AGAIN), "small");
    let (without, _) = run(spec(v1(), 12, None, &AGAIN), "without");
    assert_eq!((on_gpu[2].cached_tokens, on_gpu[2].reloaded_tokens), (160, 0));
    // A prefix is evicted from its end: its first block is still there.
    assert_eq!((in_host[2].cached_tokens, in_host[2].reloaded_tokens), (16, 144));
    assert_eq!((without[2].cached_tokens, without[2].reloaded_tokens), (16, 0));
    let copy = Nanos(500 + 9 * 16_000);
    assert_eq!(ttft(&on_gpu[2]), Nanos(1_010_000));
    assert_eq!(ttft(&in_host[2]), ttft(&on_gpu[2]) + copy);
    assert_eq!(ttft(&without[2]), Nanos(1_010_000 + 144 * 10_000));
    let offload = totals.offload.unwrap();
    assert_eq!((offload.reloads, offload.reloaded_tokens), (1, 144));
    assert_eq!((offload.waiting, offload.bytes_from_host), (copy, 9 * 16_000));
    // Of 12 blocks 1 was not used before and 1 held no full prefix: 9 of the first request's are
    // evicted for the second, then as many of the second's for the third.
    assert_eq!(offload.stored_blocks, 9 + 9);
    assert_eq!(offload.bytes_to_host, 18 * 16_000);
}

/// Copies out go on beside the step, and the next one waits where they take longer.
#[test]
fn evictions_cost_what_exceeds_the_step() {
    let slow = HostMemory { bytes_per_second: 1e6, ..HOST };
    let (records, totals) = run(spec(v1(), 12, Some(slow), &AGAIN[..2]), "slow");
    let copy = Nanos(500 + 9 * 16_000_000);
    assert!(copy > Nanos(1_000_000 + 170 * 10_000));
    assert_eq!(ttft(&records[1]), copy);
    assert_eq!(totals.offload.unwrap().waiting, copy.since(Nanos(2_700_000)));
    let fast = HostMemory { bytes_per_second: 1e9, ..HOST };
    let (records, totals) = run(spec(v1(), 12, Some(fast), &AGAIN[..2]), "fast");
    assert_eq!(ttft(&records[1]), Nanos(2_700_000), "144 us are hidden behind 2.7 ms");
    assert_eq!(totals.offload.unwrap().waiting, Nanos::ZERO);
}

/// Copying back wins where `latency + bytes / bandwidth` is below what computing the tokens takes,
/// and loses above; `WhenFaster` has the better of both.
#[test]
fn copying_and_computing_cross_where_they_take_as_long() {
    let bytes = 9.0 * 16_000.0;
    let critical = bytes / (144.0 * 10_000e-9 - 500e-9);
    for (factor, wins) in [(20.0, true), (1.01, true), (0.99, false), (0.1, false)] {
        let [always, never, faster] =
            [Reload::Always, Reload::Never, Reload::WhenFaster].map(|reload| {
                let bytes_per_second = critical * factor;
                let host = HostMemory { bytes_per_second, reload, ..HOST };
                let mut spec = spec(v1(), 12, Some(host), &AGAIN);
                // Long enough to copy beside what is evicted for the third request; only 0.1 is too
                // slow for that.
                spec.pools[0].predictor = Arc::new(LinearTime { base: 10_000_000, ..TIME });
                ttft(&run(spec, "crossing").0[2])
            });
        assert_eq!(always < never, wins, "{factor}: {always} {never}");
        if factor > 0.5 {
            assert_eq!(faster, always.min(never), "{factor}");
        }
    }
}

/// Two requests that fit while they are short, and not when they are long.
const GROWING: [(u64, u32, u32, Option<u64>); 2] = [(0, 64, 64, None), (0, 64, 64, None)];

/// One is swapped out and comes back when the other has ended: nothing is computed twice, and both
/// copies are waited for.
#[test]
fn a_swapped_request_keeps_what_it_computed() {
    let host = HostMemory { swap: true, reload: Reload::Never, ..HOST };
    let v0 = || Box::new(VllmV0 { watermark: 0.0, ..VllmV0::default() });
    let swapping = |host| {
        let mut spec = spec(v0(), 13, Some(host), &GROWING);
        spec.pools[0].prefix_caching = false;
        run(spec, "growing")
    };
    let (records, totals) = swapping(host);
    let offload = totals.offload.unwrap();
    assert_eq!(totals.prefill_tokens, 128);
    assert_eq!((totals.preemptions, offload.swap_outs, offload.swap_ins), (0, 1, 1));
    assert_eq!((records[0].swaps, records[1].swaps), (0, 1), "the one that came last");
    // Both have 6 blocks and need the seventh: 96 tokens are copied, twice.
    let copy = Nanos(500 + 6 * 16_000);
    assert_eq!(offload.waiting, copy + copy);
    assert_eq!((offload.bytes_to_host, offload.bytes_from_host), (96_000, 96_000));
    // 1 prefill of both, 32 decodes of both, 31 of the first, then 31 of the second.
    let steps = Nanos(2_280_000 + 32 * 1_020_000 + 31 * 1_010_000 + 31 * 1_010_000);
    assert_eq!(totals.end, steps + copy + copy);
    assert_eq!(
        records[0].completed_at,
        Some(Nanos(2_280_000 + 32 * 1_020_000 + 31 * 1_010_000) + copy)
    );
    // Without room it is computed again.
    let (records, totals) = swapping(HostMemory { blocks: 5, ..host });
    let offload = totals.offload.unwrap();
    assert_eq!((totals.preemptions, offload.swap_outs, offload.swap_fallbacks), (1, 0, 1));
    assert_eq!((records[1].restarts, records[1].swaps), (1, 0));
    assert_eq!(totals.prefill_tokens, 128 + 97);
    assert_eq!(offload.bytes_to_host, 0);
}

/// A swapped request comes before any that waits.
#[test]
fn what_was_swapped_out_comes_before_what_waits() {
    let host = HostMemory { swap: true, reload: Reload::Never, ..HOST };
    let requests = [GROWING[0], GROWING[1], (60, 16, 2, None)];
    let v0 = Box::new(VllmV0 { watermark: 0.0, ..VllmV0::default() });
    let sarathi = Box::new(Sarathi { watermark: 0.0, ..Sarathi::default() });
    for policy in [v0 as Box<dyn AnyPolicy>, sarathi, v1()] {
        let name = policy.name();
        let (records, totals) = run(spec(policy, 13, Some(host), &requests), name);
        let offload = totals.offload.unwrap();
        assert_eq!((offload.swap_outs, offload.swap_ins), (1, 1), "{name}");
        let first_done = records[0].completed_at.unwrap();
        // It needs one block, and six are free all the time.
        assert!(records[2].scheduled_at.unwrap() >= first_done, "{name}");
    }
}
