//! Prefix caching from the scenario to the metrics.

use std::path::Path;

use vidur_ecs::metrics::RunSummary;
use vidur_ecs::output::ResultFolder;
use vidur_ecs::registry::Registry;
use vidur_ecs::run;
use vidur_ecs::scenario::Scenario;

/// Runs a scenario with this engine and workload; its summary, and the folder's request metrics.
fn simulate(dir: &Path, engine: &str, workload: &str) -> (RunSummary, String) {
    let file = dir.join("s.ron");
    let text = format!(
        "(model: \"Llama-2-7B\", device: \"A100-SXM-80G\", engine: (max_model_len: 4096, {engine}),
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
    let rows = reader.records().map(|row| row.expect("a row")[index].parse().expect("a number"));
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
    let folder = folder.commit().expect("a result folder");
    let csv = std::fs::read_to_string(folder.join("request_metrics.csv")).expect("rows");
    assert_eq!(column(&csv, "num_cached_tokens"), [0.0, 64.0]);
    assert_eq!(load(&folder.join("scenario.ron")).hash(), first.hash());
}
