//! Techniques that go together in one scenario: what they cost together, and what their parts keep.

use std::path::Path;
use std::sync::Arc;

use vidur_ecs::base::Source;
use vidur_ecs::hardware::model;
use vidur_ecs::metrics::{RunSummary, names};
use vidur_ecs::registry::Registry;
use vidur_ecs::run;
use vidur_ecs::scenario::Scenario;

use crate::refusals::scenarios;
use crate::room::{Room, one_model as text};

fn read(text: &str) -> Result<Scenario, String> {
    let source: Arc<Source> = Source::new("s.ron", text);
    Scenario::from_source(&source, "s".to_owned(), Path::new("."), &[], &Registry::built_in())
        .map_err(|error| error.render(false))
}

fn simulate(text: &str) -> RunSummary {
    let scenario = read(text).unwrap_or_else(|error| panic!("{error}"));
    let again = read(scenario.resolved_text()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.resolved_text(), scenario.resolved_text());
    let mut result = run::results(&scenario, &|_| ()).expect("a run");
    result.variants.swap_remove(0).runs.swap_remove(0)
}

fn of(run: &RunSummary, part: &str, metric: &str) -> f64 {
    let value = if part.is_empty() { run.get(metric) } else { run.get_of(part, metric) };
    value.unwrap_or_else(|| panic!("no {metric} of {part}"))
}

const ONE: &str = "requests: 1, arrivals: Static, lengths: Fixed(prompt: 100, output: 41)";

/// Three models on GPUs of their own; `serve` picks some of them.
fn three(serve: &str) -> String {
    format!(
        r#"(models: (
            first: (
                model: "Llama-2-7B",
                workload: (classes: {{"slow": (share: 1, slo: (e2e_ms: 4000))}}),
            ),
            plain: (model: "Llama-2-7B", slo: (ttft_ms: 40)),
            second: (
                model: "Llama-2-7B",
                engine: (lora: (adapters: 6, max_loras: 2)),
                workload: (classes: {{
                    "chat": (share: 1, priority: -1, slo: (ttft_ms: 60)),
                    "slow": (share: 2, priority: 3),
                }}),
                admission: TokenBudget(classes: {{"slow": (tokens_per_s: 800, burst_tokens: 900)}}),
            ),
        ),
        device: "A100-SXM-80G",
        engine: (policy: VllmV1(scheduling_policy: Priority), max_model_len: 4096),
        workload: (
            requests: 150, arrivals: Poisson(qps: 9.0),
            lengths: Uniform(prompt: (100, 700), output: (20, 80)),
        ),
        timing: Formula(base: 0.005, per_token: 1e-4), {serve})"#
    )
}

/// On GPUs of its own a model, its adapters and its classes fare as they would alone, whichever
/// models stand before it, and whether these have classes or not.
#[test]
fn classes_of_several_models_are_those_of_each_alone() {
    let all = simulate(&three(""));
    let found: Vec<&str> = all.classes.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(found, ["first/slow", "second/chat", "second/slow"]);
    let mut good = 0.0;
    for model in ["first", "plain", "second"] {
        let alone = simulate(&three(&format!("serve: [\"{model}\"]")));
        for metric in names::all() {
            let (with, without) =
                (all.get_of(model, &metric.name), alone.get_of(model, &metric.name));
            assert_eq!(with, without, "{} of {model}", metric.name);
        }
        good += of(&all, model, "goodput") * of(&all, model, "duration");
        let mut arrived = 0.0;
        for (class, metrics) in &alone.classes {
            // Rates divide by the duration of all requests.
            for metric in names::all().filter(|m| !m.name.ends_with("throughput")) {
                let name = metric.name.as_str();
                if !["goodput", "duration"].contains(&name) {
                    assert_eq!(
                        all.get_of_class(class, name),
                        metrics.get(name),
                        "{name} of {class}"
                    );
                }
            }
            arrived += metrics.get("arrived").unwrap();
        }
        if model != "plain" {
            assert_eq!(arrived, 150.0, "{model}");
        }
    }
    let together = of(&all, "", "goodput") * of(&all, "", "duration");
    assert!((together - good).abs() < 1e-6, "{together} {good}");
    assert!(
        of(&all, "second", "slo_attainment") < 1.0 && of(&all, "second", "adapter_loads") > 6.0
    );
    assert!(all.get_of_class("second/slow", "not_admitted").unwrap() > 0.0);
    assert_eq!(all.get_of_class("second/chat", "not_admitted"), Some(0.0));
    assert_eq!(all.get_of_class("first/slow", "not_admitted"), Some(0.0));
}

#[test]
fn rows_of_requests_name_model_and_class() {
    let room = Room::with(
        "s.ron",
        three("expect: [(metric: \"finished\", class: \"second/chat\", at_least: 1)]"),
    );
    let ran = room.run("run --quiet s.ron --out out");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mut rows = csv::Reader::from_path(room.path("out/request_metrics.csv")).unwrap();
    let column = |name: &str, headers: &csv::StringRecord| headers.iter().position(|h| h == name);
    let headers = rows.headers().unwrap().clone();
    let (model, class) = (column("model", &headers).unwrap(), column("class", &headers).unwrap());
    let mut seen = std::collections::BTreeMap::new();
    for row in rows.records().map(Result::unwrap) {
        *seen.entry((row[model].to_owned(), row[class].to_owned())).or_insert(0) += 1;
    }
    let pairs: Vec<String> = seen.keys().map(|(model, class)| format!("{model} {class}")).collect();
    assert_eq!(pairs, ["first first/slow", "plain ", "second second/chat", "second second/slow"]);
    assert_eq!(seen.values().sum::<u32>(), 450);
}

/// On half a GPU the adapters' products take twice as long.
#[test]
fn adapters_have_the_part_of_the_gpu_that_their_model_has() {
    let on = |gpus: &str| {
        let lora = "gpu_memory_utilization: 0.4, lora: (adapters: 1, kernel_us: 0)";
        let models = format!("models: (a: (), b: ()), gpus: {gpus}");
        of(&simulate(&text(lora, ONE, &models)), "a", "adapter_compute_time")
    };
    let whole = on("Own");
    assert_eq!(on("TimeSliced"), whole);
    let half = on(r#"Spatial({"a": (compute: 0.5), "b": (compute: 0.5)})"#);
    // Each of 42 steps is rounded to nanoseconds.
    assert!((half - 2.0 * whole).abs() < 1e-7, "{half} {whole}");
}

/// With one slot VllmV0 serves one adapter after the other, and with two both at once.
#[test]
fn requests_of_other_adapters_wait_under_vllm_v0_too() {
    let workload = "requests: 40, arrivals: Static, lengths: Fixed(prompt: 50, output: 20)";
    let run = |max_loras: u32| {
        let lora = format!("lora: (adapters: 2, max_loras: {max_loras})");
        simulate(&text(&lora, workload, "").replace("VllmV1()", "VllmV0()"))
    };
    let (one, two) = (run(1), run(2));
    assert_eq!((of(&one, "", "finished"), of(&one, "", "adapter_loads")), (40.0, 2.0));
    // 19 steps of decoding after a prefill, for each adapter or for both at once.
    assert_eq!(of(&one, "", "batch_iterations"), 40.0);
    assert!(of(&two, "", "batch_iterations") < 25.0, "{}", of(&two, "", "batch_iterations"));
}

/// The reported speed-up is that against decoding without drafts, with adapters on both sides.
#[test]
fn the_speed_up_counts_adapters_with_and_without_drafts() {
    // 448 kernels of 100 us are nine times as long as the pass.
    let lora = "lora: (adapters: 1, kernel_us: 100, disk_gb_per_s: 1e6, load_gb_per_s: 1e6)";
    let drafts = "speculative: (draft: NGram(), k: 3, acceptance: 1.0)";
    let plain = simulate(&text(lora, ONE, ""));
    let fast = simulate(&text(&format!("{lora}, {drafts}"), ONE, ""));
    let decoding = |run: &RunSummary| of(run, "", "e2e.mean") - of(run, "", "ttft.mean");
    let (measured, reported) =
        (decoding(&plain) / decoding(&fast), of(&fast, "", "speculative_speedup"));
    assert!((measured / reported - 1.0).abs() < 1e-3, "{measured} {reported}");
    assert_eq!(of(&fast, "", "tokens_per_step"), 4.0);
    // Four times the tokens, but hardly longer products: they read the adapter once.
    assert!((3.5..4.0).contains(&reported), "{reported}");
}

/// Swapped requests give their adapter's place to others, and get it again.
#[test]
fn swapped_requests_come_back_with_their_adapters() {
    let workload = "requests: 60, arrivals: Static, lengths: Fixed(prompt: 64, output: 200)";
    let run = |engine: &str| {
        let tight = "num_gpu_blocks: 80, kv_offload: (host_gib: 2, pcie_gb_per_s: 25.0), \
                     preemption_mode: Swap, enable_prefix_caching: false";
        simulate(&text(&format!("{tight}, {engine}"), workload, ""))
    };
    let (plain, with) = (run(""), run("lora: (adapters: 8, max_loras: 2)"));
    for run in [&plain, &with] {
        assert_eq!(of(run, "", "finished"), 60.0);
        assert!(of(run, "", "swap_outs") > 5.0);
        assert_eq!(of(run, "", "swap_outs"), of(run, "", "swap_ins"));
        assert_eq!(of(run, "", "preemptions"), 0.0);
    }
    assert!(of(&with, "", "adapter_loads") >= 8.0);
    // Every admission and every return is counted.
    let hits = of(&with, "", "adapter_hit_rate");
    assert!(hits > 0.0 && hits < 1.0, "{hits}");
}

fn sides(prefill: &str, decode: &str) -> String {
    format!(
        "disaggregated: (prefill: ({prefill}), decode: ({decode}), \
         link: (gb_per_s: 10.0, latency_us: 50.0))"
    )
}

/// One request: each side loads its adapter before the first step that needs it.
#[test]
fn each_side_of_a_disaggregated_cluster_loads_adapters() {
    let lora = "lora: (adapters: 1, rank: 16, target_modules: [Q, V], kernel_us: 0)";
    let plain = simulate(&text("", ONE, &sides("", "")));
    let with = simulate(&text(lora, ONE, &sides("", "")));
    // 16 MiB from disk at 2 GB/s and over PCIe at 25 GB/s.
    let loading = 16_777_216.0 / 2e9 + 16_777_216.0 / 25e9;
    let mut products = 0.0;
    for side in ["prefill", "decode"] {
        let load = of(&with, side, "adapter_load_time");
        assert!((load - loading).abs() < 2e-9, "{side}: {load}");
        assert_eq!(of(&with, side, "adapter_loads"), 1.0);
        products += of(&with, side, "adapter_compute_time");
    }
    let more = |metric: &str| of(&with, "", metric) - of(&plain, "", metric);
    let first = of(&with, "prefill", "adapter_compute_time");
    assert!((more("ttft.mean") - loading - first).abs() < 1e-8);
    assert!((more("e2e.mean") - 2.0 * loading - products).abs() < 1e-7, "{}", more("e2e.mean"));
    assert_eq!(of(&with, "", "kv_transfer.mean"), of(&plain, "", "kv_transfer.mean"));
}

/// A decode side with one slot lets requests of the adapter that runs past the others.
#[test]
fn a_decode_side_passes_over_adapters_that_are_too_many() {
    let workload = "requests: 40, arrivals: Static, lengths: Fixed(prompt: 50, output: 20)";
    let iterations = |slots: u32| {
        let decode = format!("engine: (lora: (max_loras: {slots}))");
        let lora = "lora: (adapters: 2, max_loras: 2, max_cpu_loras: 2)";
        let run = simulate(&text(lora, workload, &sides("", &decode)));
        assert_eq!(of(&run, "", "finished"), 40.0);
        assert_eq!(of(&run, "decode", "adapter_loads"), 2.0);
        of(&run, "decode", "batch_iterations")
    };
    let (one, two) = (iterations(1), iterations(2));
    assert!(one >= 38.0 && two < 30.0, "{one} {two}");
}

/// The decode side makes several tokens a step; the transfer is longer by what the drafter needs.
#[test]
fn the_decode_side_speculates() {
    const BASE: f64 = 0.005;
    let constant = |engine: &str, rest: &str| {
        text(engine, ONE, rest).replace("per_token: 1e-5", "per_token: 0.0")
    };
    let llama = model::find("Llama-2-7B").unwrap();
    let whole = vidur_ecs::hardware::Parallelism { tensor: 1, pipeline: 1 };
    let kv = llama.kv_bytes_per_token(whole) as f64;
    let look_up = "engine: (speculative: (draft: NGram(), k: 3, acceptance: 1.0))";
    let run = simulate(&constant("", &sides("", look_up)));
    // 40 tokens after the first, four a step.
    let transfer = |bytes_per_token: f64| 100.0 * bytes_per_token / 10e9 + 50e-6;
    assert!((of(&run, "", "kv_transfer.mean") - transfer(kv)).abs() < 2e-9);
    let e2e = BASE + transfer(kv) + 10.0 * BASE;
    assert!((of(&run, "", "e2e.mean") - e2e).abs() < 1e-8, "{}", of(&run, "", "e2e.mean"));
    assert_eq!(of(&run, "decode", "tokens_per_step"), 4.0);
    assert_eq!(run.get_of("prefill", "tokens_per_step"), None);

    // A head of two layers of 32, which takes the prompt in where it is processed.
    let heads = "speculative: (draft: Heads(layers: 2), k: 3, acceptance: 1.0)";
    let run = simulate(&constant(heads, &sides("", "")));
    let moved = transfer(kv * 34.0 / 32.0);
    assert!((of(&run, "", "kv_transfer.mean") - moved).abs() < 2e-9);
    let pass = BASE * (1.0 + 2.0 / 32.0);
    assert!((of(&run, "", "ttft.mean") - pass).abs() < 1e-8, "{}", of(&run, "", "ttft.mean"));
    let e2e = pass + moved + 10.0 * (BASE + 3.0 * BASE * 2.0 / 32.0);
    assert!((of(&run, "", "e2e.mean") - e2e).abs() < 1e-7, "{} {e2e}", of(&run, "", "e2e.mean"));
}

/// Evicted prefixes come back on the prefill side; on the decode side requests are swapped and not
/// computed again.
#[test]
fn both_sides_have_host_memory() {
    let workload = "requests: 120, arrivals: Poisson(qps: 20.0), \
                    lengths: Fixed(prompt: 32, output: 400), \
                    prefix: SharedPrefix(groups: 8, tokens: 512)";
    let host = "kv_offload: (host_gib: 64, pcie_gb_per_s: 25.0)";
    let prefill = format!("engine: (num_gpu_blocks: 150, {host})");
    let decode = |engine: &str| format!("engine: (num_gpu_blocks: 250, {engine})");
    let swap = decode(&format!("{host}, preemption_mode: Swap"));
    let without =
        simulate(&text("", workload, &sides("engine: (num_gpu_blocks: 150)", &decode(""))));
    let with = simulate(&text("", workload, &sides(&prefill, &swap)));
    for run in [&without, &with] {
        assert_eq!(of(run, "", "finished"), 120.0);
    }
    assert!(of(&without, "decode", "preemptions") > 10.0);
    assert_eq!(of(&with, "decode", "preemptions"), 0.0);
    let swaps = of(&with, "decode", "swap_outs");
    assert!(swaps > 10.0 && swaps == of(&with, "decode", "swap_ins"), "{swaps}");
    assert_eq!(of(&with, "decode", "reloaded_tokens"), 0.0);
    assert!(of(&with, "prefill", "reloaded_tokens") > 5_000.0);
    assert_eq!(of(&with, "prefill", "swap_outs"), 0.0);
    let computed =
        |run| of(run, "prefill", "batch_tokens_mean") * of(run, "prefill", "batch_iterations");
    assert!(computed(&with) < computed(&without), "{} {}", computed(&with), computed(&without));
}

#[test]
fn sides_that_do_not_go_together_are_refused() {
    let row = |(engine, prefill, decode, want): (&str, &str, &str, &str)| {
        let sides = sides(&format!("engine: ({prefill})"), &format!("engine: ({decode})"));
        (text(engine, ONE, &sides), format!("2 | s.ron: | {want}"))
    };
    let drafts = "speculative: (draft: Heads(), k: 2, acceptance: 0.8)";
    let host = "kv_offload: (host_gib: 8, pcie_gb_per_s: 25.0)";
    let reload = "kv_offload: (host_gib: 8, pcie_gb_per_s: 25.0, reload: Always), \
                  preemption_mode: Swap";
    let rows = [
        ("", "", drafts, "the drafter has a KV cache"),
        ("", drafts, "", "on the decode side too"),
        (drafts, "", "speculative: (k: 3)", "the same as on the prefill side"),
        ("", "lora: (adapters: 4)", "", "adapters on both sides"),
        ("", "", "lora: (adapters: 4)", "adapters on both sides"),
        ("lora: (adapters: 4)", "", "lora: (rank: 8)", "rank: 16"),
        ("", "", host, "preemption_mode: Swap"),
        ("", "", reload, "Never for decode"),
    ];
    scenarios(rows.map(row), 8);
}
