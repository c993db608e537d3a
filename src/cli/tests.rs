//! The program as a user meets it: exit codes and files.

use std::path::Path;
use std::process::ExitCode;

use tempfile::TempDir;

use super::run_with;

const SCENARIO: &str = r#"(
    model: "Llama-2-7B",
    device: "A100-SXM-80G",
    engine: (policy: VllmV0()),
    workload: (requests: 30, arrivals: Poisson(qps: 5.0), lengths: Fixed(prompt: 100, output: 8)),
    timing: Formula(base: 0.005, per_token: 2.5e-5, per_context: 1e-8),
    variants: {"a b": (), "orca": (engine: (policy: Orca()))},
    seeds: 2,
    expect: [(metric: "finished", equals: 30)],
)"#;

struct Room(TempDir);

impl Room {
    /// A folder with `SCENARIO` as `s.ron`.
    fn new() -> Room {
        let room = Room(tempfile::tempdir().expect("a folder"));
        room.write("s.ron", SCENARIO);
        room
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).expect("written");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Runs the program; words that begin with `@` are paths in the room.
    fn run(&self, line: &str) -> u8 {
        let words = line.split_whitespace().map(|word| match word.strip_prefix('@') {
            Some(name) => self.path(name),
            None => word.to_owned(),
        });
        let code = run_with(&[], std::iter::once("vidur-ecs".to_owned()).chain(words));
        (0..=255).find(|&n| code == ExitCode::from(n)).expect("a code")
    }
}

#[test]
fn a_run_leaves_its_files_and_no_others() {
    let room = Room::new();
    assert_eq!(room.run("@s.ron --quiet --strict --out @out/s"), 0);
    let mut files: Vec<String> = ["", "a_b", "orca"]
        .iter()
        .flat_map(|folder| {
            std::fs::read_dir(room.0.path().join("out/s").join(folder)).expect("is there")
        })
        .map(|entry| entry.expect("is there").file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let rows = ["batch_metrics.csv", "request_metrics.csv"];
    let mut expected = vec![
        "a_b",
        "manifest.json",
        "orca",
        "run.log",
        "scenario.ron",
        "seeds.csv",
        "summary.json",
        "variants.csv",
    ];
    expected.extend(rows.iter().chain(&rows));
    expected.sort_unstable();
    assert_eq!(files, expected);
    assert_eq!(room.read("out/s/orca/request_metrics.csv").lines().count(), 1 + 2 * 30);
    assert_eq!(
        std::fs::read_dir(room.path("out")).expect("is there").count(),
        1,
        "nothing temporary is left"
    );
}

#[test]
fn the_resolved_scenario_runs_to_the_same_bytes() {
    let room = Room::new();
    assert_eq!(room.run("@s.ron --quiet --out @one"), 0);
    assert_eq!(room.run("@one/scenario.ron --quiet --out @two"), 0);
    for name in [
        "summary.json",
        "seeds.csv",
        "variants.csv",
        "scenario.ron",
        "orca/batch_metrics.csv",
        "a_b/request_metrics.csv",
    ] {
        assert_eq!(room.read(&format!("one/{name}")), room.read(&format!("two/{name}")), "{name}");
    }
}

#[test]
fn results_are_never_overwritten_in_silence() {
    let room = Room::new();
    assert_eq!(room.run("@s.ron --quiet --out @out"), 0);
    let first = room.read("out/run.log");
    assert_eq!(room.run("@s.ron --quiet --out @out"), 2);
    assert_eq!(room.read("out/run.log"), first);
    assert_eq!(room.run("@s.ron --quiet --out @out --force --seeds 1"), 0);
    assert!(!Path::new(&room.path("out/seeds.csv")).exists());
    std::fs::create_dir(room.path("mine")).expect("created");
    room.write("mine/letter.txt", "dear");
    assert_eq!(room.run("@s.ron --quiet --out @mine --force"), 2);
    assert_eq!(room.read("mine/letter.txt"), "dear");
}

#[test]
fn nothing_runs_when_one_scenario_is_wrong() {
    let room = Room::new();
    room.write("bad.ron", &SCENARIO.replace("qps: 5.0", "qps: 0.0"));
    assert_eq!(room.run("@s.ron @bad.ron --quiet --out @out"), 2);
    assert!(!Path::new(&room.path("out/s")).exists());
    assert_eq!(room.run("@s.ron @s.ron --quiet --out @out"), 2);
    room.write("t.ron", SCENARIO);
    assert_eq!(room.run("@s.ron @t.ron --quiet --out @out"), 0);
    assert!(Path::new(&room.path("out/t/summary.json")).exists());
}

#[test]
fn exit_codes_say_what_went_wrong() {
    let room = Room::new();
    room.write("large.ron", &SCENARIO.replace("Llama-2-7B", "Llama-2-70B"));
    room.write("missed.ron", &SCENARIO.replace("equals: 30", "equals: 31"));
    room.write("config.json", "{}");
    for (line, code) in [
        ("@large.ron --quiet --out @x", 3),
        ("check @large.ron", 3),
        ("check @s.ron", 0),
        ("check @s.ron --quiet --set seeds=0", 2),
        ("run @missed.ron --quiet --out @missed", 0),
        ("run @missed.ron --quiet --out @missed2 --strict", 1),
        ("run @s.ron --quiet --check-determinism --out @det", 0),
        ("run", 2),
        ("", 2),
        ("chek", 2),
        ("--help", 0),
        ("--version", 0),
        ("run --no-such-flag", 2),
        ("run @s.ron --seeds many", 2),
        ("run @s.ron --seeds 0 --out @x", 2),
        ("@nowhere.ron", 2),
        ("@s.ron --out /", 2),
        ("list", 0),
        ("profile list", 0),
        ("import vidur @config.json", 2),
        ("import vidur @nowhere.json", 2),
        ("import vidur @config.json --timing formula:1", 2),
        ("workload fit @nowhere.csv -o @y.ron", 2),
        ("profile import vidur @nowhere --model Llama-2-7B -o @y.ron", 2),
    ] {
        assert_eq!(room.run(line), code, "vidur-ecs {line}");
    }
    assert!(!Path::new(&room.path("x")).exists() && !Path::new(&room.path("y.ron")).exists());
}

#[test]
fn a_seed_is_the_same_alone_and_among_others() {
    let room = Room::new();
    assert_eq!(room.run("@s.ron --quiet --out @many --seed 7 --seeds 3"), 0);
    assert_eq!(room.run("@s.ron --quiet --out @one --seed 9 --seeds 1"), 0);
    assert_eq!(room.run("@s.ron --quiet --out @two --seed 9 --seeds 2"), 0);
    let row =
        |text: String| text.lines().find(|line| line.starts_with("orca,9,")).map(str::to_owned);
    assert_eq!(row(room.read("many/seeds.csv")), row(room.read("two/seeds.csv")));
    let both = room.read("two/orca/request_metrics.csv");
    let of_nine: String = both
        .lines()
        .filter_map(|line| line.strip_suffix(",seed").or(line.strip_suffix(",9")))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(room.read("one/orca/request_metrics.csv"), of_nine);
}

#[test]
fn the_golden_runs_of_vidur_are_reproduced() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/vidur");
    let room = Room::new();
    for case in ["closed_orca_conv_qps8_pp2", "closed_sarathi_conv_qps8_r4lor"] {
        let folder = golden.join(case).display().to_string();
        let timing = "--timing formula:0.005,2.5e-5,1e-8";
        let line = format!(
            "import vidur {folder}/config.json --trace {folder}/requests.csv.gz {timing} -o @{case}.ron"
        );
        assert_eq!(room.run(&line), 0);
        assert_eq!(room.run(&format!("@{case}.ron --quiet --out @{case}")), 0);
        let derived =
            std::fs::read_to_string(golden.join(case).join("derived.json")).expect("is there");
        let derived: serde_json::Value = serde_json::from_str(&derived).expect("is JSON");
        let batches = room.read(&format!("{case}/batch_metrics.csv")).lines().count() - 1;
        assert_eq!(derived["num_batches"].as_u64(), Some(batches as u64), "{case}");
    }
}
