//! What the program writes, checked from its files alone.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use vidur_ecs::testing::{check_results, random_scenario_text};

/// Runs a scenario into `folder/out`. The message of a refusal if it is none.
fn run(folder: &Path, text: &str) -> Result<Value, String> {
    let (file, out) = (folder.join("s.ron"), folder.join("out"));
    std::fs::write(&file, text).unwrap();
    let _ = std::fs::remove_dir_all(&out);
    let program = env!("CARGO_BIN_EXE_vidur-ecs");
    let output =
        Command::new(program).arg(&file).arg("--out").arg(&out).arg("-q").output().unwrap();
    match output.status.code() {
        Some(0) => {
            let summary = std::fs::read_to_string(out.join("summary.json")).unwrap();
            Ok(serde_json::from_str(&summary).unwrap())
        }
        Some(2 | 3) => Err(String::from_utf8(output.stderr).unwrap()),
        code => panic!("exit {code:?}: {}\n{text}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// Random scenarios of all techniques: counts, tokens, times, busy time, KV blocks, Little's law
/// and rates hold in their files. `examples/check_results.rs` runs more of them.
#[test]
fn files_of_random_scenarios_are_right() {
    let folder = tempfile::tempdir().unwrap();
    let (mut ran, mut refused) = (0, 0);
    // The last three: a time limit after the last request of those that came, with a window.
    for seed in (0..75).chain([170, 493, 713]) {
        let text = random_scenario_text(seed);
        match run(folder.path(), &text) {
            Err(_) => refused += 1,
            Ok(_) => {
                let wrong = check_results(&folder.path().join("out"));
                assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}\n{text}");
                ran += 1;
            }
        }
    }
    assert!(ran >= 50, "{ran} ran, {refused} were refused");
}

/// The checker finds what is wrong: a file with one changed number is not right any more.
#[test]
fn a_changed_number_is_found() {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), &scenario("warmup: Requests(5)", "")).unwrap();
    let out = folder.path().join("out");
    assert_eq!(check_results(&out), Vec::<String>::new());
    let mut found = 0;
    for (name, column) in [
        ("request_metrics.csv", "ttft"),
        ("request_metrics.csv", "completed_at"),
        ("request_metrics.csv", "request_num_restarts"),
        ("batch_metrics.csv", "batch_num_tokens"),
        ("batch_metrics.csv", "completed_at"),
        ("time_series.csv", "running"),
        ("time_series.csv", "finished"),
    ] {
        let path = out.join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let index = lines[0].split(',').position(|heading| heading == column).unwrap();
        let mut cells: Vec<String> = lines[3].split(',').map(str::to_owned).collect();
        cells[index] = match cells[index].contains('.') {
            true => "0.123456789".to_owned(),
            false => "7777".to_owned(),
        };
        lines[3] = cells.join(",");
        std::fs::write(&path, lines.join("\n")).unwrap();
        assert!(!check_results(&out).is_empty(), "{name}, {column}");
        std::fs::write(&path, text).unwrap();
        found += 1;
    }
    assert_eq!((found, check_results(&out).len()), (7, 0));
}

/// Forty requests in two seconds, each of which takes 0.1 s of a replica that takes one at a time:
/// half of them are served when the last one arrives.
fn scenario(margins: &str, more: &str) -> String {
    format!(
        r#"(model: "Llama-2-7B", device: "A100-SXM-80G", {more}
            engine: (policy: FasterTransformer(max_num_seqs: 1), max_model_len: 512),
            workload: (requests: 41, arrivals: Uniform(qps: 20.0), lengths: Fixed(prompt: 8, output: 10), {margins}),
            timing: Formula(base: 0.01, per_token: 0.0, per_context: 0.0),
            output: (time_series_s: 0.25))"#
    )
}

/// Rates of the steady state are those while the counted requests arrive, whatever is served after.
#[test]
fn rates_of_the_window_leave_out_the_queue_that_is_served_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    let whole = run(folder.path(), &scenario("", "")).unwrap();
    assert!(whole.get("window").is_none(), "without a window its figures are those of before");
    let summary = run(folder.path(), &scenario("warmup: Requests(10)", "")).unwrap();
    let window = &summary["window"];
    assert!((number(&window["duration"]) - 1.5).abs() < 1e-9, "{window}");
    assert!((number(&window["arrival_rate"]) - 20.0).abs() < 1e-6, "{window}");
    assert!((number(&window["request_throughput"]) - 10.0).abs() < 0.7, "{window}");
    assert!((number(&window["output_throughput"]) - 100.0).abs() < 1.0, "{window}");
    // As in vLLM's benchmark: what was counted, over the time until the last of it.
    assert_eq!(number(&summary["completed"]), 31.0);
    assert!(number(&summary["request_throughput"]) < 8.9, "{summary}");
    assert_eq!(summary["load"]["verdict"], "overloaded");
}

/// A time limit ends the run then: what is on a stage is busy until then and no longer, and what
/// was there counts.
#[test]
fn a_time_limit_cuts_busy_time_and_counts() {
    let folder = tempfile::tempdir().unwrap();
    // The first request arrives at 0.05 s, and from then on there is always another one.
    for limit in [0.054, 0.31, 0.995] {
        let text = scenario("", &format!("time_limit_s: {limit},"));
        let summary = run(folder.path(), &text).unwrap();
        assert_eq!(summary["duration"].as_f64(), Some(limit), "{summary}");
        assert_eq!(summary["running"]["peak"].as_f64(), Some(1.0), "{summary}");
        let busy = summary["time"]["busy_fraction"].as_f64().unwrap();
        assert!((busy * limit - (limit - 0.05)).abs() < 1e-9, "{limit}: {busy}");
        assert_eq!(check_results(&folder.path().join("out")), Vec::<String>::new(), "{limit}");
    }
}
