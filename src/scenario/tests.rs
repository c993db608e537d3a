//! Whole scenarios: what is accepted, what is refused and how, and what is written out again.

use std::path::Path;

use super::Scenario;
use crate::base::{Diagnostic, Source};
use crate::registry::Registry;

const GOOD: &str = r#"(
    title: "A test",
    model: "Llama-2-7B",
    device: "A100-SXM-80G",
    cluster: (replicas: 2, tensor_parallel: 1, router: RoundRobin),
    engine: (
        policy: VllmV0(max_num_seqs: 128, max_num_batched_tokens: 4096),
        max_model_len: 4096,
        gpu_memory_utilization: 0.90,
        block_size: 16,
    ),
    workload: (requests: 100, arrivals: Poisson(qps: 2.0), lengths: Fixed(prompt: 128, output: 16)),
    timing: Formula(base: 0.005, per_token: 2.5e-5),
    seeds: 3,
    slo: (ttft_ms: 1000),
    variants: {
        "paged": (),
        "max": (engine: (policy: Orca(reserve: Max))),
    },
    expect: [
        (metric: "ttft.mean", at_most_ms: 300),
        (metric: "running_peak", order: ["max", "paged"]),
    ],
)
"#;

fn load(text: &str, settings: &[&str]) -> Result<Scenario, Box<Diagnostic>> {
    let settings: Vec<String> = settings.iter().map(|s| (*s).to_owned()).collect();
    let source = Source::new("s.ron", text);
    Scenario::from_source(&source, "s".to_owned(), Path::new("."), &settings, &Registry::built_in())
}

fn loaded(text: &str, settings: &[&str]) -> Scenario {
    load(text, settings).unwrap_or_else(|error| panic!("{error}"))
}

/// `GOOD` with one change.
fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from} is not in the scenario");
    GOOD.replacen(from, to, 1)
}

#[test]
fn variants_are_resolved_one_by_one() {
    let scenario = loaded(GOOD, &[]);
    assert_eq!(scenario.seeds, 42..45);
    let policies: Vec<String> =
        scenario.configurations.iter().map(|c| c.cluster.first().policy.to_ron()).collect();
    assert_eq!(policies[1], "Orca(max_num_seqs: 128, reserve: Max)");
    assert!(policies[0].starts_with("VllmV0(max_num_seqs: 128,"));
    assert_eq!(scenario.configurations[0].cluster.what(), "Llama-2-7B | 2 x A100-SXM-80G | VllmV0");
    assert_eq!(scenario.configurations[0].cluster.first().limits.num_blocks / 256, 29);
    assert_eq!(
        scenario.configurations[1].cluster.first().limits,
        scenario.configurations[0].cluster.first().limits
    );
}

#[test]
fn the_command_line_holds_in_every_variant() {
    let scenario =
        loaded(GOOD, &["engine.policy.max_num_seqs=64", "seed=7", "variants.max.time_limit_s=5"]);
    assert_eq!(scenario.seeds, 7..10);
    for configuration in &scenario.configurations {
        let policy = configuration.cluster.first().policy.to_ron();
        assert!(policy.contains("max_num_seqs: 64"), "{policy}");
    }
    let limits: Vec<Option<f64>> = scenario.configurations.iter().map(|c| c.time_limit_s).collect();
    assert_eq!(limits, [None, Some(5.0)]);
}

#[test]
fn the_resolved_text_is_a_fixed_point() {
    for settings in [
        &[][..],
        &["variants={}", "expect=[]"],
        &["variants.max.slo=(e2e_ms: 3)", "variants.max.cluster.replicas=3"],
    ] {
        let scenario = loaded(GOOD, settings);
        let again = loaded(scenario.resolved_text(), &[]);
        assert_eq!(again.resolved_text(), scenario.resolved_text());
        assert_eq!(again.hash(), scenario.hash());
        assert_eq!(again.seeds, scenario.seeds);
        for (a, b) in again.configurations.iter().zip(&scenario.configurations) {
            let (a, b) = (a.cluster.first(), b.cluster.first());
            assert_eq!(
                (a.limits, &a.workload_spec, &a.slo, a.replicas),
                (b.limits, &b.workload_spec, &b.slo, b.replicas)
            );
        }
    }
    assert_ne!(loaded(GOOD, &[]).hash(), loaded(GOOD, &["seed=43"]).hash());
}

#[test]
fn the_resolved_text_is_readable() {
    insta::assert_snapshot!(loaded(GOOD, &[]).resolved_text(), @r##"
(
    name: "s",
    title: "A test",
    model: "Llama-2-7B",
    device: "A100-SXM-80G",
    cluster: (replicas: 2, tensor_parallel: 1, pipeline_parallel: 1, router: RoundRobin),
    workload: (
        requests: 100,
        arrivals: Poisson(qps: 2.0),
        lengths: Fixed(prompt: 128, output: 16),
    ),
    timing: Formula(base: 0.005, per_token: 2.5e-5, per_context: 0.0),
    slo: (ttft_ms: 1000.0, attain: 0.99),
    seed: 42,
    seeds: 3,
    variants: {
        "paged": (
            engine: (
                policy: VllmV0(
                    max_num_seqs: 128,
                    max_num_batched_tokens: 4096,
                    watermark: 0.01,
                    vidur_spare_block: false,
                    vidur_idle: false,
                ),
                max_model_len: 4096,
                allow_long_max_model_len: false,
                vidur_lengths: false,
                gpu_memory_utilization: 0.9,
                block_size: 16,
                num_gpu_blocks: 7474,
                enable_prefix_caching: false,
                preemption_mode: Recompute,
                api_overhead_ms: 0.0,
            ),
        ),
        "max": (
            engine: (
                policy: Orca(max_num_seqs: 128, reserve: Max),
                max_model_len: 4096,
                allow_long_max_model_len: false,
                vidur_lengths: false,
                gpu_memory_utilization: 0.9,
                block_size: 16,
                num_gpu_blocks: 7474,
                enable_prefix_caching: false,
                preemption_mode: Recompute,
                api_overhead_ms: 0.0,
            ),
        ),
    },
    expect: [
        (metric: "ttft.mean", over: MeanOfSeeds, at_most_ms: 300.0),
        (metric: "running_peak", over: MeanOfSeeds, order: ["max", "paged"]),
    ],
    output: (request_metrics: true, batch_metrics: true),
)
"##);
}

#[test]
fn paths_follow_the_text_and_do_not_change_the_hash() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(
        folder.path().join("t.csv"),
        "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,5,5\n",
    )
    .expect("written");
    let from = "workload: (requests: 100, arrivals: Poisson(qps: 2.0), lengths: Fixed(prompt: 128, output: 16))";
    let text = changed(from, "workload: (trace: (file: \"t.csv\"))");
    let source = Source::new("s.ron", text);
    let registry = Registry::built_in();
    let load =
        |source, dir: &Path| Scenario::from_source(source, "s".to_owned(), dir, &[], &registry);
    let scenario = load(&source, folder.path()).unwrap_or_else(|e| panic!("{e}"));
    let out = folder.path().join("results/s");
    let moved = scenario.resolved_text_in(&out).unwrap_or_else(|e| panic!("{e}"));
    assert!(moved.contains("file: \"../../t.csv\""), "{moved}");
    std::fs::create_dir_all(&out).expect("created");
    let again = load(&Source::new("scenario.ron", moved), &out).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(again.hash(), scenario.hash());
}

#[test]
fn more_blocks_than_a_gpu_holds_are_said() {
    // 0.5 MiB per token: 9,560 blocks of 16 tokens are 74.7 GiB, beside 12.6 GiB of weights.
    for (blocks, said) in [(7474, false), (9560, true), (u32::MAX, true)] {
        let blocks = format!("engine.num_gpu_blocks={blocks}");
        let scenario = loaded(GOOD, &[&blocks, "variants={}", "expect=[]"]);
        let shown: Vec<&str> = scenario.warnings.iter().map(|w| w.title.as_str()).collect();
        assert_eq!(shown.iter().any(|w| w.contains("GiB of one A100-SXM-80G")), said, "{shown:?}");
    }
}

#[test]
fn warnings_come_with_their_place() {
    let text =
        changed("Fixed(prompt: 128, output: 16)", "Uniform(prompt: (100, 5000), output: (1, 10))");
    let scenario = loaded(&text, &["engine.num_gpu_blocks=64", "variants={}", "expect=[]"]);
    let shown: Vec<String> = scenario.warnings.iter().map(|w| w.render(false)).collect();
    insta::assert_snapshot!(shown.join("\n"), @r##"
warning: 64 KV blocks hold 1024 tokens, less than one request of max_model_len 4096
 --> --set:1:23
  |
1 | engine.num_gpu_blocks=64
  |                       ^^ longer requests will be rejected
warning: 23 of 100 requests are longer than max_model_len 4096 (the longest has 4961 tokens)
  --> s.ron:12:69
   |
12 |     workload: (requests: 100, arrivals: Poisson(qps: 2.0), lengths: Uniform(prompt: (100, 5000), output: (1, 10))),
   |                                                                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ these will be rejected
   |
   = help: `max_total` keeps lengths within a limit
"##);
}

/// Exit code, place, the text at the place, message and first help on one line.
fn refusal(text: &str, settings: &[&str]) -> String {
    let Err(error) = load(text, settings) else { return "accepted".to_owned() };
    error.render(true); // must not panic
    let place = error.place.as_ref().map(|place| {
        let (line, column) = place.line_column();
        let under = &place.source.text[place.span.clone()];
        format!(
            "{}:{line}:{column} `{}`",
            place.source.name,
            under.lines().next().unwrap_or_default()
        )
    });
    let help = error.help.first().map_or(String::new(), |help| format!(" | {help}"));
    format!("{} {} {}{help}", error.exit_code, place.unwrap_or_default(), error.title)
}

#[test]
fn every_bad_scenario_is_explained_at_its_place() {
    let replaced = [
        ("model: \"Llama-2-7B\"", "model: \"Lama-2-7B\""),
        ("model: \"Llama-2-7B\"", "model: Llama"),
        ("    model: \"Llama-2-7B\",\n", ""),
        ("model: \"Llama-2-7B\"", "model: \"Llama-2-70B\""),
        ("device: \"A100-SXM-80G\"", "device: \"A100-SMX-80G\""),
        ("device:", "devise:"),
        ("replicas: 2", "replicas: 0"),
        ("replicas: 2", "replicas: 4000000000"),
        ("replicas: 2", "replicas: 5000000000"),
        ("tensor_parallel: 1", "tensor_parallel: 3"),
        ("tensor_parallel: 1", "tensor_parallel: 0"),
        ("tensor_parallel: 1", "pipeline_parallel: 5"),
        ("router: RoundRobin", "router: RoundRobbin"),
        ("router: RoundRobin", "router: RoundRobin(weight: 3)"),
        ("router: RoundRobin", "router: \"RoundRobin\""),
        ("policy: VllmV0(", "policy: Vllm("),
        ("max_num_seqs: 128", "max_num_seq: 128"),
        ("max_num_seqs: 128", "max_num_seqs: 0"),
        ("max_num_seqs: 128", "max_num_seqs: -3"),
        ("max_num_seqs: 128", "max_num_seqs: \"128\""),
        ("max_num_seqs: 128", "watermark: 1.5"),
        ("max_num_batched_tokens: 4096", "max_num_batched_tokens: 0"),
        ("policy: VllmV0(max_num_seqs: 128, max_num_batched_tokens: 4096),", ""),
        ("max_model_len: 4096", "max_model_len: 8192"),
        ("max_model_len: 4096", "max_model_len: 0"),
        ("max_model_len: 4096", "max_model_len: 100"),
        ("gpu_memory_utilization: 0.90", "gpu_memory_utilization: 90"),
        ("gpu_memory_utilization: 0.90", "gpu_memory_utilization: 0.0"),
        ("gpu_memory_utilization: 0.90", "gpu_memory_utilization: 0.1"),
        ("block_size: 16", "block_size: 0"),
        ("block_size: 16", "num_gpu_blocks: 0"),
        ("requests: 100", "requests: 0"),
        ("requests: 100, ", ""),
        ("Poisson(qps: 2.0)", "Poisson(qps: -2.0)"),
        ("Poisson(qps: 2.0)", "Poisson(rate: 2.0)"),
        ("Poisson(qps: 2.0)", "Poison(qps: 2.0)"),
        ("Fixed(prompt: 128, output: 16)", "Fixed(prompt: 0, output: 16)"),
        ("Fixed(prompt: 128, output: 16)", "Trace(file: \"nowhere.csv\")"),
        ("timing: Formula(base: 0.005, per_token: 2.5e-5)", "timing: Formule(base: 1)"),
        ("base: 0.005", "base: -1.0"),
        ("base: 0.005", "bass: 0.005"),
        ("base: 0.005, per_token: 2.5e-5", "base: 0.0"),
        ("    timing: Formula(base: 0.005, per_token: 2.5e-5),\n", ""),
        ("seeds: 3", "seeds: 0"),
        ("seeds: 3", "seeds: 3, seed: 18446744073709551615"),
        ("seeds: 3", "seeds: 3.5"),
        ("seeds: 3", "time_limit_s: 0.0"),
        ("slo: (ttft_ms: 1000)", "slo: (ttft_ms: -1)"),
        ("slo: (ttft_ms: 1000)", "slo: (attain: 0.9)"),
        ("\"paged\": ()", "\"max\": ()"),
        ("\"paged\": ()", "paged: ()"),
        ("\"paged\": ()", "\"paged\": 3"),
        ("\"paged\": ()", "\"paged\": (seeds: 4)"),
        ("\"paged\": ()", "\"paged\": (engin: ())"),
        ("Orca(reserve: Max)", "Orca(reserve: Min)"),
        ("Orca(reserve: Max)", "Orca(reserve: Max, max_num_seqs: 0)"),
        ("metric: \"ttft.mean\"", "metric: \"ttft.mena\""),
        ("at_most_ms: 300", "at_most_ms: 300, variant: \"pagd\""),
        ("at_most_ms: 300", "at_most_m: 300"),
        (", at_most_ms: 300", ""),
        ("[\"max\", \"paged\"]", "[\"max\", \"pagd\"]"),
        ("seeds: 3,", "seeds: 3"),
        ("title: \"A test\"", "title: \"A\\ntest\""),
    ];
    let mut table: Vec<String> = replaced
        .iter()
        .map(|(from, to)| format!("{to}: {}", refusal(&changed(from, to), &[])))
        .collect();
    for setting in [
        "engine.polcy.max=3",
        "engine.policy.chunk=3",
        "seeds=no",
        "model=Llama",
        "engine.block_size=\"x\"",
        "seeds=0",
        "variants.maxi.seeds=3",
    ] {
        table.push(format!("--set {setting}: {}", refusal(GOOD, &[setting])));
    }
    insta::assert_snapshot!(table.join("\n"), @r##"
model: "Lama-2-7B": 2 s.ron:3:12 `"Lama-2-7B"` unknown model `Lama-2-7B` | did you mean `Llama-2-7B`?
model: Llama: 2 s.ron:3:12 `Llama` expected a text in double quotes, found the name `Llama`
: 2 s.ron:1:1 `(` field `model` is missing
model: "Llama-2-70B": 3 s.ron:3:12 `"Llama-2-70B"` Llama-2-70B does not fit on A100-SXM-80G | the smallest tensor_parallel that fits is 2
device: "A100-SMX-80G": 2 s.ron:4:13 `"A100-SMX-80G"` unknown device `A100-SMX-80G` | did you mean `A100-SXM-80G`?
devise:: 2 s.ron:4:5 `devise` unknown field `devise` | did you mean `device`?
replicas: 0: 2 s.ron:5:25 `0` `cluster.replicas` is 0, expected 1 to 65536
replicas: 4000000000: 2 s.ron:5:25 `4000000000` `cluster.replicas` is 4000000000, expected 1 to 65536
replicas: 5000000000: 2 s.ron:5:25 `5000000000` expected a smaller whole number, found the number `5000000000`
tensor_parallel: 3: 2 s.ron:5:45 `3` `cluster.tensor_parallel` is 3, expected a divisor of the 32 query heads | Llama-2-7B has 32 query heads
tensor_parallel: 0: 2 s.ron:5:45 `0` `cluster.tensor_parallel` is 0, expected a divisor of the 32 query heads | Llama-2-7B has 32 query heads
pipeline_parallel: 5: 2 s.ron:5:47 `5` `cluster.pipeline_parallel` is 5, expected a divisor of the 32 layers of Llama-2-7B
router: RoundRobbin: 2 s.ron:5:56 `RoundRobbin` unknown router `RoundRobbin` | did you mean `RoundRobin`?
router: RoundRobin(weight: 3): 2 s.ron:5:67 `weight` unknown field `weight`
router: "RoundRobin": 2 s.ron:5:56 `"RoundRobin"` expected the name of a router, found `"RoundRobin"` | known here: RoundRobin, Random, LeastOutstanding, PowerOfTwo, PrefixAffinity, LoraAffinity, VidurLor, VllmDataParallel
policy: Vllm(: 2 s.ron:7:17 `Vllm` unknown policy `Vllm` | did you mean `VllmV1`?
max_num_seq: 128: 2 s.ron:7:24 `max_num_seq` unknown field `max_num_seq` | did you mean `max_num_seqs`?
max_num_seqs: 0: 2 s.ron:7:38 `0` `engine.policy.max_num_seqs` is 0, expected at least 1
max_num_seqs: -3: 2 s.ron:7:38 `-3` expected a whole number of at least 0, found the number `-3`
max_num_seqs: "128": 2 s.ron:7:38 `"128"` expected a whole number, found the text `"128"`
watermark: 1.5: 2 s.ron:7:35 `1.5` `engine.policy.watermark` is 1.5, expected at least 0 and below 1
max_num_batched_tokens: 0: 2 s.ron:7:67 `0` `engine.policy.max_num_batched_tokens` is 0, expected at least 1
: 2 s.ron:6:13 `(` field `policy` is missing | known here: VllmV0, VllmV1, SgLang, Sarathi, Orca, FasterTransformer, LightLlm
max_model_len: 8192: 2 s.ron:8:24 `8192` `engine.max_model_len` is 8192, expected at most 4096, the limit of Llama-2-7B | to exceed it anyway, set allow_long_max_model_len: true
max_model_len: 0: 2 s.ron:8:24 `0` `engine.max_model_len` is 0, expected at least 1
max_model_len: 100: 2 s.ron:12:69 `Fixed(prompt: 128, output: 16)` 100 of 100 requests are longer than max_model_len 100 (the longest has 144 tokens) | raise engine.max_model_len, or shorten the requests (max_total)
gpu_memory_utilization: 90: 2 s.ron:9:33 `90` `engine.gpu_memory_utilization` is 90, expected above 0 and at most 1
gpu_memory_utilization: 0.0: 2 s.ron:9:33 `0.0` `engine.gpu_memory_utilization` is 0, expected above 0 and at most 1
gpu_memory_utilization: 0.1: 3 s.ron:3:12 `"Llama-2-7B"` Llama-2-7B does not fit on A100-SXM-80G | the smallest tensor_parallel that fits is 2
block_size: 0: 2 s.ron:10:21 `0` `engine.block_size` is 0, expected at least 1, such as 16
num_gpu_blocks: 0: 2 s.ron:10:25 `0` `engine.num_gpu_blocks` is 0, expected at least 1
requests: 0: 2 s.ron:12:26 `0` `workload.requests` is 0, expected at least 1 request
: 2 s.ron:12:15 `(` `workload.requests` is missing, expected a number of requests | without it the workload has no end
Poisson(qps: -2.0): 2 s.ron:12:54 `-2.0` `workload.arrivals.qps` is -2, expected a finite number above 0
Poisson(rate: 2.0): 2 s.ron:12:49 `rate` unknown field `rate` | known here: qps, clip
Poison(qps: 2.0): 2 s.ron:12:41 `Poison` unknown name `Poison` | did you mean `Poisson`?
Fixed(prompt: 0, output: 16): 2 s.ron:12:83 `0` `workload.lengths.prompt` is 0, expected at least 1 token
Trace(file: "nowhere.csv"): 2 s.ron:12:81 `"nowhere.csv"` `workload.lengths.file` is ./nowhere.csv: No such file or directory (os error 2), expected a readable file | paths are relative to the scenario
timing: Formule(base: 1): 2 s.ron:13:13 `Formule` unknown timing `Formule` | did you mean `Formula`?
base: -1.0: 2 s.ron:13:27 `-1.0` `timing.base` is -1, expected seconds, 0 to 1e6
bass: 0.005: 2 s.ron:13:21 `bass` unknown field `bass` | did you mean `base`?
base: 0.0: 2 s.ron:13:13 `Formula(base: 0.0)` `timing` is all zero, expected at least one part above 0 | a simulation in which nothing takes time never advances
: accepted
seeds: 0: 2 s.ron:14:12 `0` `seeds` is 0, expected 1 to 10000
seeds: 3, seed: 18446744073709551615: 2 s.ron:14:21 `18446744073709551615` `seed` is 18446744073709551615, expected a smaller number
seeds: 3.5: 2 s.ron:14:12 `3.5` expected a whole number, found the number `3.5`
time_limit_s: 0.0: 2 s.ron:14:19 `0.0` `time_limit_s` is 0, expected seconds above 0 and at most 1e9
slo: (ttft_ms: -1): 2 s.ron:15:20 `-1` `slo.ttft_ms` is -1, expected milliseconds above 0
slo: (attain: 0.9): 2 s.ron:15:10 `(attain: 0.9)` `slo` is without a limit, expected at least one of `ttft_ms`, `tpot_ms`, `e2e_ms`, `itl_p99_ms`
"max": (): 2 s.ron:18:9 `"max"` two variants are called `max`
paged: (): 2 s.ron:17:9 `paged` a variant's name needs quotes, `paged` has none
"paged": 3: 2 s.ron:17:18 `3` variant `paged` is not a group of fields
"paged": (seeds: 4): 2 s.ron:17:19 `seeds` a variant cannot change `seeds` | move it out of `variants`
"paged": (engin: ()): 2 s.ron:17:19 `engin` unknown field `engin` | did you mean `engine`?
Orca(reserve: Min): 2 s.ron:18:48 `Min` unknown name `Min` | known here: Max, Pow2, Oracle
Orca(reserve: Max, max_num_seqs: 0): 2 s.ron:18:67 `0` `engine.policy.max_num_seqs` is 0, expected at least 1
metric: "ttft.mena": 2 s.ron:21:18 `"ttft.mena"` `expect[0].metric` is `ttft.mena`, expected the name of a metric | did you mean `ttft.mean`?
at_most_ms: 300, variant: "pagd": 2 s.ron:21:57 `"pagd"` `expect[0].variant` is `pagd`, expected the name of a variant of this scenario | there are `paged`, `max`
at_most_m: 300: 2 s.ron:21:31 `at_most_m` unknown field `at_most_m` | did you mean `at_most_ms`?
: 2 s.ron:21:9 `(metric: "ttft.mean")` `expect[0]` is without a bound, expected one of `at_least`, `at_most`, `equals`, `between`, `within`, `order`, `ratio_order`
["max", "pagd"]: 2 s.ron:22:49 `"pagd"` `expect[1].order[1]` is `pagd`, expected the name of a variant of this scenario | there are `paged`, `max`
seeds: 3: 2 s.ron:15:5 `` a comma or a closing bracket is missing | fields are written `name: value`, with commas between them
title: "A\ntest": 2 s.ron:2:12 `"A\ntest"` `title` is several lines long or has control characters, expected one line of text
--set engine.polcy.max=3: 2 --set:1:8 `polcy` unknown field `polcy` | did you mean `policy`?
--set engine.policy.chunk=3: 2 --set:1:15 `chunk` unknown field `chunk` | known here: max_num_seqs, max_num_batched_tokens, watermark, vidur_spare_block, vidur_idle
--set seeds=no: 2 --set:1:7 `no` expected a whole number, found the name `no`
--set model=Llama: 2 --set:1:7 `Llama` unknown model `Llama` | did you mean `Llama-3-8B`?
--set engine.block_size="x": 2 --set:1:19 `"x"` expected a whole number, found the text `"x"`
--set seeds=0: 2 --set:1:7 `0` `seeds` is 0, expected 1 to 10000
--set variants.maxi.seeds=3: 2 --set:1:15 `seeds` a variant cannot change `seeds` | move it out of `variants`
"##);
}

#[test]
fn what_does_not_fit_is_said_in_gib() {
    let error = load(&changed("model: \"Llama-2-7B\"", "model: \"Llama-2-70B\""), &[])
        .err()
        .expect("does not fit");
    insta::assert_snapshot!(error.render(false), @r##"
error: Llama-2-70B does not fit on A100-SXM-80G
 --> s.ron:3:12
  |
3 |     model: "Llama-2-70B",
  |            ^^^^^^^^^^^^^ does not fit in memory
  |
  = note: Llama-2-70B needs 129.35 GiB per GPU (128.48 weights + 0.87 activations) at TP 1 x PP 1, but A100-SXM-80G has 71.33 GiB available; use more tensor or pipeline parallelism, a larger device, or a higher gpu_memory_utilization
  = help: the smallest tensor_parallel that fits is 2
"##);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x.ron");
    let load = |path: &Path| {
        Scenario::load(path, &[], &Registry::built_in()).err().map(|e| e.title.clone())
    };
    assert!(load(&path).is_some_and(|title| title.ends_with("x.ron: there is no such file")));
    assert!(load(folder.path()).is_some_and(|title| title.starts_with("cannot read")));
    std::fs::write(&path, b"(model: \"\xff\")").expect("written");
    assert_eq!(load(&path).as_deref(), Some("the file is not UTF-8 text"));
}

proptest::proptest! {
    /// Whatever happens to a scenario's text, there is a scenario or a message, and no panic.
    #[test]
    fn no_slip_of_the_pen_causes_a_panic(
        edits in proptest::collection::vec((0.0..1.0_f64, 0..4_usize, "[-a-z0-9(){}\\[\\],:.\"'/* #=\\\\\n\u{e9}]{0,3}"), 1..4)
    ) {
        let mut text = GOOD.to_owned();
        for (place, removed, added) in edits {
            let start = text.floor_char_boundary((place * text.len() as f64) as usize);
            let end = text.ceil_char_boundary((start + removed).min(text.len()));
            text.replace_range(start..end, &added);
        }
        match load(&text, &["engine.block_size=8"]) {
            Ok(scenario) => assert!(scenario.resolved_text_in(Path::new("/x")).is_ok()),
            Err(error) => assert!(error.render(false).starts_with("error: ")),
        }
    }

    /// No panic for the arguments of `--set`.
    #[test]
    fn no_setting_causes_a_panic(
        path in "[a-z_.\\[\\]0-9\"]{0,6}|engine|workload\\.arrivals|expect\\[0\\]|variants\\.max|variants",
        value in "[-a-z0-9(){}\\[\\],:.\"'/* \\\\\u{e9}]{0,6}",
        sign in "=|",
    ) {
        if let Err(error) = load(GOOD, &[&format!("{path}{sign}{value}")]) {
            assert!(error.render(false).starts_with("error: "));
        }
    }
}
