//! The same scenario and seed give the same bytes, and what breaks that is found out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use vidur_ecs::base::{Nanos, SettingError};
use vidur_ecs::engine::policy::VllmV0;
use vidur_ecs::engine::{HandOver, SimError, Simulation};
use vidur_ecs::registry::{Plugin, Registry, SimBuilder};
use vidur_ecs::run::{RunError, check_determinism};
use vidur_ecs::scenario::Scenario;
use vidur_ecs::testing::RandomScenario;
use vidur_ecs::timing::{
    BatchShape, Predictor, StagePosition, StageTime, TimingContext, TimingNote, TimingSettings,
};

use crate::room::{Room, SCENARIO, finish, names};

/// Every file below a folder but `run.log`, with its bytes.
pub fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for name in names(folder) {
        let path = folder.join(&name);
        if path.is_dir() {
            let inner = contents(&path).into_iter();
            files.extend(inner.map(|(file, bytes)| (Path::new(&name).join(file), bytes)));
        } else if name != "run.log" {
            files.push((name.into(), std::fs::read(path).expect("readable")));
        }
    }
    files
}

/// Random arrivals, lengths and routing, with preemptions.
fn busy() -> String {
    SCENARIO
        .replace("router: RoundRobin", "router: Random")
        .replace("requests: 20", "requests: 300")
        .replace("qps: 2.0", "qps: 40.0")
        .replace("max_model_len: 4096", "max_model_len: 512, num_gpu_blocks: 100")
        .replace("Fixed(prompt: 128, output: 16)", "Uniform(prompt: (1, 300), output: (1, 200))")
        .replace("[\"max\", \"paged\"]", "[\"paged\", \"max\"]")
}

/// Checks the run lengths and the time series against what else was counted.
fn check_runs(room: &Room, variant: &str) {
    let summary: serde_json::Value =
        serde_json::from_str(&room.read("fast/summary.json")).expect("JSON");
    let metric = |name: &str| {
        summary["variants"][variant]["metrics"][name]["mean"].as_f64().expect("a number")
    };
    let column = |file: &str, name: &str| -> Vec<f64> {
        let text = room.read(&format!("fast/{variant}/{file}"));
        let mut csv = csv::Reader::from_reader(text.as_bytes());
        let index = csv.headers().expect("a header").iter().position(|h| h == name).expect(name);
        csv.records().map(|r| r.expect("a row")[index].parse().expect("a number")).collect()
    };
    let counts = column("batch_metrics.csv", "count");
    assert_eq!(counts.iter().sum::<f64>(), metric("batch_iterations"));
    assert!(counts.iter().any(|&count| count > 5.0), "runs were found");
    let tokens = column("batch_metrics.csv", "batch_num_tokens");
    let sum: f64 = counts.iter().zip(&tokens).map(|(count, tokens)| count * tokens).sum();
    let expected = metric("batch_tokens_mean") * metric("batch_iterations");
    assert!((sum - expected).abs() < 1e-6 * expected);
    let finished: f64 = column("time_series.csv", "finished").iter().sum();
    assert_eq!(finished, metric("finished"));
    let produced: f64 = column("time_series.csv", "output_tokens").iter().sum();
    assert_eq!(produced, metric("output_tokens"));
    let running = column("time_series.csv", "running");
    let mean = running.iter().sum::<f64>() / running.len() as f64;
    assert!((mean - metric("running_mean")).abs() < 0.1 * mean, "{mean}");
}

#[test]
fn exact_steps_write_the_same_bytes() {
    let one = busy().replace("replicas: 2", "replicas: 1");
    // With several replicas, batch rows would need single steps anyway.
    for (name, text) in [("one", one), ("two", busy())] {
        let text = text.replacen(
            "engine: (",
            "output: (batch_metrics: RunLength, time_series_s: 0.25), engine: (",
            1,
        );
        let room = Room::with("s.ron", text);
        room.must("s.ron --quiet --out fast");
        room.must("s.ron --quiet --out exact --exact-steps");
        for variant in ["paged", "max"] {
            let rows = |out: &str| room.read(&format!("{out}/{variant}/request_metrics.csv"));
            assert!(rows("fast").lines().count() > 300);
            assert!(rows("fast") == rows("exact"), "{name} {variant}");
            let series = |out: &str| room.read(&format!("{out}/{variant}/time_series.csv"));
            assert!(series("fast").lines().count() > 30);
            assert!(series("fast") == series("exact"), "{name} {variant}");
            // The rows of several replicas come in different orders.
            let runs = |out: &str| {
                let text = room.read(&format!("{out}/{variant}/batch_metrics.csv"));
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines[1..].sort();
                lines
            };
            assert!(runs("fast") == runs("exact"), "{name} {variant}");
            check_runs(&room, variant);
        }
        let summary = |out: &str| room.read(&format!("{out}/summary.json"));
        assert!(summary("exact").contains("\"exact_steps\": true"));
        let single = summary("exact").replace("steps\": true", "steps\": false");
        for (exact, fast) in single.lines().zip(summary("fast").lines()) {
            assert_eq!(exact, fast, "{name}");
        }
        assert!(room.read("exact/run.log").contains("steps         exact\n"));
        assert!(room.read("fast/run.log").contains("steps         fast-forward\n"));
    }
}

#[test]
fn two_runs_write_the_same_bytes() {
    let room = Room::with("s.ron", busy());
    room.must("s.ron --quiet --out a");
    room.must("s.ron --quiet --out b");
    let (a, b) = (contents(&room.path("a")), contents(&room.path("b")));
    assert!(a.len() >= 7, "{} files", a.len());
    assert!(a == b);
    assert!(room.read("a/summary.json").contains("preempt"));
    room.must("s.ron --quiet --out c --seed 2");
    assert!(a != contents(&room.path("c")), "another seed is another run");
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let room = Room::with("s.ron", busy());
    for threads in ["1", "2", "7"] {
        let mut command = room.command(&["s.ron", "--quiet", "--seeds", "5", "--out", threads]);
        let ran = finish(command.env("RAYON_NUM_THREADS", threads));
        assert_eq!(ran.code, 0, "{}", ran.err);
    }
    let one = contents(&room.path("1"));
    assert!(one == contents(&room.path("2")) && one == contents(&room.path("7")));
}

#[test]
fn the_check_passes_for_what_is_built_in() {
    let room = Room::with("s.ron", busy());
    let ran = room.must("s.ron --check-determinism --seeds 2 --out a");
    assert!(ran.out.contains("deterministic: two runs of every seed"), "{}", ran.out);
}

/// A predictor that keeps state, which none may: from its 40th call on every other batch takes a
/// nanosecond longer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Impure {
    impure: bool,
}

struct Counting(AtomicU64, bool);

impl Predictor for Counting {
    fn stage_time(&self, _: &BatchShape, _: StagePosition) -> StageTime {
        let call = self.0.fetch_add(1, Ordering::Relaxed);
        let extra = if self.1 && call >= 40 { call % 2 } else { 0 };
        StageTime { total: Nanos(5_000_000 + extra), ..StageTime::default() }
    }
    fn note(&self) -> TimingNote {
        TimingNote::default()
    }
}

impl TimingSettings for Impure {
    const NAME: &'static str = "Impure";
    const ABOUT: &'static str = "keeps state between calls";
    fn build(&self, _: &TimingContext) -> Result<Arc<dyn Predictor>, SettingError> {
        Ok(Arc::new(Counting(AtomicU64::new(0), self.impure)))
    }
}

struct ImpurePlugin;

impl Plugin for ImpurePlugin {
    fn build(&self, builder: &mut SimBuilder) {
        builder.add_timing::<Impure>();
    }
}

#[test]
fn a_plug_in_that_is_not_deterministic_is_found_out() {
    let registry = Registry::with(&[&ImpurePlugin]);
    let check = |impure: bool| {
        let timing = format!("Impure(impure: {impure})");
        let text = SCENARIO
            .replace("Formula(base: 0.005, per_token: 2.5e-5)", &timing)
            .replace("\"max\": (engine: (policy: Orca(reserve: Max))),", "")
            .replace("(metric: \"running_peak\", order: [\"max\", \"paged\"]),", "");
        let room = Room::with("s.ron", text);
        let scenario = Scenario::load(&room.path("s.ron"), &[], &registry)
            .unwrap_or_else(|error| panic!("{error}"));
        check_determinism(&scenario)
    };
    assert!(check(false).is_ok());
    let error = check(true).expect_err("it keeps state");
    assert!(matches!(error, RunError::NotDeterministic { time, .. } if time > Nanos::ZERO));
    let text = error.to_string();
    assert!(text.contains("variant paged, seed 1 is not deterministic"), "{text}");
    assert!(text.contains("two runs with the same seed diverge at "), "{text}");
}

#[test]
fn a_pool_that_hands_over_to_nowhere_is_an_error() {
    let build = |to| {
        let mut spec = RandomScenario::new(3).spec(Box::new(VllmV0::default()));
        spec.pools[0].hand_over = Some(HandOver {
            to,
            bytes_per_token: 1,
            bytes_per_second: 1e9,
            latency: Nanos::ZERO,
            layers: 1,
        });
        Simulation::new(spec).map(|_| ())
    };
    for to in [0, 1] {
        match build(to) {
            Err(SimError::Cluster(text)) => {
                assert!(text.contains(&format!("hands over to pool {to}")), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn more_stages_than_the_agenda_can_number_are_an_error() {
    let mut spec = RandomScenario::new(3).spec(Box::new(VllmV0::default()));
    spec.pools[0].limits.stages = 4;
    spec.pools[0].replicas = 1 << 22;
    match Simulation::new(spec).map(|_| ()) {
        Err(SimError::Cluster(text)) => {
            assert_eq!(text, "the cluster has 16777216 pipeline stages; 16777215 are possible");
        }
        other => panic!("{other:?}"),
    }
}
