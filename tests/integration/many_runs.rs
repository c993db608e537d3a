//! Several scenarios at once, and sweeps over settings.

use crate::determinism::contents;
use crate::room::{Room, SCENARIO};

#[test]
fn a_sweep_is_a_folder_per_point_and_a_table() {
    let room = Room::with("s.ron", SCENARIO);
    let sweep = "--set workload.arrivals.qps=[1,4] --set engine.block_size=[16,32]";
    let ran = room.must(&format!("s.ron --out a --jobs 1 {sweep}"));
    assert!(ran.out.contains("8 runs"), "{}", ran.out);
    assert!(ran.out.contains("\nqps, block_size, variant "), "{}", ran.out);
    assert!(ran.out.contains("\n1, 16, paged "), "{}", ran.out);
    assert!(ran.out.contains("runs.csv"), "{}", ran.out);
    let table = room.read("a/runs.csv");
    let mut lines = table.lines();
    let header = lines.next().unwrap_or_default();
    assert!(
        header.starts_with("scenario,variant,workload.arrivals.qps,engine.block_size,seeds,"),
        "{header}"
    );
    assert_eq!(lines.clone().count(), 8);
    assert!(lines.next().is_some_and(|row| row.starts_with("s,paged,1,16,1,")));
    assert!(room.path("a/qps_4__block_size_32/paged/request_metrics.csv").exists());
    // The resolved scenario of a point is that point.
    room.must("a/qps_4__block_size_32/scenario.ron --quiet --out again");
    let summary = |path: &str| {
        let text = room.read(&format!("{path}/summary.json"));
        text.lines().filter(|line| !line.contains("\"scenario\"")).collect::<Vec<_>>().join("\n")
    };
    assert!(summary("again") == summary("a/qps_4__block_size_32"));
    // However many threads there are, and in whatever order they work.
    room.must(&format!("s.ron --quiet --out b --jobs 3 {sweep}"));
    assert!(contents(&room.path("a")) == contents(&room.path("b")));
    // A sweep's folder is a result folder: it can be replaced.
    assert_eq!(room.run(&format!("s.ron --quiet --out a {sweep}")).code, 2);
    room.must("s.ron --quiet --out a --force");
    assert!(!room.path("a/runs.csv").exists());
}

#[test]
fn several_files_share_one_table() {
    let room = Room::with("s.ron", SCENARIO);
    room.write("t.ron", SCENARIO.replace("qps: 2.0", "qps: 3.0"));
    let ran = room.must("s.ron t.ron --jobs 2");
    assert!(ran.out.contains("t, max"), "{}", ran.out);
    let table = room.read("results/runs.csv");
    assert_eq!(table.lines().count(), 5);
    assert!(table.lines().nth(3).is_some_and(|row| row.starts_with("t,paged,1,")), "{table}");
    // The same again; but not over the table of others.
    room.must("s.ron t.ron --quiet");
    assert!(room.read("results/runs.csv") == table);
    let other = room.run("t.ron s.ron");
    assert_eq!(other.code, 2);
    assert!(other.err.contains("runs.csv exists and holds results of another"), "{}", other.err);
    room.must("s.ron t.ron --force --quiet");
    assert!(room.read("results/runs.csv") == table);
    let missed = room.run("s.ron t.ron --force --strict --set slo.ttft_ms=1 --set seeds=1");
    assert_eq!(missed.code, i32::from(missed.out.contains("NOT MET")));
}

#[test]
fn a_wrong_point_ends_it_before_anything_runs() {
    let room = Room::with("s.ron", SCENARIO);
    let ran = room.run("s.ron --set workload.arrivals.qps=[1,0]");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("in the sweep, at qps=0"), "{}", ran.err);
    assert_eq!(room.run("s.ron --jobs 0").code, 2);
    assert_eq!(room.names(), ["s.ron"]);
}
