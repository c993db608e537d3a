//! Prefix caching from the scenario to the metrics.

use std::path::Path;

use vidur_ecs::metrics::RunSummary;
use vidur_ecs::output::ResultFolder;
use vidur_ecs::registry::Registry;
use vidur_ecs::run;
use vidur_ecs::scenario::Scenario;

/// Runs a scenario with this engine and workload; its summary, and the folder's request metrics.
fn simulate(dir: &Path, engine: &str, workload: &str) -> (RunSummary, String) {
    simulate_on(dir, "", engine, workload)
}

/// The same on a cluster.
fn simulate_on(dir: &Path, cluster: &str, engine: &str, workload: &str) -> (RunSummary, String) {
    let file = dir.join("s.ron");
    let text = format!(
        "(model: \"Llama-2-7B\", device: \"A100-SXM-80G\", cluster: ({cluster}),
          engine: (max_model_len: 4096, {engine}),
          workload: ({workload}), timing: Formula(base: 0.005, per_token: 2.5e-5), seed: 1)"
    );
    std::fs::write(&file, text).expect("a file in a temporary folder");
    let scenario = Scenario::load(&file, &[], &Registry::built_in())
        .unwrap_or_else(|error| panic!("{}", error.render(false)));
    let folder = ResultFolder::create(&dir.join("out"), true).expect("a new folder");
    let finished = run::run(&scenario, &folder, &|_| ()).expect("a run");
    let csv = std::fs::read_to_string(folder.path().join("request_metrics.csv")).expect("rows");
    (finished.result.variants[0].runs[0].clone(), csv)
}

fn metric(run: &RunSummary, name: &str) -> f64 {
    run.get(name).unwrap_or_else(|| panic!("no {name}"))
}

/// A column of the request metrics.
fn column(csv: &str, name: &str) -> Vec<f64> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let index = reader.headers().expect("a header").iter().position(|column| column == name);
    let index = index.unwrap_or_else(|| panic!("no column {name}"));
    let rows = reader.records().map(|row| match &row.expect("a row")[index] {
        "" => f64::NAN,
        number => number.parse().expect("a number"),
    });
    rows.collect()
}

const SHARED: &str = "requests: 101, arrivals: Uniform(qps: 4), \
                      lengths: Fixed(prompt: 256, output: 16), prefix: SharedPrefix(tokens: 2048)";

/// 2048 of 2304 prompt tokens are shared: 88.9 %, but for the first request.
#[test]
fn a_shared_prefix_is_prefilled_once() {
    for policy in ["policy: VllmV1()", "policy: VllmV0()", "policy: Sarathi()"] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let engine = |on: bool| format!("{policy}, enable_prefix_caching: {on}");
        let (cached, rows) = simulate(dir.path(), &engine(true), SHARED);
        let hits = column(&rows, "num_cached_tokens");
        assert_eq!(hits[0], 0.0);
        assert!(hits[1..].iter().all(|&tokens| tokens == 2048.0), "{policy}: {hits:?}");
        let rate = metric(&cached, "prefix_hit_rate");
        assert!((rate - 2048.0 / 2304.0 * 100.0 / 101.0).abs() < 1e-12, "{policy}: {rate}");

        let (plain, rows) = simulate(dir.path(), &engine(false), SHARED);
        assert!(column(&rows, "num_cached_tokens").iter().all(|&tokens| tokens == 0.0));
        assert_eq!(metric(&plain, "prefix_hit_rate"), 0.0);
        let ttft = [&cached, &plain].map(|run| metric(run, "ttft.p50"));
        // 5 ms + 25 us a token: 11.4 ms for 256 tokens, 62.6 ms for 2304.
        assert!(ttft[0] < 0.35 * ttft[1], "{policy}: {ttft:?}");
    }
}

#[test]
fn vllm_v1_caches_unless_told_otherwise() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    assert!(metric(&simulate(dir.path(), "policy: VllmV1()", SHARED).0, "prefix_hit_rate") > 0.8);
    assert_eq!(metric(&simulate(dir.path(), "policy: VllmV0()", SHARED).0, "prefix_hit_rate"), 0.0);
}

#[test]
fn hash_ids_of_a_trace_are_hits() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let trace = "\
        {\"timestamp\": 0, \"input_length\": 1100, \"output_length\": 9, \"hash_ids\": [0, 1, 2]}\n\
        {\"timestamp\": 2000, \"input_length\": 1536, \"output_length\": 9, \"hash_ids\": [0, 1, 3]}\n\
        {\"timestamp\": 4000, \"input_length\": 1100, \"output_length\": 9, \"hash_ids\": [0, 1, 2]}\n\
        {\"timestamp\": 6000, \"input_length\": 600, \"output_length\": 9, \"hash_ids\": [4, 1]}\n";
    std::fs::write(dir.path().join("t.jsonl"), trace).expect("a trace");
    let (run, rows) = simulate(dir.path(), "policy: VllmV1()", "trace: (file: \"t.jsonl\")");
    // Full blocks of 16: 1088 of the 1100 tokens; a prefix that differs at its start has none.
    assert_eq!(column(&rows, "num_cached_tokens"), [0.0, 1024.0, 1088.0, 0.0]);
    let rate = (1024.0 + 1088.0) / (1100.0 + 1536.0 + 1100.0 + 600.0);
    assert!((metric(&run, "prefix_hit_rate") - rate).abs() < 1e-12);
}

#[test]
fn a_conversation_finds_its_answers() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let turn = |time: u32| {
        format!(
            "{{\"timestamp\": {time}, \"user_len\": 100, \"output_len\": 61, \"conversation_id\": 1}}\n"
        )
    };
    std::fs::write(dir.path().join("t.jsonl"), turn(0) + &turn(5) + &turn(10)).expect("a trace");
    let (_, rows) = simulate(dir.path(), "policy: VllmV1()", "trace: (file: \"t.jsonl\")");
    assert_eq!(column(&rows, "request_num_prefill_tokens"), [100.0, 261.0, 422.0]);
    // 161 and 322 tokens are the turns before, and the last token of an answer is in no block of
    // theirs: 160 of 161, and 320 of 322.
    assert_eq!(column(&rows, "num_cached_tokens"), [0.0, 160.0, 320.0]);
}

/// One conversation of three turns: the next comes 5 s after the last answer, and finds what was
/// said.
#[test]
fn a_generated_conversation_waits_for_its_answers_and_finds_them() {
    let workload =
        "requests: 3, arrivals: Uniform(qps: 1), lengths: Fixed(prompt: 100, output: 61),
                    conversations: (turns: Fixed(3), think: Fixed(5.0))";
    for policy in ["policy: VllmV1()", "policy: SgLang()"] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (run, rows) = simulate(dir.path(), policy, workload);
        assert_eq!(column(&rows, "request_num_prefill_tokens"), [100.0, 261.0, 422.0]);
        assert_eq!(column(&rows, "num_cached_tokens"), [0.0, 160.0, 320.0], "{policy}");
        let rate = (160.0 + 320.0) / (100.0 + 261.0 + 422.0);
        assert!((metric(&run, "prefix_hit_rate") - rate).abs() < 1e-12);
        let (e2e, delay) =
            (column(&rows, "request_e2e_time"), column(&rows, "request_inter_arrival_delay"));
        for turn in [1, 2] {
            assert!((delay[turn] - e2e[turn - 1] - 5.0).abs() < 1e-6, "{e2e:?} {delay:?}");
        }
    }
}

/// While the first request runs alone, one with a prompt of its own and two that begin as the
/// first arrive.
#[test]
fn sg_lang_admits_the_longest_cached_prefix_first() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let line = |id: u32, at: u32, hashes: &str| {
        format!(
            "{{\"request_id\": {id}, \"timestamp\": {at}, \"input_length\": 64, \"output_length\": 20, \"hash_ids\": [{hashes}]}}\n"
        )
    };
    let trace = line(0, 0, "1, 2, 3, 4")
        + &line(1, 10, "5, 6, 7, 8")
        + &line(2, 11, "1, 9, 10, 11")
        + &line(3, 12, "1, 2, 12, 13");
    std::fs::write(dir.path().join("t.jsonl"), trace).expect("a trace");
    let finished = |settings: &str| {
        let policy = format!("policy: SgLang(max_num_seqs: 1, {settings})");
        let workload = "trace: (file: \"t.jsonl\", tokens_per_hash: 16)";
        column(&simulate(dir.path(), &policy, workload).1, "Request Id")
    };
    assert_eq!(finished("schedule_policy: Fcfs"), [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(finished("schedule_policy: Lpm"), [0.0, 3.0, 2.0, 1.0]);
    assert_eq!(finished("max_overtakes: 1"), [0.0, 3.0, 1.0, 2.0]);
    assert_eq!(finished("lpm_queue_max: 2"), [0.0, 1.0, 3.0, 2.0], "three are too many to sort");
}

#[test]
fn affinity_brings_turns_to_their_conversation() {
    // 24 conversations of two turns, half a second apart.
    let workload =
        "requests: 48, arrivals: Uniform(qps: 2), lengths: Fixed(prompt: 100, output: 61),
                    conversations: (turns: Fixed(2), think: Uniform(1, 4))";
    let hits = |router: &str| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let cluster = format!("replicas: 3, router: {router}");
        let (_, rows) = simulate_on(dir.path(), &cluster, "policy: VllmV1()", workload);
        let cached = column(&rows, "num_cached_tokens");
        assert!(cached.iter().all(|&tokens| tokens == 0.0 || tokens == 160.0), "{cached:?}");
        cached.iter().filter(|&&tokens| tokens > 0.0).count()
    };
    assert_eq!(hits("PrefixAffinity()"), 24);
    // By chance a third.
    let by_chance = hits("RoundRobin");
    assert!(by_chance < 16, "{by_chance}");
    // Half of a prompt is never known: of the second turn's 261 tokens the router saw 96.
    let never = hits("PrefixAffinity(cache_threshold: 0.5)");
    assert!(never < 20, "{never}");
}

#[test]
fn a_result_folder_runs_again_with_its_prefixes() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let requests =
        "request_id,arrived_at,num_prefill_tokens,num_decode_tokens\n5,0,100,9\n3,5,90,9\n";
    let prefixes = "{\"request_id\": 3, \"hash_ids\": [1, 2, 3, 4, 8]}\n\
                    {\"request_id\": 5, \"hash_ids\": [1, 2, 3, 4, 5, 6]}\n";
    std::fs::write(dir.path().join("w.csv"), requests).expect("a trace");
    std::fs::write(dir.path().join("p.jsonl"), prefixes).expect("prefixes");
    let file = dir.path().join("s.ron");
    let text = "(model: \"Llama-2-7B\", device: \"A100-SXM-80G\", engine: (policy: VllmV1()),
        workload: (trace: (file: \"w.csv\", prefixes: \"p.jsonl\", tokens_per_hash: 16)),
        timing: Formula(base: 0.005, per_token: 2.5e-5))";
    std::fs::write(&file, text).expect("a scenario");
    let target = dir.path().join("results/a");
    let load = |path: &Path| {
        Scenario::load(path, &[], &Registry::built_in())
            .unwrap_or_else(|error| panic!("{}", error.render(false)))
    };
    let (first, folder) = (load(&file), ResultFolder::create(&target, false).expect("a folder"));
    run::run(&first, &folder, &|_| ()).expect("a run");
    let folder = folder.commit().expect("a result folder").target;
    let csv = std::fs::read_to_string(folder.join("request_metrics.csv")).expect("rows");
    assert_eq!(column(&csv, "num_cached_tokens"), [0.0, 64.0]);
    assert_eq!(load(&folder.join("scenario.ron")).hash(), first.hash());
}
