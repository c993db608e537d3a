//! The same scenario and seed give the same bytes, and what breaks that is found out.

use std::any::TypeId;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bevy_ecs::prelude::*;
use bevy_ecs::schedule::ScheduleConfigs;
use bevy_ecs::system::ScheduleSystem;
use serde::{Deserialize, Serialize};
use vidur_ecs::registry::{AnyRouter, Plugin, Registry};
use vidur_ecs::run::{RunError, check_determinism};
use vidur_ecs::scenario::{Scenario, SettingError};
use vidur_ecs::scheduling::VllmV0;
use vidur_ecs::sim::{Nanos, RandomStream, SimError, Simulation};
use vidur_ecs::testing::RandomScenario;
use vidur_ecs::timing::{
    BatchShape, Predictor, StagePosition, StageTime, TimingContext, TimingNote, TimingSettings,
};

use crate::room::{Room, SCENARIO, finish, names};

/// Every file below a folder but `run.log`, with its bytes.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
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
    fn build(&self, registry: &mut Registry) {
        registry.add_timing::<Impure>();
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
    assert!(text.contains("two runs with the same seed part at "), "{text}");
}

/// A router with two systems of which nobody says which runs first.
struct TwoSystems {
    ordered: bool,
}

#[derive(Resource, Default)]
struct Tally(u64);

fn add(mut tally: ResMut<Tally>) {
    tally.0 += 1;
}

fn double(mut tally: ResMut<Tally>) {
    tally.0 *= 2;
}

impl AnyRouter for TwoSystems {
    fn name(&self) -> &'static str {
        "TwoSystems"
    }
    fn check(&self) -> Result<(), SettingError> {
        Ok(())
    }
    fn to_ron(&self) -> String {
        self.name().to_owned()
    }
    fn boxed(&self) -> Box<dyn AnyRouter> {
        Box::new(TwoSystems { ordered: self.ordered })
    }
    fn insert(&self, world: &mut World, _: u32, _: RandomStream) {
        world.init_resource::<Tally>();
    }
    fn route_system(&self) -> ScheduleConfigs<ScheduleSystem> {
        match self.ordered {
            true => (add, double).chain(),
            false => (add, double).into_configs(),
        }
    }
    fn kind(&self) -> TypeId {
        TypeId::of::<TwoSystems>()
    }
}

#[test]
fn systems_without_a_defined_order_are_an_error() {
    let build = |ordered| {
        let mut spec = RandomScenario::new(3).spec(Box::new(VllmV0::default()));
        spec.pools[0].router = Box::new(TwoSystems { ordered });
        Simulation::new(spec).map(|_| ())
    };
    assert!(build(true).is_ok());
    match build(false) {
        Err(SimError::Schedule(text)) => {
            assert!(text.contains("add") && text.contains("double"), "{text}");
            assert!(text.contains("Tally"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}
