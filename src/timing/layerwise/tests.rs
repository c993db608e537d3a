use std::path::Path;
use std::sync::Arc;

use super::settings::LinkSettings;
use super::*;
use crate::base::SettingError;
use crate::hardware::model::find;
use crate::hardware::{Parallelism, find_device};
use crate::timing::{
    BatchShape, Predictor, PrefillPart, SharedTables, StagePosition, StageTime, TimingContext,
    TimingSettings,
};

/// Builds a predictor for a model on GPUs of one kind.
fn build(
    (model, device): (&str, &str),
    (tensor, pipeline): (u32, u32),
    settings: &LayerwiseSettings,
) -> Result<Arc<dyn Predictor>, SettingError> {
    let context = TimingContext {
        model: find(model).unwrap(),
        device: find_device(device).unwrap(),
        parallel: Parallelism { tensor, pipeline },
        block_size: 16,
        network: None,
        step_overhead_ms: 0.0,
        base_dir: Path::new("."),
        tables: &SharedTables::default(),
    };
    settings.build(&context)
}

const PRO: (&str, &str) = ("Llama-3.1-8B", "RTX-PRO-6000");
const ALONE: StagePosition = StagePosition { index: 0, count: 1 };

fn time(predictor: &Arc<dyn Predictor>, batch: &BatchShape) -> StageTime {
    predictor.stage_time(batch, ALONE)
}

fn chunk(tokens: u32, context: u32) -> PrefillPart {
    PrefillPart { tokens, context }
}

#[test]
fn every_shipped_model_is_found() {
    let settings = LayerwiseSettings::default();
    for model in ["Llama-3.1-8B", "Qwen3-32B", "Qwen3-30B-A3B"] {
        for tensor in [1, 2] {
            let predictor = build((model, "RTX-PRO-6000"), (tensor, 1), &settings).unwrap();
            let batch = BatchShape::of(&[chunk(512, 100)], &[1000; 32]);
            let time = time(&predictor, &batch);
            assert!(time.total > time.attention_prefill, "{model} TP {tensor}");
            assert_eq!(time.communication.0 > 0, tensor > 1);
            assert!(predictor.note().rests_on.contains("LLMServingSim 2.0"));
        }
    }
    build(("Llama-3.1-8B", "RTX-4090"), (1, 1), &settings).unwrap();
}

#[test]
fn more_work_takes_longer() {
    for place in [PRO, ("Llama-3.1-8B", "RTX-4090")] {
        let predictor = build(place, (1, 1), &LayerwiseSettings::default()).unwrap();
        let of = |prefills: &[PrefillPart], decodes: &[u32]| {
            time(&predictor, &BatchShape::of(prefills, decodes)).total
        };
        for growing in [
            [1, 4, 16, 64, 128, 250].map(|n| of(&[], &vec![1000; n])),
            [100, 1000, 4000, 8000, 16000, 60000].map(|context| of(&[], &[context; 64])),
            [16, 128, 512, 1024, 2048, 8192].map(|tokens| of(&[chunk(tokens, 0)], &[])),
            [0, 512, 2048, 8192, 16000, 60000].map(|context| of(&[chunk(512, context)], &[500; 8])),
            [0, 1, 8, 32, 128, 255].map(|n| of(&[chunk(512, 2000)], &vec![2000; n])),
        ] {
            assert!(growing.is_sorted(), "{place:?}: {growing:?}");
            assert!(growing[0] < growing[5]);
        }
        // Far beyond what was measured the run's log says so, once for each kind.
        assert_eq!(predictor.warnings().len(), 2, "{:?}", predictor.warnings());
    }
}

#[test]
fn batches_are_padded_to_captured_graphs() {
    let eager = LayerwiseSettings { graph_tokens: 0, ..LayerwiseSettings::default() };
    let graphs = build(PRO, (1, 1), &LayerwiseSettings::default()).unwrap();
    let eager = build(PRO, (1, 1), &eager).unwrap();
    let of = |n| BatchShape::of(&[], &vec![500; n]);
    assert!(time(&graphs, &of(33)).total > time(&eager, &of(33)).total);
    assert_eq!(time(&graphs, &of(40)).total.0, time(&graphs, &of(40)).total.0);
    let prompt = BatchShape::of(&[chunk(1001, 0)], &[]);
    assert_eq!(time(&graphs, &prompt), time(&eager, &prompt), "no graph is that large");
}

#[test]
fn a_long_sequence_holds_up_a_batch_that_is_not_split() {
    let off = LayerwiseSettings { straggler: StragglerSetting::Off, ..Default::default() };
    let off = build(PRO, (1, 1), &off).unwrap();
    let on = build(PRO, (1, 1), &LayerwiseSettings::default()).unwrap();
    let with_one_long = |n: usize| {
        let mut contexts = vec![500; n];
        contexts[0] = 8000;
        BatchShape::of(&[], &contexts)
    };
    let attention = |p: &Arc<dyn Predictor>, n| time(p, &with_one_long(n)).attention_decode;
    assert_eq!(attention(&on, 32), attention(&off, 32), "256 heads are split");
    assert!(attention(&on, 33) > attention(&off, 33), "the graph of 40 is not");
    let bound = 32.0 * (15.0 + 0.0616 * 7999.0) * 1e-6;
    assert!((attention(&on, 40).as_secs_f64() - bound).abs() < 1e-8);
}

#[test]
fn stages_and_settings_add_up() {
    let settings = LayerwiseSettings {
        all_reduce: Some(LinkSettings { latency_us: 10.0, gbps: 20.0 }),
        send_recv: Some(LinkSettings { latency_us: 30.0, gbps: 10.0 }),
        overhead_ms: Some(0.5),
        ..LayerwiseSettings::default()
    };
    let batch = BatchShape::of(&[chunk(600, 0)], &[]);
    let whole = build(PRO, (2, 1), &settings).unwrap();
    let one = time(&whole, &batch);
    let bytes = 600.0 * 4096.0 * 2.0;
    let all_reduce = 64.0 * (10.0 + bytes / 20e3);
    assert!((one.communication.as_secs_f64() * 1e6 - all_reduce).abs() < 0.01);

    let staged = build(PRO, (2, 2), &settings).unwrap();
    let stage = |index| staged.stage_time(&batch, StagePosition { index, count: 2 });
    let sum = (stage(0).total.0 + stage(1).total.0) as f64 * 1e-3;
    let send_recv = 30.0 + bytes / 10e3;
    assert!((sum - send_recv - one.total.0 as f64 * 1e-3).abs() < 0.01);

    let free = LayerwiseSettings { overhead_ms: Some(0.0), ..settings };
    let free = time(&build(PRO, (2, 1), &free).unwrap(), &batch);
    assert_eq!(one.total.0 - free.total.0, 500_000);
}

#[test]
fn a_chunk_of_one_token_is_a_decoding_request_to_attention() {
    let predictor = build(PRO, (1, 1), &LayerwiseSettings::default()).unwrap();
    let decoding = BatchShape::of(&[], &[301, 501, 301]);
    let chunks = BatchShape::of(&[chunk(1, 300)], &[501, 301]);
    assert_eq!(time(&predictor, &decoding), time(&predictor, &chunks));
    assert_eq!(time(&predictor, &BatchShape::default()), StageTime::default());
}

#[test]
fn what_does_not_fit_is_refused() {
    let path = |place, parallel, settings: LayerwiseSettings| {
        build(place, parallel, &settings).err().map(|error| error.path)
    };
    let settings = LayerwiseSettings::default;
    assert_eq!(path(PRO, (1, 1), settings()), None);
    assert_eq!(path(("Llama-2-7B", "A100"), (1, 1), settings()).as_deref(), Some("profile"));
    assert_eq!(path(PRO, (4, 1), settings()).as_deref(), Some("profile"), "no such degree");
    assert_eq!(path(PRO, (1, 2), settings()).as_deref(), Some("network"));
    let slow = LinkSettings { latency_us: 1.0, gbps: 0.0 };
    let link = LayerwiseSettings { all_reduce: Some(slow), ..settings() };
    assert_eq!(path(PRO, (2, 1), link).as_deref(), Some("all_reduce.gbps"));
    let negative = LayerwiseSettings { overhead_ms: Some(-1.0), ..settings() };
    assert_eq!(path(PRO, (1, 1), negative).as_deref(), Some("overhead_ms"));
    let other =
        LayerwiseSettings { profile: Some("a100-sxm-80g/llama-2-7b".to_owned()), ..settings() };
    assert_eq!(path(PRO, (1, 1), other).as_deref(), Some("profile"));
}
