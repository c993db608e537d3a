//! Results made by hand, for the tests of the writers.

use crate::metrics::expect::{Expectation, evaluate_all};
use crate::metrics::{Capacity, ExperimentResult, Load, Metrics, RunSummary, VariantResult};
use crate::timing::TimingNote;
use crate::workload::Slo;

/// Seconds of each family's mean, std, p50, p90, p95, p99 and max, and other metrics, about those
/// of I2.1.
const RUN: &[(&str, f64)] = &[
    ("ttft.mean", 0.251),
    ("ttft.std", 0.4),
    ("ttft.p50", 0.135),
    ("ttft.p90", 0.383),
    ("ttft.p95", 0.9),
    ("ttft.p99", 2.520),
    ("ttft.max", 3.9),
    ("tpot.mean", 0.0423),
    ("tpot.std", 0.009),
    ("tpot.p50", 0.043),
    ("tpot.p90", 0.0541),
    ("tpot.p95", 0.057),
    ("tpot.p99", 0.0598),
    ("tpot.max", 0.07),
    ("itl.mean", 0.0421),
    ("itl.std", 0.05),
    ("itl.p50", 0.033),
    ("itl.p90", 0.044),
    ("itl.p95", 0.12),
    ("itl.p99", 0.274),
    ("itl.max", 1.153),
    ("e2e.mean", 20.2),
    ("e2e.std", 14.0),
    ("e2e.p50", 17.3),
    ("e2e.p90", 35.9),
    ("e2e.p95", 44.0),
    ("e2e.p99", 63.6),
    ("e2e.max", 90.0),
    ("queue.mean", 0.137),
    ("queue.std", 0.3),
    ("queue.p50", 0.021),
    ("queue.p90", 0.2),
    ("queue.p95", 0.5),
    ("queue.p99", 2.1),
    ("queue.max", 3.2),
    ("ntpot.mean", 0.043),
    ("duration", 497.0),
    ("arrived", 1000.0),
    ("finished", 1000.0),
    ("rejected", 0.0),
    ("unfinished", 0.0),
    ("counted", 1000.0),
    ("offered_rate", 2.1),
    ("input_tokens", 1_500_000.0),
    ("output_tokens", 475_000.0),
    ("prompt_tokens_mean", 1500.0),
    ("output_tokens_mean", 475.0),
    ("request_throughput", 2.01),
    ("output_throughput", 956.0),
    ("total_token_throughput", 3974.0),
    ("goodput", 1.53),
    ("slo_attainment", 0.76),
    ("slo_attainment_ttft", 0.95),
    ("slo_attainment_tpot", 0.78),
    ("kv_blocks", 7424.0),
    ("kv_allocated_mean", 0.61),
    ("kv_allocated_peak", 1.0),
    ("kv_used_over_allocated", 0.996),
    ("running_mean", 40.0),
    ("running_peak", 67.0),
    ("waiting_mean", 0.27),
    ("waiting_peak", 14.0),
    ("preemptions", 2.0),
    ("preemptions_per_1000", 2.0),
    ("preemptions_max", 1.0),
    ("mfu", 0.21),
    ("busy_fraction", 0.985),
    ("busy_attention_prefill", 0.03),
    ("busy_attention_decode", 0.52),
    ("busy_communication", 0.0),
    ("busy_other", 0.45),
    ("busy_with_prefill", 0.22),
    ("batch_iterations", 12_520.0),
    ("batch_size_mean", 38.0),
    ("batch_tokens_mean", 157.0),
];

/// That run with some values replaced.
pub fn run(seed: u64, changes: &[(&str, f64)]) -> RunSummary {
    let mut metrics = Metrics::default();
    for (name, value) in RUN.iter().chain(changes) {
        metrics.set(name, *value);
        assert_eq!(metrics.unknown(), None);
    }
    RunSummary { seed, metrics, ..RunSummary::default() }
}

fn variant(name: &str, policy: &str, runs: Vec<RunSummary>) -> VariantResult {
    VariantResult {
        name: name.to_owned(),
        what: format!("Llama-2-7B | 1 x A100-SXM-80G | {policy}"),
        gpus: 1,
        runs,
        load: Load::Open { offered: 2.1 },
        capacity: Capacity::About(2.22),
        slo: None,
        kv_blocks: 7424,
        block_size: 16,
        models: Vec::new(),
        classes: Vec::new(),
        timing: TimingNote {
            rests_on: "A100 GEMM (Vidur) + A800 attention (Frontier), composition Vidur".to_owned(),
            not_modelled: "LM head, sampling, CPU launch, HTTP".to_owned(),
            checked_against: "Vidur (mean E2E 1 %); real A100 engine: none".to_owned(),
            physical: true,
            estimate: false,
        },
    }
}

fn experiment(name: &str, variants: Vec<VariantResult>, expect: &[&str]) -> ExperimentResult {
    let expectations: Vec<Expectation> =
        expect.iter().map(|text| crate::base::ron_options().from_str(text).unwrap()).collect();
    let outcomes = evaluate_all(&expectations, &variants);
    ExperimentResult {
        name: name.to_owned(),
        title: None,
        variants,
        misfits: vec![],
        exact_steps: false,
        outcomes,
    }
}

fn slo() -> Option<Slo> {
    Some(Slo { ttft_ms: Some(1000.0), tpot_ms: Some(50.0), attain: 0.99, ..Slo::default() })
}

/// One configuration, one seed, with objectives and an expectation that is met.
pub fn one_run() -> ExperimentResult {
    let variant = VariantResult { slo: slo(), ..variant("", "VllmV0", vec![run(42, &[])]) };
    experiment("i2_1", vec![variant], &[r#"(metric: "ttft.mean", between_ms: (150, 300))"#])
}

/// A variant over ten seeds; one expectation is not met.
pub fn many_seeds() -> ExperimentResult {
    let runs = (0..10)
        .map(|i| {
            let shift = (f64::from(i) - 4.5) / 4.5;
            run(
                42 + i as u64,
                &[
                    ("ttft.mean", 0.251 + 0.12 * shift),
                    ("ttft.p99", 2.52 + 2.0 * shift),
                    ("e2e.mean", 20.2 + 1.5 * shift),
                    ("slo_attainment", 0.76 + 0.1 * shift),
                    ("output_throughput", 956.0 + 20.0 * shift),
                    ("preemptions_per_1000", f64::from(i % 3)),
                    ("preemptions", f64::from(i % 3)),
                    ("batch_iterations", 12_520.0 + f64::from(i)),
                ],
            )
        })
        .collect();
    let variant = VariantResult { slo: slo(), ..variant("", "VllmV0", runs) };
    experiment(
        "i2_1",
        vec![variant],
        &[
            r#"(metric: "ttft.mean", between_ms: (150, 300))"#,
            r#"(metric: "preemptions", at_most: 1, over: EverySeed, source: "scenarios.md")"#,
        ],
    )
}

/// Four variants that arrive all at once.
pub fn variants() -> ExperimentResult {
    let rows: [(&str, &str, f64, f64, f64); 4] = [
        ("paged", "VllmV0", 0.996, 51.0, 66.0),
        ("oracle", "Orca", 0.74, 39.0, 48.0),
        ("pow2", "Orca", 0.65, 34.0, 40.0),
        ("max", "Orca", 0.52, 28.0, 29.0),
    ];
    let variants = rows
        .iter()
        .map(|&(name, policy, used, running, peak)| {
            let changes = [
                ("kv_used_over_allocated", used),
                ("running_mean", running),
                ("running_peak", peak),
                ("arrived", 256.0),
                ("finished", 256.0),
            ];
            let one = variant(name, policy, vec![run(42, &changes)]);
            VariantResult { load: Load::AllAtOnce, capacity: Capacity::NotAsked, ..one }
        })
        .collect();
    experiment(
        "i3_1",
        variants,
        &[
            r#"(metric: "kv_used_over_allocated", variant: "paged", at_least: 0.96)"#,
            r#"(metric: "kv_used_over_allocated", order: ["max", "pow2", "oracle", "paged"])"#,
            r#"(metric: "running_peak", variant: "max", equals: 29, source: "memory plan")"#,
        ],
    )
}

/// Twice as many requests as the engine can take, stopped by a time limit.
pub fn overload() -> ExperimentResult {
    let changes = [
        ("ttft.mean", 61.4),
        ("ttft.p50", 60.2),
        ("ttft.p90", 110.0),
        ("ttft.p99", 122.0),
        ("finished", 871.0),
        ("rejected", 4.0),
        ("unfinished", 125.0),
        ("counted", 871.0),
        ("waiting_mean", 410.0),
        ("waiting_peak", 12_345.0),
        ("preemptions", 0.0),
        ("preemptions_per_1000", 0.0),
    ];
    let one = variant("", "VllmV0", vec![run(42, &changes)]);
    experiment("stress", vec![VariantResult { load: Load::Open { offered: 4.0 }, ..one }], &[])
}

/// A single request.
pub fn single() -> ExperimentResult {
    let changes = [
        ("arrived", 1.0),
        ("finished", 1.0),
        ("counted", 1.0),
        ("ttft.mean", 0.0186),
        ("tpot.mean", 0.009_91),
        ("itl.max", 0.0102),
        ("e2e.mean", 1.278),
        ("prompt_tokens_mean", 128.0),
        ("output_tokens_mean", 128.0),
        ("output_throughput", 100.2),
        ("kv_allocated_peak", 0.0022),
        ("preemptions", 0.0),
        ("preemptions_per_1000", 0.0),
        ("running_peak", 1.0),
        ("batch_iterations", 128.0),
        ("busy_fraction", 1.0),
    ];
    let one = variant("", "VllmV0", vec![run(42, &changes)]);
    experiment(
        "i1_1",
        vec![VariantResult { load: Load::AllAtOnce, capacity: Capacity::NotAsked, ..one }],
        &[r#"(metric: "ttft.mean", at_most_ms: 15, source: "a wish")"#],
    )
}
