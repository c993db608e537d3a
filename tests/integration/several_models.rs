//! Scenarios with several models, on GPUs of their own and on shared ones.

use std::path::Path;
use std::sync::Arc;

use vidur_ecs::base::diagnostic::DOES_NOT_FIT;
use vidur_ecs::base::{Diagnostic, Source};
use vidur_ecs::metrics::ExperimentResult;
use vidur_ecs::registry::Registry;
use vidur_ecs::run;
use vidur_ecs::scenario::Scenario;

/// Two models with 40 requests each, and what a test adds.
fn text(more: &str) -> String {
    format!(
        r#"(
    models: (
        chat: (model: "Llama-2-7B", engine: (gpu_memory_utilization: 0.4)),
        code: (model: "Llama-2-13B", engine: (gpu_memory_utilization: 0.5)),
    ),
    device: "A100-SXM-80G",
    engine: (policy: VllmV0(max_num_seqs: 32), max_model_len: 2048),
    workload: (
        requests: 40,
        arrivals: Poisson(qps: 3.0),
        lengths: Uniform(prompt: (100, 900), output: (20, 200)),
    ),
    timing: Roofline(),
    {more}
)"#
    )
}

fn load(text: &str, settings: &[&str]) -> Result<Scenario, Box<Diagnostic>> {
    let source: Arc<Source> = Source::new("several.ron", text);
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    let registry = Registry::built_in();
    Scenario::from_source(&source, "several".to_owned(), Path::new("."), &settings, &registry)
}

fn results(text: &str) -> ExperimentResult {
    let scenario = load(text, &[]).unwrap_or_else(|error| panic!("{}", error.render(false)));
    run::results(&scenario, &|_| {}).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str, settings: &[&str]) -> (u8, String) {
    let error = load(text, settings).err().expect("must be refused");
    (error.exit_code, error.render(false))
}

const VARIANTS: &str = r#"
    gpus: Own,
    variants: {
        "own": (),
        "sliced": (gpus: TimeSliced),
        "spatial": (gpus: Spatial({"chat": (compute: 0.5), "code": (compute: 0.5)})),
        "chat": (serve: ["chat"]),
        "code": (serve: ["code"]),
    },"#;

#[test]
fn sharing_slows_down_and_own_gpus_do_not() {
    let result = results(&text(VARIANTS));
    let variant = |name: &str| result.variants.iter().find(|v| v.name == name).unwrap();
    let metrics = |variant_name: &str, model: &str| {
        let runs = &variant(variant_name).runs;
        runs[0].models.iter().find(|(name, _)| name == model).map(|(_, metrics)| metrics.clone())
    };
    for model in ["chat", "code"] {
        let alone = metrics(model, model).unwrap();
        // With GPUs of its own a model has the same requests and the same times as alone.
        assert_eq!(metrics("own", model).unwrap(), alone, "{model}");
        for shared in ["sliced", "spatial"] {
            let metrics = metrics(shared, model).unwrap();
            assert_eq!(metrics.get("input_tokens"), alone.get("input_tokens"));
            assert_eq!(metrics.get("finished"), Some(40.0));
            for metric in ["ttft.mean", "tpot.mean", "e2e.mean"] {
                assert!(metrics.get(metric) > alone.get(metric), "{model}, {shared}: {metric}");
            }
        }
    }
    assert_eq!(metrics("chat", "code"), None, "it is not served");
    // The cluster's figures are of both.
    for name in ["own", "sliced", "spatial"] {
        let run = &variant(name).runs[0];
        assert_eq!(run.get("finished"), Some(80.0));
        let sum = |metric: &str| {
            run.models.iter().map(|(_, metrics)| metrics.get(metric).unwrap()).sum::<f64>()
        };
        assert_eq!(run.get("kv_blocks"), Some(sum("kv_blocks")));
        assert_eq!(run.get("batch_iterations"), Some(sum("batch_iterations")));
    }
    // Two engines that take turns keep one GPU busy at most all the time.
    assert!(variant("sliced").runs[0].get("busy_fraction").unwrap() <= 1.0);
}

#[test]
fn memory_is_split_and_adds_up() {
    let scenario = load(&text("gpus: TimeSliced"), &[]).ok().unwrap();
    let used: f64 = scenario.configurations[0]
        .cluster
        .pools
        .iter()
        .map(|model| {
            let plan = model.memory.as_ref().unwrap();
            let kv = f64::from(plan.num_blocks) * plan.kv_bytes_per_block as f64;
            plan.weight_gib + plan.activation_gib + kv / (1_u64 << 30) as f64
        })
        .sum();
    let device = scenario.configurations[0].cluster.first().device.memory_gib;
    assert!(used <= 0.9 * device && used > 0.89 * device, "{used} of {device} GiB");
    let (code, message) =
        refused(&text("gpus: TimeSliced"), &["models.code.engine.gpu_memory_utilization=0.7"]);
    assert_eq!(code, DOES_NOT_FIT);
    assert!(message.contains("do not fit on A100-SXM-80G together"), "{message}");
    assert!(message.contains("`code` takes 0.7") && message.contains("24.24 weights"), "{message}");
    // Both can be lowered until they fit.
    assert!(message.contains("the sum may be at most 1"), "{message}");
    assert!(!message.contains("tensor_parallel"), "{message}");
    // No shares let these two fit on a single GPU, but on two.
    let large = [
        "models.chat.model=CodeLlama-34B",
        "models.code.model=CodeLlama-34B",
        "models.chat.engine.gpu_memory_utilization=0.95",
        "models.code.engine.gpu_memory_utilization=0.95",
    ];
    let (code, message) = refused(&text("gpus: TimeSliced"), &large);
    assert_eq!(code, DOES_NOT_FIT);
    assert!(message.contains("the smallest tensor_parallel that fits is 2"), "{message}");
    // On GPUs of their own it is no matter.
    assert!(load(&text(""), &["models.code.engine.gpu_memory_utilization=0.7"]).is_ok());
}

#[test]
fn the_resolved_scenario_is_the_same() {
    let scenario = load(&text(VARIANTS), &[]).ok().unwrap();
    let again = load(scenario.resolved_text(), &[])
        .unwrap_or_else(|error| panic!("{}\n{}", error.render(false), scenario.resolved_text()));
    assert_eq!(again.resolved_text(), scenario.resolved_text());
    let results = |scenario| {
        let result = run::results(scenario, &|_| {}).unwrap();
        result.variants.into_iter().map(|variant| variant.runs).collect::<Vec<_>>()
    };
    assert_eq!(results(&again), results(&scenario));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (more, expected) in [
        ("serve: [\"chta\"]", "unknown model `chta`"),
        ("serve: []", "no model is served"),
        ("gpus: Spatial({\"chat\": (compute: 0.5)})", "without a share for `code`"),
        ("gpus: Spatial({\"chat\": (compute: 0.5), \"cide\": (compute: 0.5)})", "`cide`"),
        (
            "gpus: Spatial({\"chat\": (compute: 0.7), \"code\": (compute: 0.7)})",
            "1.4 of the compute in total",
        ),
        (
            "gpus: Spatial({\"chat\": (compute: 0.5), \"code\": (compute: 0.0)})",
            "impossible share for `code`",
        ),
        ("expect: [(metric: \"ttft.mean\", model: \"cide\", at_most: 1)]", "`cide`"),
    ] {
        let (code, message) = refused(&text(more), &[]);
        assert!(code == 2 && message.contains(expected), "{more}: {message}");
    }
    let (_, message) = refused(&text("gpus: TimeSliced"), &["models.chat.cluster.replicas=2"]);
    assert!(message.contains("2 replicas at TP 1 x PP 1"), "{message}");
    let (_, message) = refused(&text(""), &["models.chat.seed=2"]);
    assert!(message.contains("a model cannot have its own `seed`"), "{message}");
    let one = text("gpus: TimeSliced").replace("models: (", "nodels: (");
    assert!(refused(&one, &[]).1.contains("`gpus` is given without `models`"));
}
