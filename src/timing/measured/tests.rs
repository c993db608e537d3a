//! The composition by hand, and what the settings refuse.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::MeasuredSettings;
use crate::base::{Nanos, SettingError};
use crate::hardware::model::{ModelSpec, find};
use crate::hardware::{Parallelism, find_device};
use crate::timing::{
    BatchShape, Predictor, PrefillPart, SharedTables, StagePosition, TimingContext, TimingSettings,
};

/// A profile small enough to compute with. The operators of a block take 52.5 us for 8 tokens and
/// 105 us for 16; a token is 16 bytes.
const SMALL: &str = r#"(
    format: 1, device: "A100-SXM-80G", tool: "by hand", provenance: [
        (covers: "GEMM", device: "A100", source: "nobody", files: [], licence: "none"),
        (covers: "network", device: "A100", source: "nobody else", files: [], licence: "none"),
    ],
    model: (
        name: "small",
        shape: (hidden: 8, q_heads: 8, kv_heads: 2, intermediate: 16, gated_mlp: true),
        ranks: [(
            tensor_parallel: 2,
            per_tokens: (tokens: [8, 16], us: {
                emb: [1000, 1000], input_layernorm: [1, 2], attn_pre_proj: [10, 20],
                attn_rope: [2, 4], attn_post_proj: [5, 10], post_attention_layernorm: [1, 2],
                mlp_up_proj: [20, 40], mlp_act: [3, 6], mlp_down_proj: [10, 20], add: [0.5, 1],
            }),
            attention: (
                block_size: 16, kernel: "none",
                decode: (x: [64, 128], rows: [
                    (at: 1, us: [4, 6]), (at: 2, us: [8, 12]), (at: 4, us: [16, 24]),
                ]),
                prefill: (x: [0, 64], rows: [(at: 8, us: [50, 60]), (at: 16, us: [100, 130])]),
                kv_cache_save: (x: [1, 16], us: [1, 16]),
            ),
        )],
    ),
    network: (
        name: "wire", gpus_per_node: 4,
        all_reduce: [(workers: 2, bytes: (x: [128, 256], us: [7, 9]))],
        send_recv: [(within_node: true, bytes: (x: [128, 256], us: [30, 40]))],
    ),
)"#;

fn small_model() -> ModelSpec {
    ModelSpec {
        name: "small".into(),
        layers: 8,
        hidden: 8,
        q_heads: 8,
        kv_heads: 2,
        head_dim: 1,
        intermediate: 16,
        ..find("Llama-2-7B").unwrap().clone()
    }
}

/// Builds a predictor from the profile `text` for `model`, on TP 2 and PP 2.
fn build(
    text: &str,
    model: &ModelSpec,
    settings: MeasuredSettings,
) -> Result<Arc<dyn Predictor>, SettingError> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.ron"), text).unwrap();
    let context = TimingContext {
        model,
        device: find_device("a100").unwrap(),
        parallel: Parallelism { tensor: 2, pipeline: 2 },
        block_size: 16,
        network: None,
        step_overhead_ms: 0.0,
        base_dir: folder.path(),
        tables: &SharedTables::default(),
    };
    MeasuredSettings { profile: Some("small.ron".to_owned()), ..settings }.build(&context)
}

const FIRST: StagePosition = StagePosition { index: 0, count: 2 };
const LAST: StagePosition = StagePosition { index: 1, count: 2 };

fn mixed_batch() -> BatchShape {
    let part = |tokens, context| PrefillPart { tokens, context };
    // Contexts of 65 on average, looked up at 128.
    BatchShape::of(&[part(6, 10), part(8, 0)], &[61, 70])
}

#[test]
fn a_mixed_batch_is_composed_as_vidur_does() {
    let model = small_model();
    let predictor = build(SMALL, &model, MeasuredSettings::default()).unwrap();
    let time = predictor.stage_time(&mixed_batch(), FIRST);
    // sqrt(6^2 + 8^2) = 10 tokens on 64 + 0 of context, a quarter of the way from 8 to 16.
    let prefill = (60.0 + (130.0 - 60.0) / 4.0) * 1.1;
    let decode = 12.0 * 1.1;
    let all_reduce = 2.0 * (9.0 + 20.0);
    let block = 105.0 + 16.0 + decode + prefill + all_reduce;
    let nanos = |us: f64| Nanos((us * 1e3).round() as u64);
    assert_eq!(time.attention_prefill, nanos(4.0 * prefill));
    assert_eq!(time.attention_decode, nanos(4.0 * decode));
    assert_eq!(time.communication, nanos(4.0 * all_reduce + 40.0));
    assert_eq!(time.total, nanos(4.0 * block + 40.0));
    assert_eq!(time.total, Nanos(1_149_800));

    let last = predictor.stage_time(&mixed_batch(), LAST);
    assert_eq!(last.total, Nanos(1_109_800), "the last stage sends nothing on");
    assert!(predictor.warnings().is_empty());
    assert!(
        predictor.note().rests_on.starts_with("A100 GEMM (nobody) + A100 network (nobody else)")
    );
}

#[test]
fn batching_costs_extra_only_under_gqa_and_only_in_company() {
    let text = SMALL.replace("kv_heads: 2", "kv_heads: 8");
    let model = ModelSpec { kv_heads: 8, ..small_model() };
    let without_gqa = build(&text, &model, MeasuredSettings::default()).unwrap();
    let time = without_gqa.stage_time(&mixed_batch(), LAST);
    assert_eq!(time.attention_decode, Nanos(4 * 12_000));
    assert_eq!(time.attention_prefill, Nanos(4 * 77_500));

    let gqa = build(SMALL, &small_model(), MeasuredSettings::default()).unwrap();
    let alone = BatchShape::of(&[PrefillPart { tokens: 8, context: 0 }], &[64]);
    let time = gqa.stage_time(&alone, LAST);
    assert_eq!(time.attention_decode, Nanos(4 * 4_000));
    assert_eq!(time.attention_prefill, Nanos(4 * 50_000));
    // 9 tokens count as 16 for the operators, but as 9 for the KV cache.
    assert_eq!(time.total, Nanos(4 * (105_000 + 9_000 + 4_000 + 50_000 + 58_000)));
}

#[test]
fn overheads_of_collectives_are_settings() {
    let settings = MeasuredSettings {
        nccl_cpu_launch_overhead_ms: 0.03,
        nccl_cpu_skew_overhead_per_device_ms: 0.001,
        ..MeasuredSettings::default()
    };
    let predictor = build(SMALL, &small_model(), settings).unwrap();
    let all_reduce = 2.0 * (9.0 + 30.0 + 2.0_f64.powf(1.25));
    let time = predictor.stage_time(&mixed_batch(), LAST);
    assert_eq!(time.communication, Nanos((4e3 * all_reduce).round() as u64));
}

#[test]
fn what_was_not_measured_grows_and_is_reported_once() {
    let predictor = build(SMALL, &small_model(), MeasuredSettings::default()).unwrap();
    let batch = |tokens| BatchShape {
        tokens,
        prefills: vec![PrefillPart { tokens, context: 0 }],
        ..BatchShape::default()
    };
    let [inside, beyond, far] =
        [16, 24, 4096].map(|tokens| predictor.stage_time(&batch(tokens), FIRST).total);
    assert!(inside < beyond && Nanos(beyond.0 * 100) < far);
    predictor.stage_time(&batch(4096), FIRST);
    let warnings = predictor.warnings();
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert!(warnings[0].starts_with("GEMMs of more than the 16 tokens"));

    let long = BatchShape { tokens: 1, decodes: 1, decode_context: 1 << 40, ..Default::default() };
    predictor.stage_time(&long, FIRST);
    assert_eq!(predictor.warnings().len(), 5);
    assert_eq!(predictor.stage_time(&BatchShape::default(), FIRST).total, Nanos::ZERO);
}

#[test]
fn a_profile_that_does_not_fit_is_refused() {
    let model = small_model();
    let error = |text: &str, settings| match build(text, &model, settings) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    };
    let settings = MeasuredSettings::default;
    let found = error(&SMALL.replace("hidden: 8", "hidden: 16"), settings());
    assert_eq!(found.path, "profile");
    assert_eq!(found.expected, "a profile of small on A100-SXM-80G");
    let found = error(&SMALL.replace("tensor_parallel: 2", "tensor_parallel: 4"), settings());
    assert_eq!(found.expected, "one measured at tensor_parallel 2");
    let found = error(&SMALL.replace("workers: 2", "workers: 4"), settings());
    assert_eq!(found.path, "network");
    let found = error(&SMALL.replace("us: [4, 6]", "us: [4, -6]"), settings());
    assert!(found.help.unwrap().ends_with("decode.rows (at 1): -6 is no time"));
    let only_empty = SMALL.replace("x: [0, 64]", "x: [0]").replace("[50, 60]", "[50]");
    let found = error(&only_empty.replace("[100, 130]", "[100]"), settings());
    assert!(found.help.unwrap().ends_with("prefill: no point is above 0"));
    let found = error(&SMALL.replace("tool:", "tol:"), settings());
    assert!(found.help.unwrap().contains("small.ron:2:"));
    let found = error(SMALL, MeasuredSettings { kv_granularity: 0, ..settings() });
    assert_eq!(found.path, "kv_granularity");
    let found = error(SMALL, MeasuredSettings { skip_cpu_overhead_modeling: false, ..settings() });
    assert_eq!(found.path, "skip_cpu_overhead_modeling");
    let found = error(SMALL, MeasuredSettings { network: Some("cable".to_owned()), ..settings() });
    assert!(found.to_string().starts_with("`network` is `cable`, expected the name of a shipped"));
}

fn shipped(
    model: &str,
    device: &str,
    parallel: Parallelism,
) -> Result<Arc<dyn Predictor>, SettingError> {
    MeasuredSettings::default().build(&TimingContext {
        model: find(model).unwrap(),
        device: find_device(device).unwrap(),
        parallel,
        block_size: 16,
        network: None,
        step_overhead_ms: 0.0,
        base_dir: Path::new("."),
        tables: &SharedTables::default(),
    })
}

#[test]
fn shipped_profiles_are_found_by_device_and_shape() {
    let two_by_two = Parallelism { tensor: 2, pipeline: 2 };
    assert!(shipped("Llama-2-7B", "A100-SXM-80G", Parallelism::default()).is_ok());
    let large = shipped("Llama-2-70B", "A100-SXM-80G", two_by_two).unwrap();
    assert_eq!(
        large.note().rests_on,
        "A100 GEMM (Vidur) + A100 attention (Vidur) + A100 network (Vidur), composition Vidur"
    );
    let same_shape = shipped("Llama-3-70B", "A100-SXM-80G", two_by_two).unwrap();
    assert_eq!(
        same_shape.warnings(),
        ["operators were measured with Llama-2-70B, whose blocks have the shape of Llama-3-70B's"]
    );
    let mut staged = Parallelism { tensor: 1, pipeline: 2 };
    assert!(shipped("Llama-2-7B", "A100-SXM-80G", staged).is_ok());
    staged.tensor = 4;
    let error = shipped("Llama-2-7B", "A100-SXM-80G", staged).err().unwrap();
    assert_eq!(error.found, "one measured at tensor_parallel 1");
    let error = shipped("Llama-2-13B", "A100-SXM-80G", Parallelism::default()).err().unwrap();
    assert_eq!((error.path.as_str(), error.found.as_str()), ("profile", "missing"));
    let error = shipped("Llama-2-7B", "H200-SXM-141G", Parallelism::default()).err().unwrap();
    assert_eq!(error.expected, "one of Llama-2-7B on H200-SXM-141G");
}

/// Nobody measured attention on an H100 in Vidur's format: it is the device's tables', and says so.
#[test]
fn h100_attention_comes_from_the_devices_tables() {
    for tensor in [1, 2, 4, 8] {
        let parallel = Parallelism { tensor, pipeline: 1 };
        let predictor = shipped("Llama-2-7B", "H100-SXM-80G", parallel).unwrap();
        let note = predictor.note();
        assert!(
            note.rests_on.starts_with("H100 GEMM (Vidur) + H100-SXM-80G decode attention (AIS")
        );
        assert_eq!(note.rests_on.contains("H100 network (Vidur)"), tensor > 1, "{note:?}");
        let stage = StagePosition { index: 0, count: 1 };
        let decode = predictor.stage_time(&BatchShape::of(&[], &[1000; 8]), stage);
        // The tables have up to 8 heads a GPU; more are taken from there.
        let transferred = if 32 / tensor > 8 { decode.attention_decode } else { Nanos::ZERO };
        assert_eq!(decode.transferred, transferred, "TP {tensor}");
        let part = |context| BatchShape::of(&[PrefillPart { tokens: 512, context }], &[]);
        assert_eq!(predictor.stage_time(&part(0), stage).transferred.0, 0);
        let chunk = predictor.stage_time(&part(512), stage);
        assert_eq!(chunk.transferred, chunk.attention_prefill);
        assert_eq!(chunk.extrapolated.0, 0);
    }
}

/// Times from measurements never fall below the device's limits: the weights of all blocks read at
/// 2039 GB/s, or their matrix products at 312 TFLOPS.
#[test]
fn no_batch_beats_the_roofline() {
    let predictor = shipped("Llama-2-7B", "A100-SXM-80G", Parallelism::default()).unwrap();
    let stage = StagePosition { index: 0, count: 1 };
    let model = find("Llama-2-7B").unwrap();
    for tokens in [1, 64, 512, 2048, 4096, 16384] {
        let prompt = BatchShape {
            tokens,
            prefills: vec![PrefillPart { tokens, context: 0 }],
            ..BatchShape::default()
        };
        let seconds = predictor.stage_time(&prompt, stage).total.as_secs_f64();
        let flops = model.matmul_flops_per_token() * f64::from(tokens);
        assert!(seconds > flops / 312e12, "{tokens} tokens take {seconds} s");
        assert!(seconds > model.matmul_flops_per_token() / 2039e9, "{tokens}: {seconds} s");
    }
}
