//! Evidence: against AISimulate's own figures, against 32-head measurements, and of the roofline
//! against measured operators.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::attention::{Attention, Kind};
use super::measured::MeasuredOperators;
use super::pass::Pass;
use super::roofline::RooflineOperators;
use super::speed::{Heads, Speed};
use super::{Efficiencies, calibrate};
use crate::hardware::model::{ModelSpec, Weights, find};
use crate::hardware::{DeviceSpec, Parallelism, device_names, find_device};
use crate::profile::operators::Dtype;
use crate::profile::{Profile, shipped_operators};
use crate::recorded::shared;
use crate::timing::{
    BatchShape, LayerwiseSettings, PrefillPart, SharedTables, StagePosition, TimingContext,
    TimingSettings,
};

const WHOLE: StagePosition = StagePosition { index: 0, count: 1 };

fn operators(device: &str) -> Profile {
    shipped_operators(device).unwrap().load().unwrap()
}

fn tp(tensor: u32) -> Parallelism {
    Parallelism { tensor, pipeline: 1 }
}

fn measured(profile: &Profile, model: &str, tensor: u32) -> Pass {
    let mut source = MeasuredOperators::new(profile.operators.as_ref().unwrap(), None);
    Pass::new(&mut source, find(model).unwrap(), tp(tensor)).unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A row of AISimulate's own times of a pass.
#[derive(Deserialize)]
struct Reference {
    model: String,
    system: String,
    tp: u32,
    phase: String,
    batch: u32,
    tokens_per_req: u32,
    context_len: u32,
    prefix: u32,
    total_ms: f64,
}

impl Reference {
    fn batch(&self) -> BatchShape {
        match self.phase.as_str() {
            "decode" => BatchShape::of(&[], &vec![self.context_len + 1; self.batch as usize]),
            _ => {
                let part = PrefillPart { tokens: self.tokens_per_req, context: self.prefix };
                BatchShape::of(&vec![part; self.batch as usize], &[])
            }
        }
    }
}

/// The composition is AISimulate's where that is sound: within 3 % for prefill and for decode with
/// GQA. Its decode times of 32 heads with as many KV heads are not (see the next test), nor is a
/// prefill of more than 16384 tokens of one request, where the tables end.
#[test]
fn passes_are_aisimulates() {
    let Some(file) = shared("data/aisimulate/fwd_ref.csv") else { return };
    let mut reader = csv::Reader::from_path(file).unwrap();
    let profiles =
        [("a100_sxm", operators("A100-SXM-80G")), ("h100_sxm", operators("H100-SXM-80G"))];
    let mut passes: BTreeMap<(String, String), Pass> = BTreeMap::new();
    let mut errors: BTreeMap<(String, String, String), Vec<f64>> = BTreeMap::new();
    let mut worst = Vec::new();
    for row in reader.deserialize() {
        let row: Reference = row.unwrap();
        if row.phase == "mixed_sdk" {
            continue;
        }
        let name = row.model.split("-tp").next().unwrap();
        let key = (row.system.clone(), row.model.clone());
        let pass = passes.entry(key).or_insert_with(|| {
            let (_, profile) = profiles.iter().find(|(system, _)| *system == row.system).unwrap();
            measured(profile, name, row.tp)
        });
        let batch = row.batch();
        // What AISimulate leaves out is left out here too.
        let us = pass.time(&batch, WHOLE, 0.0).all.total() - pass.sampling_us(&batch);
        let found = us * 1e-3;
        let error = found / row.total_ms - 1.0;
        worst.push((
            error.abs(),
            format!(
                "{} {} {} {}x{} c{}+{}: {found:.3} vs {:.3} ms ({:+.1} %)",
                row.system,
                row.model,
                row.phase,
                row.batch,
                row.tokens_per_req,
                row.context_len,
                row.prefix,
                row.total_ms,
                error * 100.0
            ),
        ));
        errors.entry((row.phase, row.system, row.model)).or_default().push(error);
    }
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, text) in worst.iter().take(60) {
        println!("  {text}");
    }
    let mut bad = Vec::new();
    for ((phase, system, model), errors) in &errors {
        let largest = errors.iter().map(|e| e.abs()).fold(0.0, f64::max);
        let middle = median(errors.iter().map(|e| e.abs()).collect());
        println!(
            "{phase:15} {system} {model:17} {:3} rows: median {:.2} %, largest {:.2} %",
            errors.len(),
            middle * 100.0,
            largest * 100.0
        );
        let mha_beyond_tables = phase == "decode"
            && model.starts_with("llama-2")
            && !model.starts_with("llama-2-70b")
            && !model.ends_with("-tp4");
        if largest > 0.03 && !mha_beyond_tables {
            bad.push(format!("{phase} {system} {model}: {:.1} %", largest * 100.0));
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}

/// One layer's decode attention with 32 heads and as many KV heads on an A100, context 4096, one
/// request: measured 82 us with SGLang and 58 us with TensorRT-LLM; concluded from 8 heads of
/// vLLM's table, which stops there, AISimulate says 372 us. The two measurements are 41 % apart, so
/// that nothing is within 15 % of both: the bound is that of SGLang's, whose kernel is the one like
/// vLLM's, and ours lies beyond neither in the direction of AISimulate's error.
#[test]
fn many_heads_are_measured_not_extrapolated() {
    let profile = operators("A100-SXM-80G");
    let tables = profile.operators.as_ref().unwrap();
    let heads = Heads { q: 32, kv: 32, head_dim: 128, kv_dtype: Dtype::Bf16 };
    let attention =
        Attention::new(Kind::Decode, &tables.decode, heads, Speed::new(&tables.peak)).unwrap();
    let cost = attention.cost(1.0, 4096.0);
    println!("32 heads, context 4096, one request: {:.1} us ({})", cost.us, attention.source);
    assert!((cost.us / 82.0 - 1.0).abs() < 0.15, "{}", cost.us);
    assert_eq!(cost.basis, super::basis::TimeBasis::Transferred);
    // Where the other engine's kernel is slow at many requests, vLLM's own is the measure: 32 heads
    // of 32 requests as 8 heads of 128, 325 us.
    let many = attention.cost(32.0, 1024.0);
    println!("the same, 32 requests of 1024: {:.1} us", many.us);
    assert!((many.us / 325.4 - 1.0).abs() < 0.02, "{}", many.us);
}

/// The roofline of a device, calibrated on all others, against its measured operators.
#[test]
fn the_roofline_is_near_devices_it_has_not_seen() {
    let models = [
        ("Llama-3.1-8B", 1),
        ("Llama-2-13B", 1),
        ("Qwen3-32B", 2),
        ("Llama-3.1-70B", 4),
        ("Mixtral-8x7B", 2),
    ];
    let mut all = Vec::new();
    let tested = ["A100-SXM-80G", "H100-SXM-80G", "B200-SXM-180G", "L40S"];
    for name in tested.into_iter().chain(["H200-SXM-141G", "RTX-PRO-6000"]) {
        let device = find_device(name).unwrap();
        let profile = operators(name);
        let others: Vec<&DeviceSpec> = device_names()
            .into_iter()
            .filter(|other| *other != name)
            .filter_map(find_device)
            .collect();
        let efficiencies = calibrate(&others).unwrap();
        println!("{name}: calibrated without it {efficiencies:?}");
        for (model, tensor) in models {
            let measured = measured(&profile, model, tensor);
            let mut source = RooflineOperators::new(device, efficiencies);
            let estimate = Pass::new(&mut source, find(model).unwrap(), tp(tensor)).unwrap();
            let mut errors = Vec::new();
            for batch in grid() {
                let us = |pass: &Pass| pass.time(&batch, WHOLE, 0.06).all.total();
                errors.push(us(&estimate) / us(&measured) - 1.0);
            }
            let (low, high) =
                errors.iter().fold((f64::MAX, f64::MIN), |(l, h), e| (l.min(*e), h.max(*e)));
            let middle = median(errors.iter().map(|e| e.abs()).collect());
            println!(
                "{name:14} {model:13} TP {tensor}: median error {:4.1} % ({:+.0} .. {:+.0} %)",
                middle * 100.0,
                low * 100.0,
                high * 100.0
            );
            if tested.contains(&name) {
                all.extend(errors);
            }
        }
    }
    let middle = median(all.iter().map(|e| e.abs()).collect());
    println!("{} passes: median error {:.1} %", all.len(), middle * 100.0);
    assert!(middle <= 0.15, "{middle}");
    // What is farthest off is all-reduce over PCIe, which depends on the host: see the docs.
}

/// Prompts, decode batches and mixtures.
fn grid() -> Vec<BatchShape> {
    let mut batches = Vec::new();
    for (requests, tokens) in [(1, 128), (1, 512), (1, 2048), (1, 8192), (4, 512), (4, 2048)] {
        batches.push(BatchShape::of(&vec![PrefillPart { tokens, context: 0 }; requests], &[]));
    }
    for requests in [1, 8, 32, 128] {
        for context in [256, 1024, 4096] {
            batches.push(BatchShape::of(&[], &vec![context; requests]));
        }
    }
    for (tokens, context) in [(512, 0), (512, 1536), (2048, 2048)] {
        batches.push(BatchShape::of(&[PrefillPart { tokens, context }], &[1024; 32]));
    }
    batches
}

/// Operators that were read off the layers of one model, composed for it, against its layers.
#[test]
fn operators_of_the_rtx_4090_are_those_of_its_layers() {
    let profile = operators("RTX-4090");
    let full = measured(&profile, "Llama-3.1-8B", 1);
    let context = TimingContext {
        model: find("Llama-3.1-8B").unwrap(),
        device: find_device("RTX-4090").unwrap(),
        parallel: tp(1),
        block_size: 16,
        network: None,
        step_overhead_ms: 0.0,
        base_dir: std::path::Path::new("."),
        tables: &SharedTables::default(),
    };
    let layers = LayerwiseSettings::default().build(&context).unwrap();
    let mut errors = Vec::new();
    for batch in grid() {
        let time = full.time(&batch, WHOLE, 0.06).all;
        let of_layers = layers.stage_time(&batch, WHOLE).total.as_millis_f64() * 1e3;
        let error = time.total() / of_layers - 1.0;
        println!(
            "{:5} tokens, {:3} prompts, {:3} decodes of {:6.0}: {:8.0} us, layers {of_layers:8.0} \
             us ({:+.1} %), measured {:.0} %, transferred {:.0} %, extrapolated {:.0} %",
            batch.tokens,
            batch.prefills.len(),
            batch.decodes,
            batch.decode_context as f64 / f64::from(batch.decodes.max(1)),
            time.total(),
            error * 100.0,
            time.measured / time.total() * 100.0,
            time.transferred / time.total() * 100.0,
            time.extrapolated / time.total() * 100.0,
        );
        errors.push(error.abs());
    }
    let middle = median(errors);
    println!("Full against Layerwise on the RTX 4090: median error {:.2} %", middle * 100.0);
    assert!(middle < 0.05, "{middle}");
}

/// What nobody measured on the RTX 4090 is an estimate, and says so; all else is at best
/// transferred.
#[test]
fn any_model_runs_on_the_rtx_4090() {
    let profile = operators("RTX-4090");
    let tables = profile.operators.as_ref().unwrap();
    let batch = BatchShape::of(&[PrefillPart { tokens: 512, context: 0 }], &[1000; 8]);
    for (model, tensor, guesses) in [
        ("Llama-2-7B", 1, &[][..]),
        ("Qwen3-32B", 8, &["all-reduce"]),
        ("Mixtral-8x7B", 8, &["experts", "all-reduce"]),
        ("Qwen3-30B-A3B", 1, &["experts"]),
    ] {
        let mut source = MeasuredOperators::new(tables, None);
        let pass = Pass::new(&mut source, find(model).unwrap(), tp(tensor)).unwrap();
        let time = pass.time(&batch, WHOLE, 0.06).all;
        assert!(time.total() > 0.0 && time.transferred > 0.0, "{model}");
        assert_eq!(time.extrapolated > 0.0, !guesses.is_empty(), "{model} {time:?}");
        for guess in guesses {
            let used = format!("{guess} by the data sheet (ESTIMATE)");
            assert!(source.used().contains(&used), "{model}: {:?}", source.used());
            assert!(source.warnings().iter().any(|w| w.starts_with(guess)), "{model}");
        }
    }
    // fp8 products take half as long at most, but not less than launching them.
    let llama = find("Llama-3.1-8B").unwrap();
    let fp8 = ModelSpec { weights: Weights::Fp8, ..llama.clone() };
    let us = |model: &ModelSpec| {
        let mut source = MeasuredOperators::new(tables, None);
        Pass::new(&mut source, model, tp(1)).unwrap().time(&batch, WHOLE, 0.06).all.total()
    };
    let ratio = us(&fp8) / us(llama);
    assert!((0.5..0.8).contains(&ratio), "{ratio}");
}

/// The shipped efficiencies are those that the shipped profiles give.
#[test]
fn shipped_efficiencies_are_calibrated() {
    let all: Vec<&DeviceSpec> = device_names().into_iter().filter_map(find_device).collect();
    let found = calibrate(&all).unwrap();
    println!("{found:#?}");
    let near = |a: f64, b: f64| (a / b - 1.0).abs() < 0.1;
    let shipped = Efficiencies::CALIBRATED;
    for (found, shipped) in [
        (found.gemm, shipped.gemm),
        (found.prefill, shipped.prefill),
        (found.decode, shipped.decode),
        (found.experts, shipped.experts),
    ] {
        assert!(near(found.memory, shipped.memory), "{found:?}");
        assert!(near(found.compute, shipped.compute), "{found:?}");
    }
}
