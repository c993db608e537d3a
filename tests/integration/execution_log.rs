//! What a run leaves of each seed: its requests, and what `run.log` tells.

use crate::room::{Room, SCENARIO, one_model};

/// The rows of a CSV file without the header, by seed, which is the last column.
fn rows_of(text: &str, seed: &str) -> Vec<String> {
    let end = format!(",{seed}");
    text.lines().filter_map(|line| line.strip_suffix(&end)).map(str::to_owned).collect()
}

#[test]
fn requests_are_those_of_every_seed() {
    let room = Room::with("s.ron", SCENARIO);
    room.must("s.ron --quiet --seeds 3 --out all");
    assert_eq!(
        room.names_in("all/paged"),
        ["batch_metrics.csv", "request_metrics.csv"],
        "a part is left"
    );
    for variant in ["paged", "max"] {
        let all = room.read(&format!("all/{variant}/request_metrics.csv"));
        assert!(all.lines().next().is_some_and(|header| header.ends_with(",seed")));
        assert_eq!(all.lines().count(), 1 + 3 * 20);
        for seed in ["1", "2", "3"] {
            room.must(&format!("s.ron --quiet --seed {seed} --seeds 1 --out one{seed} --force"));
            let one = room.read(&format!("one{seed}/{variant}/request_metrics.csv"));
            assert!(!one.contains("seed"), "a file of one seed has no column of seeds");
            let one: Vec<&str> = one.lines().skip(1).collect();
            assert_eq!(rows_of(&all, seed), one, "{variant}, seed {seed}");
        }
    }
    // The seeds follow each other.
    let all = room.read("all/paged/request_metrics.csv");
    let seeds: Vec<&str> = all.lines().skip(1).filter_map(|l| l.rsplit(',').next()).collect();
    assert!(seeds.is_sorted(), "{seeds:?}");

    room.must("s.ron --quiet --seeds 3 --set output.request_metrics=false --out none");
    assert_eq!(room.names_in("none/paged"), ["batch_metrics.csv"]);
}

#[test]
fn the_log_has_the_command_the_report_and_the_counts() {
    let room = Room::with("my file.ron", SCENARIO);
    let ran = room.run_args(&["my file.ron", "--seeds", "2", "--out", "r"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let log = room.read("r/run.log");
    assert!(log.contains("vidur-ecs 'my file.ron' --seeds 2 --out r\n"), "{log}");
    assert!(log.contains("  variant  seed  arrived  finished  rejected"), "{log}");
    let counts: Vec<Vec<&str>> = log
        .lines()
        .map(|line| line.split_whitespace().collect())
        .filter(|words: &Vec<&str>| words.len() == 8 && ["paged", "max"].contains(&words[0]))
        .collect();
    let of_seed: Vec<&[&str]> = counts.iter().map(|words| &words[..4]).collect();
    assert_eq!(
        of_seed,
        [
            &["paged", "1", "20", "20"],
            &["paged", "2", "20", "20"],
            &["max", "1", "20", "20"],
            &["max", "2", "20", "20"],
        ]
    );
    let (_, report) = log.split_once("\nreport\n").expect("the report");
    assert!(report.starts_with(&ran.out), "not as on a terminal of the usual width: {report}");
}

#[test]
fn events_are_listed_if_asked_for() {
    let workload = "requests: 40, arrivals: Static, lengths: Fixed(prompt: 100, output: 100)";
    let room = Room::with("s.ron", one_model("num_gpu_blocks: 80", workload, "seeds: 2"));
    room.must("s.ron --quiet --out plain");
    assert!(!room.read("plain/run.log").contains("admitted request"));
    room.must("s.ron --quiet --log-events --out r");
    let log = room.read("r/run.log");
    let (_, both) = log.split_once("\nevents of seed 42 ").expect("the first seed");
    let (first, second) = both.split_once("\nevents of seed 43 ").expect("the second seed");
    for events in [first, second] {
        let count = |what: &str| events.matches(what).count();
        let (admitted, preempted) = (count(" admitted request"), count(" preempted request"));
        assert_eq!(count(" finished request"), 40);
        assert!(preempted > 0, "memory is too ample for this test");
        assert_eq!(admitted, 40 + preempted, "who was preempted came back");
        let times: Vec<f64> = events
            .lines()
            .filter(|line| line.contains(" request "))
            .map(|line| line.split(' ').next().and_then(|time| time.parse().ok()).expect("a time"))
            .collect();
        assert!(times.is_sorted(), "out of order");
    }
    // Nothing else differs.
    for file in ["summary.json", "request_metrics.csv", "batch_metrics.csv", "seeds.csv"] {
        assert_eq!(room.read(&format!("plain/{file}")), room.read(&format!("r/{file}")), "{file}");
    }
    assert_eq!(room.names_in("plain"), room.names_in("r"), "a part is left");
}

#[test]
fn texts_fit_the_terminal() {
    let room = Room::with("s.ron", SCENARIO);
    let narrow = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = room.command(&words);
        crate::room::finish(command.env("COLUMNS", "80"))
    };
    for line in [
        "s.ron --seeds 3 --out one",
        "s.ron --seeds 2 --out sweep --set cluster.replicas=[1,2] --set device=[A100-SXM-80G,H100-SXM-80G]",
        "s.ron --out two --seeds 2 --set workload.arrivals.qps=[1,2,4]",
        "compare one sweep/replicas=2,_device=A100-SXM-80G",
        "list models",
        "list policies routers devices",
    ] {
        let ran = narrow(line);
        let lines: Vec<&str> = ran.out.lines().collect();
        for text in &lines {
            assert!(text.chars().count() <= 80, "{line}: {text}");
        }
        if line.contains("compare") {
            continue;
        }
        assert_eq!(ran.code, 0, "{line}: {}", ran.err);
        assert!(lines.len() > 5, "{line}: {}", ran.out);
    }
    let log = room.read("sweep/runs.csv");
    assert!(log.starts_with("scenario,variant,cluster.replicas,device,"), "{log}");
}

#[test]
fn a_sweep_names_what_differs_and_what_was_reached() {
    let (text, _) = SCENARIO.split_once("    variants:").expect("it has variants");
    let expect = "expect: [(metric: \"ttft.mean\", at_most_ms: 8)])";
    let room = Room::with("s.ron", format!("{text}{expect}"));
    let ran = room.must(
        "s.ron --out sweep --set cluster.replicas=[1,2] --set workload.lengths.prompt=[64,1024] \
         --set device=[\"A100-SXM-80G\"]",
    );
    let lines: Vec<&str> = ran.out.lines().collect();
    let heading = lines.iter().position(|line| line.starts_with("replicas, prompt")).expect("one");
    assert!(lines[heading].contains("GPUs") && lines[heading].contains("TTFT P90"), "{}", ran.out);
    let row = |name: &str| {
        let found = lines.iter().find(|line| line.starts_with(name));
        *found.unwrap_or_else(|| panic!("no {name}\n{}", ran.out))
    };
    assert!(row("1, 64 ").ends_with(" MET") && !row("1, 64 ").ends_with("NOT MET"), "{}", ran.out);
    assert!(row("2, 1024 ").ends_with("NOT MET"), "{}", ran.out);
    assert!(!ran.out.contains("device="), "what is the same everywhere is not repeated");
}

/// A decode replica admits what a prefill replica hands over, and the log says so.
#[test]
fn both_sides_of_a_disaggregated_run_admit() {
    let workload = "requests: 2, arrivals: Uniform(qps: 1), lengths: Fixed(prompt: 100, output: 8)";
    let sides = "disaggregated: (prefill: (cluster: (replicas: 2)), decode: (cluster: (replicas: 2)), \
                 link: (gb_per_s: 25.0))";
    let room = Room::with("s.ron", one_model("", workload, sides));
    room.must("s.ron --quiet --log-events --out r");
    let log = room.read("r/run.log");
    let (_, events) = log.split_once("events of seed").expect("events");
    let lines = events.lines().filter_map(|line| line.split_once(' ')).map(|(_, what)| what);
    let of_first: Vec<&str> = lines.filter(|what| what.contains("request 0 ")).collect();
    let said = [
        "admitted request 0 replica 0",
        "admitted request 0 replica 2",
        "finished request 0 replica 2",
    ];
    assert_eq!(of_first, said, "{log}");
}
