//! What quantisation does to the time of a pass.

use super::basis::TimeBasis;
use super::measured::MeasuredOperators;
use super::pass::Pass;
use super::roofline::RooflineOperators;
use super::{Efficiencies, OperatorSource};
use crate::hardware::model::{Groups, KvCache, ModelSpec, Weights, find};
use crate::hardware::{Parallelism, device_names, find_device};
use crate::profile::{Profile, shipped_operators};
use crate::timing::{BatchShape, PrefillPart, StagePosition};

const WHOLE: StagePosition = StagePosition { index: 0, count: 1 };
const INT4: Weights = Weights::Int4(Groups { size: Some(128), zero_points: false });

/// How a model's pass on a device is made.
type Build<'a> = Box<dyn Fn(&ModelSpec) -> Pass + 'a>;

fn operators(device: &str) -> Profile {
    shipped_operators(find_device(device).unwrap().name).unwrap().load().unwrap()
}

fn served(model: &str, weights: Weights, kv_cache: KvCache) -> ModelSpec {
    ModelSpec { weights, kv_cache, ..find(model).unwrap().clone() }
}

fn pass(source: &mut dyn OperatorSource, model: &ModelSpec, tensor: u32) -> Pass {
    Pass::new(source, model, Parallelism { tensor, pipeline: 1 }).unwrap()
}

fn roofline(device: &str, model: &ModelSpec, tensor: u32) -> Pass {
    let device = find_device(device).unwrap();
    pass(&mut RooflineOperators::new(device, Efficiencies::CALIBRATED), model, tensor)
}

fn measured(profile: &Profile, model: &ModelSpec, tensor: u32) -> Pass {
    pass(&mut MeasuredOperators::new(profile.operators.as_ref().unwrap(), None), model, tensor)
}

fn us(pass: &Pass, batch: &BatchShape) -> f64 {
    pass.time(batch, WHOLE, 0.0).all.total()
}

fn decodes(requests: usize) -> BatchShape {
    BatchShape::of(&[], &vec![512; requests])
}

fn prompt(tokens: u32) -> BatchShape {
    BatchShape::of(&[PrefillPart { tokens, context: 0 }], &[])
}

/// Llama-2-70B on two A100: weights of 4 bits and an 8th of scale are 3.88 times smaller. A decode
/// step of one request gains most of that, one of many less, a prompt nothing.
#[test]
fn four_bits_speed_up_small_batches() {
    let [half, int4] =
        [Weights::Half, INT4].map(|weights| served("Llama-2-70B", weights, KvCache::Fp16));
    let bytes = Weights::Half.bytes() / INT4.bytes();
    let profile = operators("A100-SXM-80G");
    for (name, half, int4) in [
        ("Full", measured(&profile, &half, 2), measured(&profile, &int4, 2)),
        ("Roofline", roofline("A100", &half, 2), roofline("A100", &int4, 2)),
    ] {
        let speed_up = |batch: &BatchShape| us(&half, batch) / us(&int4, batch);
        let mut last = bytes;
        for requests in [1, 16, 32, 64, 128, 256] {
            let found = speed_up(&decodes(requests));
            println!("{name}: {requests} decodes {found:.2} times as fast");
            assert!(found < last, "{name}: {found} at {requests}, {last} before");
            last = found;
        }
        assert!((2.5..3.9).contains(&speed_up(&decodes(1))), "{name}");
        let found = speed_up(&prompt(4096));
        println!("{name}: a prompt of 4096 tokens {found:.2} times as fast");
        assert!((0.88..1.0).contains(&found), "{name}: {found}");
    }
}

/// Where there are products of 8-bit floats they are measured; an A100 only reads fewer bytes.
#[test]
fn fp8_takes_the_kernels_that_a_device_has() {
    let [half, fp8] =
        [Weights::Half, Weights::Fp8].map(|weights| served("Llama-3.1-8B", weights, KvCache::Fp16));
    let speed_up = |device: &str, batch: &BatchShape| {
        let profile = operators(device);
        us(&measured(&profile, &half, 1), batch) / us(&measured(&profile, &fp8, 1), batch)
    };
    assert!(speed_up("H100", &prompt(8192)) > 1.3, "{}", speed_up("H100", &prompt(8192)));
    assert!(speed_up("A100", &prompt(8192)) < 1.0, "{}", speed_up("A100", &prompt(8192)));
    for device in ["H100", "A100"] {
        let found = speed_up(device, &decodes(1));
        assert!((1.3..2.0).contains(&found), "{device}: {found}");
    }
    let basis = |device: &str| {
        let profile = operators(device);
        let mut source = MeasuredOperators::new(profile.operators.as_ref().unwrap(), None);
        source.gemm(Weights::Fp8, 4096, 4096).unwrap()(16.0).basis
    };
    assert_eq!([basis("H100"), basis("A100")], [TimeBasis::Measured, TimeBasis::Transferred]);
}

/// Where tables have an fp8 cache they are used; elsewhere, and for int8, attention goes by bytes.
#[test]
fn a_cache_of_8_bits_halves_long_attention() {
    let batch = BatchShape::of(&[], &[16384; 16]);
    for (device, kv_cache, transferred) in
        [("H100", KvCache::Fp8, false), ("H100", KvCache::Int8, true), ("A100", KvCache::Fp8, true)]
    {
        let profile = operators(device);
        let tables = profile.operators.as_ref().unwrap();
        let decode = |kv_cache| {
            let mut source = MeasuredOperators::new(tables, None);
            let pass = pass(&mut source, &served("Llama-3.1-8B", Weights::Half, kv_cache), 1);
            (pass.time(&batch, WHOLE, 0.0).decode, source.warnings().to_vec())
        };
        let (half, _) = decode(KvCache::Fp16);
        let (quantised, warnings) = decode(kv_cache);
        let ratio = quantised.us / half.us;
        println!("{device} {kv_cache:?}: {ratio:.2} of the time with 16 bits");
        assert!((0.45..0.75).contains(&ratio), "{device} {kv_cache:?}: {ratio}");
        let warned = warnings.iter().any(|warning| warning.contains("KV cache was not measured"));
        assert_eq!(warned, transferred, "{device} {kv_cache:?}: {warnings:?}");
        if transferred {
            assert_eq!(quantised.basis, TimeBasis::Transferred);
        }
    }
}

/// No combination lacks an operator, and what is estimated from fewer bytes never takes longer in
/// small batches.
#[test]
fn every_combination_has_a_time() {
    let int8 = Weights::Int8(Groups { size: None, zero_points: false });
    let awq = Weights::Int4(Groups { size: Some(128), zero_points: true });
    for name in ["Llama-2-7B", "Llama-3.1-70B", "Qwen3-30B-A3B"] {
        for device in device_names() {
            let profile = shipped_operators(device).map(|shipped| shipped.load().unwrap());
            let mut sources: Vec<Build> = vec![Box::new(|model| roofline(device, model, 4))];
            if let Some(profile) = &profile {
                sources.push(Box::new(|model| measured(profile, model, 4)));
            }
            for source in sources {
                let half = us(&source(&served(name, Weights::Half, KvCache::Fp16)), &decodes(1));
                for weights in [Weights::Half, Weights::Fp8, int8, awq, Weights::Mxfp4] {
                    for kv_cache in [KvCache::Fp16, KvCache::Fp8, KvCache::Int8] {
                        let model = served(name, weights, kv_cache);
                        let pass = source(&model);
                        for batch in [decodes(1), decodes(64), prompt(2048)] {
                            let found = us(&pass, &batch);
                            assert!(found.is_finite() && found > 0.0, "{device} {}", model.label());
                        }
                        // Measured products of small fp8 matrices are not faster, nor one row on a
                        // B200.
                        if weights == Weights::Fp8 || kv_cache == KvCache::Fp8 {
                            continue;
                        }
                        let found = us(&pass, &decodes(1));
                        assert!(found <= half, "{device} {}: {found} {half}", model.label());
                    }
                }
            }
        }
    }
}
