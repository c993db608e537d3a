//! Runs with the same times share the tables of their predictors, and nothing else.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use vidur_ecs::base::{Nanos, SettingError};
use vidur_ecs::registry::{Plugin, Registry, SimBuilder};
use vidur_ecs::scenario::{LoadContext, sweep};
use vidur_ecs::timing::{
    BatchShape, Predictor, SharedTables, StagePosition, StageTime, TimingContext, TimingNote,
    TimingSettings,
};

use crate::determinism::contents;
use crate::room::Room;

/// How often `Counted` was built.
static BUILDS: AtomicU32 = AtomicU32::new(0);

/// A timing that can be shared, and counts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Counted {}

impl TimingSettings for Counted {
    const NAME: &'static str = "Counted";
    const ABOUT: &'static str = "counts how often it is built";
    fn build(&self, _: &TimingContext) -> Result<Arc<dyn Predictor>, SettingError> {
        BUILDS.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(Counted {}))
    }
}

impl Predictor for Counted {
    fn stage_time(&self, _: &BatchShape, _: StagePosition) -> StageTime {
        StageTime { total: Nanos(5_000_000), ..StageTime::default() }
    }
    fn note(&self) -> TimingNote {
        TimingNote::default()
    }
    fn afresh(&self) -> Option<Arc<dyn Predictor>> {
        Some(Arc::new(Counted {}))
    }
}

struct CountedPlugin;

impl Plugin for CountedPlugin {
    fn build(&self, builder: &mut SimBuilder) {
        builder.add_timing::<Counted>();
    }
}

/// A scenario with so many requests at once, and these variants.
fn scenario(timing: &str, requests: u32, variants: &str) -> String {
    format!(
        "(model: \"Llama-2-7B\", device: \"A100-SXM-80G\",
          engine: (policy: VllmV0(max_num_seqs: 128, max_num_batched_tokens: 4096),
                   max_model_len: 4096),
          workload: (requests: {requests}, arrivals: Static, lengths: Fixed(prompt: 512, output: 4)),
          timing: {timing}, variants: {{{variants}}})"
    )
}

#[test]
fn variants_points_and_files_share_one_build() {
    let variants = "\"few\": (engine: (policy: VllmV0(max_num_seqs: 8))), \"many\": ()";
    let room = Room::with("a.ron", scenario("Counted()", 10, variants));
    room.write("b.ron", scenario("Counted()", 20, ""));
    let registry = Registry::with(&[&CountedPlugin]);
    let tables = SharedTables::default();
    let load = |file: &str, settings: &[&str]| {
        let settings: Vec<String> = settings.iter().map(|&s| s.to_owned()).collect();
        let before = BUILDS.load(Ordering::Relaxed);
        let sweep = sweep::load(
            &room.path(file),
            &settings,
            LoadContext { registry: &registry, tables: &tables },
        )
        .unwrap_or_else(|error| panic!("{}", error.render(false)));
        let runs = sweep.points.iter();
        let runs = runs.map(|point| point.scenario.configurations.len()).sum::<usize>();
        (runs, BUILDS.load(Ordering::Relaxed) - before)
    };
    let sweep = ["workload.requests=[1,2,3,4]", "engine.policy.max_num_batched_tokens=[4096,8192]"];
    assert_eq!(load("a.ron", &sweep), (16, 1));
    assert_eq!(load("b.ron", &["seed=[1,2,3]"]), (3, 0));
    assert_eq!(load("b.ron", &["engine.block_size=[16,32]"]), (2, 1));
    assert_eq!(load("b.ron", &["cluster.tensor_parallel=[1,2,4]"]), (3, 2));
}

/// Of two points that share their tables one goes beyond what was measured.
#[test]
fn what_a_point_extrapolates_is_no_warning_of_another() {
    let point = |setting: &str| format!("--set engine.policy.max_num_batched_tokens={setting}");
    for timing in ["Measured(composition: Vidur)", "Measured(composition: Full)"] {
        let room = Room::with("s.ron", scenario(timing, 256, ""));
        room.must(&format!("s.ron --quiet --out both {}", point("[4096,131072]")));
        let said = |folder: &str| {
            let log = room.read(&format!("{folder}/run.log"));
            log.matches(" were measured").count()
        };
        let (within, beyond) =
            ("both/max_num_batched_tokens_4096", "both/max_num_batched_tokens_131072");
        assert_eq!(said(within), 0, "{timing}");
        assert!(said(beyond) > 0, "{timing}");
        // Each is what it is alone.
        room.must(&format!("s.ron --quiet --out within {}", point("4096")));
        room.must(&format!("s.ron --quiet --out beyond {}", point("131072")));
        for (together, alone) in [(within, "within"), (beyond, "beyond")] {
            let files = |folder: &Path| {
                let all = contents(folder).into_iter();
                // These name the settings.
                let of_settings = ["scenario.ron", "manifest.json"];
                all.filter(|(name, _)| of_settings.iter().all(|file| name.as_os_str() != *file))
                    .collect::<Vec<_>>()
            };
            assert!(files(&room.path(together)) == files(&room.path(alone)), "{timing}: {alone}");
            assert_eq!(said(together), said(alone), "{timing}: {alone}");
        }
    }
}
