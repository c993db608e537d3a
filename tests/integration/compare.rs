//! `vidur-ecs compare` as a user meets it.

use crate::room::{Room, SCENARIO, finish};

#[test]
fn folders_and_scenarios_side_by_side() {
    let room = Room::with("s.ron", SCENARIO);
    room.must("s.ron --quiet --seeds 5 --out a");
    room.must(
        "s.ron --quiet --seeds 5 --out slow --set timing=Formula(base:0.006,per_token:2.5e-5)",
    );
    let ran = room.must("compare a slow --metric tpot.mean --csv out.csv --json out.json");
    assert!(ran.out.starts_with("baseline   a, paged\n"), "{}", ran.out);
    assert!(
        ran.out.contains("compared   slow, max\n           paired over 5 seeds"),
        "{}",
        ran.out
    );
    let csv = room.read("out.csv");
    let row = csv.lines().find(|l| l.starts_with("\"a, paged\",\"slow, paged\",5,true,tpot.mean"));
    assert!(row.is_some_and(|row| row.ends_with(",higher")), "{csv}");
    let row = csv.lines().find(|l| l.starts_with("\"a, paged\",\"slow, paged\",5,true,finished"));
    assert!(row.is_some_and(|row| row.ends_with(",same")), "{csv}");
    assert!(room.read("out.json").contains("\"paired\": true"));
    // What is run is what was written.
    let live = room.must("compare a s.ron --seeds 5 --jobs 2 --metric ttft.p99");
    let read = room.must("compare a a --metric ttft.p99");
    let table = |text: &str| {
        text.lines().filter(|l| l.contains("ttft")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(table(&live.out), table(&read.out));
    // Sweeps are sides, too; one seed has no interval.
    let swept = room.must("compare s.ron --set workload.arrivals.qps=[1,8]");
    assert!(swept.out.contains("compared   s.ron, qps=8, max"), "{}", swept.out);
    assert!(swept.out.contains("one seed: no interval"), "{}", swept.out);
    // However many run at once.
    for jobs in [1, 3] {
        let again =
            room.must(&format!("compare s.ron --set workload.arrivals.qps=[1,8] --jobs {jobs}"));
        assert!(again.out == swept.out, "{jobs} jobs: {}", again.out);
    }
    // Other seeds do not pair.
    room.must("s.ron --quiet --seed 100 --seeds 4 --out other");
    let other = room.must("compare a other");
    assert!(other.out.contains("do not pair: means of 5 and 4 runs, Welch"), "{}", other.out);
}

/// Widest names and values at 80 columns: every interval stands in one line.
#[test]
fn intervals_stay_whole_on_a_narrow_terminal() {
    let room = Room::with("s.ron", SCENARIO);
    let slow = "timing=Formula(base:0.06,per_token:2.5e-5)";
    room.must("s.ron --quiet --seeds 5 --out a");
    room.must(&format!("s.ron --quiet --seeds 5 --out b --set {slow}"));
    let mut command = room.command(&["compare", "a", "b"]);
    let ran = finish(command.env("COLUMNS", "80"));
    assert_eq!(ran.code, 0, "{}", ran.err);
    let words = ["lower", "higher", "noise", "same"];
    let rows = ran.out.lines().filter(|line| line.starts_with("  ") && line.contains('.'));
    for row in rows.filter(|row| !row.contains("interval")) {
        assert!(row.chars().count() <= 80, "{row}");
        assert!(words.iter().any(|word| row.ends_with(word)), "{row}");
        assert!(row.contains('±') || row.ends_with("same"), "{row}");
    }
    assert!(ran.out.contains("±"), "{}", ran.out);
}

#[test]
fn a_folder_that_is_not_as_it_was_written_is_named() {
    let (one, _) = SCENARIO.split_once("    variants:").expect("it has variants");
    let room = Room::with("s.ron", format!("{one})"));
    room.must("s.ron --quiet --out a");
    room.must("s.ron --quiet --out b --set seed=5");
    assert_eq!(room.must("compare a b").err, "");
    let summary = room.read("b/summary.json");
    room.write("b/summary.json", summary.replacen("\"mean\": ", "\"mean\": 1", 1));
    std::fs::remove_file(room.path("b/run.log")).expect("removed");
    let ran = room.must("compare a b");
    let said = "b is not as it was written (changed: summary.json; missing: run.log)";
    assert!(ran.err.contains(said), "{}", ran.err);
    let manifest = room.read("a/manifest.json").replace("\"complete\"", "\"writing\"");
    room.write("a/manifest.json", manifest);
    let ran = room.run("compare a b");
    assert!(ran.code == 2 && ran.err.contains("a is not complete"), "{}", ran.err);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let (one, _) = SCENARIO.split_once("    variants:").expect("it has variants");
    let room = Room::with("s.ron", format!("{one})"));
    room.must("s.ron --quiet --out a");
    room.write("out.csv", "mine");
    room.must("s.ron --quiet --out swept --set seed=[1,2]");
    std::fs::create_dir(room.path("empty")).expect("created");
    for (line, words) in [
        ("compare s.ron", "nothing to compare with"),
        ("compare a empty", "no summary.json"),
        ("compare a swept", "runs.csv"),
        ("compare a nowhere.ron", "there is no such file"),
        ("compare a a --metric ttft.mena", "did you mean `ttft.mean`"),
        ("compare a a --seeds 3", "only apply to scenario files"),
        ("compare a a --csv out.csv", "out.csv exists"),
    ] {
        let ran = room.run(line);
        assert_eq!(ran.code, 2, "{line}: {}", ran.err);
        assert!(ran.err.contains(words), "{line}: {}", ran.err);
    }
    assert_eq!(room.read("out.csv"), "mine");
}
