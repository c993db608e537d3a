//! Models whose layers are in several KV cache groups: whatever they hold adds up, and windows give
//! back what they no longer see.

use vidur_ecs::base::RandomStream;
use vidur_ecs::engine::Simulation;
use vidur_ecs::engine::policy::{Policy, Queueing, VllmV1};
use vidur_ecs::engine::state::kv::{KvCacheGroup, MambaMode};
use vidur_ecs::records::{BatchRecord, RequestRecord, RunSink};
use vidur_ecs::testing::{RandomScenario, audit};

use crate::room::Room;

#[derive(Default)]
struct Ended {
    requests: u64,
    cached: u64,
}

impl RunSink for Ended {
    fn request(&mut self, record: &RequestRecord) {
        self.requests += 1;
        self.cached += u64::from(record.cached_tokens);
    }
    fn batch(&mut self, _: &BatchRecord) {}
}

/// Groups of any kinds and sizes.
fn random_groups(random: &mut RandomStream, unit: u32, caching: bool) -> Vec<KvCacheGroup> {
    let mut groups = vec![KvCacheGroup::Full { block_size: unit }];
    for _ in 0..=random.below(3) {
        let block_size = unit * (1 + random.below(2) as u32);
        groups.push(match random.below(4) {
            0 | 1 => {
                KvCacheGroup::SlidingWindow { block_size, window: 1 + random.below(60) as u32 }
            }
            2 => KvCacheGroup::ChunkedLocal {
                block_size,
                chunk: block_size * (1 + random.below(4) as u32),
            },
            _ if caching => KvCacheGroup::Mamba { block_size: unit, mode: MambaMode::Align },
            _ => KvCacheGroup::Mamba { block_size: unit * 64, mode: MambaMode::None },
        });
    }
    groups
}

/// Random clusters, tight in memory, audited after every step: every block has as many holders as
/// it says, every request the blocks of its tokens, and at the end nobody holds any.
#[test]
fn blocks_of_groups_add_up_after_every_step() {
    let (mut preempted, mut cached) = (0, 0);
    for seed in 0..300 {
        let mut scenario = RandomScenario::harder(seed);
        let mut random = RandomStream::new(seed, "groups");
        scenario.limits.stages = 1;
        let policy = VllmV1 {
            max_num_seqs: 1 + random.below(8) as u32,
            max_num_batched_tokens: 8 + random.below(60) as u32,
            long_prefill_token_threshold: [0, 16][random.below(2) as usize],
            async_scheduling: random.below(2) == 0,
            scheduling_policy: [Queueing::Fcfs, Queueing::Priority][random.below(2) as usize],
            ..VllmV1::default()
        };
        let groups =
            random_groups(&mut random, scenario.limits.block_size, scenario.prefix_caching);
        let rules = policy.group_rules(&groups, &scenario.limits).expect("rules");
        let most = rules.blocks_of(scenario.limits.max_model_len);
        scenario.limits.num_blocks = most + 1 + random.below(u64::from(most) * 2) as u32;
        let requests = scenario.requests.len() as u64;
        let mut spec = scenario.spec(Box::new(policy));
        spec.pools[0].kv_groups = Some(rules);
        let mut simulation = Simulation::new(spec).expect("a simulation");
        let mut ended = Ended::default();
        let mut steps = 0;
        while simulation.step(&mut ended).unwrap_or_else(|e| panic!("seed {seed}: {e}")).is_some() {
            audit(&mut simulation).unwrap_or_else(|e| panic!("seed {seed}: {e}: {groups:?}"));
            steps += 1;
            assert!(steps < 100_000, "seed {seed} does not end: {groups:?}");
        }
        assert_eq!(ended.requests, requests, "seed {seed}: {groups:?}");
        let totals = simulation.run(&mut ended).expect("its totals");
        preempted += totals.preemptions;
        cached += ended.cached;
    }
    assert!(preempted > 300 && cached > 300, "{preempted} preemptions, {cached} cached tokens");
}

fn scenario(engine: &str) -> String {
    format!(
        "(model: \"Llama-2-7B\", device: \"A100-SXM-80G\",
          engine: (policy: VllmV1(max_num_batched_tokens: 512, async_scheduling: false),
              max_model_len: 4096, enable_prefix_caching: false, {engine}),
          workload: (requests: 1, arrivals: Static, lengths: Fixed(prompt: 2048, output: 2)),
          timing: Formula(base: 0.01), output: (time_series_s: 0.01))"
    )
}

/// A prompt of 2048 tokens in steps of 512: 129 blocks where every token is kept. Of the others it
/// is admitted with those of a window and a step: 127 + 512 tokens are 40 blocks, and one more
/// where they begin in the middle of a block.
#[test]
fn a_window_holds_what_it_sees_and_a_step() {
    let of = |groups: &str, blocks: u32| {
        let room = Room::with(
            "s.ron",
            scenario(&format!("num_gpu_blocks: {blocks}, kv_cache_groups: [{groups}]")),
        );
        room.run("run --quiet s.ron --out out").code == 0
            && std::fs::read_to_string(room.path("out/request_metrics.csv"))
                .expect("requests")
                .contains("finished")
    };
    let groups = "Full(block_size: 16), SlidingWindow(block_size: 16, window: 128)";
    // And the block that the engine keeps.
    assert!(of(groups, 129 + 41 + 1), "it fits");
    assert!(!of(groups, 129 + 41), "one block less");
    assert!(!of("Full(block_size: 16), Full(block_size: 16)", 129 + 129), "two full groups");
    assert!(of("Full(block_size: 16), Full(block_size: 16)", 129 + 129 + 1), "two full groups");
}

#[test]
fn wrong_groups_are_refused_at_their_place() {
    for (groups, expected) in [
        ("kv_cache_groups: [Full(block_size: 16)]", "num_gpu_blocks"),
        ("num_gpu_blocks: 500, kv_cache_groups: []", "at least one"),
        (
            "num_gpu_blocks: 500, kv_cache_groups: [Full(block_size: 0)]",
            "a multiple of block_size, 16",
        ),
        (
            "num_gpu_blocks: 500, kv_cache_groups: [SlidingWindow(block_size: 16, window: 0)]",
            "at least 1",
        ),
        (
            "num_gpu_blocks: 500, kv_cache_groups: [ChunkedLocal(block_size: 16, chunk: 40)]",
            "a multiple of its block_size, 16",
        ),
        (
            "num_gpu_blocks: 500, kv_cache_groups: [Full(block_size: 16, window: 3)]",
            "unknown field",
        ),
    ] {
        let room = Room::with("s.ron", scenario(groups));
        let ran = room.run("check s.ron");
        assert_eq!(ran.code, 2, "{groups}: {}", ran.err);
        assert!(ran.err.contains(expected) && ran.err.contains("s.ron:"), "{groups}: {}", ran.err);
    }
}
