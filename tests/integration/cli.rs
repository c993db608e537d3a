//! The command line as a user meets it: what it says, what it leaves, how it ends.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::room::{Room, SCENARIO, finish, names, one_model};

/// `SCENARIO` with an expectation that is not met.
fn missed() -> String {
    SCENARIO.replace("at_most_ms: 300", "at_most_ms: 0.001")
}

#[test]
fn help_says_what_there_is() {
    let room = Room::new();
    for (line, words) in [
        (
            "--help",
            &["Simulates LLM inference serving", "run", "check", "list", "import", "--out"][..],
        ),
        (
            "run --help",
            &["--seeds", "--set", "--strict", "--force", "--check-determinism", "--quiet"],
        ),
        ("check --help", &["--set", "Scenario files"]),
        ("import vidur --help", &["--trace", "--timing", "formula:BASE,PER_TOKEN,PER_CONTEXT"]),
        ("profile --help", &["import", "list"]),
        ("--version", &["vidur-ecs"]),
    ] {
        let ran = room.must(line);
        for word in words {
            assert!(ran.out.contains(word), "`{line}` lacks `{word}`:\n{}", ran.out);
        }
        assert!(ran.err.is_empty(), "{}", ran.err);
    }
    let nothing = room.run("");
    assert_eq!(nothing.code, 2);
    assert!(nothing.err.contains("Usage:"), "{}", nothing.err);
}

#[test]
fn list_names_everything_that_a_scenario_can() {
    let room = Room::new();
    std::fs::create_dir(room.path("scenarios")).expect("created");
    room.write("scenarios/mine.ron", SCENARIO);
    let list = room.must("list").out;
    for word in [
        "VllmV0",
        "Sarathi",
        "Orca",
        "FasterTransformer",
        "LightLlm",
        "RoundRobin",
        "Random",
        "LeastOutstanding",
        "PowerOfTwo",
        "VidurLor",
        "Formula",
        "Measured",
        "Llama-2-7B",
        "A100-SXM-80G",
        "ttft",
        "mine",
        "A test",
    ] {
        assert!(list.contains(word), "no {word} in:\n{list}");
    }
}

#[test]
fn check_shows_what_follows_and_runs_nothing() {
    let room = Room::with("s.ron", SCENARIO);
    let ran = room.must("check s.ron");
    for word in
        ["s is valid: A test", "variant paged", "variant max", "12.55 GiB", "num_gpu_blocks:"]
    {
        assert!(ran.out.contains(word), "no `{word}` in:\n{}", ran.out);
    }
    assert_eq!(room.names(), ["s.ron"]);
    let ran = room.must("check s.ron --quiet");
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    let ran = room.must("check s.ron --set engine.policy.max_num_seqs=17");
    assert!(ran.out.contains("max_num_seqs: 17"), "{}", ran.out);
}

#[test]
fn a_file_alone_is_run_and_the_summary_is_short() {
    let room = Room::with("s.ron", SCENARIO);
    let ran = room.must("s.ron");
    assert!(ran.out.lines().count() <= 30, "{} lines:\n{}", ran.out.lines().count(), ran.out);
    assert!(ran.out.contains("results/s"), "{}", ran.out);
    assert!(room.path("results/s/summary.json").is_file());
    let again = room.must("run s.ron --out again");
    let figures = |text: &str| text.replace("results/s", "X").replace("again", "X");
    assert_eq!(figures(&ran.out), figures(&again.out));
}

#[test]
fn quiet_says_nothing_and_strict_counts_expectations() {
    let room = Room::with("s.ron", missed());
    let ran = room.run("s.ron --quiet --out a");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    let ran = room.run("s.ron --strict --out b");
    assert_eq!(ran.code, 1);
    assert!(ran.out.to_lowercase().contains("not met"), "{}", ran.out);
    assert!(room.path("b/summary.json").is_file(), "what was found stays");
    room.write("s.ron", SCENARIO.replace("order: [\"max\", \"paged\"]", "at_least: 1"));
    room.must("s.ron --strict --quiet --out c");
}

#[test]
fn settings_hold_and_results_are_kept() {
    let room = Room::with("s.ron", SCENARIO);
    let first =
        "s.ron --quiet --out a --set workload.requests=7 --set engine.policy.max_num_seqs=5";
    room.must(first);
    let resolved = room.read("a/scenario.ron");
    assert!(resolved.contains("requests: 7") && resolved.contains("max_num_seqs: 5"), "{resolved}");
    assert_eq!(room.read("a/max/request_metrics.csv").lines().count(), 8);

    let log = room.read("a/run.log");
    let ran = room.run(first);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("a exists") && ran.err.contains("--force"), "{}", ran.err);
    assert_eq!(room.read("a/run.log"), log, "untouched");
    room.must(&format!("{first} --force --seeds 2"));
    assert!(room.path("a/seeds.csv").is_file());
    assert_eq!(room.names(), ["a", "s.ron"]);
}

#[test]
fn several_files_have_a_folder_each() {
    let room = Room::with("s.ron", SCENARIO);
    room.write("t.ron", SCENARIO);
    room.must("s.ron t.ron --quiet --out all");
    assert_eq!(names(&room.path("all")), ["manifest.json", "runs.csv", "s", "t"]);
    room.write("bad.ron", "(");
    assert_eq!(room.run("s.ron bad.ron --quiet --out none").code, 2);
    assert!(!room.path("none").exists(), "nothing runs when one is wrong");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let room = Room::with("s.ron", SCENARIO);
    let mut command = room.command(&["check", "s.ron"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("ends");
    assert_eq!(ended.status.code(), Some(0), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// A run that is stopped by a signal while it writes leaves nothing that looks like results.
#[cfg(unix)]
#[test]
fn a_stopped_run_leaves_nothing_that_looks_finished() {
    // Not INT: a program that a script starts in the background inherits that it is ignored.
    for signal in ["-KILL", "-TERM"] {
        let room = Room::with("s.ron", SCENARIO.replace("requests: 20", "requests: 50000000"));
        let mut child = room
            .command(&["s.ron", "--quiet", "--out", "out"])
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let written = || {
            let partial = room.names().into_iter().find(|name| name == ".out.vidur-partial");
            let file = partial.map(|name| room.path(&name).join("paged/request_metrics.csv"));
            file.and_then(|file| file.metadata().ok()).is_some_and(|data| data.len() > 0)
        };
        let started = Instant::now();
        while !written() && started.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(written(), "it never wrote anything");
        let id = child.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().expect("kill is there");
        assert!(sent.success());
        let status = child.wait().expect("ends");
        assert!(!status.success(), "{signal}: {status}");
        assert!(!room.path("out").exists(), "{signal}");
        // The same folder can be used at once, and what was left there is cleaned up.
        room.write("s.ron", SCENARIO);
        room.must("s.ron --quiet --out out");
        assert_eq!(room.names(), ["out", "s.ron"], "{signal}");
    }
}

/// A file system that takes no more bytes: one message, exit code 1, nothing left.
#[cfg(unix)]
#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let room = Room::with("s.ron", SCENARIO.replace("requests: 20", "requests: 20000"));
    let program = env!("CARGO_BIN_EXE_vidur-ecs");
    // A limit on file sizes acts as a full disk does, once its signal is ignored.
    let line = format!("trap '' XFSZ; ulimit -f 64; exec {program} s.ron --quiet --out out");
    let ran = finish(Command::new("sh").args(["-c", &line]).current_dir(room.path("")));
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("cannot write") && ran.err.contains(".csv"), "{}", ran.err);
    assert_eq!(ran.err.lines().filter(|line| line.starts_with("error")).count(), 1);
    assert_eq!(room.names(), ["s.ron"]);
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_said() {
    let room = Room::with("s.ron", SCENARIO);
    room.write("file", "");
    for out in ["file/x", "/proc/x", "/dev/null/x"] {
        let ran = room.run(&format!("s.ron --quiet --out {out}"));
        assert_eq!(ran.code, 1, "{out}: {}", ran.err);
        assert!(ran.err.starts_with("error: cannot "), "{}", ran.err);
    }
    assert_eq!(room.names(), ["file", "s.ron"]);
}

#[test]
fn a_crate_for_a_policy_is_begun() {
    let room = Room::new();
    let ran = room.run("plugin new shortest-first");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.err);
    let read = |name: &str| room.read(&format!("shortest-first/{name}"));
    assert!(read("Cargo.toml").contains("name = \"shortest-first\""));
    assert!(read("src/main.rs").contains("impl Policy for ShortestFirst {"));
    assert!(read("scenario.ron").contains("policy: ShortestFirst(max_num_seqs: 256)"));
    assert!(!read("src/main.rs").contains("MyPolicy"));
    let again = room.run("plugin new shortest-first");
    assert_eq!(again.code, 2);
    assert!(again.err.contains("already exists"), "{}", again.err);
    let bad = room.run("plugin new 2nd");
    assert_eq!(bad.code, 2);
    assert!(bad.err.contains("cannot be the name of a crate"), "{}", bad.err);
}

/// What holds for both sides of a scenario is said once.
#[test]
fn check_says_once_what_runs() {
    let workload = "requests: 2, arrivals: Uniform(qps: 1), lengths: Fixed(prompt: 100, output: 8)";
    let sides = |replicas: u32| {
        format!(
            "disaggregated: (prefill: (cluster: (replicas: 1)), decode: (cluster: (replicas: {replicas})), link: (gb_per_s: 25.0))"
        )
    };
    let room = Room::with("s.ron", one_model("", workload, &sides(1)));
    let lines = |out: &str, key: &str| {
        out.lines().filter(|line| line.trim_start().starts_with(key)).count()
    };
    let same = room.must("check s.ron").out;
    assert_eq!((lines(&same, "runs "), lines(&same, "timing ")), (1, 1), "{same}");
    assert_eq!(lines(&same, "-- side"), 2, "{same}");
    room.write("s.ron", one_model("", workload, &sides(2)));
    let other = room.must("check s.ron").out;
    assert_eq!((lines(&other, "runs "), lines(&other, "timing ")), (2, 1), "{other}");
}

/// Names of profiles and tables are long, descriptions longer: nothing runs over the edge of 80
/// columns.
#[test]
fn profiles_fit_a_narrow_terminal() {
    let room = Room::new();
    for line in [
        &["profile", "list"][..],
        &["profile", "show", "h100-sxm-80g/llama-2-7b"],
        &["profile", "show", "h100-sxm-80g/llama-2-7b", "--table", "operators"],
        &["profile", "check", "h100-sxm-80g/llama-2-7b"],
        &["profile", "check", "rtx-pro-6000/layers-qwen3-30b-a3b"],
        &["profile", "check", "h100-sxm-80g/operators", "--model", "Llama-3.1-8B"],
    ] {
        let ran = finish(room.command(line).env("COLUMNS", "80"));
        assert_eq!(ran.code, 0, "{line:?}: {}", ran.err);
        for text in ran.out.lines() {
            assert!(text.chars().count() <= 80, "{line:?}: {text}");
        }
    }
}

/// What follows from a scenario fits too; the resolved text below it is as it is kept in a file.
#[test]
fn check_fits_a_narrow_terminal() {
    let room = Room::new();
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["examples/quickstart.ron", "scenarios/i5_1.ron", "scenarios/i4_1.ron"] {
        let file = scenarios.join(name).display().to_string();
        let ran = finish(room.command(&["check", &file]).env("COLUMNS", "80"));
        let (facts, _) = ran.out.split_once("// resolved").expect("the resolved text comes last");
        assert!(facts.contains(" is valid: ") && facts.contains("timing"), "{facts}");
        for text in facts.lines() {
            assert!(text.chars().count() <= 80, "{name}: {text}");
        }
    }
}
