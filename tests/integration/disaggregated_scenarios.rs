//! Scenarios with `disaggregated`: what they resolve to, what they refuse, what they report.

use std::path::Path;
use std::sync::Arc;

use vidur_ecs::base::{Diagnostic, Source};
use vidur_ecs::registry::Registry;
use vidur_ecs::run;
use vidur_ecs::scenario::Scenario;

use crate::refusals::scenarios;

const TEXT: &str = r#"(
    model: "Llama-2-7B",
    device: "A100-SXM-80G",
    engine: (policy: VllmV1(max_num_seqs: 32), max_model_len: 2048, enable_prefix_caching: false),
    workload: (
        requests: 60,
        arrivals: Poisson(qps: 3.0),
        lengths: Uniform(prompt: (100, 900), output: (2, 200)),
    ),
    timing: Roofline(),
    variants: {
        "co-located": (cluster: (replicas: 3)),
        "split": (disaggregated: (
            prefill: (cluster: (replicas: 2), engine: (policy: VllmV1(async_scheduling: false))),
            decode: (device: "H100-SXM-80G", cluster: (tensor_parallel: 2)),
            link: (gb_per_s: 10.0, latency_us: 20.0),
        )),
    },
)"#;

fn load(text: &str, settings: &[&str]) -> Result<Scenario, Box<Diagnostic>> {
    let source: Arc<Source> = Source::new("sides.ron", text);
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    let registry = Registry::built_in();
    Scenario::from_source(&source, "sides".to_owned(), Path::new("."), &settings, &registry)
}

#[test]
fn each_side_has_its_own_and_the_resolved_scenario_is_the_same() {
    let scenario = load(TEXT, &[]).unwrap_or_else(|error| panic!("{}", error.render(false)));
    let split = &scenario.configurations[1].cluster;
    let (prefill, decode, _) = split.sides().unwrap();
    assert_eq!((prefill.device.name, prefill.replicas), ("A100-SXM-80G", 2));
    assert_eq!((decode.device.name, decode.parallel.tensor), ("H100-SXM-80G", 2));
    assert_eq!(
        split.what(),
        "Llama-2-7B | 2 x A100-SXM-80G + 2 x H100-SXM-80G | disaggregated VllmV1 0.33"
    );
    let again = load(scenario.resolved_text(), &[])
        .unwrap_or_else(|error| panic!("{}\n{}", error.render(false), scenario.resolved_text()));
    assert_eq!(again.resolved_text(), scenario.resolved_text());
    let results = |scenario| run::results(scenario, &|_| {}).unwrap().variants;
    let (first, second) = (results(&scenario), results(&again));
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first.runs, second.runs);
        assert_eq!(first.runs[0].get("finished"), Some(60.0));
    }
    // The same requests, whoever serves them.
    let tokens = |variant: usize| first[variant].runs[0].get("input_tokens");
    assert_eq!(tokens(0), tokens(1));
    let side = |name: &str, metric: &str| {
        let sides = &first[1].runs[0].models;
        sides.iter().find(|(side, _)| side == name).unwrap().1.get(metric)
    };
    assert_eq!(side("prefill", "busy_attention_decode"), Some(0.0));
    assert_eq!(side("decode", "busy_with_prefill"), Some(0.0));
    let sum =
        side("prefill", "batch_iterations").unwrap() + side("decode", "batch_iterations").unwrap();
    assert_eq!(first[1].runs[0].get("batch_iterations"), Some(sum));
}

#[test]
fn what_does_not_go_together_is_refused_in_its_place() {
    let rows = [
        ("link: (gb_per_s: 10.0, latency_us: 20.0),", "", "without a `link`"),
        ("gb_per_s: 10.0", "gb_per_s: 0.0", "`disaggregated.link.gb_per_s` is 0"),
        ("latency_us: 20.0", "latency_us: -1.0", "`disaggregated.link.latency_us` is -1"),
        ("latency_us: 20.0", "latency: 20.0", "latency"),
        ("link: (", "cable: (), link: (", "`disaggregated` has no `cable`"),
        ("decode: (device", "decode: (workload: (), device", "cannot have its own `workload`"),
        (
            "decode: (device: \"H100-SXM-80G\", cluster: (tensor_parallel: 2)),",
            "",
            "without a `decode`",
        ),
        ("decode: (device", "decode: (engine: (policy: Orca()), device", "on the decode side"),
        ("decode: (device", "decode: (engine: (block_size: 32), device", "as on the prefill side"),
        (
            "decode: (device",
            "decode: (engine: (api_overhead_ms: 3.0), device",
            "a request passes the API once",
        ),
        (
            "decode: (device",
            "decode: (engine: (enable_prefix_caching: true), device",
            "`engine.enable_prefix_caching` is true for decode",
        ),
        ("max_model_len: 2048,", "max_model_len: 2048, vidur_lengths: true,", "vidur_lengths"),
        (
            "timing: Roofline(),",
            "timing: Roofline(), models: (a: (), b: ()),",
            "given with several models",
        ),
    ];
    let text = |(from, to, expected): (&str, &str, &str)| {
        assert!(TEXT.contains(from), "{from}");
        (TEXT.replacen(from, to, 1), format!("2 | s.ron: | {expected}"))
    };
    scenarios(rows.map(text), 13);
}
