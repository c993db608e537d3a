//! Recorded steps of real engines against the composition.
//!
//! The steps are those of `../shared/data/truth`: what vLLM ran in each, and how long it took. A
//! step's contexts are known by sum, shortest and longest.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::LayerwiseSettings;
use crate::hardware::model::find;
use crate::hardware::{Parallelism, find_device};
use crate::recorded::shared;
use crate::timing::{
    BatchShape, Predictor, PrefillPart, SharedTables, StagePosition, TimingContext, TimingSettings,
};

#[derive(Deserialize)]
struct DecodeStep {
    n_decode: u32,
    kv_sum: u64,
    kv_min: u32,
    kv_max: u32,
    measured_ms_per_step: f64,
}

#[derive(Deserialize)]
struct MixedStep {
    n_decode: u32,
    kv_sum: u64,
    kv_min: u32,
    kv_max: u32,
    prefill_new_tokens: String,
    prefill_cached_tokens: String,
    measured_ms: f64,
}

fn rows<T: serde::de::DeserializeOwned>(case: &str, file: &str) -> Option<Vec<T>> {
    let path = shared(&format!("data/truth/{case}/{file}"))?;
    let mut reader = csv::Reader::from_path(path).unwrap();
    Some(reader.deserialize().map(|row| row.unwrap()).collect())
}

/// Decoding requests of which this much is known; the token being fed counts in a batch's contexts.
fn decodes(requests: u32, sum: u64, shortest: u32, longest: u32) -> BatchShape {
    BatchShape {
        tokens: requests,
        decodes: requests,
        decode_context: sum + u64::from(requests),
        decode_context_max: longest + 1,
        decode_context_min: shortest + 1,
        ..BatchShape::default()
    }
}

fn predictor(model: &str, tensor: u32) -> std::sync::Arc<dyn Predictor> {
    let context = TimingContext {
        model: find(model).unwrap(),
        device: find_device("RTX-PRO-6000").unwrap(),
        parallel: Parallelism { tensor, pipeline: 1 },
        block_size: 16,
        network: None,
        step_overhead_ms: 0.0,
        base_dir: Path::new("."),
        tables: &SharedTables::default(),
    };
    LayerwiseSettings::default().build(&context).unwrap()
}

fn milliseconds(predictor: &dyn Predictor, batch: &BatchShape) -> f64 {
    predictor.stage_time(batch, StagePosition { index: 0, count: 1 }).total.as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Median of the absolute errors by class of decoding requests; prints them, and the signed ones.
fn decode_errors(case: &str, predictor: &dyn Predictor) -> Option<BTreeMap<&'static str, f64>> {
    let steps = rows::<DecodeStep>(case, "steps_decode.csv")?;
    let mut errors: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for step in steps {
        let class = match step.n_decode {
            0..38 => "1-37",
            38..=64 => "38-64",
            65..100 => "65-99",
            _ => "100+",
        };
        let batch = decodes(step.n_decode, step.kv_sum, step.kv_min, step.kv_max);
        let error = milliseconds(predictor, &batch) / step.measured_ms_per_step - 1.0;
        errors.entry(class).or_default().push(error);
    }
    Some(errors.into_iter().map(|(class, errors)| (class, report(case, class, errors))).collect())
}

fn report(case: &str, class: &str, errors: Vec<f64>) -> f64 {
    let absolute = median(errors.iter().map(|error| error.abs()).collect());
    let count = errors.len();
    let signed = median(errors);
    println!(
        "{case}: {class:>6} {count:>3} steps, median error {:.2} %, signed {:+.2} %",
        100.0 * absolute,
        100.0 * signed
    );
    absolute
}

fn mixed_error(case: &str, predictor: &dyn Predictor) -> Option<f64> {
    let numbers = |text: &str| -> Vec<u32> {
        text.split_whitespace().map(|number| number.parse().unwrap()).collect()
    };
    let mut errors = Vec::new();
    for step in rows::<MixedStep>(case, "steps_mixed.csv")? {
        let mut batch = decodes(step.n_decode, step.kv_sum, step.kv_min, step.kv_max);
        let parts = numbers(&step.prefill_new_tokens).into_iter();
        for (tokens, context) in parts.zip(numbers(&step.prefill_cached_tokens)) {
            batch.add_prefill(tokens, context);
        }
        errors.push(milliseconds(predictor, &batch) / step.measured_ms - 1.0);
    }
    Some(report(case, "mixed", errors))
}

#[test]
fn steps_of_llama_3_1_8b_on_an_rtx_pro_6000() {
    let case = "rtxpro6000-llama-3.1-8b";
    let predictor = predictor("Llama-3.1-8B", 1);
    let Some(errors) = decode_errors(case, predictor.as_ref()) else { return };
    assert!(errors["100+"] <= 0.03, "{errors:?}");
    assert!(errors["38-64"] <= 0.06, "{errors:?}");
    let mixed = mixed_error(case, predictor.as_ref()).unwrap();
    assert!(mixed <= 0.06, "{mixed}");
    assert_eq!(predictor.warnings(), Vec::<String>::new());
}

#[test]
fn steps_of_qwen3_32b_on_two_rtx_pro_6000() {
    let case = "rtxpro6000-qwen3-32b-tp2";
    let predictor = predictor("Qwen3-32B", 2);
    let Some(errors) = decode_errors(case, predictor.as_ref()) else { return };
    assert!(errors["100+"] <= 0.06, "{errors:?}");
    assert!(errors["38-64"] <= 0.06, "{errors:?}");
    let mixed = mixed_error(case, predictor.as_ref()).unwrap();
    assert!(mixed <= 0.06, "{mixed}");
}

#[test]
fn a_prompt_alone_is_its_layers() {
    // 32 layers, at their measured times at 1024 tokens, without anything decoding.
    let predictor = predictor("Llama-3-8B", 1);
    let prompt = BatchShape::of(&[PrefillPart { tokens: 1024, context: 0 }], &[]);
    let ms = milliseconds(predictor.as_ref(), &prompt);
    // 2 FLOPs per weight at 30 to 80 % of the data sheet's 504 TFLOPS.
    let fastest = find("Llama-3-8B").unwrap().matmul_flops_per_token() * 1024.0 / 503.8e12 * 1e3;
    assert!((fastest / 0.8..fastest / 0.3).contains(&ms), "{ms} ms, at peak {fastest} ms");
    assert!(predictor.warnings()[0].contains("measured with Llama-3.1-8B"));
}
