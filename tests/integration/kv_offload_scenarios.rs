//! Scenarios with `kv_offload`: what they resolve to, what they refuse, what they report.

use std::path::Path;
use std::sync::Arc;

use vidur_ecs::base::{Diagnostic, Source};
use vidur_ecs::engine::state::kv::Reload;
use vidur_ecs::output::ResultFolder;
use vidur_ecs::registry::Registry;
use vidur_ecs::run;
use vidur_ecs::scenario::Scenario;

const TEXT: &str = r#"(
    model: "Llama-2-7B",
    device: "A100-SXM-80G",
    engine: (
        policy: VllmV1(max_num_seqs: 32),
        max_model_len: 2048,
        num_gpu_blocks: 300,
        preemption_mode: Swap,
        kv_offload: (host_gib: 8.0, pcie_gb_per_s: 25.0, latency_us: 20.0),
    ),
    workload: (
        requests: 120,
        arrivals: Poisson(qps: 6.0),
        lengths: Uniform(prompt: (300, 600), output: (100, 300)),
        prefix: SharedPrefix(tokens: 256, groups: 12),
    ),
    timing: Roofline(),
)"#;

fn load(text: &str, settings: &[&str]) -> Result<Scenario, Box<Diagnostic>> {
    let source: Arc<Source> = Source::new("host.ron", text);
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    let registry = Registry::built_in();
    Scenario::from_source(&source, "host".to_owned(), Path::new("."), &settings, &registry)
}

fn loaded(settings: &[&str]) -> Scenario {
    load(TEXT, settings).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

#[test]
fn the_resolved_scenario_is_the_same_and_the_blocks_follow_from_the_bytes() {
    let scenario = loaded(&[]);
    let memory = scenario.configurations[0].cluster.first().offload.unwrap().memory;
    // 512 KiB per token.
    assert_eq!((memory.bytes_per_block, memory.blocks), (16 * 512 * 1024, 1024));
    let again = load(scenario.resolved_text(), &[])
        .unwrap_or_else(|error| panic!("{}\n{}", error.render(false), scenario.resolved_text()));
    assert_eq!(again.resolved_text(), scenario.resolved_text());
    let results = |scenario| run::results(scenario, &|_| {}).unwrap().variants;
    let (first, second) = (results(&scenario), results(&again));
    assert_eq!(first[0].runs, second[0].runs);
    let mean = |metric: &str| first[0].mean(metric).unwrap();
    assert_eq!(mean("finished"), 120.0);
    assert!(mean("swap_outs") > 10.0 && mean("swap_outs") == mean("swap_ins"));
    assert!(mean("host_hit_rate") > 0.01 && mean("reloaded_tokens") > 256.0);
    assert!(mean("bytes_to_host") > 0.0 && mean("bytes_from_host") > 0.0);
    assert!(mean("host_copy_wait") > 0.0);
    assert!(mean("host_kv_peak") > 0.0 && mean("host_kv_peak") <= 1.0);
}

/// Tensor parallelism: each GPU copies its half over its own link, and bytes count on both.
#[test]
fn every_gpu_copies_its_part() {
    let memory = |settings: &[&str]| {
        loaded(settings).configurations[0].cluster.first().offload.unwrap().memory
    };
    let (one, two) = (memory(&[]), memory(&["cluster.tensor_parallel=2"]));
    assert_eq!((two.bytes_per_block * 2, two.gpus), (one.bytes_per_block, 2));
    assert_eq!(two.blocks, 2 * one.blocks, "host_gib is per GPU");
    let fp8 = memory(&["quantization=(kv_cache: Fp8)"]);
    assert_eq!(fp8.bytes_per_block * 2, one.bytes_per_block);
}

#[test]
fn every_setting_has_an_effect_or_is_refused() {
    let run = |settings: &[&str]| {
        let scenario = loaded(settings);
        run::results(&scenario, &|_| {}).unwrap().variants.remove(0).runs
    };
    let base = run(&[]);
    for setting in [
        "engine.preemption_mode=Recompute",
        "engine.kv_offload.host_gib=0.5",
        "engine.kv_offload.pcie_gb_per_s=5.0",
        "engine.kv_offload.latency_us=5000.0",
        "engine.kv_offload.reload=Never",
    ] {
        assert_ne!(run(&[setting]), base, "{setting}");
    }
    let slow = ["engine.kv_offload.pcie_gb_per_s=0.5", "engine.kv_offload.reload=WhenFaster"];
    assert_ne!(run(&slow), run(&slow[..1]));
}

#[test]
fn what_does_not_go_together_is_refused_where_it_is_written() {
    let only_swap = "engine.enable_prefix_caching=false";
    for (settings, place, says) in [
        (&["engine.policy=Orca()"][..], "--set", "Orca with swapping"),
        (&["engine.policy=VllmV0(vidur_idle: true)"], "--set", "VllmV0 with swapping"),
        (&["engine.policy=SgLang()"], "--set", "SgLang with swapping"),
        (&["cluster.pipeline_parallel=2", "engine.policy=VllmV0()"], "--set", "pipeline_parallel"),
        (&["engine.vidur_lengths=true", only_swap], "--set", "vidur_lengths"),
        (&[only_swap, "engine.kv_offload.reload=Always"], "--set", "as prefix caching is off"),
        (&[only_swap, "engine.preemption_mode=Recompute"], "host.ron:9", "unused"),
        (&["engine.kv_offload.host_gib=0.002"], "--set", "room for a KV block of 8388608 bytes"),
        (&["engine.kv_offload.pcie_gb_per_s=0"], "--set", "GB/s from 0.001"),
        (&["engine.kv_offload.latency_us=-1"], "--set", "microseconds from 0"),
    ] {
        let error = load(TEXT, settings).map(|_| ()).expect_err(says).render(false);
        assert!(error.contains(says), "{settings:?}: {error}");
        assert!(error.contains(place), "{settings:?}: {error}");
    }
    let without =
        TEXT.replace("kv_offload: (host_gib: 8.0, pcie_gb_per_s: 25.0, latency_us: 20.0),", "");
    let error = load(&without, &[]).map(|_| ()).expect_err("nowhere to swap to").render(false);
    assert!(error.contains("host.ron:8") && error.contains("to swap, add kv_offload"), "{error}");
    let sides = "disaggregated=(prefill: (), decode: (), link: (gb_per_s: 50.0))";
    let scenario = load(TEXT, &[sides]).unwrap_or_else(|error| panic!("{}", error.render(false)));
    let decode =
        scenario.configurations[0].cluster.sides().and_then(|(_, decode, _)| decode.offload);
    assert_eq!(decode.map(|offload| offload.memory.reload), Some(Reload::Never));
}

#[test]
fn files_have_the_columns_and_metrics_only_with_host_memory() {
    let write = |settings: &[&str]| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let folder = ResultFolder::create(&dir.path().join("result"), false).expect("a folder");
        run::run(&loaded(settings), &folder, &|_| {}).expect("a run");
        ["request_metrics.csv", "summary.json"].map(|name| {
            let path = folder.path().join(name);
            std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{name}: {e}"))
        })
    };
    let [requests, summary] = write(&[]);
    let header = requests.lines().next().unwrap();
    assert!(header.ends_with(",reject_reason,num_host_cached_tokens,num_swaps"), "{header}");
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let sum = |column: usize| -> u64 {
        let cells = requests.lines().skip(1).filter_map(|row| row.rsplit(',').nth(column));
        cells.map(|cell| cell.parse::<u64>().unwrap()).sum()
    };
    assert_eq!(summary["kv_offload"]["swap_outs"], serde_json::json!(sum(0)));
    assert_eq!(summary["kv_offload"]["reloaded_tokens"].as_u64().map(|n| n >= sum(1)), Some(true));
    assert!(sum(1) > 0);
}
