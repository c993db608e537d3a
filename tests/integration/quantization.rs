//! Quantised models through the real program: what fits, what is refused, what a run says of
//! itself.

use crate::refusals::scenarios;
use crate::room::Room;

fn scenario(quantization: &str, gpus: u32, timing: &str) -> String {
    format!(
        r#"(
    model: "Llama-2-70B",
    device: "A100-SXM-80G",
    cluster: (tensor_parallel: {gpus}),
    engine: (policy: VllmV1()),
    workload: (requests: 4, arrivals: Static, lengths: Fixed(prompt: 128, output: 16)),
    timing: {timing},
    {quantization}
)
"#
    )
}

const INT4: &str = "quantization: (weights: Int4),";

#[test]
fn a_70b_fits_one_gpu_in_4_bits_alone() {
    let room = Room::new();
    room.write("fp16.ron", scenario("", 1, "Roofline()"));
    let refused = room.run("check fp16.ron");
    assert_eq!(refused.code, 3, "{}", refused.err);
    for text in ["Llama-2-70B needs 128.9", "128.48 weights", "A100-SXM-80G has 71.33 GiB"] {
        assert!(refused.err.contains(text), "{text}: {}", refused.err);
    }
    room.write("fp8.ron", scenario("quantization: (weights: Fp8),", 1, "Roofline()"));
    room.write("int4.ron", scenario(INT4, 1, "Roofline()"));
    room.write("two.ron", scenario("", 2, "Roofline()"));
    let text = room.must("check int4.ron").out;
    assert!(text.contains("33.85 GiB per GPU"), "{text}");
    assert!(text.contains("Llama-2-70B (int4 g128 weights) | 1 x A100-SXM-80G"), "{text}");
    let text = room.must("check two.ron").out;
    assert!(text.contains("64.24 GiB per GPU"), "{text}");
    // 64.5 of weights and a token: it fits, the longest sequence just so.
    assert!(room.must("check fp8.ron").out.contains("64.7"), "fp8");
}

#[test]
fn a_run_says_what_was_not_measured() {
    let room = Room::with("s.ron", scenario(INT4, 2, "Measured(composition: Full)"));
    room.must("s.ron --quiet");
    let summary = room.read("results/s/summary.json");
    assert!(summary.contains("int4 g128 weights unpacked at 90 % of the bandwidth"), "{summary}");
    assert!(summary.contains("Llama-2-70B (int4 g128 weights) | 2 x A100-SXM-80G"), "{summary}");
    let log = room.read("results/s/run.log");
    assert!(log.contains("products with int4 g128 weights were not measured"), "{log}");
    // The name in the rows is the model's.
    assert!(room.read("results/s/request_metrics.csv").contains("Llama-2-70B"));

    // What was resolved gives the same again.
    let resolved = room.read("results/s/scenario.ron");
    assert!(resolved.contains("quantization: (weights: Int4)"), "{resolved}");
    room.must("results/s/scenario.ron --quiet --out again");
    let rows = |folder: &str| room.read(&format!("{folder}/request_metrics.csv"));
    assert!(rows("results/s") == rows("again"));
}

#[test]
fn timings_without_it_refuse_it() {
    let vidur = "Measured(composition: Vidur)";
    let rows = [
        (INT4, vidur, "Vidur for a model with quantised weights"),
        ("quantization: (kv_cache: Fp8),", vidur, "Vidur for a quantised KV cache"),
        (INT4, "Layerwise()", "layers of Llama-2-70B (int4 g128 weights) on A100-SXM-80G"),
        ("quantization: (weights: Int5),", "Roofline()", "unknown name `Int5`"),
        ("quantization: (weight: Int4),", "Roofline()", "did you mean `weights`?"),
        ("quantization: (kv_cache: Int4),", "Roofline()", "unknown name `Int4`"),
        (
            "quantization: (group_size: 64),",
            "Roofline()",
            "`quantization.group_size` is 64, expected nothing",
        ),
        (
            INT4,
            "Roofline(efficiencies: (gemm: (compute: 0.8, memory: 0.8, launch_us: 3.0, sharpness: 2.0), \
             prefill: (compute: 0.8, memory: 0.8, launch_us: 3.0, sharpness: 2.0), \
             decode: (compute: 0.8, memory: 0.8, launch_us: 3.0, sharpness: 2.0), \
             experts: (compute: 0.8, memory: 0.8, launch_us: 3.0, sharpness: 2.0), \
             nvlink: (bandwidth: 0.5, launch_us: 5.0), pcie: (bandwidth: 0.5, launch_us: 5.0), \
             weight_only: (memory: 0.0, compute: 0.9)))",
            "`timing.efficiencies.weight_only.memory` is 0, expected above 0",
        ),
    ];
    let row = |(quantization, timing, message): (&str, &str, &str)| {
        (scenario(quantization, 2, timing), format!("2 | s.ron: | {message}"))
    };
    scenarios(rows.map(row), 8);
}

#[test]
fn efficiencies_are_shares() {
    let room = Room::new();
    let all = "gemm: (compute: 0.8, memory: 0.8, launch_us: 3.0, sharpness: 2.0), \
               prefill: (compute: 0.7, memory: 0.8, launch_us: 3.0, sharpness: 2.0), \
               decode: (compute: 0.1, memory: 0.8, launch_us: 4.0, sharpness: 8.0), \
               experts: (compute: 0.6, memory: 0.8, launch_us: 3.0, sharpness: 1.0), \
               nvlink: (bandwidth: 0.5, launch_us: 5.0), pcie: (bandwidth: 0.4, launch_us: 6.0)";
    let text =
        |efficiencies: &str| scenario("", 2, &format!("Roofline(efficiencies: ({efficiencies}))"));
    room.write("s.ron", text(all));
    room.must("check s.ron");
    let rows = [
        ("gemm: (compute: 0.8", "gemm: (compute: 0.0", "gemm.compute` is 0, expected above 0 and"),
        ("prefill: (compute: 0.7", "prefill: (compute: NaN", "prefill.compute` is NaN, expected"),
        (
            "compute: 0.1, memory: 0.8",
            "compute: 0.1, memory: 1.5",
            "decode.memory` is 1.5, expected",
        ),
        ("sharpness: 1.0", "sharpness: 0.0", "experts.sharpness` is 0, expected a number, 1 or"),
        ("launch_us: 4.0", "launch_us: -4.0", "decode.launch_us` is -4, expected microseconds"),
        ("bandwidth: 0.5", "bandwidth: 0.0", "nvlink.bandwidth` is 0, expected above 0"),
        ("launch_us: 6.0", "launch_us: inf", "pcie.launch_us` is inf, expected microseconds"),
    ];
    let row = |(good, bad, message): (&str, &str, &str)| {
        let message = format!("2 | s.ron: | `timing.efficiencies.{message}");
        (text(&all.replacen(good, bad, 1)), message)
    };
    scenarios(rows.map(row), 7);
}

#[test]
fn a_closed_form_takes_the_memory_only() {
    let room = Room::new();
    let blocks = |quantization: &str| {
        room.write("s.ron", scenario(quantization, 2, "Formula(base: 0.01)"));
        let text = room.must("check s.ron").out;
        let at = text.find(" blocks of 16").expect("says how many blocks");
        text[..at].rsplit(' ').next().and_then(|n| n.parse::<f64>().ok()).expect("a number")
    };
    let (half, fp8) = (blocks(""), blocks("quantization: (kv_cache: Fp8),"));
    assert!((fp8 / half - 2.0).abs() < 0.001, "{fp8} {half}");
}
