//! Bugs and quirks of Vidur that must not come back here, by their numbers in
//! `docs/vidur-quirks.md`. Those whose test lies beside the code it is about are not repeated.

use std::sync::Arc;

use vidur_ecs::base::Nanos;
use vidur_ecs::engine::policy::{AnyPolicy, EngineLimits, Orca, Sarathi, VllmV0};
use vidur_ecs::engine::routing::{AnyRouter, LeastOutstanding, RoundRobin, VidurLor};
use vidur_ecs::engine::{PoolSpec, SimSpec, Simulation, Traffic};
use vidur_ecs::hardware::model;
use vidur_ecs::profile;
use vidur_ecs::records::{BatchRecords, RequestStatus, RunTotals};
use vidur_ecs::registry::Registry;
use vidur_ecs::scenario::Scenario;
use vidur_ecs::testing::{LinearTime, RandomScenario};
use vidur_ecs::workload::{NewRequest, RequestSource};

use crate::records::Records;
use crate::room::Room;

/// Every iteration takes a microsecond.
const MICROSECOND: LinearTime =
    LinearTime { base: 1_000, per_token: 0, per_context: 0, per_spread: 0, rest: 0.0 };

const ROOMY: EngineLimits = EngineLimits {
    max_model_len: 4096,
    block_size: 16,
    num_blocks: 20_000,
    stages: 1,
    vidur_lengths: false,
};

/// Nanoseconds of arrival, prompt tokens, output tokens.
type Asked = (u64, u32, u32);

struct List(std::vec::IntoIter<NewRequest>);

impl RequestSource for List {
    fn next_request(&mut self) -> Option<NewRequest> {
        self.0.next()
    }
}

fn spec(
    policy: impl AnyPolicy + 'static,
    router: impl AnyRouter + 'static,
    (replicas, limits): (u32, EngineLimits),
    asked: &[Asked],
) -> SimSpec {
    let requests: Vec<NewRequest> = asked
        .iter()
        .zip(0..)
        .map(|(&(at, prompt_tokens, output_tokens), id)| NewRequest {
            id,
            arrived_at: Nanos(at),
            prompt_tokens,
            output_tokens,
            priority: 0,
            class: 0,
            adapter: None,
            content: None,
        })
        .collect();
    let traffic = Traffic::of(Box::new(List(requests.into_iter())));
    let (policy, router) = (Box::new(policy), Box::new(router));
    let pool = PoolSpec {
        replicas,
        ..PoolSpec::new(limits, policy, router, Arc::new(MICROSECOND), traffic)
    };
    SimSpec { batch_records: BatchRecords::Each, ..SimSpec::of_one(pool, 0) }
}

/// The records, requests by id.
fn simulate(spec: SimSpec) -> (Records, RunTotals) {
    let mut records = Records::default();
    let mut simulation = Simulation::new(spec).unwrap_or_else(|e| panic!("{e}"));
    let totals = simulation.run(&mut records).unwrap_or_else(|e| panic!("{e}"));
    records.requests.sort_by_key(|record| record.id);
    (records, totals)
}

/// The same on one replica.
fn one_replica(
    policy: impl AnyPolicy + 'static,
    limits: EngineLimits,
    asked: &[Asked],
) -> (Records, RunTotals) {
    simulate(spec(policy, RoundRobin::default(), (1, limits), asked))
}

/// What is wrong with a scenario.
fn refusal(room: &Room, text: &str) -> (u8, String) {
    room.write("refused.ron", text);
    let error = Scenario::load(&room.path("refused.ron"), &[], &Registry::built_in()).err();
    let error = error.unwrap_or_else(|| panic!("accepted: {text}"));
    (error.exit_code, error.render(false))
}

/// A column of a result's `request_metrics.csv`, by request.
fn column(room: &Room, folder: &str, name: &str) -> Vec<String> {
    let text = room.read(&format!("{folder}/request_metrics.csv"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let at = reader.headers().expect("a header").iter().position(|h| h == name).expect("there");
    let mut rows: Vec<(u64, String)> = reader
        .records()
        .map(|row| row.expect("a row"))
        .map(|row| (row[0].parse().expect("an id"), row[at].to_owned()))
        .collect();
    rows.sort();
    rows.into_iter().map(|(_, cell)| cell).collect()
}

fn scenario(engine: &str, workload: &str, timing: &str) -> String {
    format!(
        r#"(model: "Llama-2-7B", device: "A100-SXM-80G", engine: ({engine}), workload: ({workload}), timing: {timing})"#
    )
}

const MEASURED: &str = "Measured(composition: Vidur)";

#[test]
fn q01_phases_decide_at_equal_times() {
    // Request 0 decodes; request 1 arrives as an iteration ends, or a nanosecond later.
    for (arrival, scheduled) in [(3_000, 3_000), (3_001, 4_000)] {
        let (records, _) = one_replica(VllmV0::default(), ROOMY, &[(0, 4, 10), (arrival, 4, 1)]);
        assert_eq!(records.requests[1].scheduled_at, Some(Nanos(scheduled)));
    }
}

#[test]
fn q02_least_outstanding_counts_what_runs() {
    let asked: Vec<Asked> = (0..8).map(|i| (i * 2_500, 4, 1_000)).collect();
    let served = |router: Box<dyn AnyRouter>| {
        let mut spec = spec(VllmV0::default(), RoundRobin::default(), (4, ROOMY), &asked);
        spec.pools[0].router = router;
        let mut count = [0; 4];
        for record in simulate(spec).0.requests {
            count[record.replica.expect("was routed") as usize] += 1;
        }
        count
    };
    assert_eq!(served(Box::<LeastOutstanding>::default()), [2, 2, 2, 2]);
    assert_eq!(served(Box::<VidurLor>::default()), [8, 0, 0, 0]);
}

#[test]
fn q03_a_profile_that_changed_in_place_is_read_again() {
    let room = Room::new();
    let workload = "requests: 5, arrivals: Static, lengths: Fixed(prompt: 100, output: 20)";
    let timing = r#"Measured(composition: Vidur, profile: "p.ron")"#;
    room.write("s.ron", scenario("policy: VllmV0()", workload, timing));
    let mut profile = profile::shipped()
        .iter()
        .find(|shipped| shipped.name.ends_with("llama-2-7b"))
        .and_then(|shipped| shipped.load().ok())
        .expect("is shipped");
    let e2e = |profile: &profile::Profile, folder: &str| {
        room.write("p.ron", profile.to_string());
        assert_eq!(room.run(&format!("s.ron -q --out {folder}")).code, 0);
        column(&room, folder, "request_e2e_time")[0].parse::<f64>().expect("a time")
    };
    let before = e2e(&profile, "before");
    for rank in profile.model.iter_mut().flat_map(|model| &mut model.ranks) {
        for time in rank.per_tokens.us.values_mut().flatten() {
            *time *= 3.0;
        }
    }
    let after = e2e(&profile, "after");
    assert!(after > 2.0 * before, "{before} s, {after} s");
}

#[test]
fn q05_a_restart_keeps_the_whole_prompt() {
    let mut turned = 0;
    for seed in 0..200 {
        for vidur_partial_restart in [false, true] {
            let policy = Sarathi {
                chunk_size: 7,
                max_num_seqs: 9,
                vidur_partial_restart,
                ..Sarathi::default()
            };
            let random = RandomScenario::new(seed);
            if AnyPolicy::check(&policy, &random.limits).is_err() {
                continue;
            }
            let (records, totals) = simulate(random.spec(Box::new(policy)));
            let finished = records.requests.iter().filter(|r| r.status == RequestStatus::Finished);
            let asked: u64 = finished.map(|r| u64::from(r.output_tokens) - 1).sum();
            let excess = totals.inter_token.count() - asked;
            match vidur_partial_restart {
                false => assert_eq!(excess, 0, "scenario {seed}: prompt tokens became output"),
                true => turned += excess,
            }
        }
    }
    assert!(turned > 0, "the option must show what it is for");
}

#[test]
fn q08_the_seed_moves_arrivals_and_lengths() {
    let room = Room::new();
    let workload = r#"requests: 20, arrivals: Poisson(qps: 2.0), lengths: Empirical(name: "azure-conv-2023", max_total: 4096)"#;
    room.write("s.ron", scenario("policy: VllmV0()", workload, MEASURED));
    for seed in [1, 2] {
        assert_eq!(room.run(&format!("s.ron -q --seed {seed} --out {seed}")).code, 0);
    }
    for name in ["arrived_at", "request_num_prefill_tokens", "request_num_decode_tokens"] {
        assert_ne!(column(&room, "1", name), column(&room, "2", name), "{name}");
    }
}

#[test]
fn q11_replicas_are_numbered_from_0_everywhere() {
    let asked = [(0, 4, 2), (0, 4, 2), (0, 4, 2)];
    let (records, _) = simulate(spec(VllmV0::default(), RoundRobin::default(), (3, ROOMY), &asked));
    let replicas: Vec<_> = records.requests.iter().map(|r| r.replica).collect();
    assert_eq!(replicas, [Some(0), Some(1), Some(2)]);
    let of_batches: Vec<u32> = records.batches.iter().take(3).map(|b| b.replica).collect();
    assert_eq!(of_batches, [0, 1, 2]);
}

#[test]
fn q12_q13_means_over_time_are_weighted_and_begin_at_0() {
    // A block is held from 0 to 1 us, none until 3 us, two until 4 us.
    let asked = [(0, 16, 1), (3_000, 32, 1)];
    let (_, totals) = one_replica(VllmV0::default(), ROOMY, &asked);
    assert_eq!(totals.end, Nanos(4_000));
    assert_eq!(totals.kv_allocated_integral, 1_000 + 2 * 1_000);
    assert_eq!(totals.running_integral, 2_000);
    assert_eq!(totals.kv_allocated_peak, 2);
}

#[test]
fn q15_memory_is_planned_by_the_block() {
    let room = Room::new();
    let blocks = |max_model_len: u32| {
        let engine = format!("policy: VllmV0(), max_model_len: {max_model_len}");
        let workload = "requests: 1, arrivals: Static, lengths: Fixed(prompt: 8, output: 8)";
        room.write("s.ron", scenario(&engine, workload, MEASURED));
        let path = room.path("s.ron");
        let scenario = Scenario::load(&path, &[], &Registry::built_in());
        scenario.unwrap_or_else(|e| panic!("{e}")).configurations[0]
            .cluster
            .first()
            .limits
            .num_blocks
    };
    assert_eq!(blocks(4096), blocks(2048), "capacity does not depend on the longest request");
    assert_ne!(blocks(4096) % (4096 / 16), 0, "nor is it a whole number of longest requests");

    // With the blocks given outright Orca batches as many requests as they hold.
    let asked = [(0, 10, 20); 60];
    let (_, totals) = one_replica(Orca::default(), ROOMY, &asked);
    assert_eq!(totals.running_peak, 60);
}

#[test]
fn q16_a_decode_with_room_in_its_block_needs_no_free_one() {
    let limits = EngineLimits { max_model_len: 32, num_blocks: 2, ..ROOMY };
    let preemptions = |vidur_spare_block| {
        let policy = VllmV0 { vidur_spare_block, watermark: 0.0, ..VllmV0::default() };
        one_replica(policy, limits, &[(0, 20, 8)]).1.preemptions
    };
    assert_eq!(preemptions(false), 0);
    assert!(preemptions(true) > 0);
}

#[test]
fn q21_lengths_are_held_against_the_models_limit() {
    assert_eq!(model::find("Llama-3-8B").map(|model| model.max_position), Some(8192));
    let room = Room::new();
    let workload = "requests: 1, arrivals: Static, lengths: Fixed(prompt: 4000, output: 200)";
    let (code, text) = refusal(&room, &scenario("policy: VllmV0()", workload, MEASURED));
    assert_eq!(code, 2);
    assert!(text.contains("longer than max_model_len 4096"), "{text}");
}

#[test]
fn q24_nothing_ends_at_the_edge_of_a_table() {
    let room = Room::new();
    let long = "max_model_len: 16384, allow_long_max_model_len: true, num_gpu_blocks: 7000";
    for (name, engine, requests, lengths) in [
        ("orca", "policy: Orca()".to_owned(), 4, "Fixed(prompt: 3000, output: 4)"),
        ("static", "policy: FasterTransformer()".to_owned(), 4, "Fixed(prompt: 3000, output: 4)"),
        (
            "wide",
            "policy: VllmV0(max_num_seqs: 256)".to_owned(),
            300,
            "Fixed(prompt: 64, output: 99)",
        ),
        (
            "long",
            format!("policy: VllmV0(max_num_batched_tokens: 9000), {long}"),
            2,
            "Fixed(prompt: 8000, output: 9)",
        ),
        (
            "chunk",
            format!("policy: Sarathi(chunk_size: 8192), {long}"),
            2,
            "Fixed(prompt: 6000, output: 9)",
        ),
    ] {
        let workload = format!("requests: {requests}, arrivals: Static, lengths: {lengths}");
        room.write(&format!("{name}.ron"), scenario(&engine, &workload, MEASURED));
        assert_eq!(room.run(&format!("{name}.ron -q --out {name}")).code, 0, "{name}");
        let status = column(&room, name, "status");
        assert_eq!(status.len(), requests, "{name}");
        assert!(status.iter().all(|status| status == "finished"), "{name}: {status:?}");
        let log = room.read(&format!("{name}/run.log"));
        assert!(log.contains("extrapolated"), "{name}: the log does not say so\n{log}");
    }
}

#[test]
fn q25_light_llm_runs_on_the_shipped_profile() {
    let room = Room::new();
    let workload = "requests: 20, arrivals: Static, lengths: Fixed(prompt: 200, output: 20)";
    room.write("s.ron", scenario("policy: LightLlm(), block_size: 1", workload, MEASURED));
    assert_eq!(room.run("s.ron -q --out s").code, 0);
    assert!(column(&room, "s", "status").iter().all(|status| status == "finished"));
    let log = room.read("s/run.log");
    assert!(log.contains("KV blocks of 16 tokens"), "{log}");
}

#[test]
fn q27_more_requests_than_rows_are_refused_before_the_run() {
    let room = Room::new();
    room.write("t.csv", "num_prefill_tokens,num_decode_tokens\n10,20\n30,40\n");
    let workload = r#"requests: 3, arrivals: Static, lengths: Trace(file: "t.csv")"#;
    let (code, text) = refusal(&room, &scenario("policy: VllmV0()", workload, MEASURED));
    assert_eq!(code, 2);
    assert!(text.contains("2 rows for 3 requests"), "{text}");
}

#[test]
fn q28_a_prompt_that_never_fits_is_rejected_and_blocks_nobody() {
    let policy = VllmV0 { max_num_batched_tokens: 100, ..VllmV0::default() };
    let (records, totals) = one_replica(policy, ROOMY, &[(0, 200, 4), (0, 50, 4)]);
    assert_eq!((totals.rejected, totals.finished), (1, 1));
    let RequestStatus::Rejected(reason) = &records.requests[0].status else {
        panic!("{:?}", records.requests[0])
    };
    assert!(reason.contains("max_num_batched_tokens 100"), "{reason}");
}

#[test]
fn q30_no_option_is_accepted_and_ignored() {
    let room = Room::new();
    let workload = "requests: 1, arrivals: Static, lengths: Fixed(prompt: 8, output: 8)";
    room.write("s.ron", scenario("policy: VllmV0()", workload, MEASURED));
    assert_eq!(room.run("s.ron -q --log_level debug --out s").code, 2);
    let logged = scenario("policy: VllmV0(), log_level: 3", workload, MEASURED);
    assert!(refusal(&room, &logged).1.contains("unknown field `log_level`"));
}

#[test]
fn q31_q33_parallelism_that_was_not_measured_is_named() {
    let room = Room::new();
    let workload = "requests: 1, arrivals: Static, lengths: Fixed(prompt: 8, output: 8)";
    let fine = scenario("policy: VllmV0()", workload, MEASURED);
    let with = |device: &str, cluster: &str| {
        let device = format!("device: \"{device}\", cluster: ({cluster})");
        let (code, text) = refusal(&room, &fine.replace("device: \"A100-SXM-80G\"", &device));
        assert_eq!(code, 2, "{text}");
        text
    };
    let text = with("A100-SXM-80G", "tensor_parallel: 3");
    assert!(text.contains("a divisor of the 32 query heads"), "{text}");
    let text = with("A100-SXM-80G", "tensor_parallel: 4");
    assert!(text.contains("one measured at tensor_parallel 4"), "{text}");
    let text = with("A40", "tensor_parallel: 2");
    assert!(text.contains("one of Llama-2-7B on A40"), "{text}");
}
