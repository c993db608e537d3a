//! Results are safe: nothing of the user's is overwritten or removed, and nothing is lost at the
//! end.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use vidur_ecs::output::Manifest;

use crate::room::{Room, SCENARIO, names};

/// `SCENARIO` without variants and expectations.
fn plain() -> String {
    let (one, _) = SCENARIO.split_once("    variants:").expect("it has variants");
    format!("{one})")
}

fn with_variants(names: &[&str]) -> String {
    let variants: Vec<String> = names.iter().map(|name| format!("{name:?}: ()")).collect();
    plain().trim_end().trim_end_matches(')').to_owned()
        + &format!("    variants: {{{}}},)", variants.join(", "))
}

/// What a refused run says.
fn refused(room: &Room, line: &str) -> String {
    let ran = room.run(line);
    assert_eq!(ran.code, 2, "{line}: {}{}", ran.out, ran.err);
    ran.err
}

#[test]
fn force_replaces_only_what_the_program_wrote() {
    let room = Room::with("s.ron", plain());
    // A repository with a file that is called like one of ours.
    std::fs::create_dir_all(room.path("p/.git")).expect("created");
    room.write("p/run.log", "x");
    room.write("p/.git/HEAD", "ref");
    let said = refused(&room, "s.ron --out p --force");
    assert!(said.contains("p exists and has no manifest.json"), "{said}");
    assert_eq!(names(&room.path("p")), [".git", "run.log"]);
    // A result folder in which the user has put something.
    room.must("s.ron -q --out out");
    std::fs::create_dir(room.path("out/notes")).expect("created");
    room.write("out/notes/a.md", "mine");
    let said = refused(&room, "s.ron --out out --force");
    assert!(said.contains("did not write and that would be lost: notes/a.md"), "{said}");
    assert_eq!(room.read("out/notes/a.md"), "mine");
    std::fs::remove_dir_all(room.path("out/notes")).expect("removed");
    room.must("s.ron -q --out out --force");
    // What the run reads, in the folder that it would replace.
    let text = room.read("out/scenario.ron");
    let said = refused(&room, "out/scenario.ron --out out --force");
    assert!(said.contains("out/scenario.ron lies in out"), "{said}");
    assert_eq!(room.read("out/scenario.ron"), text);
    assert_eq!(room.names(), ["out", "p", "s.ron"]);
}

#[test]
fn the_same_command_works_twice() {
    let room = Room::with("s.ron", plain());
    room.must("s.ron -q");
    room.must("s.ron -q");
    room.write("s.ron", plain().replace("qps: 2.0", "qps: 3.0"));
    room.must("s.ron -q");
    assert!(room.read("results/s/scenario.ron").contains("3.0"));
    // Other settings are other results.
    let said = refused(&room, "s.ron --seeds 2");
    assert!(said.contains("results/s exists") && said.contains("now: seeds=2"), "{said}");
    // Nor is another scenario with that name the same.
    std::fs::create_dir(room.path("b")).expect("created");
    room.write("b/s.ron", plain());
    let said = refused(&room, "b/s.ron");
    assert!(said.contains("another scenario (../../s.ron)"), "{said}");
    // What the user has changed is kept, the log included.
    let log = room.read("results/s/run.log");
    room.write("results/s/run.log", format!("{log}a note\n"));
    let said = refused(&room, "s.ron");
    assert!(said.contains("changed since it was written (run.log)"), "{said}");
    room.must("s.ron -q --force");
    assert_eq!(names(&room.path("results")), ["s"]);
    // With --out, only by force.
    room.must("s.ron -q --out out");
    refused(&room, "s.ron -q --out out");
}

#[test]
fn a_manifest_lists_every_file_and_no_time() {
    let room = Room::with("s.ron", SCENARIO);
    let sweep = "s.ron -q --seeds 2 --set workload.arrivals.qps=[1,2]";
    room.must(&format!("{sweep} --out a"));
    room.must(&format!("{sweep} --out b --jobs 1"));
    assert!(room.read("a/manifest.json") == room.read("b/manifest.json"));
    let manifest = Manifest::read(&room.path("a")).expect("is there");
    let changes = manifest.check(&room.path("a")).expect("readable");
    assert_eq!(changes, Default::default());
    let listed: Vec<&str> = manifest.files.iter().map(|entry| entry.name.as_str()).collect();
    for file in ["runs.csv", "qps_1/summary.json", "qps_2/max/request_metrics.csv"] {
        assert!(listed.contains(&file), "{file} is not among {listed:?}");
    }
}

#[cfg(unix)]
#[test]
fn what_would_fail_at_the_end_is_found_before_the_run() {
    let room = Room::with("s.ron", plain());
    std::fs::create_dir(room.path("real")).expect("created");
    std::os::unix::fs::symlink("real", room.path("link")).expect("linked");
    room.must("s.ron -q --out link");
    assert!(room.path("real/summary.json").is_file());
    let said = refused(&room, "s.ron --out /proc --force");
    assert!(said.contains("mount point") || said.contains("/proc"), "{said}");
    room.write("file", "mine");
    assert!(refused(&room, "s.ron --out file --force").contains("it is a file"));
    let long = format!("s.ron --out {}", "x".repeat(250));
    assert!(refused(&room, &long).contains("250 bytes"));
    for (variants, words) in [
        (&["summary.json", "b"][..], "its folder would take the place of summary.json"),
        (&["Manifest.JSON", "b"], "its folder would take the place of manifest.json"),
        (&["A", "a"], "would write into another variant's folder"),
    ] {
        room.write("v.ron", with_variants(variants));
        let said = refused(&room, "v.ron");
        assert!(said.contains(words) && said.contains("v.ron:"), "{said}");
    }
    // A long name is no reason to fail.
    let (long, longer) = ("x".repeat(300), format!("{}y", "x".repeat(300)));
    room.write("v.ron", with_variants(&[&long, &longer]));
    room.must("v.ron -q --out v");
    assert_eq!(names(&room.path("v")).iter().filter(|name| name.starts_with("xx")).count(), 2);
    assert_eq!(room.read("file"), "mine");
    assert_eq!(room.names(), ["file", "link", "real", "s.ron", "v", "v.ron"]);
}

#[test]
fn every_command_asks_before_it_overwrites() {
    let room = Room::with("s.ron", SCENARIO);
    room.must("s.ron -q --out a");
    room.write("t.csv", "arrived_at,num_prefill_tokens,num_decode_tokens\n0,10,5\n1,20,5\n");
    room.write("config.json", "{}");
    room.write("mine", "mine");
    for line in [
        "compare a a --csv mine",
        "compare a a --json mine",
        "import vidur config.json -o mine",
        "import vllm-bench config.json --device H100 -o mine",
        "profile import vidur nowhere --model Llama-2-7B --device A100-SXM-80G -o mine",
        "workload fit t.csv -o mine",
    ] {
        let said = refused(&room, line);
        assert!(said.contains("mine"), "{line}: {said}");
        assert_eq!(room.read("mine"), "mine", "{line}");
    }
    for line in ["compare a a --csv mine --force", "workload fit t.csv -o mine --force"] {
        room.write("mine", "mine");
        room.must(line);
        assert_ne!(room.read("mine"), "mine", "{line}");
    }
    assert_eq!(room.names(), ["a", "config.json", "mine", "s.ron", "t.csv"]);
}

#[test]
fn a_case_and_its_results_are_kept() {
    let room = Room::with(
        "bench.json",
        r#"{"model_id": "meta-llama/Llama-2-7b-hf", "request_rate": 2.0, "completed": 2,
        "input_lens": [100, 50], "output_lens": [3, 2], "ttfts": [0.05, 0.02],
        "itls": [[0.01, 0.02], [0.01]], "start_times": [1000.5, 1000.25], "errors": ["", ""]}"#,
    );
    let import = "import vllm-bench bench.json --device H100 --num-gpu-blocks 7438 -o case";
    room.must(import);
    assert!(refused(&room, import).contains("case exists"));
    room.write("case/prefix_blocks.jsonl", "");
    assert!(refused(&room, &format!("{import} --force")).contains("prefix_blocks.jsonl"));
    std::fs::remove_file(room.path("case/prefix_blocks.jsonl")).expect("removed");
    room.must(&format!("{import} --force"));
    // Without --out the same case replaces its results, with it only by force.
    let validate = "validate case";
    room.must(validate);
    room.must(validate);
    room.write("results/validate/case/notes", "mine");
    assert!(refused(&room, &format!("{validate} --force")).contains("notes"));
    room.must(&format!("{validate} --out v"));
    assert!(refused(&room, &format!("{validate} --out v")).contains("v/case exists"));
    room.must(&format!("{validate} --out v --force"));
}

/// Starts a long run and waits until it writes.
#[cfg(unix)]
fn started(room: &Room, command: &mut Command) -> Child {
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    let file = room.path(".out.vidur-partial/request_metrics.csv");
    let began = Instant::now();
    while file.metadata().map_or(0, |data| data.len()) == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "it never wrote anything");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[cfg(unix)]
fn send(child: &Child, signal: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().expect("kill is there").success());
}

#[cfg(unix)]
fn long() -> Room {
    Room::with("s.ron", plain().replace("requests: 20", "requests: 50000000"))
}

#[cfg(unix)]
#[test]
fn signals_clean_up_and_say_so() {
    // Whoever starts the tests may have told them to ignore some signals, and programs inherit
    // that.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        if ignored & (1 << (number - 1)) != 0 {
            eprintln!("skipped: SIG{name} is ignored here");
            continue;
        }
        let room = long();
        let child = started(&room, &mut room.command(&["s.ron", "--out", "out"]));
        send(&child, &format!("-{name}"));
        let ended = child.wait_with_output().expect("ends");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(128 + number), "{said}");
        assert!(
            said.contains(&format!("stopped by SIG{name}; nothing was written to out")),
            "{said}"
        );
        assert_eq!(room.names(), ["s.ron"], "SIG{name}");
    }
}

/// Impatience: whichever of two signals ends the program, the code is the same, and what it may
/// have left is gone after the next run.
#[cfg(unix)]
#[test]
fn a_second_signal_ends_it_at_once() {
    for _ in 0..5 {
        // Each in a room of its own: what one leaves would look as if the next had started already.
        let room = long();
        let child = started(&room, &mut room.command(&["s.ron", "--out", "out"]));
        let id = child.id();
        let twice = format!("kill -TERM {id}; kill -TERM {id} 2>/dev/null; true");
        assert!(Command::new("sh").args(["-c", &twice]).status().expect("sh").success());
        let began = Instant::now();
        let ended = child.wait_with_output().expect("ends");
        assert!(began.elapsed() < Duration::from_secs(60));
        assert_eq!(ended.status.code(), Some(143));
        assert!(!room.path("out").exists());
        room.write("s.ron", plain());
        room.must("s.ron --out out");
        assert_eq!(room.names(), ["out", "s.ron"]);
    }
}

#[cfg(unix)]
#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let room = long();
    let program = env!("CARGO_BIN_EXE_vidur-ecs");
    let line = format!("trap '' HUP; exec {program} s.ron -q --out out");
    let mut command = Command::new("sh");
    let child = started(&room, command.args(["-c", &line]).current_dir(room.path("")));
    send(&child, "-HUP");
    send(&child, "-TERM");
    let ended = child.wait_with_output().expect("ends");
    assert_eq!(ended.status.code(), Some(143));
}

#[cfg(unix)]
#[test]
fn two_runs_do_not_write_in_one_place() {
    let room = long();
    let child = started(&room, &mut room.command(&["s.ron", "--out", "out"]));
    let said = refused(&room, "s.ron --out out --force");
    assert!(
        said.contains(&format!("another run is writing out (process {})", child.id())),
        "{said}"
    );
    send(&child, "-TERM");
    child.wait_with_output().expect("ends");
    assert_eq!(room.names(), ["s.ron"]);
}

#[test]
fn what_fits_of_a_sweep_runs() {
    let room = Room::with("s.ron", plain());
    let ran = room.run("s.ron --out a --set model=[Llama-2-7B,Llama-2-70B,Llama-2-13B]");
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("the smallest tensor_parallel that fits is 2"), "{}", ran.err);
    assert!(ran.out.contains("NO FIT model=Llama-2-70B"), "{}", ran.out);
    let table = room.read("a/runs.csv");
    let rows: Vec<&str> = table.lines().skip(1).collect();
    assert!(rows.len() == 3 && rows[1].starts_with("s,,Llama-2-70B,0,,,does not fit,"), "{table}");
    assert!(rows[2].starts_with("s,,Llama-2-13B,1,"), "{table}");
    assert!(room.path("a/model_Llama-2-13B/summary.json").is_file());
    // The first ones, too.
    assert_eq!(room.run("s.ron -q --out b --set model=[Llama-2-70B,Llama-2-7B]").code, 3);
    assert!(room.read("b/runs.csv").lines().nth(1).is_some_and(|row| row.contains("does not fit")));
    // Nothing of it: nothing is written.
    assert_eq!(room.run("s.ron -q --out c --set model=[Llama-2-70B]").code, 3);
    assert!(!room.path("c").exists());
}

#[test]
fn what_fits_of_several_files_and_of_variants_runs() {
    let room = Room::with("s.ron", plain());
    room.write("large.ron", plain().replace("Llama-2-7B", "Llama-2-70B"));
    let ran = room.run("large.ron s.ron --out all");
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.out.contains("NO FIT large"), "{}", ran.out);
    assert_eq!(names(&room.path("all")), ["manifest.json", "runs.csv", "s"]);
    assert!(room.read("all/runs.csv").contains("large,,0,,,does not fit,"));
    let variants =
        SCENARIO.replace("\"paged\": ()", "\"paged\": (), \"large\": (model: \"Llama-2-70B\")");
    room.write("v.ron", variants);
    let ran = room.run("v.ron --out v");
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("variant `large` is left out"), "{}", ran.err);
    assert!(ran.out.contains("NO FIT large"), "{}", ran.out);
    assert!(room.read("v/variants.csv").contains("large,0,,,does not fit,"));
    assert!(room.read("v/summary.json").contains("\"does_not_fit\": {\n    \"large\""));
    let resolved = room.read("v/scenario.ron");
    assert!(resolved.starts_with("// variant `large` is left out: "), "{resolved}");
    room.must("v/scenario.ron --out again");
    // A name of two lines is a comment of two lines.
    room.write("n.ron", room.read("v.ron").replace("\"large\"", "\"two\\nlines\""));
    assert_eq!(room.run("n.ron -q --out n").code, 3);
    let resolved = room.read("n/scenario.ron");
    assert!(resolved.starts_with("// variant `two\n// lines` is left out: "), "{resolved}");
    room.must("n/scenario.ron -q --out n2");
    // Whoever wants to read errors alone still learns why the code is 3.
    for line in ["check v.ron -q", "v.ron -q --out quiet", "compare v.ron v.ron"] {
        let ran = room.run(line);
        assert_eq!(ran.code, 3, "{line}: {}", ran.err);
        let said = "error: variant `large` is left out";
        assert_eq!(ran.err.matches(said).count(), if line.starts_with("comp") { 2 } else { 1 });
    }
    assert!(room.read("quiet/run.log").contains("variant `large` is left out"));
}
