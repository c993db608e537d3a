use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

use super::*;
use crate::base::SettingError;
use crate::hardware::model::{KvCache, ModelSpec, find};
use crate::hardware::{Parallelism, find_device};
use crate::profile::shipped;
use crate::timing::AnyTiming;

const ALONE: StagePosition = StagePosition { index: 0, count: 1 };

fn context<'a>(model: &'a ModelSpec, tables: &'a SharedTables) -> TimingContext<'a> {
    TimingContext {
        model,
        device: find_device("A100-SXM-80G").unwrap(),
        parallel: Parallelism::default(),
        block_size: 16,
        network: None,
        step_overhead_ms: 1.0,
        base_dir: Path::new("."),
        tables,
    }
}

/// How often `Counted` was built.
static BUILDS: AtomicU32 = AtomicU32::new(0);

/// A timing that can be shared, and counts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Counted {
    ms: f64,
    shared: bool,
}

impl TimingSettings for Counted {
    const NAME: &'static str = "Counted";
    const ABOUT: &'static str = "counts how often it is built";
    fn build(&self, _: &TimingContext) -> Result<Arc<dyn Predictor>, SettingError> {
        BUILDS.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(self.clone()))
    }
}

impl Predictor for Counted {
    fn stage_time(&self, _: &BatchShape, _: StagePosition) -> StageTime {
        StageTime { total: Nanos::from_millis_f64(self.ms), ..StageTime::default() }
    }
    fn note(&self) -> TimingNote {
        TimingNote::default()
    }
    fn afresh(&self) -> Option<Arc<dyn Predictor>> {
        self.shared.then(|| Arc::new(self.clone()) as Arc<dyn Predictor>)
    }
}

#[test]
fn what_is_equal_is_built_once_and_what_differs_in_anything_is_not() {
    let tables = SharedTables::default();
    let model = find("Llama-2-7B").unwrap();
    let here = context(model, &tables);
    let settings = Counted { ms: 1.0, shared: true };
    let builds = |timing: &Counted, context: &TimingContext| {
        let before = BUILDS.load(Ordering::Relaxed);
        let predictor = tables.predictor(timing, context).unwrap();
        let time = predictor.stage_time(&BatchShape::of(&[], &[1]), ALONE).total;
        assert_eq!(time, Nanos::from_millis_f64(timing.ms), "another timing's predictor");
        BUILDS.load(Ordering::Relaxed) - before
    };
    assert_eq!(builds(&settings, &here), 1);
    assert_eq!(builds(&settings, &here), 0);
    let fp8 = ModelSpec { kv_cache: KvCache::Fp8, ..model.clone() };
    let others = [
        TimingContext { model: &fp8, ..here },
        TimingContext { device: find_device("H100-SXM-80G").unwrap(), ..here },
        TimingContext { parallel: Parallelism { tensor: 2, pipeline: 1 }, ..here },
        TimingContext { parallel: Parallelism { tensor: 1, pipeline: 2 }, ..here },
        TimingContext { block_size: 32, ..here },
        TimingContext { network: Some("a100_dgx"), ..here },
        TimingContext { step_overhead_ms: 1.0 + f64::EPSILON, ..here },
        TimingContext { base_dir: Path::new("elsewhere"), ..here },
    ];
    for other in &others {
        assert_eq!(builds(&settings, other), 1, "{other:?}");
        assert_eq!(builds(&settings, other), 0, "{other:?}");
    }
    let slower = Counted { ms: 1.0 + f64::EPSILON, shared: true };
    assert_eq!((builds(&slower, &here), builds(&slower, &here)), (1, 0));
    // What cannot be shared is built for each configuration.
    let own = Counted { ms: 2.0, shared: false };
    assert_eq!((builds(&own, &here), builds(&own, &here)), (1, 1));
}

/// A batch that is beyond every table.
fn huge() -> BatchShape {
    let part = PrefillPart { tokens: 4_000_000, context: 4_000_000 };
    BatchShape::of(&[part], &[8_000_000; 4096])
}

#[test]
fn warnings_of_one_configuration_are_not_those_of_another() {
    let tables = SharedTables::default();
    let llama = find("Llama-2-7B").unwrap();
    let on_a100 = context(llama, &tables);
    let small = find("Llama-3.1-8B").unwrap();
    let device = find_device("RTX-PRO-6000").unwrap();
    let on_pro = TimingContext { device, ..context(small, &tables) };
    let full = MeasuredSettings { composition: Composition::Full, ..MeasuredSettings::default() };
    let timings: [(&dyn AnyTiming, TimingContext); 4] = [
        (&MeasuredSettings::default(), on_a100),
        (&full, on_a100),
        (&LayerwiseSettings::default(), on_pro),
        (&RooflineSettings::default(), on_a100),
    ];
    for (timing, context) in timings {
        let name = timing.to_ron();
        let [first, second] = [(); 2].map(|()| tables.predictor(timing, &context).unwrap());
        assert!(first.afresh().is_some(), "{name} shares its tables");
        let from_the_start = first.warnings();
        let time = first.stage_time(&huge(), ALONE);
        assert_eq!(second.warnings(), from_the_start, "{name}");
        assert_eq!(second.note(), first.note(), "{name}");
        // A roofline has no end.
        if timing.name() != "Roofline" {
            assert!(first.warnings().len() > from_the_start.len(), "{name}");
        }
        let third = tables.predictor(timing, &context).unwrap();
        assert_eq!(third.warnings(), from_the_start, "{name}: of those that were kept");
        let alone = timing.build(&context).unwrap();
        assert_eq!(alone.stage_time(&huge(), ALONE), time, "{name}");
        assert_eq!(third.stage_time(&huge(), ALONE), time, "{name}");
        assert_eq!(alone.warnings(), first.warnings(), "{name}");
    }
}

#[test]
fn a_profile_is_read_once() {
    let tables = SharedTables::default();
    let [first, second] = [(); 2].map(|()| tables.shipped(&shipped()[0]).unwrap());
    assert!(Arc::ptr_eq(&first, &second));
    let other = tables.shipped(&shipped()[2]).unwrap();
    assert_ne!(first.about(), other.about());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.ron");
    std::fs::write(&path, shipped()[2].text()).unwrap();
    let [first, second] = [(); 2].map(|()| tables.file(&path).unwrap());
    assert!(Arc::ptr_eq(&first, &second));
    assert!(tables.file(&folder.path().join("q.ron")).is_err());
}
