//! What times rest on is said in every output, and overheads count where they should.

use serde_json::Value;

use crate::room::{Room, SCENARIO};

/// One configuration of [`SCENARIO`] with other settings.
fn scenario(timing: &str) -> String {
    let (text, _) = SCENARIO.split_once("    variants:").expect("it has variants");
    let text = text.replace("timing: Formula(base: 0.005, per_token: 2.5e-5)", timing);
    format!("{text})")
}

/// What `vidur-ecs s.ron` writes to the terminal, into summary.json and into run.log.
fn run(timing: &str, more: &str) -> (String, Value, String) {
    let room = Room::with("s.ron", scenario(timing));
    let ran = room.must(&format!("s.ron --out r {more}"));
    let summary = serde_json::from_str(&room.read("r/summary.json")).expect("JSON");
    (ran.out, summary, room.read("r/run.log"))
}

fn basis(summary: &Value, name: &str) -> f64 {
    summary["time"]["basis"][name].as_f64().expect("a share")
}

#[test]
fn an_estimate_is_called_one_everywhere() {
    let (report, summary, log) = run("timing: Roofline()", "");
    assert!(report.contains("timing an ESTIMATE: the data sheet of A100"), "{report}");
    assert!(report.contains("0 % measured, 100 % transferred"), "{report}");
    assert_eq!(summary["timing"]["estimate"], true);
    assert!(basis(&summary, "transferred") > 0.999);
    assert_eq!(basis(&summary, "extrapolated"), 0.0);
    assert!(log.contains("timing        an ESTIMATE"), "{log}");
    assert!(log.contains("100 % transferred"), "{log}");

    let text = SCENARIO.replace("\"paged\": ()", "\"paged\": (timing: Roofline())");
    let room = Room::with("s.ron", text);
    let ran = room.must("s.ron --out r");
    assert!(ran.out.contains("some are an ESTIMATE"), "{}", ran.out);
    assert!(room.read("r/run.log").contains("paged: an ESTIMATE"));
}

#[test]
fn shares_of_measured_times_add_up() {
    let (report, summary, log) = run("timing: Measured(composition: Full)", "");
    let shares = ["measured", "transferred", "extrapolated"].map(|name| basis(&summary, name));
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{shares:?}");
    assert!(shares[0] > 0.1 && shares[1] > 0.1, "{shares:?}");
    assert!(report.contains("% transferred"), "{report}");
    assert!(log.contains("of the busy time"), "{log}");
    assert_eq!(summary["metrics"]["busy_measured"]["mean"], shares[0]);
    assert_eq!(summary["timing"]["estimate"], false);

    // Prompts far beyond the tables are extrapolated, and warned of.
    let long = "--set workload.lengths.prompt=4000 --set engine.policy.max_num_batched_tokens=65536 \
                --set workload.arrivals=Static";
    let (_, summary, log) = run("timing: Measured(composition: Full)", long);
    assert!(basis(&summary, "extrapolated") > 0.05, "{}", summary["time"]);
    assert!(log.contains("matrix products of more tokens than were measured"), "{log}");

    // A closed form rests on nothing of the kind.
    let (report, summary, _) = run("timing: Formula(base: 0.005)", "");
    assert!(summary["time"]["basis"]["measured"].is_null());
    assert!(!report.contains("% transferred"), "{report}");
}

#[test]
fn overheads_count_where_they_should() {
    let mean = |summary: &Value, key: &str| summary[key].as_f64().expect("a time");
    let formula = "timing: Formula(base: 0.005)";
    let (_, without, _) = run(formula, "");
    let (_, with, _) = run(formula, "--set engine.api_overhead_ms=2.5");
    for key in ["mean_ttft_ms", "mean_e2el_ms", "p99_e2el_ms"] {
        assert!((mean(&with, key) - mean(&without, key) - 2.5).abs() < 1e-9, "{key}");
    }
    assert!((mean(&with, "mean_tpot_ms") - mean(&without, "mean_tpot_ms")).abs() < 1e-9);
    let (_, zero, _) = run(formula, "--set engine.api_overhead_ms=0.0");
    assert_eq!(zero, without);

    // A synchronous engine is charged for its CPU; what is set counts instead.
    let full = "timing: Measured(composition: Full)";
    let policy = |asynchronous: bool, more: &str| {
        let settings =
            format!("--set engine.policy=VllmV1(async_scheduling:{asynchronous}) {more}");
        let (_, summary, _) = run(full, &settings);
        mean(&summary, "mean_tpot_ms")
    };
    let synchronous = policy(false, "");
    let none = policy(false, "--set timing.overhead_ms=0.0");
    assert!((synchronous - none - 0.9).abs() < 0.05, "{synchronous} and {none}");
    let hidden = policy(true, "");
    assert_eq!(hidden, policy(true, "--set timing.overhead_ms=0.0"));

    let room = Room::with("s.ron", scenario(formula));
    for bad in ["-1.0", "1e9", "NaN"] {
        let ran = room.run(&format!("s.ron --out r --set engine.api_overhead_ms={bad}"));
        assert_eq!(ran.code, 2, "{bad}: {}", ran.err);
        assert!(ran.err.contains("api_overhead_ms"), "{bad}: {}", ran.err);
    }
}
